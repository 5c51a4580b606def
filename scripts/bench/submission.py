"""Speed and memory of writing and checking a submission.

    python scripts/bench/submission.py [--photos 50]

Rows per second of the layout's `encode` against plain Python formatting of the same rows, both measured in this run;
then peak memory of `write_submission` and of `check_submission` for N and 4N photos, each in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kit.competitions.photo_reconstruction import PHOTO_RECONSTRUCTION, encode
from kit.core.workspace import Workspace
from kit.data.index import Index, PhotoRow
from kit.data.pack import Pack
from kit.data.project import Project
from kit.imaging.holes import Box, random_boxes, scored_pixels
from kit.submission.write import check_submission, write_submission

BOXES = (Box(58, 27), Box(100, 80))
ROWS = 2 * 75 * 75 * 3


def plain(name: str, boxes: tuple[Box, ...], values: np.ndarray) -> bytes:
    """The rows by Python's own formatting, one by one."""
    lines = []
    rows, columns = scored_pixels(boxes)
    numbers = [number for number, box in enumerate(boxes, 1) for _ in range(box.height * box.width)]
    for number, row, col, rgb in zip(numbers, rows.tolist(), columns.tolist(), values.tolist(), strict=True):
        for channel in range(3):
            lines.append(f"{name}_box{number}_{row}_{col}_{channel},{rgb[2 - channel]:.6f}\n")
    return "".join(lines).encode()


def speed() -> None:
    """Best of five for each; the bytes must be the same."""
    values = np.round(np.random.default_rng(0).random((ROWS // 3, 3)), 6)
    name = "Tiger (1024).jpeg"
    assert encode(name, BOXES, values) == plain(name, BOXES, values)
    rates = {}
    for label, function in (("encode", encode), ("plain Python", plain)):
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            function(name, BOXES, values)
            seconds.append(time.perf_counter() - started)
        rates[label] = ROWS / min(seconds)
        print(f"{label:<13} {rates[label] / 1e6:6.2f} million rows/s")
    print(f"{'ratio':<13} {rates['encode'] / rates['plain Python']:6.1f}")


def competition_of(root: Path, photos: int) -> Project:
    """Return a project of nothing but what a submission needs."""
    rng = np.random.default_rng(0)
    workspace = Workspace(root)
    photo_rows = tuple(
        PhotoRow(f"test/Cat ({n}).jpeg", "Cat", f"Cat ({n}).jpeg", "", "", boxes, 256, 256, "", "")
        for n in range(photos)
        if (boxes := tuple(random_boxes(rng, BOXES, 256, 256)))
    )
    none, value_range = np.zeros((0, 256, 256, 3), np.uint8), np.tile([[[0.0] * 3, [1.0] * 3]], (photos, 1, 1))
    workspace.raw.mkdir(parents=True)
    with (workspace.raw / PHOTO_RECONSTRUCTION.sample).open("wb") as file:
        file.write(b"filename_box_pixel,value\n")
        for photo_row in photo_rows:
            file.write(encode(photo_row.name, photo_row.boxes, np.zeros((ROWS // 3, 3))))
    project = Project(workspace)
    project.__dict__.update(index=Index((), photo_rows, ""), pack=Pack(none, none, none, none, none, value_range))
    return project


def peak() -> float:
    """Peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def measure(photos: int) -> None:
    """Write and check a submission of so many photos, in this process."""

    def values() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(1)
        for _ in range(photos):
            yield rng.random((ROWS // 3, 3), np.float32)

    with tempfile.TemporaryDirectory() as folder:
        project = competition_of(Path(folder), photos)
        started = time.perf_counter()
        done = write_submission(project, values(), "bench")
        written, write_peak = time.perf_counter() - started, peak()
        started = time.perf_counter()
        check_submission(done.path, project.workspace.raw / PHOTO_RECONSTRUCTION.sample)
        checked, check_peak = time.perf_counter() - started, peak()
    print(
        f"{photos:>6} photos {done.rows:>9} rows: write {written:5.1f} s, peak {write_peak:4.0f} MiB; "
        f"check {checked:5.1f} s, peak {check_peak:4.0f} MiB",
        flush=True,
    )


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=50, help="N; 4N is measured too")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    speed()
    for photos in (arguments.photos, 4 * arguments.photos):
        subprocess.run([sys.executable, __file__, "--measure", str(photos)], check=True)


if __name__ == "__main__":
    main()
