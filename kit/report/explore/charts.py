"""Where the marks of the exploration's charts stand: coordinates for SVG, computed from numbers. Knows no template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.exploring.result import Measure, Spectrum
from kit.imaging.metrics import Estimate

GRID = 16  # rows and columns of a map as it is drawn
TABLE = 8  # and as it is written
WIDTH, HEIGHT = 640, 260  # of a chart of lines, in units that scale with the page
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 12, 34


@dataclass(frozen=True)
class Cell:
    """One square of a map of holes."""

    x: int
    y: int
    shade: str
    """0 to 1, of the most that either map has."""
    share: str


@dataclass(frozen=True)
class Map:
    """One split's map of holes."""

    title: str
    cells: tuple[Cell, ...]
    rows: tuple[tuple[str, ...], ...]
    """The same in percent, coarser: the chart's text."""


def map_of(title: str, heat: Sequence[Sequence[float]], most: float) -> Map:
    """Return a map of holes; `most` is the share that is drawn darkest."""
    drawn, written = _coarser(heat, GRID), _coarser(heat, TABLE)
    cells = tuple(
        Cell(x, y, f"{value / most if most else 0:.3f}", f"{value:.1%}")
        for y, row in enumerate(drawn.tolist())
        for x, value in enumerate(row)
    )
    return Map(title, cells, tuple(tuple(f"{100 * value:.0f}" for value in row) for row in written.tolist()))


def most_of(*maps: Sequence[Sequence[float]]) -> float:
    """Return the largest share that any map draws."""
    return max(float(_coarser(heat, GRID).max()) for heat in maps)


def _coarser(heat: Sequence[Sequence[float]], side: int) -> np.ndarray:
    values = np.array(heat)
    step = len(values) // side
    return np.asarray(values.reshape(side, step, side, step).mean(axis=(1, 3)))


@dataclass(frozen=True)
class Tick:
    """A mark at an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """One line with its band of 95 %."""

    kind: str
    """`train`, `test` or `change`: names its colour."""
    title: str
    points: str
    band: str


@dataclass(frozen=True)
class Lines:
    """A chart of lines over frequency, whose axis is logarithmic."""

    title: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    down: tuple[Tick, ...]
    zero: float | None
    """Where no difference is, if the chart shows one."""
    marks: tuple[tuple[float, float], ...]
    """Where a difference is more than chance."""


def spectra_chart(spectrum: Spectrum) -> Lines:
    """Return the chart of both splits' mean spectra."""
    return _lines(
        "Power by frequency, decibels", spectrum, ("train", "training", spectrum.train), ("test", "test", spectrum.test)
    )


def change_chart(spectrum: Spectrum) -> Lines:
    """Return the chart of their difference, with a mark where it is more than chance."""
    return _lines("Test less training, decibels", spectrum, ("change", "test less training", spectrum.difference))


def _lines(title: str, spectrum: Spectrum, *given: tuple[str, str, tuple[Estimate, ...]]) -> Lines:
    is_change = given[0][0] == "change"
    ends = [end for _, _, values in given for one in values for end in (one.low, one.high)]
    low, high = min([*ends, 0.0] if is_change else ends), max([*ends, 0.0] if is_change else ends)
    ticks = ticks_of(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    xs = [_across(frequency, spectrum.frequency) for frequency in spectrum.frequency]

    def y(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    def points(values: Sequence[float], at: Sequence[float]) -> str:
        return " ".join(f"{x},{y(value)}" for x, value in zip(at, values, strict=True))

    lines = []
    for kind, name, values in given:
        upper, lower = points([one.high for one in values], xs), points([one.low for one in values[::-1]], xs[::-1])
        lines.append(Line(kind, name, points([one.value for one in values], xs), f"{upper} {lower}"))
    across = [1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
    shown = [one for one in across if spectrum.frequency[0] <= one <= spectrum.frequency[-1]]
    marks = [
        (x, y(one.value))
        for x, one, differs in zip(xs, given[0][2], spectrum.differs, strict=True)
        if is_change and differs
    ]
    return Lines(
        title=title,
        lines=tuple(lines),
        across=tuple(Tick(_across(one, spectrum.frequency), f"1/{round(1 / one)}") for one in shown),
        down=tuple(Tick(y(one), f"{one:g}") for one in ticks),
        zero=y(0.0) if is_change else None,
        marks=tuple(marks),
    )


def _across(frequency: float, all_of_them: Sequence[float]) -> float:
    first, last = math.log(all_of_them[0]), math.log(all_of_them[-1])
    return round(_LEFT + (math.log(frequency) - first) / (last - first) * (WIDTH - _LEFT - _RIGHT), 1)


def ticks_of(low: float, high: float) -> list[float]:
    """Return round numbers, three to seven, from at most `low` to at least `high`."""
    span = max(high - low, 1e-3)
    step = 10.0 ** math.floor(math.log10(span / 3))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 6) for place in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class Bar:
    """A measure's interval on a line of 100 units, 0.5 in its middle."""

    low: float
    value: float
    high: float


def bars_of(measures: Sequence[Measure]) -> list[Bar]:
    """Return where the measures' intervals stand, all on one scale that the widest fills."""
    intervals = [(one.higher.low, one.higher.value, one.higher.high) for one in measures]
    half = max((abs(end - 0.5) for interval in intervals for end in interval), default=0.0)
    half = max(half, 0.1)  # small differences stay small
    return [Bar(*(round(50 + 46 * (end - 0.5) / half, 1) for end in interval)) for interval in intervals]
