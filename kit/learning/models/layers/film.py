"""FiLM: a photo's condition scales and shifts a network's coarsest features (Perez et al. 2018)."""

from __future__ import annotations

import torch
from torch import nn

CONDITION = 64
"""Length of a photo's condition; see `kit.learning.conditions`."""
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
        self.tell = nn.Sequential(nn.Linear(CONDITION, _HIDDEN), nn.SiLU(), last)  # `tell` is a name in stored weights

    def forward(self, features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return features `(N, C, h, w)` scaled and shifted by the condition `(N, CONDITION)`."""
        scale, shift = self.tell(condition)[..., None, None].chunk(2, 1)
        y: torch.Tensor = features * (1 + scale) + shift
        return y


def apply_film(film: Film | None, features: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
    """Return the features scaled and shifted by the photos' condition; as they are without a film or a condition."""
    return features if film is None or condition is None else film(features, condition)
