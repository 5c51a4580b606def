"""The generator of pix2pix: a U-Net of 4x4 convolutions down to one pixel (Isola et al. 2017, section 6.1.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kit.errors import UsageError
from kit.learning.models.layers.blocks import initialise

DROPPED_BLOCKS = 3
"""Blocks after the bottleneck with dropout: the paper's CD512."""


class PaperUNet(nn.Module):
    """`(N, C, S, S)` to a picture `(N, 3, S, S)` in [-1, 1]; S is a power of two, and the bottleneck is one pixel.

    The paper keeps dropout on when it predicts, as its noise. Here `eval()` turns it off: the contest scores squared
    error, which wants the mean of the guesses and not one of them.
    """

    def __init__(self, in_channels: int, *, size: int = 256, width: int = 64, dropout: float = 0.5) -> None:
        """
        Args:
            in_channels: channels of the input.
            size: S, from 32.
            width: channels of the first layer; doubled at each layer, at most eightfold.
            dropout: share dropped in the blocks after the bottleneck.

        Raises:
            UsageError: the size is no power of two from 32.
        """
        super().__init__()
        if size < 32 or size & (size - 1):
            raise UsageError(f"size={size}: the U-Net of pix2pix halves pictures down to one pixel. Use 32, 64, 128...")
        depth = size.bit_length() - 1
        widths = [min(width * 2**level, width * 8) for level in range(depth)]
        self.down = nn.ModuleList(
            # no norm outermost; none innermost, where a batch of one has one value a channel
            _down(inside, outside, normed=0 < level < depth - 1)
            for level, (inside, outside) in enumerate(zip([in_channels, *widths], widths, strict=False))
        )
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * widths[0], 3, 4, 2, 1)])
        for level in range(1, depth):
            is_dropped = level >= depth - DROPPED_BLOCKS and widths[level - 1] == widths[-1]
            joined = widths[level] * (1 if level == depth - 1 else 2)
            self.up.append(_up(joined, widths[level - 1], dropout if is_dropped else 0.0))
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, S, S)` to `(N, 3, S, S)` in [-1, 1]."""
        skips = [self.down[0](x)]
        for down in list(self.down)[1:]:
            # in place, so the skip too is a leaky one: ReLU before the next convolution makes no difference of it
            skips.append(down(F.leaky_relu_(skips[-1], 0.2)))
        y = self.up[-1](F.relu_(skips.pop()))
        for up in reversed(list(self.up)[:-1]):
            y = up(F.relu_(torch.cat([skips.pop(), y], dim=1)))
        return torch.tanh(y)


def _down(inside: int, outside: int, *, normed: bool) -> nn.Sequential:
    convolution = nn.Conv2d(inside, outside, 4, 2, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside)) if normed else nn.Sequential(convolution)


def _up(inside: int, outside: int, dropout: float) -> nn.Sequential:
    blocks: list[nn.Module] = [nn.ConvTranspose2d(inside, outside, 4, 2, 1, bias=False), nn.BatchNorm2d(outside)]
    return nn.Sequential(*blocks, nn.Dropout(dropout)) if dropout else nn.Sequential(*blocks)
