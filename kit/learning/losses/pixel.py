"""Pixel losses over hidden pixels only: the contest scores nothing else."""

from __future__ import annotations

import torch


def hole_mse_loss(predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the mean over photos of each photo's weighted mean squared error.

    Each photo is divided by its own weight, so all count alike, and the mean of two half batches is that of the whole
    one. For the same reason a photo without weight counts, as zero.

    Args:
        predicted, target: `(N, C, S, S)`.
        weight: `(N, 1, S, S)`, at least zero: the share of each pixel that is hidden.
    """
    return _mean_over_photos((predicted - target).square(), weight)


def hole_l1_loss(predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the mean over photos of each photo's weighted mean absolute error; see `hole_mse_loss`."""
    return _mean_over_photos((predicted - target).abs(), weight)


def _mean_over_photos(error: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    sums = (error * weight).sum(dim=(1, 2, 3))
    return (sums / (weight.sum(dim=(1, 2, 3)) * error.shape[1]).clamp(min=1e-6)).mean()
