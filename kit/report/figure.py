"""Hidden, sources, blend and truth side by side, as one picture. Reads the stores; knows no model and computes no fill.

Every number on it is measured as the competition does: RMSE on the hidden pixels, in score space, predictions scaled by
the estimated value range and the truth by the true one.
"""

from __future__ import annotations

import itertools
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.blending import blend_values, read_blend, residual_gram
from kit.competitions import Competition, to_score_space
from kit.core.workspace import PredictionSplit, Split
from kit.data.index import Index, PhotoRow
from kit.data.pack import Pack
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import MissingStep, UnknownName, UsageError
from kit.imaging.holes import scored_pixels
from kit.imaging.images import composite, resize, save_image, to_uint8
from kit.imaging.metrics import rmse
from kit.submission.pictures import load_whole

WIDTH = 900  # pixels: what a README shows without shrinking it

_MARGIN, _GUTTER, _HEADING, _CAPTION = 12, 8, 42, 24
_LINE = 15  # pixels from line to line of small type
_NARROWEST = 40  # pixels of a column in which something can be seen
_DPI = 100
_DARK, _GREY = "#1f2328", "#6e7781"
_NOTE_SCORES = (
    "Beneath each picture: RMSE on its hidden pixels in the competition's score space, the lowest of a row in bold."
)
_NOTE_CV = "CV: RMSE on the hidden pixels of the training photos, predicted out of fold."


@dataclass(frozen=True)
class Column:
    """One column of predictions."""

    title: str
    values: Callable[[int], np.ndarray | None]
    """A photo's position in its split to `(n, 3)` RGB in [0, 1], or None where nothing has predicted it."""
    cv: float | None = None
    """CV RMSE over all OOF predictions, for the heading."""


def source_column(project: Project, source: str, split: Split) -> Column:
    """Return the column of one source; folds that have not been trained leave gaps.

    Raises:
        UnknownName, MissingStep, Mismatch, DamagedStore: see `PredictionStore.read`.
    """
    predictions = _read(project, source, split)
    oof = predictions if split == "train" else _read(project, source, "train")
    gram = residual_gram(project.index.train, project.pack, [oof])
    return Column(source, _values_of(predictions), float(np.sqrt(gram.products.sum() / gram.counts.sum())))


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


def pick_photos(index: Index, split: Split, count: int) -> list[int]:
    """Return positions of `count` photos, from the classes in turn."""
    photo_rows = index.split(split)
    return pick_among(photo_rows, range(len(photo_rows)), count)


def pick_among(photo_rows: Sequence[PhotoRow], among: Sequence[int], count: int) -> list[int]:
    """Return `count` of these positions, or all where they are fewer, from the classes in turn."""
    waiting: dict[str, list[int]] = {}
    for position in among:
        waiting.setdefault(photo_rows[position].klass, []).append(position)
    picked: list[int] = []
    while len(picked) < min(count, len(among)):
        for positions in waiting.values():
            if positions and len(picked) < count:
                picked.append(positions.pop(0))
    return picked


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
) -> np.ndarray:
    """Draw the grid: rows are photos; columns are hidden input, `columns`, and the truth where there is one.

    Args:
        photos: positions in the split, ids, or names.
        columns: names of sources or blends, or columns of one's own.
        split: training photos are shown with OOF predictions, test photos with test predictions.
        truth: folder of the original test photos. Without it test photos have neither a truth column nor numbers.
        width: of the picture in pixels, at most; no photo is enlarged.

    Returns:
        uint8 RGB `(H, W, 3)`.

    Raises:
        UsageError: no photo, or more columns than the width can show.
        UnknownName: a photo, source or blend that is not there.
        ImageError: an original in `truth` is missing or cannot be used.
    """
    if not photos:
        raise UsageError("There is no photo to show: name at least one.")
    positions = [_position(project.index, split, photo) for photo in photos]
    shown = [_column(project, one, split) if isinstance(one, str) else one for one in columns]
    rows = [_row(project, split, position, shown, truth) for position in positions]
    has_truth = any(row.truth is not None for row in rows)
    titles = [("hidden", None), *((column.title, column.cv) for column in shown)]
    if has_truth:
        titles.append(("truth", None))
    return _draw(titles, rows, has_truth, width)


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
    truth: Path | None,
) -> _Row:
    photo_row, pack = project.index.split(split)[position], project.pack
    image = np.asarray(pack.image(split)[position])
    target = _target(pack, split, position, photo_row, truth)
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
            else photo_rmse(photo_row, values, target, pack.estimated_range(split)[position], project.layout)
        )
    return _Row(photo_row.name, image, pictures, scores, target)


def _target(pack: Pack, split: Split, position: int, photo_row: PhotoRow, truth: Path | None) -> np.ndarray | None:
    if split == "train":
        return np.asarray(pack.train_target[position])
    return None if truth is None else load_whole(truth, photo_row)


def filled_photo(image: np.ndarray, photo_row: PhotoRow, values: np.ndarray) -> np.ndarray:
    """Return a photo, uint8 RGB `(H, W, 3)`, with values `(n, 3)` in [0, 1] in its hidden pixels."""
    predicted = np.zeros_like(image)
    predicted[scored_pixels(photo_row.boxes)] = to_uint8(values)
    return composite(predicted, image, photo_row.hole)


