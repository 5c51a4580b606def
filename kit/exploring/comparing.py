"""A number of each photo, training beside test: where it lies, and is one side's higher? Knows numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kit.exploring.auc import area_by_group, is_credible
from kit.exploring.result import About, Measure, Spread, rounded, rounded_estimate
from kit.imaging.metrics import Estimate

LEAST = 5
"""Photos, and groups of them, that a split must have to be compared."""


def spread_of(values: Sequence[float] | np.ndarray) -> Spread | None:
    """Return where numbers lie, NaN left out; None where there is none."""
    found = np.asarray(values, np.float64)
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    low, middle, high = np.quantile(found, (0.05, 0.5, 0.95)).tolist()
    return Spread(rounded(low), rounded(middle), rounded(high))


def compared(
    values: np.ndarray, of_test: np.ndarray, groups: np.ndarray, *, asked: int
) -> tuple[Estimate, bool] | None:
    """Return the chance that a test photo's number is higher, and whether it differs from a half by more than chance.

    Args:
        values: `(N,)` float64, NaN where a photo does not tell: such photos are left out.
        of_test: `(N,)` bool.
        groups: `(N,)` int, near duplicates share a number.
        asked: how many questions are asked at once.

    Returns:
        None where a split has too few photos.
    """
    told = np.isfinite(values)
    values, of_test, groups = values[told], of_test[told], groups[told]
    if min(len(np.unique(groups[side])) for side in (of_test, ~of_test)) < LEAST:
        return None
    area = area_by_group(values, of_test, groups)
    return rounded_estimate(area.estimate), is_credible(area.distance, area.groups, asked)


def measure_of(
    about: About, name: str, meaning: str, values: np.ndarray, of_test: np.ndarray, groups: np.ndarray, *, asked: int
) -> Measure | None:
    """Return a measure, or None where it cannot be compared; arguments as `compared` has them."""
    train, test = spread_of(values[~of_test]), spread_of(values[of_test])
    found = compared(values, of_test, groups, asked=asked)
    if train is None or test is None or found is None:
        return None
    return Measure(about, name, meaning, train, test, *found)
