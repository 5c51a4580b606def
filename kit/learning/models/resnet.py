"""The generator of CycleGAN: residual blocks at a quarter of the size (Zhu et al. 2017, after Johnson et al. 2016)."""

from __future__ import annotations

import torch
from torch import nn

from kit.learning.models.layers.blocks import initialise


class ResnetGenerator(nn.Sequential):
    """`(N, C, S, S)` to a picture `(N, 3, S, S)` in [-1, 1]; S is a multiple of four, from 12.

    Convolutions before an instance norm have no bias: the norm would take it away again.
    """

    def __init__(self, in_channels: int, *, width: int = 64, blocks: int = 6, dropout: float = 0.0) -> None:
        """
        Args:
            in_channels: channels of the input.
            width: k of c7s1-k; the residual blocks have four times as many channels.
            blocks: residual blocks; the paper has 6 for 128 pixels and 9 from 256 on.
            dropout: share dropped inside each residual block.
        """
        k = width
        super().__init__(
            *_normed(nn.Conv2d(in_channels, k, 7, 1, 3, padding_mode="reflect", bias=False), k),
            *_normed(nn.Conv2d(k, 2 * k, 3, 2, 1, bias=False), 2 * k),
            *_normed(nn.Conv2d(2 * k, 4 * k, 3, 2, 1, bias=False), 4 * k),
            *[ResidualBlock(4 * k, dropout) for _ in range(blocks)],
            *_normed(nn.ConvTranspose2d(4 * k, 2 * k, 3, 2, 1, 1, bias=False), 2 * k),
            *_normed(nn.ConvTranspose2d(2 * k, k, 3, 2, 1, 1, bias=False), k),
            nn.Conv2d(k, 3, 7, 1, 3, padding_mode="reflect"),
            nn.Tanh(),
        )
        self.apply(initialise)


class ResidualBlock(nn.Module):
    """`x + f(x)`, where f is two 3x3 convolutions; no ReLU after the sum (Johnson et al. 2016, supplement)."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_normed(_same_size(channels), channels),
            *([nn.Dropout(dropout)] if dropout else []),
            _same_size(channels),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, S, S)` to the same."""
        y: torch.Tensor = x + self.body(x)
        return y


def _same_size(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, 1, 1, padding_mode="reflect", bias=False)


def _normed(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]