def photo_rmse(
    photo_row: PhotoRow, values: np.ndarray, target: np.ndarray, estimated_range: np.ndarray, layout: Competition
) -> float:
    """Return one photo's RMSE as the competition computes it, overlaps twice, clipped as a submission is.

    Args:
        values: `(n, 3)` RGB in [0, 1].
        target: the original, uint8 RGB `(H, W, 3)`.
        estimated_range: `(2, 3)`, by which a submission would scale the values.
    """
    truth = to_score_space(target[scored_pixels(photo_row.boxes)] / 255.0, layout.value_range(target, None))
    return rmse(np.clip(to_score_space(values, estimated_range), 0.0, 1.0), truth)


def _draw(titles: Sequence[tuple[str, float | None]], rows: Sequence[_Row], has_truth: bool, width: int) -> np.ndarray:
    """Type by matplotlib on white, then the photos' own pixels over it: no resampling but one."""
    count = len(titles)
    cell_width = _cell_width(rows, count, width)
    sizes = [_drawn_size(row, cell_width) for row in rows]
    width = min(width, count * cell_width + (count - 1) * _GUTTER + 2 * _MARGIN)
    notes = [_NOTE_SCORES] if any(score is not None for row in rows for score in row.scores) else []
    notes += [_NOTE_CV] if any(cv is not None for _, cv in titles) else []
    note = textwrap.wrap(" ".join(notes), max(20, int(width / 5.4)))
    tops = list(itertools.accumulate((size[0] + _CAPTION for size in sizes), initial=_MARGIN + _HEADING))
    height = tops[-1] + len(note) * _LINE + _MARGIN
    type_ = _Type(width, height)
    lefts = [_MARGIN + place * (cell_width + _GUTTER) for place in range(count)]
    for left, (title, cv) in zip(lefts, titles, strict=True):
        middle = left + cell_width / 2
        type_.put(title, middle, _MARGIN + 8, cell_width, bold=True, size=8.5)
        if cv is not None:
            type_.put(f"CV {cv:.4f}", middle, _MARGIN + 25, cell_width, colour=_GREY)
    pictures: list[tuple[int, int, np.ndarray]] = []
    for row, top, size in zip(rows, tops[:-1], sizes, strict=True):
        pictures += _typed_row(type_, row, has_truth, top, lefts, cell_width, size)
    for number, line in enumerate(note):
        beneath = height - _MARGIN - (len(note) - number - 0.5) * _LINE
        type_.put(line, _MARGIN, beneath, width, colour=_GREY, left=True)
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
    type_: _Type,
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
    type_.put(row.name, lefts[0] + cell_width / 2, beneath, cell_width, colour=_GREY)
    best = min((score for score in row.scores if score is not None), default=None)
    cells = [row.hidden, *row.pictures, *([row.truth] if has_truth else [])]
    for place, (left, picture) in enumerate(zip(lefts, cells, strict=True)):
        middle = left + cell_width / 2
        if picture is None:
            type_.put("not predicted", middle, top + size[0] / 2, cell_width, colour=_GREY)
            continue
        pictures.append((top, left + (cell_width - size[1]) // 2, resize(picture, *size)))
        score = row.scores[place - 1] if 0 < place <= len(row.scores) else None
        if score is not None:
            type_.put(f"{score:.4f}", middle, beneath, cell_width, bold=score == best)
    return pictures


class _Type:
    """Small type on a white sheet, placed in pixels from the top left."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)

    def put(
        self,
        text: str,
        x: float,
        y: float,
        room: int,
        *,
        bold: bool = False,
        colour: str = _DARK,
        left: bool = False,
        size: float = 7.5,
    ) -> None:
        """Write `text` about `(x, y)`, shortened in the middle where it is wider than `room`."""
        self._figure.text(
            x / self.width,
            1 - y / self.height,
            text if left else self._shortened(text, room, size, bold),
            size=size,
            weight="bold" if bold else "normal",
            color=colour,
            ha="left" if left else "center",
            va="center",
            parse_math=False,
        )

    def _shortened(self, text: str, room: int, size: float, bold: bool) -> str:
        kept = text
        while len(kept) > 5 and self._width_of(kept, size, bold) > room:
            letters = len(kept.replace("…", "")) - 1
            kept = f"{text[: (letters + 1) // 2]}…{text[len(text) - letters // 2 :]}"
        return kept

    def _width_of(self, text: str, size: float, bold: bool) -> float:
        from matplotlib.font_manager import FontProperties

        font = FontProperties(size=size, weight="bold" if bold else "normal")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            renderer = self._canvas.get_renderer()  # type: ignore[no-untyped-call]
            return float(renderer.get_text_width_height_descent(text, font, ismath=False)[0])

    def pixels(self) -> np.ndarray:
        """Return the sheet, uint8 RGB `(height, width, 3)`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a name with letters that the font lacks is shown with boxes
            self._canvas.draw()  # type: ignore[no-untyped-call]
        sheet = np.asarray(self._canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
        return sheet[: self.height, : self.width].copy()
