"""Weights linear in terms: fitted by least squares on pooled Grams, shrunk by cross-validation. Knows no pixels.

The coefficients are `(J, K + 1)`: for each term a weight of each member, and an intercept in score space. The weights
of the first term, which is one everywhere, sum to one; those of every other term sum to zero, so that the weights sum
to one wherever they are looked at, and the residual Gram is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.weights.solvers import Solver

Solve = Callable[[np.ndarray], np.ndarray]
"""Moments of each training fold `(F, J, J, K + 1, K + 1)` to coefficients `(J, K + 1)`."""


@runtime_checkable
class SolveOn(Protocol):
    """A way to coefficients that asks for more of the training folds than their moments."""

    def on(self, moments_of_folds: np.ndarray, folds: Sequence[int], members: np.ndarray) -> np.ndarray:
        """Return coefficients `(J, K' + 1)`.

        Args:
            folds: numbers of the training folds.
            members: `(K',)`, which of the Gram's members are used.
        """


SHRINKAGE = (1e-6, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, np.inf)
"""Candidate penalties, in units of the members' mean squared difference from their mean; infinite: no such term."""
_UNTESTED = 0.3  # with one fold to fit on there is nothing to choose by


def moments(gram: ResidualGram, values: np.ndarray) -> np.ndarray:
    """Return the products of `term x residual`, with a constant as the last member: `(J, J, K + 1, K + 1)`.

    Args:
        values: `(P, R, J)`, the terms of the Gram's photos and regions.
    """
    J, K = values.shape[2], len(gram.members)
    flat = values.reshape(-1, J)
    pairs = (flat[:, :, None] * flat[:, None, :]).reshape(len(flat), J * J).T
    found = np.empty((J * J, K + 1, K + 1))
    found[:, :K, :K] = (pairs @ gram.by_region.reshape(len(flat), K * K)).reshape(-1, K, K)
    found[:, K, :K] = found[:, :K, K] = pairs @ gram.region_sums.reshape(len(flat), K)
    found[:, K, K] = pairs @ gram.region_counts.reshape(-1).astype(np.float64)
    return found.reshape(J, J, K + 1, K + 1)


