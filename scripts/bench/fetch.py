"""Time of `kit fetch` from an archive, as a multiple of decoding the same pictures with one plain OpenCV loop.

    python scripts/bench/fetch.py --archive DATA.zip [--rounds 3]

Each round fetches into an empty workspace in a process of its own (start-up included), then decodes the extracted
pictures one after the other. Both are measured on the clock and in processor time (user and system), because a machine
that does other things as well lengthens the first more than the second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2

from kit.imaging.images import IMAGE_SUFFIXES


def fetch(archive: Path, workspace: Path) -> None:
    """Run the command as a user types it."""
    command = [sys.executable, "-m", "kit", "--workspace", str(workspace), "fetch", "--from", str(archive)]
    subprocess.run(command, check=True, capture_output=True)


def decode(pictures: list[Path]) -> None:
    """Decode one picture after the other."""
    for path in pictures:
        assert cv2.imread(str(path)) is not None


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """Return the time of `work` on the clock and in processor time, child processes included."""
    started, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    return time.perf_counter() - started, sum(after[:4]) - sum(before[:4])


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True, help="the competition's zip")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            fetched = seconds(lambda folder=folder: fetch(arguments.archive, Path(folder)))  # type: ignore[misc]
            pictures = sorted(path for path in Path(folder).rglob("raw/**/*") if path.suffix.lower() in IMAGE_SUFFIXES)
            rounds.append((fetched, seconds(lambda pictures=pictures: decode(pictures))))  # type: ignore[misc]
    print(f"{len(pictures)} pictures, median of {len(rounds)} rounds")
    for number, clock in enumerate(("clock", "processor")):
        ours, plain = (statistics.median(one[which][number] for one in rounds) for which in (0, 1))
        ratio = statistics.median(one[0][number] / one[1][number] for one in rounds)
        print(f"{clock:<10} fetch {ours:6.2f} s   plain loop {plain:6.2f} s   ratio {ratio:5.2f}")


if __name__ == "__main__":
    main()
