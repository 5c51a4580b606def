"""Kill and disturb every long command N times in all, and count what was survived: see `scripts/crash`."""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from support.trainings import fork_server

from crash.chain import Chain
from crash.trials import KINDS, copied_on_its_way, some_faults, survives, two_at_once

GROUP = 4  # faults of one command in a row, before it may end


def main() -> int:
    """Print a table of commands and faults; return 1 if any was not survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", type=int, help="how many faults in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="of these commands alone, as a,b")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(KIT_CACHE=f"{folder}/cache", KIT_INPUT="")
        return _try(Chain(fork_server(), Path(folder)), arguments)


def _try(chain: Chain, arguments: argparse.Namespace) -> int:
    rng, started = random.Random(arguments.seed), time.monotonic()
    steps = [step for step in chain.all() if not arguments.only or step.name in arguments.only.split(",")]
    kinds, tried, hit, failures = arguments.kinds.split(","), 0, Counter[str](), Counter[str]()
    by_step = {step.name: Counter[str]() for step in steps}
    while tried < arguments.trials:
        step = rng.choice(steps)
        faults = [fault for kind in rng.choices(kinds, k=GROUP) for fault in some_faults(step, kind, 1, rng)]
        tried += len(faults)
        try:
            survives(step, faults, chain.forks, by_step[step.name])
        except AssertionError:
            failures[step.name] += 1
            print(traceback.format_exc(limit=1)[-3000:], flush=True)
    for step in steps:
        for trial in (lambda one: two_at_once(one, chain.forks), lambda one: _copied(one, rng, chain)):
            try:
                trial(step)
            except AssertionError:
                failures[step.name] += 1
                print(traceback.format_exc(limit=1)[-3000:], flush=True)
    print(f"{'command':12}" + "".join(f"{kind:>8}" for kind in kinds) + f"{'failed':>8}")
    for step in steps:
        hit += by_step[step.name]
        counts = "".join(f"{by_step[step.name][kind]:8d}" for kind in kinds)
        print(f"{step.name:12}{counts}{failures[step.name]:8d}")
    print(f"{'all':12}" + "".join(f"{hit[kind]:8d}" for kind in kinds) + f"{sum(failures.values()):8d}")
    kills = hit["kill"] + hit["late"]
    print(
        f"{kills} kills and {sum(hit.values()) - kills} failed operations that ended a command, {tried} tried; each "
        f"command twice at once and copied on its way; {time.monotonic() - started:.0f} s"
    )
    return 1 if failures else 0


def _copied(step: object, rng: random.Random, chain: Chain) -> None:
    copied_on_its_way(step, rng.uniform(0.05, 0.6), chain.forks, chain.folder)  # type: ignore[arg-type]


if __name__ == "__main__":
    raise SystemExit(main())
