"""Time, memory and disk of each step of the chain: what a newcomer waits for, and what a workspace grows by.

    python scripts/bench/steps.py ws --archive photo-reconstruction.zip
    python scripts/bench/steps.py ws                                     # on the built-in sample competition
    python scripts/bench/steps.py ws --archive photo-reconstruction.zip --train "regress --fold 0 --epochs 2"

The workspace must be new. Each step is one `kit` command in a process of its own; printed are its seconds by the clock,
the most memory that its process held, and the bytes that the workspace holds more than before (MB of 10^6 bytes).
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path


def stored(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def run(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds by the clock, and the most MB that its process held."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"failed: {shlex.join(command)}")
    return time.monotonic() - started, usage.ru_maxrss / 1e3


def main() -> None:
    """Measure and print a table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--archive", type=Path, help="default: the built-in sample competition")
    parser.add_argument("--train", action="append", default=[], help="arguments of a kit train, before the blend")
    arguments = parser.parse_args()
    if arguments.workspace.exists() and any(arguments.workspace.iterdir()):
        parser.error(f"{arguments.workspace} is not empty")
    source = ["--from", str(arguments.archive)] if arguments.archive else ["--sample"]
    trainings = [["train", *shlex.split(words)] for words in arguments.train]
    steps = [
        *(["fetch", *source], ["explore"], ["folds"], ["fill", "all"], *trainings),
        *(["sources"], ["blend"], ["report"], ["figure"], ["upload", "--dry-run"]),
    ]
    print("| step | seconds | memory, MB | disk, MB |\n| --- | --- | --- | --- |", flush=True)
    total, before = 0.0, 0
    for step in steps:
        seconds, memory = run([sys.executable, "-m", "kit", "-w", str(arguments.workspace), *step])
        after = stored(arguments.workspace)
        shown = ["fetch", "--from", arguments.archive.name] if step[:2] == ["fetch", "--from"] else step
        print(
            f"| `kit {' '.join(shown)}` | {seconds:.0f} | {memory:,.0f} | {(after - before) / 1e6:+,.1f} |", flush=True
        )
        total, before = total + seconds, after
    print(f"| all | {total:.0f} | | {before / 1e6:,.1f} |")
    for folder in sorted(path for path in arguments.workspace.iterdir() if path.is_dir()):
        print(f"{folder.name + '/':<16}{stored(folder) / 1e6:>10,.1f} MB")


if __name__ == "__main__":
    main()
