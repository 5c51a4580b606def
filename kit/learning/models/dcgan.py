"""DCGAN: a generator of pictures out of noise, and the discriminator beside it (Radford et al. 2016)."""

from __future__ import annotations

import torch
from torch import nn

from kit.errors import UsageError
from kit.learning.models.layers.blocks import initialise

SIZES = (32, 64, 128)


class DCGANGenerator(nn.Module):
    """Noise `(N, latent)` to a picture `(N, 3, S, S)` in [-1, 1]: a 4x4 map, doubled until it has the size."""

    def __init__(self, *, latent: int = 100, size: int = 64, width: int = 64) -> None:
        """
        Args:
            latent: length of the noise vector; the paper draws it uniformly from [-1, 1].
            size: S, one of 32, 64 and 128.
            width: channels before the last layer; twice as many with each level below it.

        Raises:
            UsageError: another size.
        """
        super().__init__()
        doublings = _doublings(size)
        channels = width * 2 ** (doublings - 1)
        self.project = nn.ConvTranspose2d(latent, channels, 4, bias=False)
        blocks: list[nn.Module] = [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        while channels > width:
            blocks += [
                nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False),
                nn.BatchNorm2d(channels // 2),
                nn.ReLU(inplace=True),
            ]
            channels //= 2
        self.layers = nn.Sequential(*blocks, nn.ConvTranspose2d(channels, 3, 4, 2, 1), nn.Tanh())
        self.apply(initialise)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Map `(N, latent)` to `(N, 3, S, S)` in [-1, 1]."""
        # a convolution of one pixel is a product: oneDNN takes ten times as long over it
        first = noise @ self.project.weight.flatten(1)
        y: torch.Tensor = self.layers(first.view(len(noise), -1, 4, 4).contiguous(memory_format=torch.channels_last))
        return y


class DCGANDiscriminator(nn.Module):
    """`(N, 3, S, S)` to one logit a picture, `(N,)`: halved to 4x4, then one convolution over all of it."""

    def __init__(self, *, size: int = 64, width: int = 64) -> None:
        """
        Args:
            size: S, one of 32, 64 and 128.
            width: channels of the first layer; doubled at each layer.

        Raises:
            UsageError: another size.
        """
        super().__init__()
        channels = width
        blocks: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for _ in range(_doublings(size) - 1):
            blocks += [nn.Conv2d(channels, channels * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(channels * 2)]
            blocks.append(nn.LeakyReLU(0.2, inplace=True))
            channels *= 2
        self.layers = nn.Sequential(*blocks, nn.Conv2d(channels, 1, 4))
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, 3, S, S)` to `(N,)`."""
        y: torch.Tensor = self.layers(x).flatten()
        return y


def _doublings(size: int) -> int:
    """Return how often 4 pixels are doubled to `size`."""
    if size not in SIZES:
        raise UsageError(f"size={size}: DCGAN makes pictures of {', '.join(map(str, SIZES))} pixels.")
    return size.bit_length() - 3
