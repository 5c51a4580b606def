"""The mean of samples drawn toward a classical fill: `fill + w * blur(mean - fill)`. Knows arrays and sums.

A generator's mean is wrong in its details first: what it adds to the fill is worth most at low frequencies and less
than it claims. One blur (a Gaussian's sigma in pixels) and one weight w say how much; for each blur w is the exact
least squares solution, and sums over photos are all it takes. Fitted on other folds than it predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kit.imaging.holes import Box, cut_boxes, scored_pixels

SIGMAS = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
"""Pixels of the photo; 0 is no blur."""


@dataclass(frozen=True)
class ShrinkToFill:
    """A fitted fill, blur and weight."""

    fill: str
    sigma: float
    weight: float

    def __call__(self, mean: np.ndarray, fill: np.ndarray, boxes: Sequence[Box], height: int, width: int) -> np.ndarray:
        """Return `(n, 3)` float32 from the samples' mean and the fill, both `(n, 3)` in the order of scored pixels."""
        (smooth,) = blurred(mean - fill, boxes, height, width, (self.sigma,))
        return np.asarray(fill + np.float32(self.weight) * smooth)


def blurred(
    difference: np.ndarray, boxes: Sequence[Box], height: int, width: int, sigmas: Sequence[float] = SIGMAS
) -> np.ndarray:
    """Blur a difference on the scored pixels, 0 on known ones, over the photo: `(sigmas, n, 3)` float32.

    The zeros outside draw it to nothing at the hole's border, where the fill knows better.
    """
    photo = np.zeros((height, width, 3), np.float32)
    photo[scored_pixels(boxes)] = difference
    found = [photo if sigma == 0 else cv2.GaussianBlur(photo, (0, 0), sigma) for sigma in sigmas]
    return np.stack([cut_boxes(one, boxes) for one in found])


@dataclass(frozen=True)
class Sums:
    """Sums over the values of one photo or of many, in score space: all that a fit needs."""

    smooth: np.ndarray
    """`(sigmas,)` sum of blurred difference squared."""
    cross: np.ndarray
    """`(sigmas,)` sum of blurred difference times (truth - fill)."""
    fill: float
    """Sum of (truth - fill) squared."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.smooth + other.smooth, self.cross + other.cross, self.fill + other.fill)

    def squared_errors(self, weights: np.ndarray) -> np.ndarray:
        """Return `(sigmas,)` squared error with a weight for each blur."""
        return np.asarray(self.fill - 2 * weights * self.cross + weights**2 * self.smooth)


def photo_sums(smooth: np.ndarray, missing: np.ndarray, scale: np.ndarray) -> Sums:
    """Return the sums of one photo.

    Args:
        smooth: `(sigmas, n, 3)` blurred differences.
        missing: `(n, 3)` truth minus fill, in score space.
        scale: `(3,)` by how much score space stretches each channel of a prediction.
    """
    scaled = smooth.astype(np.float64) * scale
    return Sums(
        np.einsum("snc,snc->s", scaled, scaled),
        np.einsum("snc,nc->s", scaled, missing),
        float(np.vdot(missing, missing)),
    )


def best_shrink(fill: str, sums: Sums, sigmas: Sequence[float] = SIGMAS) -> ShrinkToFill:
    """Return the blur and the weight of least squared error; a weight is at least 0."""
    safe = np.where(sums.smooth > 0, sums.smooth, 1.0)
    weights = np.clip(np.where(sums.smooth > 0, sums.cross / safe, 0.0), 0.0, None)
    best = int(np.argmin(sums.squared_errors(weights)))
    return ShrinkToFill(fill, float(sigmas[best]), float(weights[best]))
