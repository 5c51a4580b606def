"""How well a number tells test photos from training photos: the area under the ROC curve, with an interval.

Knows scores, which are of test photos, and groups of near duplicates; knows no photo. The area is the chance that a
test photo has the higher number than a training photo, ties counted half (Hanley and McNeil 1982, Radiology 143,
29-36): 0.5 where both are alike. Its error is that of DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44, 837-845),
with near duplicates as one (Obuchowski 1997, Biometrics 53, 567-578): the sample is groups, not photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kit.imaging.metrics import Estimate, student_quantile


@dataclass(frozen=True)
class Area:
    """An area under the curve with its 95 % interval."""

    estimate: Estimate
    distance: float
    """From 0.5, in standard errors: in the larger of its own and the one that numbers without meaning would have."""
    groups: int


@dataclass(frozen=True)
class _Stratum:
    """Photos that are compared with each other."""

    pairs: int
    area: float
    variance: float
    by_chance: float
    """The variance that numbers without meaning would have."""
    groups: int


def area_by_group(
    scores: np.ndarray, of_test: np.ndarray, groups: np.ndarray, *, strata: np.ndarray | None = None
) -> Area:
    """Return the area with its 95 % interval over groups.

    Args:
        scores: `(N,)` float64, finite.
        of_test: `(N,)` bool, both splits are there.
        groups: `(N,)` int, near duplicates share a number.
        strata: `(N,)` int; only photos of one stratum are compared, as the scores of two models are not. A group lies
            in one stratum.
    """
    numbers = np.zeros(len(scores), np.int64) if strata is None else strata
    inside = [numbers == one for one in np.unique(numbers)]
    parts = [_stratum(scores[one], of_test[one], groups[one]) for one in inside if 0 < of_test[one].sum() < one.sum()]
    weight = np.array([part.pairs for part in parts], np.float64)
    weight /= weight.sum()
    value = float(weight @ [part.area for part in parts])
    error, by_chance = (
        float(np.sqrt(weight**2 @ np.array([getattr(part, name) for part in parts])))
        for name in ("variance", "by_chance")
    )
    count = sum(part.groups for part in parts)
    half = student_quantile(max(1, count - 1)) * error
    found = Estimate(value, max(0.0, value - half), min(1.0, value + half))
    return Area(found, (value - 0.5) / max(error, by_chance), count)


def _stratum(scores: np.ndarray, of_test: np.ndarray, groups: np.ndarray) -> _Stratum:
    test, train = scores[of_test], scores[~of_test]
    ordered_test, ordered_train = np.sort(test), np.sort(train)
    won = _share_below(ordered_train, test)  # of each test photo: the training photos that it beats
    lost = 1 - _share_below(ordered_test, train)  # of each training photo: the test photos that beat it
    area = float(won.mean())
    _, number = np.unique(groups, return_inverse=True)
    count = int(number.max()) + 1
    of_won, of_lost = (
        np.bincount(number[side], weights=values - area, minlength=count)
        for side, values in ((of_test, won), (~of_test, lost))
    )
    tests, trains = (len(np.unique(groups[side])) for side in (of_test, ~of_test))
    variance = (
        _widened(tests) * of_won @ of_won / len(test) ** 2 + _widened(trains) * of_lost @ of_lost / len(train) ** 2
    )
    variance += 2 * _widened(count) * of_won @ of_lost / (len(test) * len(train))
    by_chance = (tests + trains + 1) / (12 * tests * trains)
    return _Stratum(len(test) * len(train), area, max(0.0, float(variance)), by_chance, count)


def _share_below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return which share of `ordered` is below each value, ties half."""
    below, up_to = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2 * len(ordered)))


def _widened(groups: int) -> float:
    return groups / (groups - 1) if groups > 1 else 1.0


def is_credible(distance: float, groups: int, asked: int) -> bool:
    """Return whether so many standard errors are more than chance where `asked` questions were asked at once.

    Bonferroni's rule at 5 %: one in twenty questions would differ by chance alone. Student's t for few groups.
    """
    from scipy.special import stdtrit

    return abs(distance) > float(stdtrit(max(1, groups - 1), 1 - 0.025 / max(1, asked)))
