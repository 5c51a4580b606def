"""The words of a bar, and which of them have room in so many columns. Knows no terminal and no clock."""

from __future__ import annotations

from dataclasses import dataclass

from kit.core.shortening import shortened, text_width

# columns of the bar itself: where there is room, for which a long title is shortened, and the least that still is one
_BAR, _GOOD_BAR = 24, 10
_LEAST_BAR = 6
_LEAST_TITLE = 16


@dataclass(frozen=True)
class Reading:
    """How far a piece of work is, at one moment."""

    description: str
    done: int
    total: int | None
    """None: nothing is being counted."""
    unit: str
    elapsed: float = 0.0
    """Seconds."""
    left: float | None = None
    """Seconds that the rest may take, where that can be told."""
    speed: str = ""
    note: str = ""
    """Such as the score so far."""


def time_text(seconds: float) -> str:
    """Return `1:30`, or `2:01:30` from an hour on."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def rate_text(a_second: float, unit: str) -> str:
    """Return a speed with the largest time in which it is no fraction: `12.3 photos/s`, `4.0 steps/min`."""
    for times, name in ((1, "s"), (60, "min")):
        if a_second * times >= 1:
            return f"{_number(a_second * times)} {unit}/{name}"
    return f"{_number(a_second * 3600)} {unit}/h"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def plain_line(one: Reading) -> str:
    """Return it as a line of a log."""
    left = "" if one.left is None else f", {time_text(one.left)} left"
    speed = f", {one.speed}" if one.speed else ""
    note = f"  {one.note}" if one.note else ""
    return f"{one.description}: {one.done}/{one.total} {one.unit}{left}{speed}{note}"


@dataclass(frozen=True)
class BarLine:
    """What of a reading has room: the words before the bar, its width (0: none), and the words behind it."""

    before: str
    bar: int
    behind: str


def fitted(one: Reading, width: int) -> BarLine:
    """Return what has room in so many columns; nothing is cut. The least important goes first: the time so far, the
    speed, the note's beginning, the title's middle, the bar, and then the note.
    """
    if one.total is None:
        return BarLine(shortened(one.description, width), 0, "")
    for absent, title, bar in _SMALLER:
        behind = "  ".join(text for name, text in _texts(one).items() if text and name not in absent)
        least = min(text_width(one.description), title)
        room = width - text_width(behind) - 1
        if least + (bar + 1 if bar else 0) <= room:
            words = shortened(one.description, room - (bar + 1 if bar else 0))
            return BarLine(words, min(_BAR, room - text_width(words) - 1) if bar else 0, behind)
    return BarLine("", 0, shortened(_texts(one)["count"], width))


_ANY = 1_000  # columns: the title is whole
_SMALLER = (
    (("last",), _ANY, _LEAST_BAR),
    (("last", "elapsed"), _ANY, _LEAST_BAR),
    (("last", "elapsed", "speed"), _ANY, _LEAST_BAR),
    (("note", "elapsed", "speed"), _ANY, _LEAST_BAR),
    (("note", "elapsed", "speed"), _LEAST_TITLE, _GOOD_BAR),
    (("note", "elapsed", "speed"), _LEAST_TITLE, _LEAST_BAR),
    (("note", "elapsed", "speed"), _LEAST_TITLE, 0),
    (("note", "last", "elapsed", "speed"), _LEAST_TITLE, 0),
    (("note", "last", "elapsed", "speed", "left"), 1, 0),
)
"""Which texts are left out, the least width of the title, and of the bar: one after the other until there is room."""


def _texts(one: Reading) -> dict[str, str]:
    """Return the texts behind a bar, what is not known yet too, so that the bar does not jump when it is."""
    left = "0:00" if one.done >= (one.total or 0) else "-:--" if one.left is None else time_text(one.left)
    return {
        "count": f"{one.done:>{len(str(one.total))}}/{one.total} {one.unit}",
        "elapsed": time_text(one.elapsed),
        "left": f"{left} left",
        "speed": one.speed or f"-.- {one.unit}/s",
        "note": one.note,
        "last": one.note.rpartition(", ")[2],  # the score, where a loss stands before it
    }
