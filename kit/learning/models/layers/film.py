"""FiLM: what is known of a photo as a whole scales and shifts a network's coarsest features (Perez et al. 2018)."""

from __future__ import annotations

import torch
from torch import nn

CONDITION = 64
"""How many numbers tell of a photo; see `kit.learning.conditions`."""
_HIDDEN = 64


class Film(nn.Module):
    """`features * (1 + scale) + shift`, both from a small network that says nothing at the start."""

    def __init__(self, channels: int) -> None:
        """
        Args:
            channels: of the features.
        """
        super().__init__()
        last = nn.Linear(_HIDDEN, 2 * channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.tell = nn.Sequential(nn.Linear(CONDITION, _HIDDEN), nn.SiLU(), last)

    def forward(self, features: torch.Tensor, about: torch.Tensor) -> torch.Tensor:
        """`(N, C, h, w)` and `(N, CONDITION)` to `(N, C, h, w)`."""
        scale, shift = self.tell(about)[..., None, None].chunk(2, 1)
        y: torch.Tensor = features * (1 + scale) + shift
        return y


def told(film: Film | None, features: torch.Tensor, about: torch.Tensor | None) -> torch.Tensor:
    """Features changed by what is known of the photos, if a network has a way to be told and there is something."""
    return features if film is None or about is None else film(features, about)
