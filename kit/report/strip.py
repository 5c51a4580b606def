"""Some photos of a fold as a training predicts them: hidden, predicted, truth, one below the other. No network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kit.competitions import to_score_space
from kit.data.project import Project
from kit.imaging.holes import scored_pixels
from kit.imaging.images import composite, resize, to_uint8
from kit.imaging.metrics import rmse

_WIDTH, _MARGIN, _LEFT, _GUTTER = 900, 12, 20, 8
_HEADING, _CAPTION, _BETWEEN, _DPI = 50, 20, 14, 100
_COLUMNS = 4  # of a block: eight beside each other would be too small to see what is in a hole
_DARK, _GREY, _BLUE, _ORANGE = "#1f2328", "#5d6670", "#2f6fa8", "#cc6a1f"
_ROWS = ("hidden", "predicted", "truth")


def strip_of(
    project: Project, title: str, base: str, values: Mapping[int, np.ndarray], fills: Mapping[int, np.ndarray]
) -> np.ndarray:
    """Draw photos with their holes, as they are predicted, and as they are; 900 pixels wide.

    Args:
        title: what has predicted them.
        base: the fill that is compared with.
        values: by position in the training split, each photo's hidden pixels as predicted, `(n, 3)` in [0, 1].
        fills: the same by the fill; photos without are not compared.

    Returns:
        uint8 RGB `(H, 900, 3)`.
    """
    scores = {position: _rmse(project, position, one) for position, one in values.items()}
    alone = {position: _rmse(project, position, one) for position, one in fills.items()}
    better = sum(scores[position] < alone[position] for position in alone)
    cell = (_WIDTH - 2 * _MARGIN - _LEFT - (_COLUMNS - 1) * _GUTTER) // _COLUMNS
    blocks = [list(values)[start : start + _COLUMNS] for start in range(0, len(values), _COLUMNS)]
    rows = [[_pictures(project, position, values[position], cell) for position in block] for block in blocks]
    sides = [max(max(len(one) for one in pictures) for pictures in block) for block in rows]
    tall = [len(_ROWS) * (side + _CAPTION) + _BETWEEN for side in sides]
    sheet = _Sheet(_MARGIN + _HEADING + sum(tall))
    colour = _BLUE if 2 * better >= len(alone) else _ORANGE
    said = f"Better than {base} alone on {better} of these {len(alone)} photos of the fold" if alone else title
    sheet.text(_MARGIN, 18, said, size=10.5, colour=colour, bold=True)
    sheet.text(
        _MARGIN, 38, f"{title}. None of them is trained on. Beneath: RMSE of the photo, by the fill in brackets."
    )
    top = _MARGIN + _HEADING
    for block, pictures, side, height in zip(blocks, rows, sides, tall, strict=True):
        for row, name in enumerate(_ROWS):
            sheet.text(_MARGIN + 4, top + row * (side + _CAPTION) + side / 2, name, upward=True)
        for column, position in enumerate(block):
            left = _MARGIN + _LEFT + column * (cell + _GUTTER)
            for row, picture in enumerate(pictures[column]):
                sheet.picture(left, top + row * (side + _CAPTION), picture)
            score, fill = scores[position], alone.get(position)
            wins = fill is not None and score < fill
            text = f"{score:.4f}" + ("" if fill is None else f" ({fill:.4f})")
            beneath = top + 2 * side + _CAPTION + _CAPTION / 2
            sheet.text(left, beneath, text, bold=wins, colour=_BLUE if wins else _ORANGE)
        top += height
    return sheet.pixels()


def _rmse(project: Project, position: int, values: np.ndarray) -> float:
    """Return one photo's share of the fold's RMSE: in score space, truth by its own value range."""
    pack, row = project.pack, project.index.train[position]
    truth = np.asarray(pack.train_target[position])[scored_pixels(row.boxes)] / 255.0
    predicted = to_score_space(values, pack.train_estimated_range[position])
    return rmse(predicted, to_score_space(truth, pack.train_value_range[position]))


def _pictures(project: Project, position: int, values: np.ndarray, cell: int) -> list[np.ndarray]:
    """Return a photo hidden, predicted and whole, as large as a cell of this side can show it."""
    row, pack = project.index.train[position], project.pack
    hidden = np.asarray(pack.train_image[position])
    predicted = np.zeros_like(hidden)
    predicted[scored_pixels(row.boxes)] = to_uint8(values)
    whole = [hidden, composite(predicted, hidden, row.hole), np.asarray(pack.train_target[position])]
    return [_fitted(one, cell) for one in whole]


def _fitted(picture: np.ndarray, cell: int) -> np.ndarray:
    height, width = picture.shape[:2]
    times = cell // max(height, width)
    if times >= 1:  # by whole numbers: no pixel is invented
        return picture.repeat(times, axis=0).repeat(times, axis=1)
    scale = cell / max(height, width)
    return resize(picture, max(1, round(height * scale)), max(1, round(width * scale)))


class _Sheet:
    """Type on white by matplotlib, then the photos' own pixels over it. In pixels from the top left."""

    def __init__(self, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._height = height
        self._figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        self._pictures: list[tuple[int, int, np.ndarray]] = []

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 7.5,
        colour: str = _GREY,
        bold: bool = False,
        upward: bool = False,
    ) -> None:
        """Write one line, centred about `y`."""
        self._figure.text(
            x / _WIDTH,
            1 - y / self._height,
            text,
            size=size,
            color=colour,
            weight="bold" if bold else "normal",
            rotation=90 if upward else 0,
            ha="center" if upward else "left",
            va="center",
            parse_math=False,
        )

    def picture(self, left: int, top: int, picture: np.ndarray) -> None:
        """Put a picture here."""
        self._pictures.append((left, top, picture))

    def pixels(self) -> np.ndarray:
        """Return the sheet, uint8 RGB."""
        self._canvas.draw()  # type: ignore[no-untyped-call]
        drawn = np.asarray(self._canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
        sheet = drawn[: self._height, :_WIDTH].copy()
        for left, top, picture in self._pictures:
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        return sheet
