"""Intervals of scores. Knows squared errors by photo, and groups of near duplicates; knows no weights.

The sample is photos, or groups of near duplicates, never pixels: intervals come from drawing whole groups with
replacement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kit.blending.grams.residual_gram import ResidualGram
from kit.imaging.metrics import RMSE, Estimate, Metric, draw_counts, interval

DRAWS = 1000
_DRAWS_AT_ONCE = 50  # counts of so many draws are in memory: it must not grow with draws times photos


def pooled(gram: ResidualGram, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Return `(K, K)`, the Gram of these rows together."""
    return np.asarray(gram.products[rows].sum(axis=0))


class Bootstrap:
    """Resampled squared errors of several weightings on the same draws, so that their differences are paired."""

    def __init__(
        self,
        sse: dict[str, np.ndarray],
        counts: np.ndarray,
        groups: np.ndarray,
        *,
        metric: Metric = RMSE,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        """
        Args:
            sse: for each name `(P,)` squared errors by photo.
            counts: `(P,)` values behind each.
            groups: `(P,)` int, near duplicates share a number and are drawn together.
            metric: what is made of them.
        """
        self._metric = metric
        self._columns = {name: column for column, name in enumerate(sse)}
        parts = [metric.statistics(errors, counts) for errors in sse.values()]
        statistics = np.column_stack([*(above for above, _ in parts), parts[0][1]])
        self._totals = statistics.sum(axis=0)
        self._drawn = resampled_totals(statistics, groups, draws, seed)
        self._groups = len(np.unique(groups))

    def estimate(self, name: str) -> Estimate:
        """Return the score with its 95 % percentile interval."""
        value, drawn = self._score(self._totals, name), self._score(self._drawn, name)
        return interval(value, drawn, self._groups, least=self._metric.least, most=self._metric.most)

    def difference(self, minuend: str, subtrahend: str) -> Estimate:
        """Return by how much the second is better than the first, RMSE of one less RMSE of the other, with the interval
        of the difference on the same draws."""
        value, drawn = (
            self._metric.gain(self._score(totals, minuend), self._score(totals, subtrahend))
            for totals in (self._totals, self._drawn)
        )
        return interval(value, drawn, self._groups)

    def _score(self, totals: np.ndarray, name: str) -> np.ndarray:
        return self._metric.value(totals[..., self._columns[name]], totals[..., -1])


def resampled_totals(statistics: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return `kit.imaging.metrics.resample_counts(groups, draws, seed) @ statistics`, without that matrix.

    Args:
        statistics: `(P, S)` float64.
    """
    _, inverse = np.unique(groups, return_inverse=True)
    size = int(inverse.max()) + 1
    by_group = np.zeros((size, statistics.shape[1]))
    np.add.at(by_group, inverse, statistics)
    rng = np.random.default_rng(seed)
    totals = np.empty((draws, statistics.shape[1]))
    for start in range(0, draws, _DRAWS_AT_ONCE):
        counts = draw_counts(rng, size, min(_DRAWS_AT_ONCE, draws - start))
        totals[start : start + len(counts)] = counts @ by_group
    return totals


def residual_correlation(gram: ResidualGram) -> np.ndarray:
    """Return `(K, K)`, the correlation of the members' residuals about their means; 0 where one is constant."""
    n = float(gram.counts.sum())
    sums = gram.sums.sum(axis=0)
    covariance = pooled(gram) / n - np.outer(sums, sums) / n**2
    deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    scale = np.outer(deviation, deviation)
    tiny = 1e-12 * float(np.trace(pooled(gram))) / n / len(sums)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > tiny)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(np.clip(correlation, -1.0, 1.0))


@dataclass(frozen=True)
class Leaderboard:
    """The score to expect on the leaderboard, and its uncertainty."""

    photos: int
    """Test photos."""
    score: Estimate
    """The score after clipping, with the 95 % interval in which the score of that many new photos falls."""
    sampling: float
    """Half of that interval if CV were known exactly: which photos the test has."""
    estimation: float
    """Half of the 95 % interval of CV itself: which photos the training has."""
    extremes: Estimate
    """What unknown value ranges cost: the score less that with the photos' true ones, with the interval as above."""


def leaderboard(
    sse: np.ndarray,
    known: np.ndarray,
    counts: np.ndarray,
    groups: np.ndarray,
    photos: int,
    *,
    metric: Metric = RMSE,
    seed: int = 0,
    draws: int = DRAWS,
) -> Leaderboard:
    """Expect the score of `photos` new photos like these.

    Each draw resamples the groups, which is how well these photos tell of all photos, and then so many photos from
    what was drawn, which is what another test set would have been.

    Args:
        sse: `(P,)` squared errors by photo as a submission makes them.
        known: `(P,)`, the same with the true value ranges.
    """
    own_parts, known_parts = metric.statistics(sse, counts), metric.statistics(known, counts)
    statistics = np.column_stack([own_parts[0], known_parts[0], own_parts[1]])
    total = statistics.sum(axis=0)
    rng = np.random.default_rng([seed, photos])
    _, inverse, size = np.unique(groups, return_inverse=True, return_counts=True)
    own, both, alone = np.empty((draws, 2)), np.empty((draws, 2)), np.empty(draws)
    for draw in range(draws):
        weight = np.bincount(rng.integers(0, len(size), len(size)), minlength=len(size))[inverse]
        own[draw] = _two_scores(weight @ statistics, metric)
        upto = np.cumsum(weight)
        another = np.searchsorted(upto, rng.integers(0, upto[-1], photos), side="right")
        both[draw] = _two_scores(statistics[another].sum(axis=0), metric)
        alone[draw] = _two_scores(statistics[rng.integers(0, len(sse), photos)].sum(axis=0), metric)[0]
    value, value_known = _two_scores(total, metric)
    return Leaderboard(
        photos,
        interval(value, both[:, 0], len(size), least=metric.least, most=metric.most),
        _half(alone),
        _half(own[:, 0]),
        interval(metric.gain(value, value_known), metric.gain(both[:, 0], both[:, 1]), len(size)),
    )


def _two_scores(totals: np.ndarray, metric: Metric) -> np.ndarray:
    return metric.value(totals[:2], totals[2])


def _half(drawn: np.ndarray) -> float:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(high - low) / 2.0
