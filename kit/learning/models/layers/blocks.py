"""Parts that several networks share: a norm, a residual block, stochastic depth, heads, how weights begin.

Every choice of a form was measured on one AVX2 core at batch 32 (forward and backward, channels last): a norm over the
channels of a place costs a quarter to a seventh of what batch norm does and knows nothing of the rest of the batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

PIXEL_CHANNELS = 16
"""Features at full size; any convolution there costs four times what it costs one level further down."""


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each place, `(N, C, H, W)` (Ba et al. 2016; so placed by Liu et al. 2022)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise `(N, C, H, W)` to the same shape."""
        # in channels-last memory both permutations are views
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def drop_branch(branch: torch.Tensor, share: float, training: bool) -> torch.Tensor:
    """Drop the whole branch of a share of the photos while training (stochastic depth, Huang et al. 2016)."""
    if not (share and training):
        return branch
    return branch * F.dropout(branch.new_ones(len(branch), 1, 1, 1), share)


class ResidualBlock(nn.Module):
    """Norm, 3x3 convolution, ReLU, 3x3 convolution, added to the input (He et al. 2016b with one norm)."""

    def __init__(self, width: int, drop: float = 0.0) -> None:
        """
        Args:
            width: channels of input and output.
            drop: share of photos whose branch is dropped while training.
        """
        super().__init__()
        self.drop = drop
        self.branch = nn.Sequential(
            ChannelNorm(width),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, H, W)` to the same shape."""
        return x + drop_branch(self.branch(x), self.drop, self.training)


class PixelHead(nn.Module):
    """Features at S/factor and the network's input to the residual at size S, zero at the start.

    The input comes in again here, so that the coarser levels need not carry what every pixel holds.
    """

    def __init__(self, features: int, in_channels: int, factor: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(features)
        # the same map as a 1x1 convolution and a pixel shuffle, at half the time
        self.up = nn.ConvTranspose2d(features, PIXEL_CHANNELS, factor, factor)
        self.skip = nn.Conv2d(in_channels, PIXEL_CHANNELS, 3, padding=1)
        self.last = zeroed(nn.Conv2d(PIXEL_CHANNELS, 3, 3, padding=1))

    def forward(self, features: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, F, S/factor, S/factor)` and `(N, C, S, S)` to `(N, 3, S, S)`."""
        y: torch.Tensor = self.last(F.relu(self.up(self.norm(features)) + self.skip(x)))
        return y


def initialise(module: nn.Module) -> None:
    """Start a layer as DCGAN does, which pix2pix and CycleGAN took over: Gaussian of deviation 0.02, biases zero.

    For `apply`.
    """
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Set the layer's weight and bias to zero and return it: as the last one it makes the untrained residual zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
