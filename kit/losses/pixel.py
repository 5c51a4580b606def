"""Pixel losses over hidden pixels only: the contest scores nothing else."""

from __future__ import annotations

import torch


def hole_mse_loss(predicted: torch.Tensor, target: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Mean squared error over hidden pixels.

    Args:
        predicted, target: `(N, C, S, S)`.
        hole: `(N, 1, S, S)`, the share of each pixel that is hidden.
    """
    return ((predicted - target).square() * hole).sum() / (hole.sum() * predicted.shape[1]).clamp(min=1e-6)


def hole_l1_loss(predicted: torch.Tensor, target: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Mean absolute error over hidden pixels; see `hole_mse_loss`."""
    return ((predicted - target).abs() * hole).sum() / (hole.sum() * predicted.shape[1]).clamp(min=1e-6)
