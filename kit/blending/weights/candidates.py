"""The rungs of the ladder: ways of finding weights, from the simplest to the richest. A new one is a row in `RUNGS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.weights.features import ONE, Facts, Term, feature_terms, region_terms, term_values
from kit.blending.weights.linear import Regression, Shrunk, Solve, of_gram
from kit.blending.weights.mixing import PIXELS, Recipe
from kit.blending.weights.solvers import SOLVERS

Terms = Callable[[Facts, np.ndarray], tuple[Term, ...]]
"""Facts of the photos and `(P, R)` counts to the terms of a design."""


@dataclass(frozen=True)
class Rung:
    """One way of finding weights."""

    name: str
    summary: str
    solve: Solve
    terms: Terms = lambda facts, counts: (Term(ONE),)
    compared_only: bool = False
    """Not on the ladder: a rung that is there gives the same more exactly."""


RUNGS = {
    rung.name: rung
    for rung in (
        Rung("single", "the best source alone", of_gram(SOLVERS["single"])),
        Rung("mean", "equal weights", of_gram(SOLVERS["mean"])),
        Rung("hill-climb", "greedy selection (Caruana 2004)", of_gram(SOLVERS["hill-climb"]), compared_only=True),
        Rung("bagged", "greedy selection in bags (Caruana 2006)", of_gram(SOLVERS["bagged"]), compared_only=True),
        Rung("simplex", "the best positive weights, exactly", of_gram(SOLVERS["simplex"])),
        Rung("ridge", "weights of any sign, shrunk toward equal ones", Shrunk(intercept=False)),
        Rung("intercept", "ridge, and a constant", Shrunk(intercept=True)),
        Rung(
            "features",
            "weights linear in depth, channel, class, size and contrast",
            Shrunk(intercept=True),
            feature_terms,
        ),
        Rung(
            "regions",
            "weights for each ring and channel, shrunk to common ones",
            Shrunk(intercept=True),
            lambda facts, counts: region_terms(counts.shape[1]),
        ),
    )
}
STACK = "stack"
"""The last rung, where a stacking network has been trained on the members: it is one member more."""
STACK_RUNG = Rung(
    STACK,
    "regions, with a stacking network as one member more",
    Shrunk(intercept=True),
    lambda facts, counts: region_terms(counts.shape[1]),
)
AUTO = "auto"


def rung_named(name: str) -> Rung:
    """Look a rung up."""
    return STACK_RUNG if name == STACK else RUNGS[name]


@dataclass(frozen=True)
class Design:
    """A rung's terms on its Gram, cut into folds."""

    rung: Rung
    terms: tuple[Term, ...]
    regression: Regression

    def recipe(self, coefficients: np.ndarray) -> Recipe:
        """These coefficients as data."""
        rows = tuple(tuple(float(number) for number in row) for row in coefficients)
        return Recipe(PIXELS, self.regression.values.shape[1], self.terms, rows)


class Designs:
    """The designs of all rungs on one set of photos; those with the same terms are made once."""

    def __init__(self, gram: ResidualGram, facts: Facts, fold: np.ndarray) -> None:
        """
        Args:
            facts: of the Gram's photos.
            fold: `(P,)` int.
        """
        self._gram, self._facts, self._fold = gram, facts, fold
        self._made: dict[tuple[Term, ...], Regression] = {}

    def of(self, rung: Rung) -> Design:
        """The design of one rung."""
        terms = rung.terms(self._facts, self._gram.region_counts)
        if terms not in self._made:
            values = term_values(terms, self._facts, self._gram.by_region.shape[1])
            self._made[terms] = Regression(self._gram, self._fold, values)
        return Design(rung, terms, self._made[terms])
