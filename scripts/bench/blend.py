"""Memory and speed of `kit blend` on generated memory maps, and its weights against those of other blenders.

    python scripts/bench/blend.py                                 # all but --full
    python scripts/bench/blend.py --photos 0 --values 1e6 --only kit hillclimbers
    python scripts/bench/blend.py --full --values                 # a whole competition, and no peers

Prints, from one run on one machine:
- the peak memory of `make_blend` with N and with 4N photos, each in a process of its own; values a second of the Gram
  pass, and of reading the same prediction files with numpy and nothing else (alternating; medians; page cache warm);
- for each N of `--values` the time, memory and RMSE of kit and its peers, each in a process of its own, on the same
  values: kit reads its float16 files from the page cache, the others get arrays in score space that lie in memory. Cold
  is the import and the first call, warm the median of later calls. RMSE is that of the photos that weights are fitted
  on, and of `--held-out` others; its difference to that of kit's weights has a 95 % interval by photo. `blend_peers.py`
  has each contender;
- with `--full` the Gram pass and kit's memory for 7,000 photos and 10 members, N = 2.4e8 (6 GB of disk).

The peers: pip install -e ".[bench]". Those that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from blend_child import memory, run_contender
from blend_data import K_FOLDS, VALUES, generate, opened, write_arrays
from blend_peers import CONTENDERS

from kit.blending import make_blend, residual_gram
from kit.blending.evaluation.intervals import Bootstrap
from kit.core.workspace import Workspace
from kit.data.predictions import Predictions

FULL_MEMBERS = 10


def child(folder: Path) -> None:
    """Blend once in this process; print peak memory before and after, and seconds."""
    workspace = Workspace(folder)
    data = opened(workspace)
    before, start = memory("VmHWM"), time.perf_counter()
    blend = make_blend(data.project)
    seconds = time.perf_counter() - start
    print(f"{before:.0f} {memory('VmHWM'):.0f} {seconds:.2f} {blend.rung}")


def read_plainly(predictions: list[Predictions]) -> None:
    """Read the files of these predictions, 16 MiB at a time, and do nothing with them."""
    for one in predictions:
        for part in one.parts:
            with part.path.open("rb") as file:
                while len(np.fromfile(file, np.float16, 8 << 20)):
                    pass


def timed(function: Callable[..., object], *arguments: object) -> tuple[float, float]:
    """Seconds of one call, by the clock and of the processors."""
    start, used = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - start, time.process_time() - used


def print_memory(folder: Path, photos: int, members: int) -> None:
    """Peak memory of a whole blend in a process of its own."""
    command = [sys.executable, __file__, "--child", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after, seconds, rung = run.stdout.split()
    data = photos * members * VALUES * 2 / 2**20
    print(
        f"make_blend, {photos} photos, {members} members ({data:.0f} MiB of OOF values): "
        f"peak {after} MiB ({before} MiB before it began), {seconds} s, {rung}",
        flush=True,
    )


def print_speed(folder: Path, repeats: int) -> None:
    """Values a second of the Gram pass, and of a plain read of the same files."""
    data = opened(Workspace(folder))
    values = len(data.project.index.train) * len(data.predictions) * VALUES
    timed(
        residual_gram, data.project.index.train, data.project.pack, data.predictions
    )  # compiles, warms the page cache
    runs = [
        (
            timed(residual_gram, data.project.index.train, data.project.pack, data.predictions),
            timed(read_plainly, data.predictions),
        )
        for _ in range(repeats)
    ]
    print(f"Million values/s, medians of {repeats} alternating runs, page cache warm, {os.cpu_count()} cores:")
    for kind, label in enumerate(("by the clock", "for each second of a core")):
        gram, read = (values / statistics.median(run[which][kind] for run in runs) for which in (0, 1))
        print(
            f"  {label}: Gram pass {gram / 1e6:.0f} (truth read too; float64), plain numpy read of the same "
            f"prediction files {read / 1e6:.0f}, ratio {gram / read:.3f}",
            flush=True,
        )


def print_full(folder: Path, photos: int, options: argparse.Namespace) -> None:
    """Memory and speed for as many photos as a whole competition has."""
    values = photos * FULL_MEMBERS * VALUES
    needed, free = 2 * values + photos * 256 * 256 * 3, shutil.disk_usage(folder).free
    if free < 1.2 * needed:
        print(f"--full is left out: it needs {1.2 * needed / 2**30:.1f} GiB of disk, {free / 2**30:.1f} are free")
        return
    start = time.perf_counter()
    generate(Workspace(folder), photos, FULL_MEMBERS)
    available = Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]
    fits = int(available) * 1024 > needed  # what was just written counts as available
    print(
        f"\nWhole competition: {photos} photos, N = {photos * VALUES:.2g}, K = {FULL_MEMBERS}; "
        f"{2 * values / 2**30:.1f} GiB of predictions and {(needed - 2 * values) / 2**30:.1f} of photos, generated in "
        f"{time.perf_counter() - start:.0f} s; they {'fit' if fits else 'DO NOT FIT'} into the "
        f"{int(available) / 2**20:.1f} GiB of memory that are left. Load average {os.getloadavg()[0]:.2f}.",
        flush=True,
    )
    print_speed(folder, options.repeats)
    for name in ("kit", "kit-blend"):
        one = run_contender(name, folder, options)
        if isinstance(one, str):
            print(f"{CONTENDERS[name].label}: {one}")
            continue
        parts = "".join(f", {part} {seconds:.3g} s" for part, seconds in one["parts"].items())
        print(
            f"{CONTENDERS[name].label}: import {one['import']:.1f} s, first call {one['first']:.1f} s{parts}; peak "
            f"memory {one['before'] + one['peak']:.0f} MiB ({one['before']:.0f} MiB before it began)",
            flush=True,
        )


def squared_errors(folder: Path, split: str, weights: np.ndarray, intercept: float) -> np.ndarray:
    """`(photos,)` squared errors of a blend, from the pixels."""
    x, y = (np.load(folder / f"{split}-{name}.npy", mmap_mode="r") for name in "xy")
    starts = range(0, len(y), VALUES)
    errors = (weights @ x[:, at : at + VALUES].astype(np.float64) + intercept - y[at : at + VALUES] for at in starts)
    return np.array([float(error @ error) for error in errors])


def present(only: list[str] | None) -> list[str]:
    """Contenders that can run here; says which cannot."""
    chosen = [name for name in CONTENDERS if not only or name in only or name.startswith("kit")]
    versions, absent = {}, set()
    for package in sorted({CONTENDERS[name].package for name in chosen} - {""} | {"numpy", "scipy", "scikit-learn"}):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            absent.add(package)
    print("\nVersions: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    if absent:
        print(f'Not installed, so left out: {", ".join(sorted(absent))}. Install: pip install -e ".[bench]"')
    return [name for name in chosen if CONTENDERS[name].package not in absent]


def print_peers(folder: Path, photos: int, names: list[str], options: argparse.Namespace) -> None:
    """The table for one N."""
    generate(Workspace(folder), photos, options.members, options.held_out)
    write_arrays(Workspace(folder), options.dtype)
    arrays = sum((folder / f"oof-{name}.npy").stat().st_size for name in "xy") / 2**20
    print(
        f"\nN = {photos * VALUES:,} values ({photos} photos), K = {options.members}; held out: {options.held_out} "
        f"photos. Arrays of the others: {options.dtype}, {arrays:.0f} MiB, loaded before the clock starts and not "
        f"counted as memory. Load average {os.getloadavg()[0]:.2f}.",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        compiled = run_contender("kit", folder, options, NUMBA_CACHE_DIR=empty)
    if not isinstance(compiled, str):
        print(f"kit compiles its kernel once in an installation: a first call of {compiled['first']:.1f} s, not below.")
    run_contender("kit-blend", folder, options)  # from here on all that is compiled is on disk
    results: dict[str, dict[str, Any]] = {}
    why: dict[str, str] = {}
    for name in names:
        result = run_contender(name, folder, options)
        if isinstance(result, str):
            why[name] = result
        else:
            results[name] = result
    if "kit" not in results:
        raise SystemExit(f"kit itself: {why['kit']}")
    print_table(folder, names, results, why)


def print_table(folder: Path, names: list[str], results: dict[str, dict[str, Any]], why: dict[str, str]) -> None:
    """One row a contender, in Markdown, and kit's seconds part by part."""
    fitted, held = {}, {}
    for name, one in results.items():
        weights, intercept = np.array(one["weights"]), one["intercept"]
        if one["test_sse"] is None:
            fitted[name] = squared_errors(folder, "oof", weights, intercept)
            held[name] = squared_errors(folder, "test", weights, intercept)
        else:
            held[name] = np.array(one["test_sse"])
    photos = len(held["kit"])
    bootstrap = Bootstrap(held, np.full(photos, VALUES), np.arange(photos))
    columns = "contender|cold s|warm s|cold / kit|warm / kit|warm / all of `kit blend`|MiB|RMSE fitted on|RMSE held out"
    columns += "|less kit's, 1e-6|notes"
    print(f"| {columns.replace('|', ' | ')} |\n|{' --- |' * (columns.count('|') + 1)}")
    for name in names:
        if name in why:
            print(f"| {CONTENDERS[name].label} | {why[name]} |" + " |" * 9)
            continue
        print(f"| {CONTENDERS[name].label} | {_costs(results, name)} | {_scores(fitted, bootstrap, name)} |", end="")
        one = results[name]
        print(" " + ", ".join(filter(None, [one["note"], f"{one['calls']} call{'s' * (one['calls'] > 1)}"])) + " |")
    kit = results["kit"]
    parts = ", ".join(f"{part} {1000 * seconds:.3g} ms" for part, seconds in kit["parts"].items())
    print(f"kit: weights, warm: {parts}; cold: import {kit['import']:.2f} s, first call {kit['first']:.3f} s.")
    print("kit's weights: " + ", ".join(f"{weight:.4f}" for weight in kit["weights"]), flush=True)