def photo_errors(gram: ResidualGram, values: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the squared error of each photo by these coefficients, `(P,)` float64."""
    weights = values @ coefficients  # (P, R, K + 1)
    w, c = weights[..., :-1], weights[..., -1]
    if len(coefficients) == 1 and not coefficients[0, -1]:  # the same everywhere: no need of the regions
        w = np.ascontiguousarray(coefficients[0, :-1])
        return np.asarray(np.maximum(np.einsum("pk,k->p", gram.products @ w, w), 0.0))
    squares = np.einsum("prk,prk->pr", np.einsum("prkl,prl->prk", gram.by_region, w), w)
    linear = np.einsum("prk,prk->pr", gram.region_sums, w)
    return np.asarray(np.maximum((squares + 2.0 * c * linear + c**2 * gram.region_counts).sum(axis=1), 0.0))


def unregularised(solver: Solver) -> Solve:
    """Return a solver that knows the Gram alone: one term, no intercept."""

    def solve(moments_of_folds: np.ndarray) -> np.ndarray:
        G = moments_of_folds.sum(axis=0)[0, 0, :-1, :-1]
        return np.append(solver(G), 0.0)[None]

    return solve


@dataclass(frozen=True)
class RidgeSolver:
    """Least squares, shrunk in two steps: toward equal weights, and every term but the first toward none.

    How much is chosen by cross-validation over the training folds, which the scored fold is not one of. The penalties
    may be infinite: then the weights are equal, or the same for all regions and photos.
    """

    intercept: bool
    known: tuple[float, float] | None = None
    """The two penalties, where they are not to be chosen."""

    def __call__(self, moments_of_folds: np.ndarray) -> np.ndarray:
        problem = _Problem(moments_of_folds, self.intercept)
        equal, same = self.known or problem.penalties()
        return problem.coefficients({problem.first: equal, problem.others: same})

    def penalties(self, moments_of_folds: np.ndarray) -> tuple[float, float]:
        """Return those that cross-validation over these folds chooses."""
        return self.known or _Problem(moments_of_folds, self.intercept).penalties()

    def fixed(self, penalties: tuple[float, float]) -> RidgeSolver:
        """Return the same solver with these penalties."""
        return RidgeSolver(self.intercept, penalties)


@dataclass(frozen=True)
class _Block:
    """Variables with one penalty."""

    indices: tuple[int, ...]


class _Problem:
    """Least squares in unconstrained variables: for each term K - 1 differences of members, and the intercept."""

    def __init__(self, moments_of_folds: np.ndarray, intercept: bool) -> None:
        folds, J, _, size, _ = moments_of_folds.shape
        self.J, self.K, self.intercept = J, size - 1, intercept
        self.basis = basis_of(self.K)
        S = np.einsum("ka,fjlkm,mb->fjlab", self.basis, moments_of_folds, self.basis, optimize=True)
        used = range(1, self.K + (1 if intercept else 0))
        places = [(j, a) for j in range(J) for a in used]
        self.places = places
        first = [v for v, (j, _) in enumerate(places) if j == 0]
        self.first = _Block(tuple(v for v in first if places[v][1] < self.K))
        self.others = _Block(tuple(v for v, (j, _) in enumerate(places) if j > 0))
        j, a = np.array([p[0] for p in places], int), np.array([p[1] for p in places], int)
        self.Q = S[:, j[:, None], j, a[:, None], a]
        self.c = S[:, j, 0, a, 0]
        self.constant = S[:, 0, 0, 0, 0]
        # units of the penalties: what one standard unit of a variable does to the error
        pooled = S.sum(axis=0)[0, 0]
        differences = np.diagonal(pooled)[1 : self.K]
        unit = float(differences.mean()) if self.K > 1 else 0.0
        tiny = 1e-9 * float(pooled[self.K, self.K])
        self.units = np.where(a < self.K, max(unit, tiny), float(pooled[self.K, self.K]))
        self.folds = folds

    def penalties(self) -> tuple[float, float]:
        """Return those of the first term, and then of the others."""
        equal = self.best(self.first, {self.others: np.inf})
        return equal, self.best(self.others, {self.first: equal})

    def best(self, block: _Block, fixed: dict[_Block, float]) -> float:
        """Return the penalty of one block with the least error on folds left out in turn."""
        if not block.indices:
            return np.inf
        if self.folds < 2:
            return _UNTESTED
        # each fold left out in turn, each penalty: all systems at once
        Q, c = self.Q.sum(axis=0) - self.Q, self.c.sum(axis=0) - self.c
        errors = np.empty(len(SHRINKAGE))
        penalties = np.stack([self._penalty({**fixed, block: penalty}) for penalty in SHRINKAGE])
        for finite in (True, False):
            rows = np.flatnonzero(np.isfinite(penalties[:, block.indices[0]]) == finite)
            v = _solve(Q[:, None], c[:, None], penalties[rows][None] * self.units)
            left_out = 2.0 * np.einsum("fpv,fv->p", v, self.c) + np.einsum(
                "fpv,fvw,fpw->p", v, self.Q, v, optimize=True
            )
            errors[rows] = left_out
        # of equals the simplest
        slack = 1e-9 * float(self.constant.sum())
        return float(SHRINKAGE[int(np.flatnonzero(errors <= errors.min() + slack)[-1])])

    def _penalty(self, penalties: dict[_Block, float]) -> np.ndarray:
        penalty = np.full(len(self.places), 1e-9)
        for block, size in penalties.items():
            penalty[list(block.indices)] = size
        return penalty

    def coefficients(self, penalties: dict[_Block, float]) -> np.ndarray:
        """Return coefficients fitted on all training folds, `(J, K + 1)`."""
        v = _solve(self.Q.sum(axis=0), self.c.sum(axis=0), self._penalty(penalties) * self.units)
        found = np.zeros((self.J, self.K + 1))
        found[0] = self.basis[:, 0]
        for value, (j, a) in zip(v, self.places, strict=True):
            found[j] += value * self.basis[:, a]
        return found


def _solve(Q: np.ndarray, c: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Return `-(Q + diag penalties)^-1 c` for `(..., V)`; variables with an infinite penalty, the same ones in all, are
    0."""
    V = penalties.shape[-1]
    use = np.flatnonzero(np.isfinite(penalties.reshape(-1, V)[0])) if V else np.zeros(0, np.int64)
    shape = np.broadcast_shapes(c.shape, penalties.shape)
    v = np.zeros(shape)
    if len(use):
        A = Q[..., use[:, None], use] + penalties[..., use, None] * np.eye(len(use))
        v[..., use] = np.linalg.solve(A, np.broadcast_to(-c, shape)[..., use, None])[..., 0]
    return v


def basis_of(K: int) -> np.ndarray:
    """Return `(K + 1, K + 1)`: equal weights; K - 1 orthonormal directions whose weights sum to zero; the intercept."""
    basis = np.zeros((K + 1, K + 1))
    basis[:K, 0] = 1.0 / K
    for a in range(1, K):  # Helmert's contrasts
        basis[:a, a] = 1.0
        basis[a, a] = -a
        basis[:, a] /= np.sqrt(a * (a + 1.0))
    basis[K, K] = 1.0
    return basis


@dataclass(frozen=True)
class Nested:
    """A way of finding weights, scored by cross-validation over the folds that the photos already have."""

    folds: tuple[int, ...]
    coefficients: np.ndarray
    """`(len(folds), J, K + 1)`, fitted on the photos of all other folds."""
    sse: np.ndarray
    """`(P,)` float64, each photo's squared error by the coefficients that never saw its fold."""


class Regression:
    """One design, terms on a Gram, cut into folds; solves are then cheap."""

    def __init__(self, gram: ResidualGram, fold: np.ndarray, values: np.ndarray) -> None:
        """
        Args:
            fold: `(P,)` int, the fold of each of the Gram's photos.
            values: `(P, R, J)`, the terms; the first is one everywhere.
        """
        self.gram, self.fold, self.values = gram, fold, values
        self.folds = tuple(int(number) for number in np.unique(fold))
        self.moments = np.stack(
            [moments(gram.of_rows(fold == number), values[fold == number]) for number in self.folds]
        )

    def fit(self, solve: Solve | SolveOn, members: Sequence[int] | None = None) -> np.ndarray:
        """Return coefficients from all photos, `(J, K + 1)`; those of members not used are 0."""
        return self._fit(solve, list(range(len(self.folds))), members)

    def run(self, solve: Solve | SolveOn, members: Sequence[int] | None = None) -> Nested:
        """Return nested coefficients and errors."""
        found = []
        sse = np.empty(len(self.gram))
        for position, number in enumerate(self.folds):
            others = [other for other in range(len(self.folds)) if other != position]
            found.append(self._fit(solve, others, members))
            rows = self.fold == number
            sse[rows] = photo_errors(self.gram.of_rows(rows), self.values[rows], found[-1])
        return Nested(self.folds, np.stack(found), sse)

    def _fit(self, solve: Solve | SolveOn, folds: list[int], members: Sequence[int] | None) -> np.ndarray:
        K = len(self.gram.members)
        use = np.array([*(range(K) if members is None else members), K])
        small = self.moments[folds][..., use[:, None], use]
        coefficients = np.zeros((self.values.shape[2], K + 1))
        if isinstance(solve, SolveOn):
            coefficients[:, use] = solve.on(small, [self.folds[one] for one in folds], use[:-1])
        else:
            coefficients[:, use] = solve(small)
        return coefficients
