"""Charts as tables: labelled rows, each with a mark on an axis and the same as text. Knows estimates; knows no blend.

All measures are in points, from the top left of the sheet.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from kit.imaging.metrics import Estimate

# blue and orange stay apart in the common kinds of colour blindness, red and green do not
BLUE, ORANGE, GREY = "#2f6fa8", "#cc6a1f", "#8a929b"
DARK, SOFT, GRID = "#1f2328", "#5d6670", "#e4e7eb"
SIZE, LINE = 7.5, 9.0  # type, and from line to line of it
MARGIN, GAP, PLOT, LABELS = 16.0, 12.0, 190.0, 230.0
LEAST_SPAN = 4e-5  # an axis shows no differences that the fifth decimal does not

Weight = Literal["normal", "bold"]

_TITLE, _TICK = 10.5, 6.5
_LEAST_WIDTH = 420.0
_DPI, _MOST_PIXELS = 144, 4e7
_FONT = "DejaVu Sans"  # comes with matplotlib: the same on every machine
_STYLE = {
    "font.family": _FONT,
    "text.parse_math": False,  # a class may be called $a$
    "text.hinting": "none",  # letters stand where they were measured, at every resolution
    "svg.hashsalt": "kit",
}


def drawn(draw: Callable[[], Sheet], kind: str) -> bytes:
    """Return a picture's file: the same bytes each time, so without a date and the software's version.

    Args:
        kind: `png` or `svg`.
    """
    file = io.BytesIO()
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a class with letters that the font lacks is shown with boxes
        sheet = draw()
        width, height = sheet.figure.get_size_inches()
        dpi = min(_DPI, math.sqrt(_MOST_PIXELS / (width * height)))
        without = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        sheet.figure.savefig(file, format=kind, dpi=dpi, metadata={"Title": sheet.title, **without})
    return file.getvalue()


class Sheet:
    """A white sheet with a heading. `ink` draws on it, in points from the top left."""

    def __init__(self, title: str, notes: Sequence[str], width: float) -> None:
        """`width` is that of the content, `top` is then where it may begin."""
        self.title = title
        self.width = max(width, _LEAST_WIDTH) + 2 * MARGIN
        self.figure = Figure(facecolor="white")
        FigureCanvasAgg(self.figure)  # no backend of pyplot's is looked for
        self.ink = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.ink.set_axis_off()
        self.ink.set_autoscale_on(False)
        self.top = MARGIN
        for line in lines_of(title, width=self.width - 2 * MARGIN, size=_TITLE, bold=True):
            self.text(MARGIN, self.top + 8, line, size=_TITLE, weight="bold")
            self.top += 16
        for note in notes:
            for line in lines_of(note, width=self.width - 2 * MARGIN):
                self.text(MARGIN, self.top + 5.5, line, color=SOFT)
                self.top += 11
        self.top += 14

    def finished(self, bottom: float) -> Sheet:
        """Cut the sheet below its content."""
        height = bottom + MARGIN
        self.figure.set_size_inches(self.width / 72, height / 72)
        self.ink.set(xlim=(0, self.width), ylim=(height, 0))
        return self

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        upward: bool = False,
        size: float = SIZE,
        color: str = DARK,
        weight: Weight = "normal",
        style: Literal["normal", "italic"] = "normal",
        ha: Literal["left", "center", "right"] = "left",
    ) -> None:
        """Write one line, centred about `y`; `upward` it begins at `y` and is centred about `x`."""
        down = 0.365 * size  # to the base line: letters with and without a tail stand on the same one
        x, y = (x + down, y) if upward else (x, y + down)
        line = self.ink.text(x, y, text, size=size, color=color, weight=weight, style=style, ha=ha, va="baseline")
        line.set(rotation=90 if upward else 0, rotation_mode="anchor")

    def label(
        self, x: float, y: float, lines: Sequence[str], *, upward: bool = False, weight: Weight = "normal"
    ) -> None:
        """Write several lines about `y`, upward about `x`."""
        for number, line in enumerate(lines):
            down = (number - (len(lines) - 1) / 2) * LINE
            self.text(x + down * upward, y + down * (not upward), line, upward=upward, weight=weight)

    def line(self, xs: ArrayLike, ys: ArrayLike, colour: str, width: float = 0.7, *, zorder: float = 2) -> None:
        """Draw a line from point to point."""
        self.ink.plot(xs, ys, color=colour, linewidth=width, solid_capstyle="butt", zorder=zorder)

    def dots(
        self, xs: ArrayLike, ys: ArrayLike, colour: str, size: float = 4.5, *, marker: str = "o", hollow: bool = False
    ) -> None:
        """Draw a mark at each point."""
        face = "white" if hollow else colour
        self.ink.plot(xs, ys, marker, color=colour, markerfacecolor=face, markersize=size, zorder=3)

    def bar(self, start: float, end: float, y: float, colour: str) -> None:
        """Draw a bar about `y`."""
        self.ink.add_patch(Rectangle((start, y - 3), end - start, 6, facecolor=colour, linewidth=0, zorder=2))


@dataclass(frozen=True)
class Row:
    """The label at the left of one line of a chart."""

    label: str
    colour: str = BLUE
    hollow: bool = False
    bold: bool = False
    section: str = ""
    """A heading above it."""

    @property
    def lines(self) -> list[str]:
        """Return the whole label, line by line."""
        return lines_of(self.label, width=LABELS, bold=self.bold, breaks=" -_.+")

    @property
    def height(self) -> float:
        """Return what the label takes from top to bottom, without the heading above it."""
        return len(self.lines) * LINE + 6

    @property
    def above(self) -> float:
        """Return the room for the section's heading."""
        return 17 if self.section else 0


