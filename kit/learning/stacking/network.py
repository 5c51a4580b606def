"""The network of a stack: from what the members say and what is known around to a residual over their linear blend."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from kit.learning.models.layers.blocks import ChannelNorm, ResidualBlock, zeroed
from kit.learning.stacking.settings import StackSettings

_FLAT = 0.025  # added to a photo's deviation: a flat photo's noise stays small
_PATCH = 2  # the finest level has a place for so many pixels across and down; what is gained is smooth
_GAIN = 4.0  # members differ by a quarter of a photo's deviation where they differ much


@dataclass(frozen=True)
class Views:
    """Photos at the network's size S, as one fold's network sees them."""

    blend: torch.Tensor
    """`(N, 3, S, S)` float32 in about [0, 1]: the photo, the linear blend inside the holes."""
    deviations: torch.Tensor
    """`(N, K, 3, S, S)` float32: each member less the linear blend, zero at known pixels."""
    hole: torch.Tensor
    """`(N, 1, S, S)` float32, the share of each pixel that is hidden."""
    distance: torch.Tensor
    """`(N, 1, S, S)` float32, distance to the nearest known pixel, 1 for an eighth of the photo."""

    def flipped(self, which: torch.Tensor) -> Views:
        """Mirror the photos of which `(N,)` bool is true."""
        parts = (self.blend, self.deviations, self.hole, self.distance)
        return Views(*(torch.where(which.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x) for x in parts))


class StackNetwork(nn.Module):
    """A small U-Net that sees every photo with the same mean and contrast; zero at the start."""

    def __init__(self, members: int, settings: StackSettings) -> None:
        """
        Args:
            members: K.
            settings: `width`, `levels`, `dropout` and `maps` are read.
        """
        super().__init__()
        self.dropout, self.maps = settings.dropout, settings.maps
        widths = [settings.width * (2 + level) // 2 for level in range(settings.levels)]
        self.stem = nn.Conv2d(3 + 1 + 2 + 1 + 1 + 3 * members, widths[0], _PATCH, _PATCH)
        self.encoder = nn.ModuleList(ResidualBlock(width) for width in widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairwise(widths))
        self.middle = ResidualBlock(widths[-1])
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.norm = ChannelNorm(widths[0])
        self.head = zeroed(nn.Conv2d(widths[0], 3 + (members if settings.maps else 0), 3, padding=1))

    def forward(self, views: Views) -> torch.Tensor:
        """Return the residual `(N, 3, S/2, S/2)`; with `maps` K more channels, the weights of the deviations."""
        contrast = views.blend.std((1, 2, 3), keepdim=True) + _FLAT
        y = self.head(F.relu(self.norm(self._features(_stacked(views, contrast)))))
        return torch.cat([y[:, :3] * contrast, y[:, 3:]], 1)

    def _features(self, x: torch.Tensor) -> torch.Tensor:
        x, skips = self.stem(x), []
        for level, encode in enumerate(self.encoder):
            x = encode(x)
            if level < len(self.down):
                skips.append(x)
                x = self.down[level](x)
        x = self.middle(F.dropout2d(x, self.dropout, self.training))
        for up, decode in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = decode(F.interpolate(up(x), scale_factor=2.0, mode="nearest") + skips.pop())
        return x


def _stacked(views: Views, contrast: torch.Tensor) -> torch.Tensor:
    """Return the network's input `(N, 8 + 3K, S, S)`: everything in units of the photo's contrast."""
    photo = (views.blend - views.blend.mean((1, 2, 3), keepdim=True)) / contrast
    differ = views.deviations.flatten(1, 2) * (_GAIN / contrast)
    diversity = views.deviations.square().mean((1, 2)).sqrt()[:, None] * (_GAIN / contrast)
    count, size = len(photo), photo.shape[-1]
    line = torch.linspace(-1, 1, size, device=photo.device)
    places = torch.stack([line[:, None].expand(size, size), line[None, :].expand(size, size)])
    parts = [photo, views.hole, places.expand(count, -1, -1, -1), views.distance, diversity, differ]
    return torch.cat(parts, 1).contiguous(memory_format=torch.channels_last)
