"""Candidates: ways of finding weights, from the simplest to the richest. A new one is a row in `CANDIDATES`.

To people a candidate is a rung of a ladder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.weights.features import ONE, PhotoFeatures, Term, feature_terms, region_terms, term_values
from kit.blending.weights.linear import Regression, RidgeSolver, Solve, SolveOn, unregularised
from kit.blending.weights.mixing import PIXELS, WeightModel
from kit.blending.weights.solvers import SOLVERS

Terms = Callable[[PhotoFeatures, np.ndarray], tuple[Term, ...]]
"""Features of the photos and `(P, R)` counts to the terms of a design."""


@dataclass(frozen=True)
class Candidate:
    """One way of finding weights."""

    name: str
    summary: str
    solve: Solve | SolveOn
    terms: Terms = lambda features, counts: (Term(ONE),)
    compared_only: bool = False
    """Never selected: another candidate gives the same more exactly."""


CANDIDATES = {
    candidate.name: candidate
    for candidate in (
        Candidate("single", "the best source alone", unregularised(SOLVERS["single"])),
        Candidate("mean", "equal weights", unregularised(SOLVERS["mean"])),
        Candidate(
            "hill-climb", "greedy selection (Caruana 2004)", unregularised(SOLVERS["hill-climb"]), compared_only=True
        ),
        Candidate(
            "bagged", "greedy selection in bags (Caruana 2006)", unregularised(SOLVERS["bagged"]), compared_only=True
        ),
        Candidate("simplex", "the best positive weights, exactly", unregularised(SOLVERS["simplex"])),
        Candidate("ridge", "weights of any sign, shrunk toward equal ones", RidgeSolver(intercept=False)),
        Candidate("intercept", "ridge, and a constant", RidgeSolver(intercept=True)),
        Candidate(
            "features",
            "weights linear in depth, channel, class, size and contrast",
            RidgeSolver(intercept=True),
            feature_terms,
        ),
        Candidate(
            "regions",
            "weights for each ring and channel, shrunk to common ones",
            RidgeSolver(intercept=True),
            lambda features, counts: region_terms(counts.shape[1]),
        ),
    )
}
STACK = "stack"
"""The last candidate, where a stacking network has been trained on the members: it is one member more."""
STACK_CANDIDATE = Candidate(
    STACK,
    "regions, with a stacking network as one member more",
    RidgeSolver(intercept=True),
    lambda features, counts: region_terms(counts.shape[1]),
)
DIRECT = "direct"
"""After ridge, where the metric is another than RMSE or MSE: `kit.blending.weights.direct`."""
DIRECT_CANDIDATE = Candidate(DIRECT, "weights by the competition's own metric", RidgeSolver(intercept=False))
AUTO = "auto"


def candidate_named(name: str) -> Candidate:
    """Look a candidate up."""
    return {STACK: STACK_CANDIDATE, DIRECT: DIRECT_CANDIDATE}.get(name) or CANDIDATES[name]


@dataclass(frozen=True)
class Design:
    """A candidate's terms on its Gram, cut into folds."""

    candidate: Candidate
    terms: tuple[Term, ...]
    regression: Regression

    def model(self, coefficients: np.ndarray) -> WeightModel:
        """Return these coefficients as data."""
        rows = tuple(tuple(float(number) for number in row) for row in coefficients)
        return WeightModel(PIXELS, self.regression.values.shape[1], self.terms, rows)


class Designs:
    """The designs of all candidates on one set of photos; those with the same terms are made once."""

    def __init__(self, gram: ResidualGram, features: PhotoFeatures, fold: np.ndarray) -> None:
        """
        Args:
            features: of the Gram's photos.
            fold: `(P,)` int.
        """
        self._gram, self._features, self._fold = gram, features, fold
        self._made: dict[tuple[Term, ...], Regression] = {}

    def of(self, candidate: Candidate) -> Design:
        """Return the design of one candidate."""
        terms = candidate.terms(self._features, self._gram.region_counts)
        if terms not in self._made:
            values = term_values(terms, self._features, self._gram.by_region.shape[1])
            self._made[terms] = Regression(self._gram, self._fold, values)
        return Design(candidate, terms, self._made[terms])
