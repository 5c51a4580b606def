"""A network that sees every photo with the same mean and contrast."""

from __future__ import annotations

import torch
from torch import nn

FLAT = 0.1
"""Added to a photo's deviation, in the input's units (4 is the whole range): a flat photo's noise stays small."""


class Standardised(nn.Module):
    """Wraps a residual network: a photo times a plus b gives its residual times a, if a photo has any contrast.

    Mean and deviation are over all pixels and channels of the filled photo, so colours stay what they are, and what is
    hidden says nothing.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, *condition: torch.Tensor) -> torch.Tensor:
        """Return the residual `(N, 3, S, S)` for `(N, C, S, S)` as `kit.learning.datasets.network_input` makes it; the
        condition is passed on."""
        photo = x[:, :3]
        scale = contrast(photo)
        photo = (photo - photo.mean((1, 2, 3), keepdim=True)) / scale
        x = torch.cat([photo, x[:, 3:]], 1).contiguous(memory_format=torch.channels_last)
        y: torch.Tensor = self.network(x, *condition) * (scale / 4)  # the input is four times the photo
        return y


def contrast(photo: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of each photo `(N, 3, S, S)` of the network's input, not below `FLAT`: `(N, 1, 1,
    1)`."""
    return photo.std((1, 2, 3), keepdim=True) + FLAT
