"""Scores and speed of the classical fills, each against a plain alternative measured in the same run.

    python scripts/bench/fills.py                                # scikit-image's photos, random boxes
    python scripts/bench/fills.py --archive DATA.zip --photos 240

With the competition's archive: a random choice of training photos, filled from the masked file and scored against the
original at the scored pixels in score space (each channel stretched by the original's own value range).
RMSE is pooled over photos; intervals are 95 % bootstraps by photo, of the paired difference where there is one.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import scipy.sparse.linalg

from kit.core.progress import track
from kit.imaging.fills import FILLS, FRACTIONAL_POWER, fill_photo, fill_photos, fractional_fill, gaussian
from kit.imaging.fills.laplacian import matrix_in_hole, sum_of_neighbours
from kit.imaging.holes import Box, hole_of, random_boxes, scored_pixels
from kit.imaging.images import decode_image, resize
from kit.imaging.metrics import resample_counts, score_by_photo

FillFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One photo: what a fill is given, the truth, and the boxes."""

    image: np.ndarray
    original: np.ndarray
    boxes: list[Box]

    @property
    def hole(self) -> np.ndarray:
        return hole_of(self.boxes, *self.image.shape[:2])


def archive_cases(archive: Path, count: int, seed: int) -> list[Case]:
    """`count` random training photos of the competition's archive."""
    with zipfile.ZipFile(archive) as file:
        rows = [
            (PurePosixPath(table).parent, row)
            for table in sorted(name for name in file.namelist() if name.endswith("Masked_Train/masked_info.csv"))
            for row in csv.DictReader(io.TextIOWrapper(file.open(table), "utf-8"))
        ]
        chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
        return [_archive_case(file, *rows[number]) for number in track(chosen, "read", len(chosen), "photos")]


def _archive_case(file: zipfile.ZipFile, folder: PurePosixPath, row: dict[str, str]) -> Case:
    boxes = [Box(int(row[f"box{n}_row"]), int(row[f"box{n}_col"])) for n in (1, 2)]
    image, original = (
        decode_image(file.read(str(where / row["filename"])), Path(row["filename"]))
        for where in (folder, folder.parent / "Unmasked_Train")
    )
    return Case(image, original, boxes)


