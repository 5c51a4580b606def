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
from kit.imaging.metrics import Estimate, Metric, score_by_photo
from kit.submission.cells import graded_cells
from kit.submission.csv_rows import SUBMISSION, batches, first_difference, numbers, open_rows, read_all
from kit.submission.originals import Originals
from kit.submission.photo_error import photo_error
from kit.submission.pictures import graded_pictures


@dataclass(frozen=True)
class PhotoGrade:
    """One test photo's part of a grade."""

    name: str
    score: float
    """By the competition's metric."""
    rows: int


@dataclass(frozen=True)
class Grade:
    """The competition's score of a submission, computed from the original photos."""

    score: Estimate
    """Over all rows, a pixel inside both boxes twice; the interval is by photo."""
    photos: tuple[PhotoGrade, ...]
    rows: int
    metric: str = "RMSE"
    """What the score is."""


def grade_submission(
    path: Path, truth: Path, index: Index, layout: Competition, *, metric: Metric | None = None
) -> Grade:
    """Score `path` against the originals of the test photos.

    The layout itself puts the truth into rows, true value range and all, and those rows are compared with the file's.
    So it carries the layout's rounding: a submission of the truth grades exactly 0, and rounding (below 5e-7 a value
    here) is no part of anybody's error.

    Args:
        path: as for `check_submission`.
        truth: folder of the original photos, under the names that a submission uses.
        metric: by default the competition's own. One with a network has it loaded (`kit.pretrained.lpips`).

    Raises:
        ImageError: an original is missing, truncated or of another size.
        SubmissionError: ids that are not those of the index, or values that are not finite.
    """
    metric = metric or layout.graded_by
    if layout.submission == "csv":
        with open_rows(path):  # a mistyped file is told of before the folder is asked for
            pass
    if not truth.is_dir():
        raise ImageError(f"{truth} is not a folder. Give that of the original test photos: --truth DIR")
    originals = Originals(truth)
    absent = [row.name for row in index.test if originals.path(row.name) is None]
    if absent:
        raise ImageError(
            f"{truth} lacks {len(absent)} of the {len(index.test)} original test photos (first: {absent[0]!r}). "
            "Give the folder that holds them all: --truth DIR"
        )
    try:
        grade = {"csv": _in_index_order, "cells": graded_cells}.get(layout.submission, graded_pictures)
        errors, counts = grade(path, originals, index, layout, metric)
    except SubmissionError as error:
        found = _in_any_order(path, originals, index, layout, metric) if layout.submission == "csv" else None
        if found is None:
            raise error from None
        errors, counts = found
    there = counts > 0
    above, below = metric.statistics(errors[there], counts[there])
    scores = metric.value(above, below)
    graded = [row for row, is_there in zip(index.test, there, strict=True) if is_there]
    photos = tuple(
        PhotoGrade(row.name, float(score), int(count))
        for row, score, count in zip(graded, scores, counts[there], strict=True)
    )
    score = score_by_photo(errors[there], counts[there], np.arange(there.sum()), metric=metric)
    return Grade(score, photos, int(counts.sum()), metric.label)


def _in_index_order(
    path: Path, originals: Originals, index: Index, layout: Competition, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Return errors and rows by photo. Raises `SubmissionError` for other ids, or another order of them."""
    errors, counts = np.zeros(len(index.test)), np.zeros(len(index.test), np.int64)
    with open_rows(path) as rows:
        for position, photo_row in enumerate(track(index.test, "Grading", len(index.test), "photos")):
            whole = originals.load(photo_row)
            expected, target = _truth_rows(originals, photo_row, whole, layout)
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
            errors[position] = _error(metric, layout, photo_row, whole, numbers(rows, texts), target)
            counts[position] = len(target)
        if len(rows.take(1)[0]):
            raise SubmissionError(
                f"{path} has more than {counts.sum()} rows. See what is wrong with it: kit check {path}"
            )
    return errors, counts


def _in_any_order(
    path: Path, originals: Originals, index: Index, layout: Competition, metric: Metric
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the same of a file with the rows of some photos, each once, in any order; None where it is not that.

    All rows are in memory: a sample may ask for another order than the index has, but hardly ever does.
    """
    ids, texts = read_all(path)
    try:
        values = pc.cast(texts, pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    truths = [_truth_rows(originals, row, originals.load(row), layout) for row in index.test]
    places = pc.index_in(pa.concat_arrays([expected for expected, _ in truths]), value_set=ids)
    found = places.fill_null(-1).to_numpy(zero_copy_only=False)
    errors, counts, start = np.zeros(len(truths)), np.zeros(len(truths), np.int64), 0
    for position, (_, target) in enumerate(truths):
        here = found[start : start + len(target)]
        start += len(target)
        if (here >= 0).all():
            row = index.test[position]
            whole = originals.load(row)
            errors[position] = _error(metric, layout, row, whole, values[here], target)
            counts[position] = len(target)
        elif (here >= 0).any():
            return None
    return (errors, counts) if 0 < counts.sum() == len(ids) and np.isfinite(errors).all() else None


def _error(
    metric: Metric, layout: Competition, row: PhotoRow, whole: np.ndarray, values: np.ndarray, target: np.ndarray
) -> float:
    """Return a photo's errors: of values as they stand in the file, for a metric of pictures painted into one."""
    if metric.of == "pictures":
        return photo_error(metric, layout, row, whole, layout.decode(values))
    return metric.errors(values - target)


def _truth_rows(
    originals: Originals, photo_row: PhotoRow, photo: np.ndarray, layout: Competition
) -> tuple[pa.Array, np.ndarray]:
    """Return ids and values of a photo's rows, as the layout writes the truth."""
    rows, columns = scored_pixels(photo_row.boxes)
    values = to_score_space(photo[rows, columns] / 255.0, layout.value_range(photo, None))
    parts = list(
        batches(
            originals.folder / photo_row.name,
            io.BytesIO(layout.encode(photo_row.name, photo_row.boxes, values)),
            SUBMISSION,
        )
    )
    texts = pa.concat_arrays([part.column(1) for part in parts])
    return pa.concat_arrays([part.column(0) for part in parts]), pc.cast(texts, pa.float64()).to_numpy()
