"""Time and memory of every command against the number of photos, and what a queue of jobs costs beside a plain loop.

    python scripts/bench/scale.py photos FOLDER --counts 1000,10000,100000
    python scripts/bench/scale.py queue FOLDER --jobs 8
    python scripts/bench/scale.py workers WORKSPACE

photos: photos are made (24x24 pixels, random light and shade, one box of 6x6), a tenth of them for the test split. Each
command is a process of its own; printed are its seconds by the clock, its largest memory, and between two counts the
exponent of growth: log of the ratio of seconds over log of the ratio of photos, 1 where it is linear.

queue: `kit train` of so many tiny folds by a plain loop of commands and by a queue of one slot: overhead of a job.

workers: fills and the Gram pass of a blend in a workspace with fills, by one and two workers: efficiency, seconds of
one over twice the seconds of two. The fills are made again, to the same bytes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from steps import run

SIDE, BOX = 24, 6
KIT = [sys.executable, "-m", "kit"]


def make_photos(folder: Path, count: int, *, seed: int = 0) -> None:
    """Write `count` photos, nine tenths of them for training, and a table of boxes."""
    rng = np.random.default_rng(seed)
    tests = count // 10
    lines = ["name,row,col,height,width"]
    for split, number in (("train", count - tests), ("test", tests)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for place in range(number):
            coarse = rng.integers(0, 256, (6, 6, 3), np.uint8)
            photo = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            photo = np.clip(photo + rng.normal(0, 6, photo.shape), 0, 255).astype(np.uint8)
            row, column = rng.integers(0, SIDE - BOX, 2)
            name = f"{split}{place:07}.png"
            cv2.imwrite(str(folder / split / name), photo)
            lines.append(f"{name},{row},{column},{BOX},{BOX}")
    (folder / "boxes.csv").write_text("\n".join([*lines, ""]))


def steps_of(folder: Path) -> list[list[str]]:
    """Return the commands of the chain on such photos."""
    paths = ["--images", str(folder / "train"), "--test-images", str(folder / "test")]
    return [
        ["fetch", "made", *paths, "--boxes", str(folder / "boxes.csv")],
        ["folds"],
        ["fill", "mean"],
        ["fill", "harmonic"],
        ["sources"],
        ["blend", "--plots", "none"],
        ["compare", "mean", "harmonic"],
        ["report"],
        ["upload", "--dry-run"],
        ["status"],
        ["verify"],
    ]


def photos(folder: Path, counts: Sequence[int], only: Sequence[str]) -> None:
    """Print a row a command and number of photos."""
    print("| command | photos | seconds | memory, MB | exponent |\n| --- | --- | --- | --- | --- |", flush=True)
    before: dict[str, tuple[int, float]] = {}
    for count in counts:
        place = folder / str(count)
        shutil.rmtree(place, ignore_errors=True)
        make_photos(place / "given", count)
        for step in steps_of(place / "given"):
            if only and step[0] not in only and step[0] not in ("fetch", "folds", "fill"):
                continue
            name = " ".join(step[:2]) if step[0] in ("fill", "upload") else step[0]
            seconds, memory = run([*KIT, "-w", str(place / "w"), *step])
            growth = ""
            if name in before:
                count_before, seconds_before = before[name]
                growth = f"{math.log(seconds / seconds_before) / math.log(count / count_before):.2f}"
            before[name] = count, seconds
            print(f"| `kit {name}` | {count:,} | {seconds:.1f} | {memory:,.0f} | {growth} |", flush=True)
        shutil.rmtree(place)


def timed(command: list[str], **environment: str) -> float:
    """Run a command and return its seconds."""
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    return time.monotonic() - started


def prepared(folder: Path, count: int) -> Path:
    """Return a workspace of so many photos with folds and the base fill of a training."""
    make_photos(folder / "given", count)
    for step in [*steps_of(folder / "given")[:3]]:
        subprocess.run([*KIT, "-w", str(folder / "w"), *step], check=True, stdout=subprocess.DEVNULL)
    return folder / "w"


def queue(folder: Path, jobs: int) -> None:
    """Print jobs/s of a plain loop and of a queue with one slot, and what a job of the queue costs more."""
    workspace = prepared(folder, 200)
    tiny = ["base=mean", "size=32", "batch_size=4", "width=8", "blocks=1", "first_size=0", "box_copies=1", "epochs=1"]
    words = ["train", "partialconv", *itertools.chain(*(("--set", one) for one in tiny)), "--no-pictures"]
    names = [f"j{number}" for number in range(jobs)]
    alone = [timed([*KIT, "-w", str(workspace), *words, "--fold", "0", "--as", name]) for name in names]
    together = ["--seeds", str(jobs), "--as", "q", "--fold", "0", "--jobs", "1"]
    whole = timed([*KIT, "-w", str(workspace), *words, *together])
    loop = sum(alone)
    print(f"plain loop: {jobs / loop:.3f} jobs/s (median {statistics.median(alone):.2f} s a job)")
    over = (whole - loop) / jobs
    print(f"queue of one slot: {jobs / whole:.3f} jobs/s; {over:+.2f} s a job; ratio {whole / loop:.3f}")


def workers(workspace: Path) -> None:
    """Print seconds of fills and of a blend's Gram pass with one and two workers."""
    for name, extra in (("fill harmonic", ["--force"]), ("fill fractional", ["--force"])):
        command = [*KIT, "-w", str(workspace), *name.split(), *extra]
        one, two = (timed([*command, "--jobs", str(jobs)]) for jobs in (1, 2))
        print(f"kit {name}: {one:.1f} s with 1 process, {two:.1f} s with 2: efficiency {one / two / 2:.2f}")
    one, two = (_gram(workspace, cores) for cores in (1, 2))
    print(f"kit sources (Gram pass): {one:.1f} s with 1 core, {two:.1f} s with 2: efficiency {one / two / 2:.2f}")


def _gram(workspace: Path, cores: int) -> float:
    shutil.rmtree(workspace / "blends" / ".cache", ignore_errors=True)
    return timed([*KIT, "-w", str(workspace), "sources"], KIT_CORES=str(cores))


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["photos", "queue", "workers"])
    parser.add_argument("folder", type=Path, help="for what is made on the way, must be new; of workers: a workspace")
    parser.add_argument("--counts", default="1000,10000")
    parser.add_argument("--only", default="", help="commands, with commas between, after fetch, folds and fills")
    parser.add_argument("--jobs", type=int, default=6)
    arguments = parser.parse_args()
    if arguments.what != "workers" and arguments.folder.exists() and any(arguments.folder.iterdir()):
        parser.error(f"{arguments.folder} is not empty")
    if arguments.what == "photos":
        only = [one for one in arguments.only.split(",") if one]
        photos(arguments.folder, [int(count) for count in arguments.counts.split(",")], only)
    elif arguments.what == "queue":
        queue(arguments.folder, arguments.jobs)
    else:
        workers(arguments.folder)


if __name__ == "__main__":
    main()
