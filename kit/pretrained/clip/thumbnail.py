"""The encoder without weights: a small picture of equal contrast, and the colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F

SIDE = 12  # pixels of the grey picture: where things are
COLOURS = 4  # pixels of the two colour differences
GREY = (0.299, 0.587, 0.114)
FLAT = 0.05  # added to the contrast: a flat photo's noise stays small


def thumbnails(photos: torch.Tensor) -> torch.Tensor:
    """Return the grey picture over its contrast, and coarse colours.

    Args:
        photos: `(n, 3, H, W)` float32 in [0, 1].

    Returns:
        `(n, SIDE**2 + 2 * COLOURS**2)`, not of unit length.
    """
    red, green, blue = (photos[:, channel : channel + 1] for channel in range(3))
    grey = GREY[0] * red + GREY[1] * green + GREY[2] * blue
    small = F.interpolate(grey, size=(SIDE, SIDE), mode="area").flatten(1)
    small = small - small.mean(1, keepdim=True)
    small = small / (small.square().mean(1, keepdim=True).sqrt() + FLAT) / SIDE
    colours = F.interpolate(torch.cat([red - grey, blue - grey], 1), size=(COLOURS, COLOURS), mode="area").flatten(1)
    return torch.cat([small, colours], 1)
