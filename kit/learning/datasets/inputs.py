"""The channels of a network's input."""

from __future__ import annotations

import torch

INPUT_CHANNELS = 6


def network_input(filled: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Return `(N, 6, S, S)`: filled photo about zero, hole, row and column coordinates in [-1, 1]."""
    count, _, height, width = filled.shape
    rows = torch.linspace(-1, 1, height, device=filled.device)[:, None].expand(height, width)
    columns = torch.linspace(-1, 1, width, device=filled.device)[None, :].expand(height, width)
    coordinates = torch.stack([rows, columns]).expand(count, -1, -1, -1)
    stacked = torch.cat([(filled - 0.5) * 4, hole, coordinates], dim=1)
    return stacked.contiguous(memory_format=torch.channels_last)
