"""PatchGAN: says for each patch whether it looks real (Isola et al. 2017, section 3.2.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from kit.learning.models.layers.blocks import initialise

NORMS: dict[str, Callable[[int], nn.Module] | None] = {
    "batch": nn.BatchNorm2d,
    "instance": nn.InstanceNorm2d,
    "spectral": None,  # on the weights (Miyato et al. 2018), so on no feature
    "none": None,
}


class PatchGAN(nn.Sequential):
    """`(N, C, S, S)` to a map of logits `(N, 1, s, s)`; three strided layers see patches of 70x70."""

    def __init__(self, in_channels: int, width: int = 64, layers: int = 3, norm: str = "batch") -> None:
        """
        Args:
            in_channels: condition and candidate together.
            width: channels of the first layer; doubled at each layer, at most eightfold.
            layers: strided layers.
            norm: batch, instance, spectral or none. Spectral norm takes one step of its power iteration at every
                forward pass in training mode; the vectors of that iteration are buffers.
        """
        build_norm = NORMS[norm]
        blocks: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        channels = width
        for layer in range(1, layers + 1):
            wider = min(width * 2**layer, width * 8)
            stride = 2 if layer < layers else 1
            blocks.append(nn.Conv2d(channels, wider, 4, stride, 1, bias=build_norm is None))
            blocks += [build_norm(wider)] if build_norm else []
            blocks.append(nn.LeakyReLU(0.2, inplace=True))
            channels = wider
        super().__init__(*blocks, nn.Conv2d(channels, 1, 4, 1, 1))
        self.apply(initialise)
        if norm == "spectral":  # after the start: what it gives the convolution is computed, not set
            for module in list(self):
                if isinstance(module, nn.Conv2d):
                    spectral_norm(module)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return each layer's activated output, for feature matching; the last are the logits."""
        found = []
        for module in self:
            x = module(x)
            if isinstance(module, nn.LeakyReLU):
                found.append(x)
        return [*found, x]


def patch_candidate(filled: torch.Tensor, hole: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
    """Return the discriminator's input, `(N, 7, S, S)`: condition first, all about zero."""
    stacked = torch.cat([filled * 2 - 1, hole, candidate * 2 - 1], dim=1)
    return stacked.contiguous(memory_format=torch.channels_last)