@dataclass(frozen=True)
class Panel:
    """A column of a chart: a mark for each row, and the same as text. Without marks it is text alone."""

    heading: str
    marks: Sequence[Estimate | None]
    texts: Sequence[str]
    bars: bool = False
    """From zero, without intervals."""
    signed: bool = False
    """Differences: there is a line at zero, and ticks have signs."""
    line: float | None = None
    """Where another line is drawn."""

    @property
    def plot_width(self) -> float:
        """Return the width of the axis; 0 without marks."""
        return (PLOT / 2 if self.bars else PLOT) if self.marks else 0.0

    @property
    def text_width(self) -> float:
        """Return the width of the widest text."""
        return max(width_of(text) for text in self.texts)

    @property
    def lines(self) -> list[float]:
        """Return the values at which there is a line."""
        return [0.0] * (self.bars or self.signed) + ([] if self.line is None else [self.line])

    @property
    def ends(self) -> tuple[float, float]:
        """Return the ends of the axis."""
        return window([mark for mark in self.marks if mark is not None], self.lines)

    @property
    def cuts(self) -> bool:
        """Return whether a mark lies beyond the ends."""
        low, high = self.ends
        return any(mark is not None and not low <= mark.value <= high for mark in self.marks)


Block = tuple[Sequence[Row], Sequence[Panel]]


def chart(title: str, notes: Sequence[str], blocks: Sequence[Block]) -> Sheet:
    """Draw rows with labels at the left and panels beside them; blocks stand one below the other."""
    rows, panels = [row for some, _ in blocks for row in some], [panel for _, some in blocks for panel in some]
    room = max(
        *(width_of(line, bold=row.bold) for row in rows for line in row.lines), *(width_of(row.section) for row in rows)
    )
    lefts = [MARGIN + room + 2 * GAP]
    for place in range(max(len(some) for _, some in blocks)):
        column = [some[place] for _, some in blocks if place < len(some)]
        widths = [max(panel.plot_width for panel in column), max(panel.text_width for panel in column)]
        lefts.append(lefts[-1] + widths[0] + GAP * bool(widths[0]) + widths[1] + 2 * GAP)
    if any(panel.cuts for panel in panels if panel.marks):
        notes = [*notes, "Arrow: farther out than is drawn."]
    sheet = Sheet(title, notes, lefts[-1] - 2 * GAP - MARGIN)
    bottom = sheet.top
    for some_rows, some_panels in blocks:
        bottom = _draw_block(sheet, bottom, some_rows, some_panels, lefts) + 18
    return sheet.finished(bottom - 18)


def _draw_block(
    sheet: Sheet, top: float, rows: Sequence[Row], panels: Sequence[Panel], lefts: Sequence[float]
) -> float:
    """Draw a block; return where it ends."""
    start = y = top + 16
    middles = []
    for row in rows:
        if row.section:
            sheet.text(MARGIN, y + 9.5, row.section, color=SOFT, style="italic")
        middles.append(y + row.above + row.height / 2)
        sheet.label(MARGIN, middles[-1], row.lines, weight="bold" if row.bold else "normal")
        y += row.above + row.height
    for panel, left in zip(panels, lefts, strict=False):
        sheet.text(left, top + 5, panel.heading, weight="bold")
        if panel.marks:
            _draw_axis(sheet, panel, left, start, y)
            _draw_marks(sheet, panel, left, rows, middles)
        for text, middle in zip(panel.texts, middles, strict=True):
            sheet.text(left + panel.plot_width + GAP * bool(panel.marks), middle, text)
    return y + 12


