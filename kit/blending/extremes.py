"""A test photo's extremes, guessed from its known pixels and from what the blend paints into its hole.

Score space stretches each channel by the whole photo's least and greatest value, and the hidden pixels take part. The
known ones alone can only be too narrow. The rule here widens them: by a share of what the blend itself goes beyond
them, and by a share of the room that is left to black and white. Both shares are fitted, nested by fold, to the squared
error in score space itself, and a gate decides as for weights. Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from kit.blending.evaluation.crossfit import Crossfit
from kit.competitions import score_scale

_MOST = (1.5, 0.5)  # shares beyond these are not sought


@dataclass(frozen=True)
class ExtremesRule:
    """`low - beyond * max(0, low - least blended) - room * low`, and the same upward for high."""

    beyond: float = 0.0
    room: float = 0.0

    def __call__(self, estimated: np.ndarray, blended: np.ndarray) -> np.ndarray:
        """Extremes `(2, 3)` of a photo with these blended values `(n, 3)`, in pixel space."""
        return self.of_range(estimated, np.stack([blended.min(axis=0), blended.max(axis=0)]))

    def of_range(self, estimated: np.ndarray, blended: np.ndarray) -> np.ndarray:
        """The same from the least and greatest blended values; both `(..., 2, 3)`."""
        low, high = estimated[..., 0, :], estimated[..., 1, :]
        least, greatest = (np.clip(blended[..., side, :], 0.0, 1.0) for side in (0, 1))
        found_low = low - self.beyond * np.maximum(low - least, 0.0) - self.room * low
        found_high = high + self.beyond * np.maximum(greatest - high, 0.0) + self.room * (1.0 - high)
        # a channel without contrast has no scale to be mended
        flat = high <= low
        found_low, found_high = np.where(flat, low, found_low), np.where(flat, high, found_high)
        return np.stack([np.maximum(found_low, 0.0), np.minimum(found_high, 1.0)], axis=-2)

    @property
    def is_plain(self) -> bool:
        """Whether it leaves the estimate as it is."""
        return not self.beyond and not self.room


def errors_by(rule: ExtremesRule, found: Crossfit, estimated: np.ndarray) -> np.ndarray:
    """Squared error of each photo by a rule, before clipping, `(P,)`.

    Args:
        estimated: `(P, 2, 3)`, extremes of the known pixels.
    """
    extremes = rule.of_range(estimated, found.range)
    low, g = extremes[:, 0], score_scale(extremes[:, 0], extremes[:, 1])
    n = found.counts.sum(axis=1)[:, None]
    b, bb, by, y, yy = np.moveaxis(found.sums, 2, 0)
    squares = g**2 * (bb - 2 * low * b + n * low**2) - 2 * g * (by - low * y) + yy
    return np.maximum(squares.sum(axis=1), 0.0)


def fit_extremes(found: Crossfit, estimated: np.ndarray, rows: np.ndarray) -> ExtremesRule:
    """The shares with the least squared error on these photos."""
    use = Crossfit(*(getattr(found, name)[rows] for name in ("clipped", "known", "counts", "range", "sums")))

    def error(shares: Sequence[float]) -> float:
        return float(errors_by(ExtremesRule(*shares), use, estimated[rows]).sum())

    start = error((0.0, 0.0))
    if not start:
        return ExtremesRule()
    best = minimize(
        lambda shares: error(shares) / start,
        (0.3, 0.02),
        method="L-BFGS-B",
        bounds=[(0.0, most) for most in _MOST],
        options={"ftol": 1e-12, "gtol": 1e-9},
    )
    rule = ExtremesRule(*(round(float(share), 6) for share in best.x))
    return rule if error((rule.beyond, rule.room)) < start else ExtremesRule()


@dataclass(frozen=True)
class NestedExtremes:
    """A rule for all photos, and how good such a rule is on photos that it was not fitted on."""

    rule: ExtremesRule
    of_fold: dict[int, ExtremesRule]
    """Fitted without that fold."""
    sse: np.ndarray
    """`(P,)`, each photo's squared error by the rule of the other folds, before clipping."""


def nested_extremes(found: Crossfit, estimated: np.ndarray, fold: np.ndarray) -> NestedExtremes:
    """Fit on all folds but one, score on that one; and fit on all."""
    sse, rules = np.empty(len(fold)), {}
    for number in np.unique(fold):
        rules[int(number)] = fit_extremes(found, estimated, np.flatnonzero(fold != number))
        rows = np.flatnonzero(fold == number)
        sse[rows] = errors_by(rules[int(number)], found, estimated)[rows]
    return NestedExtremes(fit_extremes(found, estimated, np.arange(len(fold))), rules, sse)
