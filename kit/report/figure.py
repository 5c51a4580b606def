"""Hidden, sources, blend and truth side by side, as one picture. Reads the stores; knows no model and computes no fill.

Every number on it is measured as the competition does: on the hidden pixels, in score space, predictions scaled by the
estimated value range and the truth by the true one.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from kit.blending import blend_values, read_blend, residual_gram
from kit.blending.evaluation.pixels import source_errors
from kit.competitions import Competition, to_score_space
from kit.core.numbers import score_text
from kit.core.workspace import PredictionSplit, Split
from kit.data.index import Index, PhotoRow
from kit.data.pack import Pack
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import ImageError, MissingStep, UnknownName, UsageError
from kit.imaging.holes import scored_pixels
from kit.imaging.images import composite, resize, save_image, to_uint8
from kit.report.sheet import GREY, Sheet
from kit.submission.originals import Originals
from kit.submission.photo_error import photo_error

WIDTH = 900  # pixels: what a README shows without shrinking it

_MARGIN, _GUTTER, _HEADING, _CAPTION = 12, 8, 42, 24
_LINE = 15  # pixels from line to line of small type
_NARROWEST = 40  # pixels of a column in which something can be seen
_NOTE_SCORES = "Beneath each picture: {label} on its hidden pixels as the competition scores them, the best in bold."
_NOTE_ERRORS = (
    "Error: mean difference of the three channels, from black (none) to yellow (half of the range, or more); known "
    "pixels are grey."
)
_FULL_ERROR, _KNOWN = 0.5, 225  # of 1 the error that is shown brightest, and the grey of known pixels
_NOTE_CV = "CV: {label} of the training photos, predicted out of fold."


@dataclass(frozen=True)
class Column:
    """One column of predictions."""

    title: str
    values: Callable[[int], np.ndarray | None]
    """A photo's position in its split to `(n, 3)` RGB in [0, 1], or None where nothing has predicted it."""
    cv: float | None = None
    """CV by the competition's metric over all OOF predictions, for the heading."""
    covers: str = ""
    """What that is of, where it is not of all training photos."""


def source_column(project: Project, source: str, split: Split) -> Column:
    """Return the column of one source; folds that have not been trained leave gaps.

    Raises:
        UnknownName, MissingStep, Mismatch, DamagedStore: see `PredictionStore.read`.
    """
    predictions = _read(project, source, split)
    oof = predictions if split == "train" else _read(project, source, "train")
    gram = residual_gram(project.index.train, project.pack, [oof])
    metric = project.layout.measured_by
    above, below = metric.statistics(source_errors(project, gram, metric)[:, 0], gram.counts)
    cv = float(metric.value(above.sum(), below.sum()))
    there, count = len(oof.photos), len(project.index.train)
    return Column(source, _values_of(predictions), cv, "" if there == count else f" of {there} photos")


def blend_column(project: Project, name: str, split: Split) -> Column:
    """Return the column of one stored blend.

    Raises:
        Mismatch: index, folds or a member's predictions are not those of the blend.
        UnknownName, MissingStep, DamagedStore: as reading the blend and its members raises them.
    """
    blend = read_blend(project.workspace, name)
    values = blend_values(project, blend, "oof" if split == "train" else "test")
    return Column("blend", lambda photo: np.clip(values(photo), 0.0, 1.0), blend.cv.value)


def _read(project: Project, source: str, split: Split) -> Predictions:
    which: PredictionSplit = "oof" if split == "train" else "test"
    return project.predictions.read(source, which, partial=True)


def _values_of(predictions: Predictions) -> Callable[[int], np.ndarray | None]:
    there = set(predictions.photos.tolist())
    return lambda photo: predictions.values(photo) if photo in there else None


