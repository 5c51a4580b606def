"""Fitted weights as data, and how they mix a photo's members. Knows no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.blending.weights.features import ONE, PhotoFeatures, Term, term_values
from kit.data.index import PhotoRow
from kit.imaging.holes import RINGS, rings_of

PIXELS = "pixels"


@dataclass(frozen=True)
class WeightModel:
    """Weights linear in terms: all that blending another photo takes."""

    domain: str
    """`pixels`: a region is a ring of distance and a channel. There is no other."""
    regions: int
    terms: tuple[Term, ...]
    coefficients: tuple[tuple[float, ...], ...]
    """`(J, K + 1)`: for each term a weight of each member, and the intercept in score space."""

    @property
    def array(self) -> np.ndarray:
        """Return the coefficients, `(J, K + 1)` float64."""
        return np.array(self.coefficients, np.float64)

    @property
    def used(self) -> list[int]:
        """Return the members with a weight somewhere."""
        return [int(k) for k in np.flatnonzero(np.abs(self.array[:, :-1]).max(axis=0))]

    @property
    def is_plain(self) -> bool:
        """Return whether there is one weight a member and no intercept: the same everywhere."""
        return len(self.terms) == 1 and not self.coefficients[0][-1]

    def by_region(self, features: PhotoFeatures) -> np.ndarray:
        """Return weights and intercept of each photo and region, `(P, R, K + 1)`."""
        return np.asarray(term_values(self.terms, features, self.regions) @ self.array)

    def mean_weights(self, features: PhotoFeatures, counts: np.ndarray) -> np.ndarray:
        """Return `(K,)`, each member's weight on average over these photos' values; sums to one.

        Args:
            counts: `(P, R)` values.
        """
        if self.is_plain:
            return self.array[0, :-1]
        shares = counts / counts.sum()
        return np.asarray(np.einsum("pr,prk->k", shares, self.by_region(features))[:-1])


def plain_model(weights: Sequence[float] | np.ndarray) -> WeightModel:
    """Return a model with one weight a member."""
    return WeightModel(PIXELS, 1, (Term(ONE),), (tuple(float(weight) for weight in [*weights, 0.0]),))


def mix(
    model: WeightModel,
    coefficients: np.ndarray,
    values: np.ndarray,
    photo_row: PhotoRow,
    features: PhotoFeatures,
    span: np.ndarray,
) -> np.ndarray:
    """Blend one photo, `(n, 3)` float64 RGB; may leave [0, 1].

    In pixel space, which is the same as in score space: all members share the photo's value range, the weights sum to
    one, and an intercept is stretched back.

    Args:
        coefficients: `(J, K + 1)`, the model's own, or those of a fold.
        values: `(K, n, 3)` float32, or float16 as stored, RGB in [0, 1].
        features: of this one photo.
        span: `(3,)`, highest less lowest value of each channel, as estimated for the photo.
    """
    from kit.blending.grams.kernel import HALVES  # numba takes a while to import
    from kit.blending.weights.kernel import mix_levels, numbers_of

    weights = _by_level(model, coefficients, features)
    if values.dtype == np.float16:
        values = numbers_of(values.view(np.uint16), HALVES)
    levels = np.zeros(values.shape[1], np.uint8)
    if len(weights) > 1:
        levels = rings_of(photo_row.boxes, photo_row.height, photo_row.width)
    return np.asarray(mix_levels(values, levels, np.ascontiguousarray(weights[..., :-1]), weights[..., -1] * span))


def _by_level(model: WeightModel, coefficients: np.ndarray, features: PhotoFeatures) -> np.ndarray:
    """Return one photo's weights and intercept, `(L, 3, K + 1)` by level and channel; one level if all are the same."""
    weights = coefficients
    if len(coefficients) > 1:
        weights = (term_values(model.terms, features, model.regions) @ coefficients)[0]
    if len(weights) == 1:
        weights = np.repeat(weights, 3, axis=0)
    return weights.reshape(-1, 3, weights.shape[-1])


def checked_model(model: WeightModel, members: int) -> WeightModel:
    """Return the model itself, if it can be one.

    Raises:
        ValueError: wrong shapes, values that are not finite, or weights that do not sum to one.
    """
    array = model.array
    if array.shape != (len(model.terms), members + 1) or not np.isfinite(array).all():
        raise ValueError(f"coefficients of shape {array.shape} for {len(model.terms)} terms and {members} members")
    sums = array[:, :-1].sum(axis=1)
    if model.terms[0] != Term(ONE) or abs(sums[0] - 1) > 1e-6 or np.abs(sums[1:]).max(initial=0.0) > 1e-6:
        raise ValueError(f"weights that sum to {sums.tolist()}")
    if model.domain != PIXELS or model.regions not in (1, 3 * len(RINGS)):
        raise ValueError(f"{model.regions} regions of {model.domain}")
    return model
