"""The error of the mean of m samples, and what more samples can reach. Knows arrays; no model and no store.

Let `e_i` be the errors of M samples of one photo. The squared error of the mean of m of them, averaged over all choices
of m, is exactly

    E^2(m) = a + b / m,    a = mean of e_i e_j over pairs i != j,    b = (mean of e_i^2) - a

so nothing is fitted: a and b are the least squares line in 1/m through all points, whatever the samples are. If they
are drawn independently, a is an unbiased estimate of the squared error of the mean of infinitely many. For draws from
the true posterior b = a: the mean of m samples has (1 + 1/m) times the least squared error, and one sample twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kit.imaging.metrics import Estimate, score_by_photo


def pair_terms(errors: np.ndarray) -> tuple[float, float]:
    """Return the sums over a photo's values of a and b: `(M, ...)` errors, M at least 2, to two float64.

    O(M) instead of O(M^2): the sum of all products is the square of the sum.
    """
    count = len(errors)
    flat = errors.reshape(count, -1).astype(np.float64)
    own = float(np.vdot(flat, flat)) / count
    total = flat.sum(axis=0)
    shared = (float(np.vdot(total, total)) - count * own) / (count * (count - 1))
    return shared, own - shared


@dataclass(frozen=True)
class Curve:
    """RMSE of the mean of m samples over some photos, in the caller's space."""

    samples: int
    """How many there are of each photo."""
    photos: int
    shared: np.ndarray
    """`(N,)` float64, a of each photo."""
    own: np.ndarray
    """`(N,)` float64, b of each photo."""
    counts: np.ndarray
    """`(N,)` values behind each."""
    groups: np.ndarray
    """`(N,)` int, near duplicates share a number."""

    def rmse(self, m: int) -> Estimate:
        """Return that of the mean of m samples, with its 95 % interval over photos: measured for m up to `samples`,
        beyond it by the law."""
        return score_by_photo(self.shared + self.own / m, self.counts, self.groups)

    @property
    def limit(self) -> Estimate:
        """Return the RMSE of the mean of infinitely many samples; its square is estimated without bias."""
        return _clipped(self.shared, self.counts, self.groups)

    @property
    def ratio(self) -> float:
        """Return b / a: 1 for draws from the true posterior, more for a sampler that spreads too much or too
        wildly, less for one whose samples are too much alike."""
        below = float(self.shared.sum())
        return float(self.own.sum()) / below if below > 0 else float("inf")


def _clipped(terms: np.ndarray, counts: np.ndarray, groups: np.ndarray) -> Estimate:
    """Return `score_by_photo` of terms that may be negative: a tiny limit's estimate can fall below zero."""
    if terms.sum() <= 0:
        return Estimate(0.0, 0.0, float(score_by_photo(np.abs(terms), counts, groups).high))
    with np.errstate(invalid="ignore"):
        found = score_by_photo(terms, counts, groups)
    return found if np.isfinite(found.low) else Estimate(found.value, 0.0, found.high)