def _costs(results: dict[str, dict[str, Any]], name: str) -> str:
    one, kit = results[name], results["kit"]
    cold, warm = one["import"] + one["first"], one["warm"]
    ratios = f"{cold / (kit['import'] + kit['first']):.3g} | {warm / kit['warm']:.3g}"
    all_of_it = f"{warm / results['kit-blend']['warm']:.3g}" if "kit-blend" in results else ""
    workers = f" + {one['helpers']:.0f} in workers" if one["helpers"] > 1 else ""
    return f"{cold:.3g} | {warm:.3g} | {ratios} | {all_of_it} | {one['peak']:.0f}{workers}"


def _scores(fitted: dict[str, np.ndarray], bootstrap: Bootstrap, name: str) -> str:
    own = f"{np.sqrt(fitted[name].sum() / len(fitted[name]) / VALUES):.7f}" if name in fitted else ""
    less = bootstrap.difference(name, "kit")
    interval = f"{1e6 * less.value:+.1f} [{1e6 * less.low:+.1f}, {1e6 * less.high:+.1f}]" if name != "kit" else ""
    return f"{own} | {bootstrap.estimate(name).value:.7f} | {interval}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=300, help="N of the first part; 0: leave it out")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--values", type=float, nargs="*", default=[1e6, 1e7], help="N for the peers")
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), help="these, and kit")
    parser.add_argument("--held-out", type=int, default=100, help="photos that no weights are fitted on")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64", help="of the others' arrays")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds, with loading, until one is stopped")
    parser.add_argument("--trials", type=int, default=100, help="of Optuna")
    parser.add_argument("--steps", type=int, default=100, help="of the plain hill climb")
    parser.add_argument("--full", type=int, nargs="?", const=7000, help="a whole competition too, of so many photos")
    parser.add_argument("--folder", type=Path, default=None, help="where to generate (default: a temporary folder)")
    parser.add_argument("--child", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.photos:
            for photos in (options.photos, 4 * options.photos):
                generate(Workspace(folder / str(photos)), photos, options.members)
                print_memory(folder / str(photos), photos, options.members)
            print_speed(folder / str(photos), options.repeats)
            for photos in (options.photos, 4 * options.photos):
                shutil.rmtree(folder / str(photos))
        names = present(options.only) if options.values else []
        for values in options.values:
            with tempfile.TemporaryDirectory(dir=folder) as one:
                print_peers(Path(one), max(K_FOLDS, round(values / VALUES)), names, options)
        if options.full:
            with tempfile.TemporaryDirectory(dir=folder) as one:
                print_full(Path(one), options.full, options)


if __name__ == "__main__":
    main()
