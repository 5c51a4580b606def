"""A white sheet with small type, by matplotlib. Knows no photo."""

from __future__ import annotations

import warnings

import numpy as np

DARK, GREY = "#1f2328", "#6e7781"
_DPI = 100


class Sheet:
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
        colour: str = DARK,
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
