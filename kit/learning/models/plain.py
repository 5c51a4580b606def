"""A plain residual U-Net whose coarsest level is made of convolutions, Fourier convolutions or attention."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from kit.learning.models.layers.attention import AttentionBlock
from kit.learning.models.layers.blocks import PixelHead, ResidualBlock
from kit.learning.models.layers.film import Film, apply_film
from kit.learning.models.layers.fourier import FourierBlock

BOTTLENECKS: dict[str, Callable[[int, float], nn.Module]] = {
    "conv": ResidualBlock,
    "fourier": FourierBlock,
    "attention": AttentionBlock,
}
"""What the coarsest level is made of, each built from (channels, share of branches dropped)."""


class PlainUNet(nn.Module):
    """`(N, C, S, S)` to a residual `(N, 3, S, S)` that is zero at the start; S a multiple of 8.

    The coarsest level lies at S/8: with three widths or fewer the stem cuts the photo into patches, since a level at
    full size, of even half the channels, costs half as much again as all others. Skip connections are added, not
    concatenated, to keep the convolutions that follow narrow.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: tuple[int, ...] = (32, 64, 128),
        blocks: int = 2,
        bottleneck: str = "conv",
        bottleneck_blocks: int = 4,
        dropout: float = 0.0,
    ) -> None:
        """
        Args:
            in_channels: channels of the input.
            widths: channels from fine to coarse, at best multiples of 16 (32 for attention's heads). Four begin at S,
                three at S/2, two at S/4; each beyond the fourth is one level below S/8, and S then a multiple of that.
            blocks: residual blocks a level, on the way down and again on the way up.
            bottleneck: one of `BOTTLENECKS`, the blocks of the coarsest level.
            bottleneck_blocks: their number.
            dropout: while training, the share of the coarsest features that is dropped, and of its blocks' branches.
        """
        super().__init__()
        patch = 2 ** max(0, 4 - len(widths))
        levels = list(pairwise(widths))
        kernel, padding = (3, 1) if patch == 1 else (patch, 0)
        self.stem = nn.Conv2d(in_channels, widths[0], kernel, patch, padding)
        self.encoder = nn.ModuleList(_residual_blocks(fine, blocks) for fine, _ in levels)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in levels)
        coarsest = [BOTTLENECKS[bottleneck](widths[-1], dropout) for _ in range(bottleneck_blocks)]
        self.bottleneck = nn.Sequential(nn.Dropout2d(dropout), *coarsest)
        self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in levels)
        self.decoder = nn.ModuleList(_residual_blocks(fine, blocks) for fine, _ in levels)
        self.head = PixelHead(widths[0], in_channels, patch)
        self.coarsest = widths[-1]
        self.film: Film | None = None

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Return the residual `(N, 3, S, S)` for `(N, C, S, S)` and the condition `(N, CONDITION)`."""
        features = self.stem(x)
        skips = []
        for encode, down in zip(self.encoder, self.down, strict=True):
            features = encode(features)
            skips.append(features)
            features = down(features)
        features = self.bottleneck(apply_film(self.film, features, condition))
        for up, decode in zip(reversed(self.up), reversed(self.decoder), strict=True):
            # the 1x1 convolution first: there are a quarter of the places
            features = decode(F.interpolate(up(features), scale_factor=2.0, mode="nearest") + skips.pop())
        y: torch.Tensor = self.head(features, x)
        return y


def _residual_blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
