"""Transformer blocks over the places of a feature map, with rotary positions so that any size will do."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from kit.errors import UsageError
from kit.learning.models.layers.blocks import drop_branch

HEAD_WIDTH = 32
"""Channels of a head."""

LONGEST_PERIOD = 100.0
"""The slowest rotation's period in half photos; the fastest has 1 (Siméoni et al. 2025, DINOv3)."""


class AttentionBlock(nn.Module):
    """Pre-norm self-attention over all H x W places, then an MLP, each added to the input (Vaswani et al. 2017)."""

    def __init__(self, width: int, drop: float = 0.0, *, mlp_ratio: int = 3) -> None:
        """
        Args:
            width: channels of input and output, a multiple of `HEAD_WIDTH`.
            drop: share of photos whose branches are dropped while training.
            mlp_ratio: the MLP's inner channels by `width`.

        Raises:
            UsageError: the channels cannot be shared out among heads.
        """
        super().__init__()
        if width % HEAD_WIDTH:
            raise UsageError(f"Attention needs a multiple of {HEAD_WIDTH} channels at the coarsest level, not {width}.")
        self.heads = width // HEAD_WIDTH
        self.drop = drop
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, H, W)` to the same shape."""
        places = x.permute(0, 2, 3, 1)  # a view of channels-last memory
        places = places + drop_branch(self._attend(self.attention_norm(places)), self.drop, self.training)
        places = places + drop_branch(self.mlp(places), self.drop, self.training)
        return places.permute(0, 3, 1, 2)

    def _attend(self, places: torch.Tensor) -> torch.Tensor:
        count, height, width, channels = places.shape
        parts = self.query_key_value(places).view(count, height * width, 3, self.heads, HEAD_WIDTH)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (N, heads, places, HEAD_WIDTH)
        angles = rotary_angles(height, width, HEAD_WIDTH, places.device)
        mixed = F.scaled_dot_product_attention(rotate(query, angles), rotate(key, angles), value)
        y: torch.Tensor = self.project(mixed.transpose(1, 2).reshape(count, height, width, channels))
        return y


def rotary_angles(height: int, width: int, channels: int, device: torch.device) -> torch.Tensor:
    """Return the angle by which each pair of channels is turned at each place, `(height * width, channels / 2)`
    float32.

    The first half of the pairs turns with the row, the second with the column. Positions are fractions of the photo,
    so that a network trained at one size meets no new angle at another. Source: Su et al. 2021; DINOv3 for pictures.
    """
    periods = LONGEST_PERIOD ** torch.linspace(0, 1, channels // 4, device=device)
    rows, columns = ((torch.arange(length, device=device) + 0.5) / length * (4 * math.pi) for length in (height, width))
    by_row = (rows[:, None, None] / periods).expand(height, width, -1)
    by_column = (columns[None, :, None] / periods).expand(height, width, -1)
    return torch.cat([by_row, by_column], dim=2).flatten(0, 1)


def rotate(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Turn the pairs (i, i + C/2) of `(N, heads, places, C)` by `angles` `(places, C/2)`."""
    one, two = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([one * cos - two * sin, one * sin + two * cos], dim=-1).to(x.dtype)
