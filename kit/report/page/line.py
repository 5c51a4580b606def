"""Public scores against CV: the line through them, and its interval. Knows numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.imaging.metrics import student_quantile

FEWEST = 3  # through two there is always a line, and no telling how good it is
_PLACES = 25


@dataclass(frozen=True)
class Line:
    """A least squares line with the 95 % band of its mean."""

    slope: float
    intercept: float
    spread: float
    """Standard deviation of the scores about it."""
    points: int
    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def text(self) -> str:
        """Say it in one line."""
        return f"public = {self.intercept:.4f} + {self.slope:.2f} CV, spread {self.spread:.4f}, {self.points} scores"


def leaderboard_line(pairs: Sequence[tuple[float, float]]) -> Line | None:
    """Fit public scores by CV; None for fewer than three pairs, or where all have one CV."""
    if len(pairs) < FEWEST:
        return None
    x, y = np.array(pairs, np.float64).T
    centred = x - x.mean()
    along = float(centred @ centred)
    if along <= 1e-16 * max(1.0, float(x @ x)):
        return None
    slope = float(centred @ (y - y.mean())) / along
    intercept = float(y.mean()) - slope * float(x.mean())
    freedom = len(x) - 2
    rest = y - intercept - slope * x
    spread = float(np.sqrt(rest @ rest / freedom))
    places = np.linspace(x.min(), x.max(), _PLACES)
    half = student_quantile(freedom) * spread * np.sqrt(1.0 / len(x) + (places - x.mean()) ** 2 / along)
    middle = intercept + slope * places
    return Line(
        slope, intercept, spread, len(x), *(tuple(one.tolist()) for one in (places, middle - half, middle + half))
    )
