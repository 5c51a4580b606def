"""Diversity of the photos of a batch: a generator that has collapsed gives one photo for all."""

from __future__ import annotations

import torch

from kit.learning.experiments import Experiment


def diversity(experiment: Experiment, generated: torch.Tensor, real: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return `spread` and `real_spread`, the mean over pixels of the standard deviation over photos; for photo
    painters.

    Args:
        generated, real: `(N, 3, S, S)` in the same range. A single photo's pixels are compared with one another.
    """
    if not (experiment.predicts_photo and experiment.adversarial_weight):
        return {}  # a residual over a fill cannot collapse: the fill is there still
    return {"spread": _deviation(generated.detach()), "real_spread": _deviation(real)}


def _deviation(photos: torch.Tensor) -> torch.Tensor:
    if len(photos) == 1:
        return photos.float().flatten(2).std(dim=2).mean()
    return photos.float().std(dim=0).mean()