def sample_cases(count: int, seed: int) -> list[Case]:
    """scikit-image's photos, squashed to 256x256, with random boxes and no JPEG artefacts."""
    import skimage.data

    rng = np.random.default_rng(seed)
    photos = [resize(getattr(skimage.data, name)(), 256, 256) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    boxes = [random_boxes(rng, [Box(0, 0), Box(0, 0)], 256, 256) for _ in range(count)]
    return [Case(photos[n % len(photos)], photos[n % len(photos)], boxes[n]) for n in range(count)]


def squared_error(filled: np.ndarray, case: Case) -> float:
    """Over the scored pixels, in the score space of the original's own value range."""
    low, high = (extreme(case.original, axis=(0, 1)).astype(np.float64) for extreme in (np.min, np.max))
    rows, columns = scored_pixels(case.boxes)
    error = (filled[rows, columns] * 255.0 - case.original[rows, columns]) / np.maximum(high - low, 1.0)
    return float(np.vdot(error, error))


def variants() -> dict[str, FillFunction]:
    """Every registered fill, then the choices inside `fractional` one by one."""
    functions: dict[str, FillFunction] = {name: partial(fill_photo, name) for name in FILLS}

    def choice(**kwargs: object) -> FillFunction:
        def function(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
            visible = np.where(hole[..., None], np.uint8(0), image)
            return np.clip(fractional_fill(visible, hole, **kwargs), 0, 1)  # type: ignore[arg-type]

        return function

    for power in (1.0, 1.1, FRACTIONAL_POWER, 1.2, 1.3):
        functions[f"fractional, power {power}"] = choice(power=power)
    for guard in (0, 1, 3):
        functions[f"fractional, chroma guard {guard}"] = choice(chroma_guard=guard)
    functions["fractional, aspect 1"] = choice(aspect=1.0)
    functions["fractional, plain"] = choice(power=FRACTIONAL_POWER, aspect=1.0, chroma_guard=0)
    return functions


def print_scores(cases: list[Case]) -> None:
    """One row a variant: pooled RMSE, and the paired difference to `harmonic` and to `fractional`."""
    groups = np.arange(len(cases))
    counts = np.array([3 * len(scored_pixels(case.boxes)[0]) for case in cases])
    draws = resample_counts(groups, 1000, 0)
    errors = {
        name: np.array(
            [squared_error(function(case.image, case.hole), case) for case in track(cases, name, len(cases), "photos")]
        )
        for name, function in variants().items()
    }

    def difference(name: str, base: str) -> str:
        one, other = (np.sqrt((draws @ errors[which]) / (draws @ counts)) for which in (name, base))
        value = np.sqrt(errors[name].sum() / counts.sum()) - np.sqrt(errors[base].sum() / counts.sum())
        low, high = np.quantile(one - other, [0.025, 0.975])
        return f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"

    print(f"\nRMSE in score space, {len(cases)} photos (95 % intervals by photo)")
    print(f"{'fill':28} {'RMSE':26} {'minus harmonic':28} minus fractional")
    for name, error in errors.items():
        estimate = score_by_photo(error, counts, groups)
        print(f"{name:28} {estimate!s:26} {difference(name, 'harmonic'):28} {difference(name, 'fractional')}")


def plain_harmonic(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One `spsolve` for the three channels: what one writes first."""
    values = np.where(hole[..., None], 0, image) / 255.0
    around = sum_of_neighbours(values.transpose(2, 0, 1))
    values[hole] = scipy.sparse.linalg.spsolve(matrix_in_hole(hole), around[:, hole].T)
    return values


def plain_fractional(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The same minimum by conjugate gradients without a preconditioner."""
    ours = gaussian.preconditioner
    gaussian.preconditioner = lambda *_: np.copy  # type: ignore[assignment]
    try:
        return fill_photo("fractional", image, hole)
    finally:
        gaussian.preconditioner = ours


def seconds_per_photo(function: FillFunction, cases: list[Case]) -> float:
    """Median over photos, one thread."""
    times = []
    for case in cases:
        start = time.perf_counter()
        function(case.image, case.hole)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def print_speed(cases: list[Case]) -> None:
    """Photos a second for each fill, on one worker and on all, and the ratio to the plain ways."""
    images, holes = np.stack([case.image for case in cases]), [case.hole for case in cases]
    print(f"\nspeed, {len(cases)} photos of {images.shape[1]}x{images.shape[2]}, median of 3 runs")
    for name in FILLS:
        rates = []
        for workers in (1, None):
            times = []
            for _ in range(3):
                start = time.perf_counter()
                for _filled in fill_photos(name, images, holes, workers=workers):
                    pass
                times.append(time.perf_counter() - start)
            rates.append(len(cases) / float(np.median(times)))
        print(f"{name:16} {rates[0]:7.1f} photos/s on one worker, {rates[1]:7.1f} on all")
    for name, plain, what in (
        ("harmonic", plain_harmonic, "one spsolve"),
        ("fractional", plain_fractional, "conjugate gradients without a preconditioner"),
    ):
        some = cases[:16]
        ours = seconds_per_photo(partial(fill_photo, name), some)
        theirs = seconds_per_photo(plain, some)
        print(
            f"{name:16} {1000 * ours:.0f} ms a photo; {what}: {1000 * theirs:.0f} ms, {theirs / ours:.1f} times as long"
        )


def print_accuracy(cases: list[Case]) -> None:
    """How far `fractional` is from the minimum itself, and `harmonic` from `spsolve`."""
    tolerance = gaussian._STEP
    worst = {"harmonic": 0.0, "fractional": 0.0}
    for case in cases[:16]:
        ours = fill_photo("fractional", case.image, case.hole)
        gaussian._STEP = 0.0  # until the residual is rounding
        limit, gaussian._MAX_ITERATIONS = gaussian._MAX_ITERATIONS, 40
        try:
            exact = fill_photo("fractional", case.image, case.hole)
        finally:
            gaussian._STEP, gaussian._MAX_ITERATIONS = tolerance, limit
        worst["fractional"] = max(worst["fractional"], float(np.abs(ours - exact).max()))
        difference = fill_photo("harmonic", case.image, case.hole) - plain_harmonic(case.image, case.hole)
        worst["harmonic"] = max(worst["harmonic"], float(np.abs(difference).max()))
    print(f"\nlargest error in [0, 1]: harmonic {worst['harmonic']:.1e}, fractional {worst['fractional']:.1e}")


def main() -> None:
    """Parse, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="the competition's zip")
    parser.add_argument("--photos", type=int, default=48, help="how many photos are scored (default: 48)")
    parser.add_argument("--seed", type=int, default=1, help="which photos, or which boxes")
    parser.add_argument("--speed-only", action="store_true", help="leave out the scores")
    arguments = parser.parse_args()
    if arguments.archive:
        cases = archive_cases(arguments.archive, arguments.photos, arguments.seed)
    else:
        cases = sample_cases(arguments.photos, arguments.seed)
    print(f"FRACTIONAL_POWER = {FRACTIONAL_POWER}")
    print_speed(cases[:32])
    print_accuracy(cases)
    if not arguments.speed_only:
        print_scores(cases)


if __name__ == "__main__":
    main()