def _draw_axis(sheet: Sheet, panel: Panel, left: float, top: float, bottom: float) -> None:
    low, high = panel.ends
    scale = panel.plot_width / (high - low)
    for count in (5, 4, 3, 2, 1):  # so many that the labels do not touch
        places, digits = ticks(low, high, count)
        texts = [f"{place:+.{digits}f}" if panel.signed and place else f"{place:.{digits}f}" for place in places]
        if sum(width_of(text, _TICK) + 8 for text in texts) < panel.plot_width:
            break
    for place, text in zip(places, texts, strict=True):
        x = left + (place - low) * scale
        sheet.line([x, x], [top, bottom], GRID, zorder=0)
        sheet.text(x, bottom + 7, text, size=_TICK, color=SOFT, ha="center")
    for line in panel.lines:
        sheet.line([left + (line - low) * scale] * 2, [top, bottom], SOFT, zorder=1)


def _draw_marks(sheet: Sheet, panel: Panel, left: float, rows: Sequence[Row], middles: Sequence[float]) -> None:
    (low, high), width = panel.ends, panel.plot_width
    for mark, row, y in zip(panel.marks, rows, middles, strict=True):
        if mark is None:
            continue
        x, start, end, zero = ((one - low) / (high - low) * width for one in (mark.value, mark.low, mark.high, 0.0))
        if not 0 <= x <= width:
            sheet.dots([left + (width if x > 0 else 0)], [y], row.colour, marker=">" if x > 0 else "<")
        elif panel.bars:
            sheet.bar(left + zero, left + x, y, row.colour)
        else:
            sheet.line([left + max(start, 0), left + min(end, width)], [y, y], row.colour, 1.4, zorder=2)
            sheet.dots([left + x], [y], row.colour, hollow=row.hollow)


def window(marks: Sequence[Estimate], lines: Sequence[float] = ()) -> tuple[float, float]:
    """Return the ends of an axis: around all marks, but those, a third at most, that would squeeze the rest to a
    quarter."""
    kept = sorted(marks, key=lambda mark: mark.value)

    def ends(some: Sequence[Estimate]) -> tuple[float, float]:
        values = [*lines, *(value for mark in some for value in (mark.low, mark.value, mark.high))]
        return min(values), max(values)

    def span(some: Sequence[Estimate]) -> float:
        low, high = ends(some)
        return max(high - low, LEAST_SPAN)

    for _ in range(len(marks) // 3):
        fewer = min((kept[1:], kept[:-1]), key=span)
        if 4 * span(fewer) > span(kept):
            break
        kept = fewer
    low, high = ends(kept)
    room = 0.04 * (high - low) + max(0.0, LEAST_SPAN - (high - low)) / 2
    return low - room, high + room


def ticks(low: float, high: float, count: int) -> tuple[list[float], int]:
    """Round numbers within the ends, and how many decimals they need."""
    found = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    step = float(found[1] - found[0])
    digits = next(digits for digits in range(20) if abs(round(step, digits) - step) < 1e-6 * step)
    return [round(float(tick), digits) + 0.0 for tick in found if low <= tick <= high], digits


def lines_of(text: str, *, width: float, size: float = SIZE, bold: bool = False, breaks: str = " ") -> list[str]:
    """Cut `text` into lines of `width`, after one of `breaks` where that can be. Nothing is left out."""
    lines = [""]
    for part in re.findall(rf"[^{re.escape(breaks)}]*[{re.escape(breaks)}]|[^{re.escape(breaks)}]+$", text):
        whole = width_of(part.rstrip(), size, bold) <= width
        for piece in [part] if whole else part:
            if lines[-1] and width_of((lines[-1] + piece).rstrip(), size, bold) > width:
                lines.append("")
            lines[-1] += piece
    return [line.rstrip() for line in lines]


def width_of(text: str, size: float = SIZE, bold: bool = False) -> float:
    """Return the width of one line; without kerning, so that each letter is measured once."""
    return size * sum(_advance(letter, bold) for letter in text)


@cache
def _advance(letter: str, bold: bool) -> float:
    font = FontProperties(family=_FONT, size=100, weight="bold" if bold else "normal")
    wide, narrow = (
        text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] for text in (f"x{letter}x", "xx")
    )
    return float(wide - narrow) / 100


def shades(values: np.ndarray) -> np.ndarray:
    """Return `(..., 3)` colours for values from 0, a pale blue, to 1, a dark one."""
    return matplotlib.colormaps["Blues"](0.06 + 0.82 * np.asarray(values))[..., :3]