def _column(project: Project, name: str, split: Split) -> Column:
    sources, workspace = project.predictions.sources(), project.workspace
    if name in sources:
        return source_column(project, name, split)
    blends = sorted(path.stem for path in workspace.blends.glob("*.json")) if workspace.blends.is_dir() else []
    if name in blends:
        if project.folds_if_any is None:
            raise MissingStep(f"{workspace.folds} is missing, and blend {name} was made with folds. Run: kit folds")
        return blend_column(project, name, split)
    raise UnknownName("source or blend", name, [*sources, *blends])


def default_columns(project: Project) -> list[str]:
    """Return the newest blend after its three heaviest members; without a blend, the first few sources."""
    try:
        blend = read_blend(project.workspace)
    except MissingStep:
        found = project.predictions.sources()[:4]
        if not found:
            raise MissingStep("There are no sources to show. Run: kit fill all") from None
        return found
    heaviest = sorted(blend.members, key=lambda row: (-row.weight, row.cv.value))[:3]
    return [*(row.name for row in reversed(heaviest)), blend.name]


def side_by_side(
    project: Project,
    *,
    photos: Sequence[int | str],
    columns: Sequence[str | Column],
    split: Split,
    truth: Path | None = None,
    width: int = WIDTH,
    errors: bool = False,
) -> np.ndarray:
    """Draw the grid: rows are photos; columns are hidden input, `columns`, and the truth where there is one.

    Args:
        photos: positions in the split, ids, or names.
        columns: names of sources or blends, or columns of one's own.
        split: training photos are shown with OOF predictions, test photos with test predictions.
        truth: folder of the original test photos. Without it test photos have neither a truth column nor numbers.
        width: of the picture in pixels, at most; no photo is enlarged.
        errors: show behind each prediction where it is wrong.

    Returns:
        uint8 RGB `(H, W, 3)`.

    Raises:
        UsageError: no photo, or more columns than the width can show.
        UnknownName: a photo, source or blend that is not there.
        ImageError: an original in `truth` is missing or cannot be used.
    """
    if not photos:
        raise UsageError("There is no photo to show: name at least one.")
    if truth is not None and not truth.is_dir():
        raise ImageError(f"{truth} is not a folder. Give that of the original test photos: --truth DIR")
    positions = [_position(project.index, split, photo) for photo in photos]
    shown = [_column(project, one, split) if isinstance(one, str) else one for one in columns]
    originals = None if truth is None else Originals(truth)
    rows = [_row(project, split, position, shown, originals) for position in positions]
    has_truth = any(row.truth is not None for row in rows)
    titles = [("hidden", ""), *((column.title, _heading(column)) for column in shown)]
    metric = project.layout.measured_by
    notes = [_NOTE_SCORES] if any(score is not None for row in rows for score in row.scores) else []
    notes += [_NOTE_CV] if any(column.cv is not None for column in shown) else []
    if errors and has_truth:
        rows = [_with_errors(row) for row in rows]
        titles = [titles[0], *(one for title in titles[1:] for one in (title, ("error", "")))]
        notes.append(_NOTE_ERRORS)
    if has_truth:
        titles.append(("truth", ""))
    return _draw(titles, rows, has_truth, width, " ".join(notes).format(label=metric.label))


def _heading(column: Column) -> str:
    return "" if column.cv is None else f"CV {score_text(column.cv)}{column.covers}"


def _with_errors(row: _Row) -> _Row:
    """Return a row with a map of its errors behind each picture."""
    pictures = [one for picture in row.pictures for one in (picture, _error_map(picture, row.truth, row.hole))]
    return replace(row, pictures=pictures, scores=[one for score in row.scores for one in (score, None)])


