"""The competition's score of a submission, for whoever has the original photos. Knows no model and no network."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.competitions import Competition, to_score_space
from kit.core.progress import track
from kit.data.index import Index, PhotoRow
from kit.errors import ImageError, SubmissionError
from kit.imaging.holes import scored_pixels
from kit.imaging.images import load_image
from kit.imaging.metrics import Estimate, rmse_by_photo, sse
from kit.submission.csv_rows import SUBMISSION, batches, first_difference, numbers, open_rows


@dataclass(frozen=True)
class PhotoGrade:
    """One test photo's part of a grade."""

    name: str
    rmse: float
    rows: int


@dataclass(frozen=True)
class Grade:
    """The competition's score of a submission, computed from the original photos."""

    score: Estimate
    """Over all rows, a pixel inside both boxes twice; the interval is by photo."""
    photos: tuple[PhotoGrade, ...]
    rows: int


def grade_submission(path: Path, truth: Path, index: Index, layout: Competition) -> Grade:
    """Score `path` against the originals of the test photos.

    The layout itself puts the truth into rows, true value range and all, and those rows are compared with the file's.
    So it carries the layout's rounding: a submission of the truth grades exactly 0, and rounding (below 5e-7 a value
    here) is no part of anybody's error.

    Args:
        path: as for `check_submission`.
        truth: folder of the original photos, under the names that a submission uses.

    Raises:
        ImageError: an original is missing, truncated or of another size.
        SubmissionError: ids that are not those of the index, or values that are not finite.
    """
    with open_rows(path):  # a mistyped file is told of before the folder is asked for
        pass
    if not truth.is_dir():
        raise ImageError(f"{truth} is not a folder. Give that of the original test photos: --truth DIR")
    absent = [photo_row.name for photo_row in index.test if not (truth / photo_row.name).is_file()]
    if absent:
        raise ImageError(
            f"{truth} lacks {len(absent)} of the {len(index.test)} original test photos (first: {absent[0]!r}). "
            "Give the folder that holds them all: --truth DIR"
        )
    errors, counts = np.zeros(len(index.test)), np.zeros(len(index.test), np.int64)
    with open_rows(path) as rows:
        for position, photo_row in enumerate(track(index.test, "Grading", len(index.test), "photos")):
            expected, target = _truth_rows(truth, photo_row, layout)
            ids, texts = rows.take(len(expected))
            wrong = first_difference(ids, expected)
            if wrong is None and len(ids) < len(expected):
                raise SubmissionError(
                    f"{path} ends at line {rows.line - 1}, expected {str(expected[len(ids)])!r}. "
                    f"See what is wrong with it: kit check {path}"
                )
            if wrong is not None:
                raise SubmissionError(
                    f"{path}, line {rows.line - len(ids) + wrong}: found the id {str(ids[wrong])!r}, expected "
                    f"{str(expected[wrong])!r}. See what is wrong with it: kit check {path}"
                )
            errors[position], counts[position] = sse(numbers(rows, texts), target), len(target)
        if len(rows.take(1)[0]):
            raise SubmissionError(
                f"{path} has more than {counts.sum()} rows. See what is wrong with it: kit check {path}"
            )
    photos = tuple(
        PhotoGrade(photo_row.name, float(np.sqrt(error / count)), int(count))
        for photo_row, error, count in zip(index.test, errors, counts, strict=True)
    )
    return Grade(rmse_by_photo(errors, counts, np.arange(len(counts))), photos, int(counts.sum()))


def load_original(folder: Path, photo_row: PhotoRow) -> np.ndarray:
    """Return the original of one test photo, uint8 RGB. Raises `ImageError` when missing, cut or of another size."""
    path = folder / photo_row.name
    try:
        photo = load_image(path)
    except ImageError:
        found = f"{path.stat().st_size} bytes that are no whole picture" if path.is_file() else "nothing"
        raise ImageError(f"{path}: found {found}. Give the folder of the original test photos: --truth DIR") from None
    if photo.shape[:2] != (photo_row.height, photo_row.width):
        raise ImageError(
            f"{path} is {photo.shape[1]}x{photo.shape[0]}, expected {photo_row.width}x{photo_row.height}. "
            "Give the folder of the original test photos: --truth DIR"
        )
    return photo


def _truth_rows(truth: Path, photo_row: PhotoRow, layout: Competition) -> tuple[pa.Array, np.ndarray]:
    """Return ids and values of a photo's rows, as the layout writes the truth."""
    photo = load_original(truth, photo_row)
    rows, columns = scored_pixels(photo_row.boxes)
    values = to_score_space(photo[rows, columns] / 255.0, layout.value_range(photo, None))
    parts = list(
        batches(truth / photo_row.name, io.BytesIO(layout.encode(photo_row.name, photo_row.boxes, values)), SUBMISSION)
    )
    texts = pa.concat_arrays([part.column(1) for part in parts])
    return pa.concat_arrays([part.column(0) for part in parts]), pc.cast(texts, pa.float64()).to_numpy()
