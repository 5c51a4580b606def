"""ReNet: pixels reconstructed by bidirectional LSTMs that sweep the rows, then the columns (Visin et al. 2015)."""

from __future__ import annotations

import torch
from torch import nn

from kit.learning.models.layers.blocks import PixelHead


class ReNet(nn.Module):
    """`(N, C, S, S)` to a residual `(N, 3, S, S)` that is zero at the start; S a multiple of `patch`.

    After one layer each patch has seen the whole photo: along its row first, and then the rows along its column.
    """

    def __init__(self, in_channels: int, *, width: int = 64, layers: int = 2, patch: int = 4) -> None:
        """
        Args:
            in_channels: channels of the input.
            width: features of a patch at the entrance, and of each LSTM in each direction.
            layers: pairs of a sweep along the rows and one along the columns.
            patch: side of a patch in pixels; half the side costs four times the time.
        """
        super().__init__()
        self.embed = nn.Conv2d(in_channels, width, patch, patch)
        inputs = [width] + [2 * width] * (2 * layers - 1)
        self.sweeps = nn.ModuleList(nn.LSTM(features, width, bidirectional=True) for features in inputs)
        self.head = PixelHead(2 * width, in_channels, patch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, S, S)` to the residual `(N, 3, S, S)`."""
        places = self.embed(x).permute(2, 0, 3, 1)  # (rows, N, columns, features)
        for sweep in self.sweeps:
            along = places.transpose(0, 2)  # what is swept comes first
            features, _ = sweep(along.flatten(1, 2))
            places = features.unflatten(1, along.shape[1:3])
        # an even number of sweeps: rows come first again
        features = places.permute(1, 3, 0, 2).contiguous(memory_format=torch.channels_last)
        y: torch.Tensor = self.head(features, x)
        return y
