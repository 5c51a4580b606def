"""PatchGAN: says for each patch whether it looks real (Isola et al. 2017, section 3.2.2)."""

from __future__ import annotations

import torch
from torch import nn


class PatchGAN(nn.Sequential):
    """`(N, C, S, S)` to a map of logits `(N, 1, s, s)`; three strided layers see patches of 70x70."""

    def __init__(self, in_channels: int, width: int = 64, layers: int = 3) -> None:
        """
        Args:
            in_channels: condition and candidate together.
            width: channels of the first layer; doubled at each layer, at most eightfold.
            layers: strided layers.
        """
        blocks: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        channels = width
        for layer in range(1, layers + 1):
            wider = min(width * 2**layer, width * 8)
            stride = 2 if layer < layers else 1
            blocks += [nn.Conv2d(channels, wider, 4, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.LeakyReLU(0.2)]
            channels = wider
        super().__init__(*blocks, nn.Conv2d(channels, 1, 4, 1, 1))
        self.apply(_initialise)


def _initialise(module: nn.Module) -> None:
    # the paper's initialisation: Gaussian with standard deviation 0.02
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def patch_candidate(filled: torch.Tensor, hole: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
    """What the discriminator sees, `(N, 7, S, S)`: condition first, all about zero."""
    stacked = torch.cat([filled * 2 - 1, hole, candidate * 2 - 1], dim=1)
    return stacked.contiguous(memory_format=torch.channels_last)
