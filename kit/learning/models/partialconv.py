"""Partial convolutions, which see known pixels only, and a U-Net of them (Liu et al. 2018)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from kit.learning.models.layers.blocks import zeroed


class PartialConv2d(nn.Conv2d):
    """A convolution over the known places of each window, scaled up by the share that is missing.

    The padding around the photo counts neither as known nor as missing, so with all places known this is exactly
    `nn.Conv2d` with zero padding. (The authors' code counts it as missing.)
    """

    def forward(self, x: torch.Tensor, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """
        Args:
            x: `(N, C, H, W)`; what it holds where nothing is known is ignored.
            known: `(N, 1, H, W)`, 1 where `x` is known and 0 where not.

        Returns:
            The features, zero where the window knows nothing, and 1 where it knows something, `(N, 1, H', W')`.
        """
        return self.of_masked(x * known, known)

    def of_masked(self, x: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same for an `x` that is zero where unknown, and the share of its channels known at each place."""
        scale, seen = self._renormalisation(share)
        features = F.conv2d(x, self.weight, None, self.stride, self.padding) * scale
        if self.bias is not None:
            features = features + self.bias[:, None, None] * seen
        return features, seen

    @torch.no_grad()
    def _renormalisation(self, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the window area by known area (0 where nothing is known), and where anything is known."""
        padding: Any = self.padding  # numbers here, though a Conv2d may have a word
        share = F.avg_pool2d(share.float(), self.kernel_size, self.stride, padding, count_include_pad=False)
        seen = (share > 0).to(share.dtype)
        return seen / share.clamp_min(torch.finfo(torch.float32).tiny), seen


class PartialBlock(nn.Module):
    """Partial convolution, batch norm, activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, norm: bool, slope: float) -> None:
        """
        Args:
            norm: normalise by batch; the paper's first and last convolutions are without.
            slope: the leaky ReLU's slope below zero; 0 is a ReLU.
        """
        super().__init__()
        self.convolve = PartialConv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not norm)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.slope = slope

    def forward(self, x: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map `(N, C, H, W)`, zero where unknown, and the share known of it, `(N, 1, H, W)`, to features and known."""
        features, known = self.convolve.of_masked(x, share)
        return F.leaky_relu(self.norm(features), self.slope), known


class PartialConvUNet(nn.Module):
    """`(N, C, S, S)` to a residual `(N, 3, S, S)` that is zero at the start; S a multiple of 2 ** levels.

    The paper's network with fewer levels and channels. It sees no pixel of which any part is hidden, and so nothing of
    what the base fill put there; channel 3 of the input is the hole.
    """

    def __init__(self, in_channels: int, *, width: int = 32, levels: int = 4) -> None:
        """
        Args:
            in_channels: channels of the input.
            width: channels of the finest level, S/2; doubled at each level, at most eightfold.
            levels: strided convolutions.
        """
        super().__init__()
        widths = [in_channels] + [width * min(2**level, 8) for level in range(levels)]
        kernels = [7, 5, 5] + [3] * levels  # the paper's, from fine to coarse
        self.encoder = nn.ModuleList(
            PartialBlock(fine, coarse, kernel, 2, norm=level > 0, slope=0.0)
            for level, (fine, coarse, kernel) in enumerate(zip(widths[:-1], widths[1:], kernels[:levels], strict=True))
        )
        self.decoder = nn.ModuleList(
            PartialBlock(coarse + fine, fine, 3, 1, norm=True, slope=0.2) for fine, coarse in pairwise(widths[1:])
        )
        self.last = PartialConv2d(widths[1] + in_channels, 3, 3, padding=1)
        zeroed(self.last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, S, S)` to the residual `(N, 3, S, S)`."""
        known = (x[:, 3:4] == 0).to(x.dtype)
        skips = []
        for encode in self.encoder:
            x = x * known  # batch norm has left something where nothing is known
            skips.append((x, known))
            x, known = encode(x, known)
        for decode in reversed(self.decoder):
            x, known = decode(*beside(x, known, *skips.pop()))
        residual, _ = self.last.of_masked(*beside(x, known, *skips.pop()))
        return residual


def beside(
    coarse: torch.Tensor, known: torch.Tensor, fine: torch.Tensor, fine_known: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features of the level below, twice as large and zero where unknown, beside the encoder's.

    Returns both together, and the share of their channels known at each place.

    The paper keeps a mask for each channel. Those of one level are alike, so a mean weighted by their numbers gives
    the same counts from one channel.
    """
    known = F.interpolate(known, scale_factor=2.0, mode="nearest")
    coarse = F.interpolate(coarse, scale_factor=2.0, mode="nearest") * known
    channels = coarse.shape[1] + fine.shape[1]
    share = (known * coarse.shape[1] + fine_known * fine.shape[1]) / channels
    return torch.cat([coarse, fine], dim=1), share
