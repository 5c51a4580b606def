"""Fitted weights as data, and how they mix a photo's members. Knows no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.blending.weights.features import ONE, Facts, Term, term_values
from kit.data.index import Sample
from kit.imaging.holes import RINGS, rings_of

PIXELS = "pixels"


@dataclass(frozen=True)
class Recipe:
    """Weights linear in terms: everything that is needed to blend another photo."""

    domain: str
    """`pixels`: a region is a ring of distance and a channel. There is no other."""
    regions: int
    terms: tuple[Term, ...]
    coefficients: tuple[tuple[float, ...], ...]
    """`(J, K + 1)`: for each term a weight of each member, and the intercept in score space."""

    @property
    def array(self) -> np.ndarray:
        """The coefficients, `(J, K + 1)` float64."""
        return np.array(self.coefficients, np.float64)

    @property
    def used(self) -> list[int]:
        """Members with a weight somewhere."""
        return [int(k) for k in np.flatnonzero(np.abs(self.array[:, :-1]).max(axis=0))]

    @property
    def is_plain(self) -> bool:
        """One weight a member and no intercept: the same everywhere."""
        return len(self.terms) == 1 and not self.coefficients[0][-1]

    def by_region(self, facts: Facts) -> np.ndarray:
        """Weights and intercept of each photo and region, `(P, R, K + 1)`."""
        return np.asarray(term_values(self.terms, facts, self.regions) @ self.array)

    def mean_weights(self, facts: Facts, counts: np.ndarray) -> np.ndarray:
        """`(K,)`, each member's weight on average over these photos' values; sums to one.

        Args:
            counts: `(P, R)` values.
        """
        if self.is_plain:
            return self.array[0, :-1]
        shares = counts / counts.sum()
        return np.asarray(np.einsum("pr,prk->k", shares, self.by_region(facts))[:-1])


def plain_recipe(weights: Sequence[float] | np.ndarray) -> Recipe:
    """One weight a member."""
    return Recipe(PIXELS, 1, (Term(ONE),), (tuple(float(weight) for weight in [*weights, 0.0]),))


def mix(
    recipe: Recipe, coefficients: np.ndarray, values: np.ndarray, sample: Sample, facts: Facts, span: np.ndarray
) -> np.ndarray:
    """Blend one photo, `(n, 3)` float64 RGB; may leave [0, 1].

    In pixel space, which is the same as in score space: all members share the photo's extremes, the weights sum to one,
    and an intercept is stretched back.

    Args:
        coefficients: `(J, K + 1)`, the recipe's own, or those of a fold.
        values: `(K, n, 3)` float32, or float16 as stored, RGB in [0, 1].
        facts: of this one photo.
        span: `(3,)`, highest less lowest value of each channel, as estimated for the photo.
    """
    from kit.blending.grams.kernel import HALVES  # numba takes a while to import
    from kit.blending.weights.kernel import mix_levels, numbers_of

    weights = _by_level(recipe, coefficients, facts)
    if values.dtype == np.float16:
        values = numbers_of(values.view(np.uint16), HALVES)
    levels = np.zeros(values.shape[1], np.uint8)
    if len(weights) > 1:
        levels = rings_of(sample.boxes, sample.height, sample.width)
    return np.asarray(mix_levels(values, levels, np.ascontiguousarray(weights[..., :-1]), weights[..., -1] * span))


def _by_level(recipe: Recipe, coefficients: np.ndarray, facts: Facts) -> np.ndarray:
    """One photo's weights and intercept, `(L, 3, K + 1)` by level and channel; one level where all are the same."""
    weights = coefficients
    if len(coefficients) > 1:
        weights = (term_values(recipe.terms, facts, recipe.regions) @ coefficients)[0]
    if len(weights) == 1:
        weights = np.repeat(weights, 3, axis=0)
    return weights.reshape(-1, 3, weights.shape[-1])


def checked_recipe(recipe: Recipe, members: int) -> Recipe:
    """The recipe itself, if it can be one.

    Raises:
        ValueError: wrong shapes, values that are not finite, or weights that do not sum to one.
    """
    array = recipe.array
    if array.shape != (len(recipe.terms), members + 1) or not np.isfinite(array).all():
        raise ValueError(f"coefficients of shape {array.shape} for {len(recipe.terms)} terms and {members} members")
    sums = array[:, :-1].sum(axis=1)
    if recipe.terms[0] != Term(ONE) or abs(sums[0] - 1) > 1e-6 or np.abs(sums[1:]).max(initial=0.0) > 1e-6:
        raise ValueError(f"weights that sum to {sums.tolist()}")
    if recipe.domain != PIXELS or recipe.regions not in (1, 3 * len(RINGS)):
        raise ValueError(f"{recipe.regions} regions of {recipe.domain}")
    return recipe
