"""Weights by the competition's own metric, where least squares are not the best by it. Knows arrays, and no files.

All start from those of least squares and are found on the photos of given folds alone:

    PSNR by photo   on the Grams: each photo counts by one over its own squared error, again and again. The logarithm
                    lies below its tangents, so no step makes it worse (majorisation; Hunter and Lange 2004, The
                    American Statistician 58, 30-37)
    MAE             on a sample of pixels: each counts by one over its own error (Schlossmacher 1973, JASA 68, 857-859)
    pictures        on a sample of photos, by BFGS with differences for gradients: SSIM has no such short way
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.weights.linear import Solve, SolveOn, basis_of
from kit.imaging.metrics import Metric

STEPS = 30
_SAME = 1e-7  # change of weights below which they stand
_SMALLEST = 1e-4  # of the mean error: an error below counts as that, or one pixel would count for all
_STEPS_OF_PICTURES = 6


class Improve(Protocol):
    """A way to better weights by the photos of some folds."""

    def __call__(self, weights: np.ndarray, folds: Sequence[int], members: np.ndarray) -> np.ndarray:
        """Return better weights `(K',)` of these members, sum one."""


@dataclass(frozen=True)
class DirectSolver:
    """Weights that start from another solver's and are then bettered; one term, no intercept."""

    start: Solve | SolveOn
    improve: Improve

    def on(self, moments_of_folds: np.ndarray, folds: Sequence[int], members: np.ndarray) -> np.ndarray:
        """Return coefficients `(1, K' + 1)`, see `kit.blending.weights.linear.Regression`."""
        assert not isinstance(self.start, SolveOn)
        weights = self.start(moments_of_folds)[0, :-1]
        if len(weights) > 1:
            weights = self.improve(weights, folds, members)
        return np.append(weights, 0.0)[None]


@dataclass(frozen=True)
class BestByMetric:
    """Takes the one member that is best on the photos of the folds."""

    errors: np.ndarray
    """`(P, K)`, as `Metric.statistics` takes them."""
    counts: np.ndarray
    fold: np.ndarray
    metric: Metric

    def __call__(self, weights: np.ndarray, folds: Sequence[int], members: np.ndarray) -> np.ndarray:
        """See `Improve`."""
        rows = np.isin(self.fold, folds)
        scores = []
        for member in members:
            above, below = self.metric.statistics(self.errors[rows, member], self.counts[rows])
            scores.append(float(self.metric.value(above.sum(), below.sum())))
        best = np.argmax(scores) if self.metric.higher_is_better else np.argmin(scores)
        return np.asarray(np.eye(len(members))[int(best)])


@dataclass(frozen=True)
class ByDecibels:
    """PSNR by photo."""

    gram: ResidualGram
    fold: np.ndarray

    def __call__(self, weights: np.ndarray, folds: Sequence[int], members: np.ndarray) -> np.ndarray:
        """See `Improve`."""
        rows = np.isin(self.fold, folds) & (self.gram.counts > 0)
        products = self.gram.products[rows][:, members[:, None], members]
        floor = 1e-10 * self.gram.counts[rows]  # 100 dB, the most there is

        def weighted(weights: np.ndarray) -> np.ndarray:
            sse = np.maximum(np.einsum("pkl,k,l->p", products, weights, weights), floor)
            return np.asarray(np.einsum("pkl,p->kl", products, 1.0 / sse))

        return _repeated(weighted, weights)


@dataclass(frozen=True)
class ByAbsolutes:
    """Mean absolute error, on a sample of hidden values."""

    residuals: np.ndarray
    """`(N, K)` float32, in score space."""
    fold: np.ndarray
    """`(N,)`."""

    def __call__(self, weights: np.ndarray, folds: Sequence[int], members: np.ndarray) -> np.ndarray:
        """See `Improve`."""
        residuals = self.residuals[np.isin(self.fold, folds)][:, members].astype(np.float64)
        if not len(residuals):
            return weights

        def weighted(weights: np.ndarray) -> np.ndarray:
            size = np.abs(residuals @ weights)
            counted = 1.0 / np.maximum(size, _SMALLEST * max(float(size.mean()), 1e-12))
            return np.asarray((residuals * counted[:, None]).T @ residuals)

        return _repeated(weighted, weights)


@dataclass(frozen=True)
class ByPictures:
    """A score of whole pictures, on a sample of photos."""

    score: Callable[[int, np.ndarray], float]
    """`(row of the sample, values (n, 3) in pixel space)` to the photo's score."""
    values: Sequence[np.ndarray]
    """Of each photo `(K, n, 3)` float16."""
    fold: np.ndarray
    """`(S,)`."""
    sign: float
    """1 where lower is better, else -1."""

    def __call__(self, weights: np.ndarray, folds: Sequence[int], members: np.ndarray) -> np.ndarray:
        """See `Improve`."""
        from scipy.optimize import minimize  # takes a while to import

        rows = np.flatnonzero(np.isin(self.fold, folds))
        if not len(rows):
            return weights
        basis = basis_of(len(weights))[:-1, 1:-1]
        stacks = [self.values[int(row)][members].astype(np.float32) for row in rows]

        def cost(step: np.ndarray) -> float:
            mixed = (weights + basis @ step).astype(np.float32)
            scores = (self.score(int(row), np.tensordot(mixed, one, 1)) for row, one in zip(rows, stacks, strict=True))
            return self.sign * float(np.mean(list(scores)))

        start = np.zeros(basis.shape[1])
        options = {"maxiter": _STEPS_OF_PICTURES, "eps": 1e-3}
        found = minimize(cost, start, method="L-BFGS-B", options=options)
        return np.asarray(weights + basis @ found.x) if found.fun < cost(start) else weights


def _repeated(weighted: Callable[[np.ndarray], np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Minimise `w^T G w` over weights that sum to one, where G depends on the last weights, until they stand."""
    basis = basis_of(len(weights))[:-1, 1:-1]
    for _ in range(STEPS):
        G = weighted(weights)
        Q = basis.T @ G @ basis
        Q += 1e-9 * float(np.trace(Q)) * np.eye(len(Q))  # members that are the same
        better = weights - basis @ np.linalg.solve(Q, basis.T @ G @ weights)
        done = float(np.abs(better - weights).max()) < _SAME
        weights = better
        if done:
            break
    return weights