def _error_map(picture: np.ndarray | None, truth: np.ndarray | None, hole: np.ndarray) -> np.ndarray | None:
    """Return where a picture is wrong, uint8 RGB `(H, W, 3)`; known pixels are grey."""
    if picture is None or truth is None:
        return None
    difference = np.abs(picture.astype(np.float64) - truth).mean(axis=2) / (255 * _FULL_ERROR)
    shades = cv2.applyColorMap((255 * np.clip(difference, 0, 1)).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.where(hole[..., None], shades, np.uint8(_KNOWN))


def save_figure(path: Path, image: np.ndarray) -> None:
    """Write the picture whole. Raises `UsageError` as `check_name` does."""
    check_name(path)
    save_image(path, image)


def check_name(path: Path) -> None:
    """Raise `UsageError` for a file that does not end in `.png`."""
    if path.suffix.lower() != ".png":
        better = path.with_suffix(".png") if path.name else Path("figure.png")
        raise UsageError(f"{path} does not end in .png, the only format for figures: choose {better}")


@dataclass(frozen=True)
class _Row:
    """One photo: its pictures from left to right, and what stands beneath them."""

    name: str
    hidden: np.ndarray
    pictures: list[np.ndarray | None]
    scores: list[float | None]
    truth: np.ndarray | None
    hole: np.ndarray
    best: float | None
    """Of the scores."""


def _position(index: Index, split: Split, photo: int | str) -> int:
    photo_rows = index.split(split)
    if isinstance(photo, str):
        found = [place for place, photo_row in enumerate(photo_rows) if photo in (photo_row.id, photo_row.name)]
        if not found:
            raise UnknownName(f"{split} photo", photo, [photo_row.name for photo_row in photo_rows[:3]] + ["..."])
        return found[0]
    if not 0 <= photo < len(photo_rows):
        raise UsageError(f"There is no {split} photo {photo}: they are 0 to {len(photo_rows) - 1}.")
    return photo


def _row(
    project: Project,
    split: Split,
    position: int,
    columns: Sequence[Column],
    originals: Originals | None,
) -> _Row:
    photo_row, pack = project.index.split(split)[position], project.pack
    image = np.asarray(pack.image(split)[position])
    target = _target(pack, split, position, photo_row, originals)
    pictures: list[np.ndarray | None] = []
    scores: list[float | None] = []
    for column in columns:
        values = column.values(position)
        if values is not None and values.shape != (photo_row.scored, 3):
            raise UsageError(f"{column.title}: {photo_row.id} needs values of shape {(photo_row.scored, 3)}.")
        pictures.append(None if values is None else filled_photo(image, photo_row, values))
        scores.append(
            None
            if values is None or target is None or not photo_row.scored
            else photo_score(photo_row, values, target, pack.estimated_range(split)[position], project.layout)
        )
    best = max if project.layout.measured_by.higher_is_better else min
    return _Row(
        photo_row.name,
        image,
        pictures,
        scores,
        target,
        photo_row.hole,
        best((s for s in scores if s is not None), default=None),
    )


def _target(
    pack: Pack, split: Split, position: int, photo_row: PhotoRow, originals: Originals | None
) -> np.ndarray | None:
    if split == "train":
        return np.asarray(pack.train_target[position])
    return None if originals is None else originals.load(photo_row)


def filled_photo(image: np.ndarray, photo_row: PhotoRow, values: np.ndarray) -> np.ndarray:
    """Return a photo, uint8 RGB `(H, W, 3)`, with values `(n, 3)` in [0, 1] in its hidden pixels."""
    predicted = np.zeros_like(image)
    predicted[scored_pixels(photo_row.boxes)] = to_uint8(values)
    return composite(predicted, image, photo_row.hole)


def photo_score(
    photo_row: PhotoRow, values: np.ndarray, target: np.ndarray, estimated_range: np.ndarray, layout: Competition
) -> float:
    """Return one photo's score as the competition computes it, overlaps twice, clipped as a submission is.

    Args:
        values: `(n, 3)` RGB in [0, 1].
        target: the original, uint8 RGB `(H, W, 3)`.
        estimated_range: `(2, 3)`, by which a submission would scale the values.
    """
    metric = layout.measured_by
    sent = np.clip(to_score_space(values, estimated_range), 0.0, 1.0)
    error = photo_error(metric, layout, photo_row, target, sent)
    above, below = metric.statistics(np.array([error]), np.array([3 * photo_row.scored]))
    return float(metric.value(above, below)[0])


def _draw(
    titles: Sequence[tuple[str, str]], rows: Sequence[_Row], has_truth: bool, width: int, notes: str
) -> np.ndarray:
    """Type by matplotlib on white, then the photos' own pixels over it: no resampling but one."""
    count = len(titles)
    cell_width = _cell_width(rows, count, width)
    sizes = [_drawn_size(row, cell_width) for row in rows]
    width = min(width, count * cell_width + (count - 1) * _GUTTER + 2 * _MARGIN)
    note = textwrap.wrap(notes, max(20, int(width / 5.4)))
    tops = list(itertools.accumulate((size[0] + _CAPTION for size in sizes), initial=_MARGIN + _HEADING))
    height = tops[-1] + len(note) * _LINE + _MARGIN
    type_ = Sheet(width, height)
    lefts = [_MARGIN + place * (cell_width + _GUTTER) for place in range(count)]
    for left, (title, cv) in zip(lefts, titles, strict=True):
        middle = left + cell_width / 2
        type_.put(title, middle, _MARGIN + 8, cell_width, bold=True, size=8.5)
        if cv:
            type_.put(cv, middle, _MARGIN + 25, cell_width, colour=GREY)
    pictures: list[tuple[int, int, np.ndarray]] = []
    for row, top, size in zip(rows, tops[:-1], sizes, strict=True):
        pictures += _typed_row(type_, row, has_truth, top, lefts, cell_width, size)
    for number, line in enumerate(note):
        beneath = height - _MARGIN - (len(note) - number - 0.5) * _LINE
        type_.put(line, _MARGIN, beneath, width, colour=GREY, left=True)
    canvas = type_.pixels()
    for top, left, picture in pictures:
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas


def _cell_width(rows: Sequence[_Row], count: int, width: int) -> int:
    """Return the width of a column: that of the widest photo, or less where `count` columns have to fit."""
    own_width = max(int(row.hidden.shape[1]) for row in rows)
    cell_width = min(own_width, (width - 2 * _MARGIN - (count - 1) * _GUTTER) // count)
    if cell_width < min(_NARROWEST, own_width):
        raise UsageError(f"{count} columns do not fit into {width} pixels: name fewer sources, or a larger width.")
    return cell_width


def _drawn_size(row: _Row, cell_width: int) -> tuple[int, int]:
    """Return height and width at which a row's photo is drawn: in its own proportions, and never enlarged."""
    own_height, own_width = row.hidden.shape[:2]
    width = min(own_width, cell_width)
    return max(1, round(width * own_height / own_width)), width


def _typed_row(
    type_: Sheet,
    row: _Row,
    has_truth: bool,
    top: int,
    lefts: Sequence[int],
    cell_width: int,
    size: tuple[int, int],
) -> list[tuple[int, int, np.ndarray]]:
    """Write what stands beneath one photo's pictures, and return these with their tops and lefts: each in the middle of
    its column."""
    beneath, pictures = top + size[0] + 10, []
    type_.put(row.name, lefts[0] + cell_width / 2, beneath, cell_width, colour=GREY)
    cells = [row.hidden, *row.pictures, *([row.truth] if has_truth else [])]
    for place, (left, picture) in enumerate(zip(lefts, cells, strict=True)):
        middle = left + cell_width / 2
        if picture is None:
            type_.put("not predicted", middle, top + size[0] / 2, cell_width, colour=GREY)
            continue
        pictures.append((top, left + (cell_width - size[1]) // 2, resize(picture, *size)))
        score = row.scores[place - 1] if 0 < place <= len(row.scores) else None
        if score is not None:
            type_.put(score_text(score), middle, beneath, cell_width, bold=score == row.best)
    return pictures
