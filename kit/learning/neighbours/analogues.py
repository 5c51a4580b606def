"""Fit the most similar photos to a hole's surroundings and take what they have in its place. Knows tensors alone.

All at a small size: what photos have in common are low frequencies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from kit.learning.datasets.base_fill import SpectralFill, spectral_fill

SIZE = 64  # pixels; smaller photos keep their size
RING = 9 / 64  # of the side: how far around a hole its surroundings reach
SHARP = 0.1  # of similarity: neighbours that are less similar by this count e times less
SHRINKAGE = 0.1  # of the photo's own variance, added to a neighbour's: few pixels tell little of its gain
SMOOTH = 1.5 / 64  # of the side: what is finer is not the same in two photos
FEATURES = 2
RIDGE = 1e-3  # of the mean square of the features
_CHUNK = 64


@dataclass(frozen=True)
class Library:
    """Whole photos to look neighbours up in, with the vectors by which they are found."""

    photos: torch.Tensor
    """`(N, 3, S, S)` uint8."""
    vectors: np.ndarray
    """`(N, D)` float32, of length one."""

    def nearest(self, vector: np.ndarray, among: np.ndarray, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return positions of the k most similar of these photos, best first, and their weights, which sum to one."""
        similarity = self.vectors[among] @ vector
        best = np.argsort(-similarity, kind="stable")[:k]
        weights = np.exp((similarity[best] - similarity[best[0]]) / SHARP)
        return torch.from_numpy(among[best]), torch.from_numpy((weights / weights.sum()).astype(np.float32))


def unit_vectors(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Centre vectors and scale them to length one: what all photos have in common tells none from another."""
    moved = vectors - centre
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12))


def align_neighbours(
    photo: torch.Tensor, hole: torch.Tensor, neighbours: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return the neighbours' weighted mean, each with the gain that fits it to the hole's surroundings.

    Args:
        photo: `(3, S, S)` in [0, 1]; what is under the hole is not looked at.
        hole: `(1, S, S)`, the share that is hidden.
        neighbours: `(k, 3, S, S)` whole photos.
        weights: `(k,)`.

    Returns:
        `(4, S, S)`: the mean, about zero around the hole, and in all pixels of the last channel its correlation there,
        from 0 to 1.
    """
    around = surroundings(hole[None])[0, 0]
    own, theirs = photo[:, around], neighbours[:, :, around]
    middle = theirs.mean(2, keepdim=True)
    own, theirs = own - own.mean(1, keepdim=True), theirs - middle
    power = own.square().sum()
    gain = (theirs * own).sum((1, 2)) / (theirs.square().sum((1, 2)) + SHRINKAGE * power + 1e-9)
    scales = (weights * gain.clamp(0, 2))[:, None, None, None]
    mean = (scales * (neighbours - middle[..., None])).sum(0)
    inside = mean[:, around]
    inside = inside - inside.mean(1, keepdim=True)
    agreement = (inside * own).sum() / (inside.square().sum() * power).sqrt().clamp_min(1e-9)
    return torch.cat([mean, agreement.clamp(0, 1).expand_as(hole)])


def surroundings(hole: torch.Tensor) -> torch.Tensor:
    """Return the known pixels near a hole, bool `(n, 1, S, S)`; all known pixels where none is near, all where none is
    known."""
    reach = max(1, round(RING * hole.shape[-1]))
    known = hole == 0
    near = (F.max_pool2d((hole > 0).float(), 2 * reach + 1, 1, reach) > 0) & known
    near = torch.where(near.any(dim=(2, 3), keepdim=True), near, known)
    return torch.where(near.any(dim=(2, 3), keepdim=True), near, True)


def features(means: torch.Tensor, photos: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Return what the fill would miss in the neighbours' mean: a residual that is zero at the hole's border.

    Args:
        means: `(n, 4, S, S)` of `align_neighbours`.
        photos: `(n, 3, S, S)` filled photos, which tell the fill's field.
        hole: `(n, 1, S, S)`.

    Returns:
        `(n, FEATURES, 3, S, S)`: smoothed, and that times the correlation around the hole.
    """
    fill, found = SpectralFill("fractional"), []
    assert fill.power is not None
    for start in range(0, len(means), _CHUNK):
        piece = slice(start, start + _CHUNK)
        power, aspect = fill.fields_of(photos[piece], fill.power)
        squeezed = means[piece, :3] / 4 + 0.5  # into [0, 1], where the fill is clipped
        missed = (squeezed - spectral_fill(squeezed, hole[piece] > 0, power, aspect)) * 4 * hole[piece]
        smooth = blurred(missed, SMOOTH * hole.shape[-1]) * hole[piece]
        found.append(torch.stack([smooth, smooth * means[piece, 3:]], 1))
    return torch.cat(found)


def blurred(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur `(n, C, S, S)` by a Gaussian; beyond the edge all is zero."""
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-torch.arange(-reach, reach + 1).float().square() / (2 * sigma * sigma))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(x, kernel, padding=(0, reach), groups=x.shape[1])
    return F.conv2d(x, kernel.transpose(2, 3), padding=(reach, 0), groups=x.shape[1])


class Ridge:
    """Coefficients of the features for each channel, from normal equations that are summed up photo by photo."""

    def __init__(self) -> None:
        self.gram = torch.zeros(3, FEATURES, FEATURES, dtype=torch.float64)
        self.moment = torch.zeros(3, FEATURES, dtype=torch.float64)

    def add(self, seen: torch.Tensor, wanted: torch.Tensor, scale: torch.Tensor) -> None:
        """Add photos' features `(n, FEATURES, 3, S, S)`, residuals `(n, 3, S, S)`, and how much each channel's error
        counts in the score, `(n, 3)`."""
        seen = (seen * scale[:, None, :, None, None]).double()
        wanted = (wanted * scale[:, :, None, None]).double()
        self.gram += torch.einsum("nacij,nbcij->cab", seen, seen)
        self.moment += torch.einsum("nacij,ncij->ca", seen, wanted)

    def coefficients(self) -> torch.Tensor:
        """Return `(3, FEATURES)` float32; zero where nothing was seen."""
        size = self.gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        eye = torch.eye(FEATURES, dtype=torch.float64)
        coefficients: torch.Tensor = torch.linalg.solve(self.gram + (RIDGE * size + 1e-12) * eye, self.moment)
        return coefficients.float()
