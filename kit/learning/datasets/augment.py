"""Crops, mirrors, rotations and colours of a whole batch at once."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from kit.learning.experiments import DataSettings

DRAWS = 8  # uniforms a photo and epoch: mirror, scale, row, column, brightness, contrast, saturation, rotation


def augment(photos: torch.Tensor, draws: torch.Tensor, settings: DataSettings) -> torch.Tensor:
    """Crop, rotate, resize, mirror and jitter a batch.

    Args:
        photos: `(n, C, s, s)` float32; the first three channels are the photo, others only move with it.
        draws: `(n, DRAWS)` uniforms.

    Returns:
        `(n, C, S, S)`, the photo in [0, 1].
    """
    scale = settings.crop + (1 - settings.crop) * draws[:, 1]
    angle = math.radians(settings.rotate) * (2 * draws[:, 7] - 1)
    mirror = torch.where((draws[:, 0] < 0.5) & settings.flip, -1.0, 1.0)
    row, column = ((1 - scale) * (2 * draws[:, axis] - 1) for axis in (3, 2))
    across, down = scale * angle.cos() * mirror, scale * angle.sin()
    grid = _grid(
        settings.size,
        torch.stack([across, -down, column], 1),
        torch.stack([down * mirror, scale * angle.cos(), row], 1),
    )
    # what a rotation brings in from outside is the photo mirrored at its edge
    x = F.grid_sample(photos, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if not settings.jitter:
        return x
    return torch.cat([jitter_colours(x[:, :3], draws[:, 4:7], settings.jitter), x[:, 3:]], 1)


def _grid(size: int, across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Return what `F.affine_grid` does, without its matrix product, which takes longer than the sampling.

    Args:
        across, down: `(n, 3)`: what column, row and 1 add to the place from which a pixel is taken.
    """
    centres = (torch.arange(size, device=across.device) * 2 + 1) / size - 1
    grid = across.new_empty(len(across), size, size, 2)
    for axis, (of_column, of_row, shift) in enumerate((across.unbind(1), down.unbind(1))):
        columns = of_column[:, None] * centres + shift[:, None]
        torch.add(columns[:, None, :], (of_row[:, None] * centres)[:, :, None], out=grid[..., axis])
    return grid


def jitter_colours(x: torch.Tensor, draws: torch.Tensor, strength: float) -> torch.Tensor:
    """Change brightness, contrast and saturation of each photo by up to `strength`, clipped to [0, 1].

    One after the other they would be: times brightness; about the mean, times contrast; about each pixel's grey, times
    saturation. All three are linear, so each pixel takes one sum of itself, its grey and the mean.
    """
    factor = (1 + strength * (2 * draws - 1))[:, :, None, None, None]
    brightness, contrast, saturation = factor[:, 0], factor[:, 1], factor[:, 2]
    grey = x.mean(dim=1, keepdim=True)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    both = brightness * contrast
    moved = grey * (both * (1 - saturation)) + brightness * mean * (1 - contrast)
    return (x * (both * saturation)).add_(moved).clamp_(0, 1)
