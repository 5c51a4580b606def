"""Memory and speed of `kit blend` on generated memory maps of the competition's own sizes.

    python scripts/bench/blend.py [--photos 300] [--members 8] [--repeats 5] [--folder DIR]

Prints, from one run on one machine:
- the peak memory of `make_blend` with N and with 4N photos, each in a process of its own;
- values a second of the Gram pass, and of reading the same prediction files with numpy and nothing else (both from the
  page cache, alternating; medians), and their ratio.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from kit.blending import make_blend, residual_gram
from kit.folds import Folds, read_folds
from kit.holes import Box, boxes_to_text, scored_pixels
from kit.index import Index, read_index, write_index
from kit.pack import PACK_VERSION, Pack, read_pack
from kit.predictions import Predictions, list_sources, read_predictions, write_part
from kit.storage import digest_bytes, write_json, write_text
from kit.workspace import Workspace

SIZE, BOX, K_FOLDS, TEST = 256, 75, 5, 8


def generate(workspace: Workspace, photos: int, members: int) -> None:
    """A competition of random photos, and members that err by noise of a photo and noise of a pixel."""
    rng = np.random.default_rng(0)
    write_index(workspace, pd.DataFrame([_row(rng, number, photos) for number in range(photos + TEST)]))
    index = read_index(workspace)
    shapes: dict[str, tuple[int, ...]] = {
        f"{split}_{what}": (count, SIZE, SIZE, 3) for split, what, count in _photo_arrays(photos)
    }
    shapes |= dict.fromkeys(("train_extremes", "train_estimated"), (photos, 2, 3))
    shapes["test_estimated"] = (TEST, 2, 3)
    workspace.pack.mkdir(parents=True)
    for name, shape in shapes.items():
        dtype = np.uint8 if len(shape) == 4 else np.float64
        array = np.lib.format.open_memmap(workspace.pack / f"{name}.npy", "w+", dtype=dtype, shape=shape)
        if name == "train_target":
            grain = rng.integers(0, 255, shape[1:], np.uint8)
            for number in range(photos):
                array[number] = np.roll(grain, number, axis=1)
        elif dtype == np.float64:
            array[:] = [[[0.0] * 3, [1.0] * 3]]
        array.flush()
    write_json(workspace.pack / "manifest.json", {"index": index.digest, "version": PACK_VERSION})
    _write_folds(workspace, index)
    pack = read_pack(workspace, index)
    for member in range(members):
        for split in ("oof", "test"):
            values = _values(index, pack, member, split)
            made_by = f"kit fill m{member}"
            write_part(workspace, index, f"m{member}", split, values, made_by=made_by, recipe={"member": member})


def _photo_arrays(photos: int) -> list[tuple[str, str, int]]:
    # the images are never written to: sparse files, which take no room
    return [("train", "image", photos), ("train", "target", photos), ("test", "image", TEST)]


def _row(rng: np.random.Generator, number: int, photos: int) -> dict[str, object]:
    places = rng.integers(0, SIZE - BOX + 1, (2, 2))
    split = "train" if number < photos else "test"
    return {
        "id": f"{split}/{number}.png",
        "split": split,
        "klass": "Cat",
        "name": f"{number}.png",
        "image": f"{number}.png",
        "target": f"truth/{number}.png" if split == "train" else "",
        "boxes": boxes_to_text([Box(int(row), int(col), BOX, BOX) for row, col in places]),
        "height": SIZE,
        "width": SIZE,
        "digest": str(number),
        "phash": "0" * 16,
    }


def _write_folds(workspace: Workspace, index: Index) -> None:
    numbers = np.arange(len(index.train))
    table = pd.DataFrame({"id": [sample.id for sample in index.train], "fold": numbers % K_FOLDS, "group": numbers})
    text = table.to_csv(index=False, lineterminator="\n")
    write_text(workspace.folds, text)
    recipe = {"k": K_FOLDS, "seed": 0, "index": index.digest, "digest": digest_bytes(text.encode())}
    write_json(workspace.folds.with_suffix(".json"), recipe)


def _values(index: Index, pack: Pack, member: int, split: str) -> Iterator[np.ndarray]:
    noise = np.random.default_rng(member).normal(0, 0.1, (2 * BOX * BOX, 3)).astype(np.float32)
    for number, sample in enumerate(index.train if split == "oof" else index.test):
        rows, columns = scored_pixels(sample.boxes)
        truth = pack.train_target[number % len(pack.train_target)][rows, columns] / np.float32(255)
        yield 0.8 * truth + 0.1 + np.roll(noise, number * (member + 1), axis=0) + 0.05 * np.sin(number * (member + 2))


def opened(workspace: Workspace) -> tuple[Index, Folds, Pack, list[Predictions]]:
    """Everything that a blend begins with."""
    index = read_index(workspace)
    folds, pack = read_folds(workspace, index), read_pack(workspace, index)
    sources = list_sources(workspace)
    return index, folds, pack, [read_predictions(workspace, index, folds, source, "oof") for source in sources]


def peak_memory() -> float:
    """Peak resident memory of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the parent held when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def child(folder: Path) -> None:
    """Blend once in this process; print peak memory before and after, and seconds."""
    workspace = Workspace(folder)
    index, folds, pack, _ = opened(workspace)
    before, start = peak_memory(), time.perf_counter()
    blend = make_blend(workspace, index, folds, pack)
    seconds = time.perf_counter() - start
    print(f"{before:.0f} {peak_memory():.0f} {seconds:.2f} {blend.rung}")


def read_plainly(predictions: list[Predictions]) -> None:
    """Read the files of these predictions, 16 MiB at a time, and do nothing with them."""
    for one in predictions:
        for part in one.parts:
            with part.path.open("rb") as file:
                while len(np.fromfile(file, np.float16, 8 << 20)):
                    pass


def timed(function, *arguments) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """Seconds of one call, by the clock and of the processors."""
    start, used = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - start, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where to generate (default: a temporary folder)")
    parser.add_argument("--child", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for photos in (options.photos, 4 * options.photos):
            folder = Path(name) / str(photos)
            generate(Workspace(folder), photos, options.members)
            command = [sys.executable, __file__, "--child", str(folder)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            before, after, seconds, rung = run.stdout.split()
            data = photos * options.members * 6 * BOX * BOX * 2 / 2**20
            print(
                f"make_blend, {photos} photos, {options.members} members ({data:.0f} MiB of OOF values): "
                f"peak {after} MiB ({before} MiB before it began), {seconds} s, {rung}"
            )
        index, _, pack, predictions = opened(Workspace(folder))
        values = photos * options.members * 6 * BOX * BOX
        runs = [
            (timed(residual_gram, index, pack, predictions), timed(read_plainly, predictions))
            for _ in range(options.repeats)
        ]
        print(
            f"Million values/s, medians of {options.repeats} alternating runs, page cache warm, {os.cpu_count()} cores:"
        )
        for kind, label in enumerate(("by the clock", "for each second of a core")):
            gram, read = (values / statistics.median(run[which][kind] for run in runs) for which in (0, 1))
            print(
                f"  {label}: Gram pass {gram / 1e6:.0f} (truth read too; float64), plain numpy read of the same "
                f"prediction files {read / 1e6:.0f}, ratio {gram / read:.3f}"
            )


if __name__ == "__main__":
    main()
