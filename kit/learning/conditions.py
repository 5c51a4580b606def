"""Each photo's vector as a network's condition, in the directions in which the photos of a training differ most.

One vector a photo, that of the photo with its own holes: an encoder in every step would cost more than the training.
So while training, a vector has seen what the step's fresh boxes hide, and in prediction it has not. Few numbers that
change whole channels can hardly say what is under a box, but a fold's RMSE, which is measured as in prediction, is
what tells whether a photo's vector is worth anything; the training loss is too good to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from kit.core.workspace import Fold
from kit.data.project import Project
from kit.learning.experiments import NetworkSettings
from kit.learning.models.layers.film import CONDITION
from kit.pretrained.clip.embeddings import photo_embeddings

WEAKEST = 0.01  # of the strongest direction's variance: weaker ones are not blown up to its size


@dataclass(frozen=True)
class Conditions:
    """Conditions of all photos, in index order."""

    train: torch.Tensor
    """`(N, CONDITION)` float32."""
    test: torch.Tensor
    """`(M, CONDITION)` float32."""


def conditions_of(
    project: Project, network: NetworkSettings, fold: Fold, device: torch.device = torch.device("cpu")
) -> Conditions | None:
    """Return the conditions of a fold's model; None without `clip_model`. Vectors not yet stored are computed now.

    Args:
        device: for the encoder, should it be needed.

    Raises:
        KitError: see `kit.pretrained.clip.embeddings.photo_embeddings`.
    """
    if not network.conditioned:
        return None
    train = photo_embeddings(project.trained or project, network.clip_model, "train", device=device)
    test = photo_embeddings(project, network.clip_model, "test", device=device)
    centre, directions = principal(train[project.folds.train_positions(fold)])
    return Conditions(_projected(train, centre, directions), _projected(test, centre, directions))


def _projected(vectors: np.ndarray, centre: np.ndarray, directions: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(((vectors - centre) @ directions).astype(np.float32))


def principal(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean `(D,)` and directions `(D, CONDITION)` of the largest variance, scaled to about one, float64.

    Directions in which the vectors do not differ, and those that D has not, are zero: another photo's part along them
    would mean nothing. Signs are fixed, so that equal vectors give equal directions.
    """
    vectors = vectors.astype(np.float64)
    centre = vectors.mean(0)
    covariance = (vectors - centre).T @ (vectors - centre) / len(vectors)
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = variances[::-1][:CONDITION], axes[:, ::-1][:, :CONDITION]
    axes = axes * np.where(np.take_along_axis(axes, np.abs(axes).argmax(0)[None], 0) < 0, -1.0, 1.0)
    strongest = variances[0]
    scale = np.where(variances > 1e-9 * strongest, 1 / np.sqrt(np.maximum(variances, WEAKEST * strongest) + 1e-30), 0.0)
    if strongest < 1e-12:  # all photos alike
        scale[:] = 0
    directions = np.zeros((vectors.shape[1], CONDITION))
    directions[:, : len(scale)] = axes * scale
    return centre, directions
