"""Numbers as text: scores with few digits, and never only zeros; counts. Knows no metric."""

from __future__ import annotations

import math


def score_text(value: float) -> str:
    """Return a score with four decimals, a small one (a mean squared error) with three digits that tell something."""
    return f"{value:.{decimals(value, 4)}f}"


def change_text(value: float) -> str:
    """Return a difference of scores with its sign, as `score_text` does."""
    return signed_text(value, change_decimals(value))


def change_decimals(largest: float) -> int:
    """Return how many decimals differences are written with, of which this is the largest."""
    return 5 if abs(largest) >= 1e-5 else decimals(largest, 5, 2)


_MOST_PLACES = 8


def decimals(value: float, usual: int, digits: int = 3) -> int:
    """Return how many decimals a number is written with: the usual, or as many as show some digits of a small one."""
    size = abs(value)
    if size < 10.0**-_MOST_PLACES or not math.isfinite(size):  # nothing but rounding
        return usual
    return min(max(usual, digits - 1 - math.floor(math.log10(size))), _MOST_PLACES)


def signed_text(value: float, places: int) -> str:
    """Return a number with its sign; what rounds to zero has none."""
    text = f"{value:+.{places}f}"
    return text if float(text) else text[1:]


def counted(count: int, what: str) -> str:
    """Return `1 epoch`, `2 epochs`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
