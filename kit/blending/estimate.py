"""How good a weighting is on photos that it has not seen, and how sure that is. Knows Grams, folds and groups only.

Two rules. Weights are scored on folds that they were not fitted on. The sample is photos, or groups of near duplicates,
never pixels: intervals come from drawing whole groups with replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.blending.gram import ResidualGram
from kit.blending.solvers import Solver
from kit.errors import UsageError
from kit.metrics import Estimate

DRAWS = 1000
_DRAWS_AT_ONCE = 50  # counts of so many draws are in memory: it must not grow with draws times photos


@dataclass(frozen=True)
class Nested:
    """A solver's score by cross-validation over the folds that the photos already have."""

    folds: tuple[int, ...]
    weights: np.ndarray
    """`(len(folds), K)`, fitted on the photos of all other folds."""
    sse: np.ndarray
    """`(P,)` float64, each photo's squared error by the weights that never saw its fold."""


def pooled(gram: ResidualGram, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """`(K, K)`, the Gram of these rows together."""
    return gram.products[rows].sum(axis=0)


class CrossValidation:
    """Fits a solver on all folds but one and scores it on that one, so that every photo is scored once."""

    def __init__(self, gram: ResidualGram, fold: np.ndarray) -> None:
        """
        Args:
            fold: `(P,)` int, the fold of each of the Gram's photos.

        Raises:
            UsageError: the photos lie in one fold, so there is nothing left to fit on.
        """
        self.gram, self.fold = gram, fold
        self.folds = tuple(int(number) for number in np.unique(fold))
        if len(self.folds) < 2:
            raise UsageError(
                f"All {len(gram)} photos lie in fold {self.folds[0]}: weights need at least 2 folds, one to fit on and "
                "one to score. Make folds: kit folds --k 5 --force"
            )
        self._pooled = {number: pooled(gram, fold == number) for number in self.folds}

    def run(self, solver: Solver, members: Sequence[int] | None = None) -> Nested:
        """Nested weights and errors of one solver.

        Args:
            members: columns to use, all by default; the weights of the others are 0.
        """
        use = np.arange(len(self.gram.members)) if members is None else np.asarray(members)
        weights = np.zeros((len(self.folds), len(self.gram.members)))
        sse = np.empty(len(self.gram))
        for position, number in enumerate(self.folds):
            seen = np.sum([self._pooled[other] for other in self.folds if other != number], axis=0)
            weights[position, use] = solver(seen[np.ix_(use, use)])
            held_out = self.fold == number
            sse[held_out] = squared_error(self.gram.products[held_out], weights[position])
        return Nested(self.folds, weights, sse)


def squared_error(products: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`w^T G w` of each photo, `(P,)`; rounding may not push it below zero."""
    return np.maximum(np.einsum("pk,k->p", products @ weights, weights), 0.0)


class Bootstrap:
    """Resampled squared errors of several weightings on the same draws, so that their differences are paired."""

    def __init__(
        self,
        sse: dict[str, np.ndarray],
        counts: np.ndarray,
        groups: np.ndarray,
        *,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        """
        Args:
            sse: for each name `(P,)` squared errors by photo.
            counts: `(P,)` values behind each.
            groups: `(P,)` int, near duplicates share a number and are drawn together.
        """
        self._columns = {name: column for column, name in enumerate(sse)}
        statistics = np.column_stack([*sse.values(), counts.astype(np.float64)])
        self._totals = statistics.sum(axis=0)
        self._drawn = resampled_totals(statistics, groups, draws, seed)

    def estimate(self, name: str) -> Estimate:
        """Pooled RMSE with its 95 % percentile interval."""
        return _estimate(self._rmse(self._totals, name), self._rmse(self._drawn, name))

    def difference(self, minuend: str, subtrahend: str) -> Estimate:
        """RMSE of one less RMSE of the other, with the interval of the difference on the same draws."""
        value, drawn = (
            self._rmse(totals, minuend) - self._rmse(totals, subtrahend) for totals in (self._totals, self._drawn)
        )
        return _estimate(value, drawn)

    def _rmse(self, totals: np.ndarray, name: str) -> np.ndarray:
        return np.sqrt(totals[..., self._columns[name]] / totals[..., -1])


def _estimate(value: np.ndarray, drawn: np.ndarray) -> Estimate:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))


def resampled_totals(statistics: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """`kit.metrics.resample_counts(groups, draws, seed) @ statistics`, without that matrix.

    Args:
        statistics: `(P, S)` float64.
    """
    _, inverse = np.unique(groups, return_inverse=True)
    size = int(inverse.max()) + 1
    by_group = np.zeros((size, statistics.shape[1]))
    np.add.at(by_group, inverse, statistics)
    rng = np.random.default_rng(seed)
    totals = np.empty((draws, statistics.shape[1]))
    share = np.full(size, 1.0 / size)
    for start in range(0, draws, _DRAWS_AT_ONCE):
        counts = rng.multinomial(size, share, size=min(_DRAWS_AT_ONCE, draws - start))
        totals[start : start + len(counts)] = counts.astype(np.float64) @ by_group
    return totals


def residual_correlation(gram: ResidualGram) -> np.ndarray:
    """`(K, K)`, correlation of the members' residuals about their means; 0 for a member whose residual is constant."""
    n = float(gram.counts.sum())
    sums = gram.sums.sum(axis=0)
    covariance = pooled(gram) / n - np.outer(sums, sums) / n**2
    deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    scale = np.outer(deviation, deviation)
    tiny = 1e-12 * float(np.trace(pooled(gram))) / n / len(sums)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > tiny)
    np.fill_diagonal(correlation, 1.0)
    return np.clip(correlation, -1.0, 1.0)
