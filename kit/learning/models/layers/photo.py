"""Networks that paint the whole photo, made to give a residual like all others."""

from __future__ import annotations

import torch
from torch import nn


class PhotoGenerator(nn.Module):
    """`(N, 6, S, S)` as `kit.learning.datasets.network_input` makes it, to `painted - filled` `(N, 3, S, S)`."""

    def __init__(self, network: nn.Module, channels: int = 4) -> None:
        """
        Args:
            network: `(N, channels, S, S)` in [-1, 1] to a photo in [-1, 1].
            channels: 4 shows it the filled photo and the hole, 3 the filled photo alone.
        """
        super().__init__()
        self.network, self.channels = network, channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the residual over the filled photo."""
        photo = x[:, :3] / 2  # about zero, in [-1, 1]
        painted = self.network(photo if self.channels == 3 else torch.cat([photo, x[:, 3:4]], 1))
        y: torch.Tensor = (painted - photo) / 2
        return y
