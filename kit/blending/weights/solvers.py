"""Weights from a Gram alone. Knows neither pixels nor photos nor files.

Every solver takes `G` `(K, K)`, symmetric positive semidefinite, and gives weights `(K,)` that sum to one.
A new one is a function and a row in `SOLVERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Solver = Callable[[np.ndarray], np.ndarray]


def best_single(G: np.ndarray) -> np.ndarray:
    """Put all weight on the member with the least error; the first of equals."""
    weights = np.zeros(len(G))
    weights[int(np.argmin(np.diagonal(G)))] = 1.0
    return weights


def mean(G: np.ndarray) -> np.ndarray:
    """Return equal weights."""
    return np.full(len(G), 1.0 / len(G))


def simplex(G: np.ndarray) -> np.ndarray:
    """Return the minimiser of `w^T G w` over `w >= 0, sum w = 1`; exact, also for singular G.

    With `G = R^T R` it is the point of least norm in the convex hull of R's columns. Lawson and Hanson (1974, ch. 23):
    minimise `|R u|^2 + (sum u - 1)^2` over `u >= 0` by NNLS, then `w = u / sum u`. For any `u = t w` the objective is
    `t^2 w^T G w + (t - 1)^2`, so the best `w` is the same for every t. Columns are scaled to norm 1 before: a member
    a thousand times worse than the rest must not cost the rest their digits.
    """
    from scipy.optimize import nnls  # takes a while to import

    diagonal = np.diagonal(G)
    if diagonal.min() <= 0.0:  # a perfect member, or several
        perfect = diagonal <= 0.0
        return np.asarray(perfect / perfect.sum())
    scale = 1.0 / np.sqrt(diagonal)
    values, vectors = np.linalg.eigh(G * np.outer(scale, scale))
    R = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    A = np.vstack([R, scale / scale.max()])
    b = np.zeros(len(A))
    b[-1] = 1.0
    v, _ = nnls(A, b, maxiter=100 * len(A))
    u = v * (scale / scale.max())
    return np.asarray(u / u.sum())


@dataclass(frozen=True)
class HillClimb:
    """A greedy selection with replacement."""

    weights: np.ndarray
    """`(K,)`, of the best prefix."""
    picks: tuple[int, ...]
    """The member taken at each step, all steps."""
    errors: tuple[float, ...]
    """`w^T G w` after each step."""
    best: int
    """How many steps the best prefix has."""


def climb(G: np.ndarray, steps: int = 100) -> HillClimb:
    """Take, again and again, the member that lowers the error of the average most (Caruana et al. 2004).

    With replacement: a member taken twice counts twice. Ties go to members already in, then to the first, and the
    shortest best prefix is kept.
    """
    K = len(G)
    taken = np.zeros(K)
    product, square = np.zeros(K), 0.0  # G @ taken, taken^T G taken
    picks: list[int] = []
    errors: list[float] = []
    least, best, weights = np.inf, 0, taken
    diagonal = np.diagonal(G)
    for step in range(1, steps + 1):
        candidates = (square + 2.0 * product + diagonal) / step**2
        ties = np.flatnonzero(candidates == candidates.min())
        pick = int(ties[np.argmax(taken[ties] > 0)])
        taken[pick] += 1.0
        square += 2.0 * product[pick] + diagonal[pick]
        product = product + G[:, pick]
        picks.append(pick)
        errors.append(float(candidates[pick]))
        if errors[-1] < least * (1.0 - 1e-12) or not best:  # less is rounding
            least, best, weights = errors[-1], step, taken / step
    return HillClimb(weights, tuple(picks), tuple(errors), best)


def hill_climb(G: np.ndarray) -> np.ndarray:
    """Return the weights of `climb`."""
    return climb(G).weights


BAGS, SHARE = 20, 0.5


def bagged(G: np.ndarray) -> np.ndarray:
    """Return the mean of `climb` over bags, each a random half of the members (Caruana, Munson and Niculescu-Mizil
    2006).

    The bags depend on the number of members alone.
    """
    K = len(G)
    rng = np.random.default_rng(K)
    size = max(1, round(SHARE * K))
    weights = np.zeros(K)
    for _ in range(BAGS):
        bag = np.sort(rng.choice(K, size, replace=False))
        weights[bag] += climb(G[np.ix_(bag, bag)]).weights
    return np.asarray(weights / weights.sum())


SOLVERS: dict[str, Solver] = {
    "single": best_single,
    "mean": mean,
    "hill-climb": hill_climb,
    "bagged": bagged,
    "simplex": simplex,
}
