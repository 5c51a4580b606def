"""Crops, mirrors, rotations and colours of a whole batch at once."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from kit.experiments import Experiment

DRAWS = 8  # uniforms a photo and epoch: mirror, scale, row, column, brightness, contrast, saturation, rotation


def augment(photos: torch.Tensor, draws: torch.Tensor, experiment: Experiment) -> torch.Tensor:
    """Crop, rotate, resize, mirror and jitter a batch.

    Args:
        photos: `(n, C, s, s)` float32; the first three channels are the photo, others only move with it.
        draws: `(n, DRAWS)` uniforms.

    Returns:
        `(n, C, S, S)`, the photo in [0, 1].
    """
    scale = experiment.crop + (1 - experiment.crop) * draws[:, 1]
    angle = math.radians(experiment.rotate) * (2 * draws[:, 7] - 1)
    mirror = torch.where((draws[:, 0] < 0.5) & experiment.flip, -1.0, 1.0)
    turned = torch.stack(
        [scale * angle.cos() * mirror, -scale * angle.sin(), scale * angle.sin() * mirror, scale * angle.cos()], 1
    )
    shift = (1 - scale)[:, None] * (2 * draws[:, 2:4] - 1)
    theta = torch.cat([turned.reshape(-1, 2, 2), shift[:, :, None]], 2)
    size = [len(photos), photos.shape[1], experiment.size, experiment.size]
    grid = F.affine_grid(theta, size, align_corners=False)
    # what a rotation brings in from outside is the photo mirrored at its edge
    x = F.grid_sample(photos, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if not experiment.jitter:
        return x
    return torch.cat([jitter_colours(x[:, :3], draws[:, 4:7], experiment.jitter), x[:, 3:]], 1)


def jitter_colours(x: torch.Tensor, draws: torch.Tensor, strength: float) -> torch.Tensor:
    """Change brightness, contrast and saturation of each photo by up to `strength`, clipped to [0, 1]."""
    factor = (1 + strength * (2 * draws - 1))[:, :, None, None, None]
    brightness, contrast, saturation = factor[:, 0], factor[:, 1], factor[:, 2]
    x = x * brightness
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * contrast
    grey = x.mean(dim=1, keepdim=True)
    return (grey + (x - grey) * saturation).clamp_(0, 1)
