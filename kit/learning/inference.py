"""From a generator to hidden pixels at full size. Knows photos, fills and tensors; no optimizer.

The photo with its base fill is brought to the network's size, the network's residual is brought back and added to the
fill: the fill keeps its sharp edge at the known pixels whatever the network's size is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from kit.data.index import PhotoRow
from kit.data.pack import Pack
from kit.data.photo_list import PhotoArray
from kit.data.predictions import Predictions
from kit.data.scoring import rmse_of
from kit.imaging.holes import scored_pixels
from kit.learning.datasets import hidden_share, network_input
from kit.learning.experiments import DataSettings

CHUNK = 32  # photos predicted at once


@dataclass(frozen=True)
class Inputs:
    """Photos of one split prepared at the size at which the network predicts; full-size fills stay on disk."""

    photo_rows: Sequence[PhotoRow]
    positions: np.ndarray
    """Position of each in its split."""
    filled: torch.Tensor
    """`(n, 3, S, S)` float32."""
    hole: torch.Tensor
    """`(n, 1, S, S)` float32, the share of each pixel that is hidden."""
    fill: Predictions
    condition: torch.Tensor | None = None
    """`(n, D)` float32: each photo's vector, where the network takes one."""


def prepare_inputs(
    settings: DataSettings,
    images: PhotoArray,
    photo_rows: Sequence[PhotoRow],
    positions: np.ndarray,
    fill: Predictions,
    condition: torch.Tensor | None = None,
) -> Inputs:
    """Bring photos with their base fill to the network's size.

    Args:
        images: `(N, H, W, 3)` uint8 of the whole split; what is under the holes is not looked at.
        photo_rows: all photos of the split.
        positions: which of them.
        fill: the base fill's predictions of this split.
        condition: `(N, D)`, each photo's vector, of the whole split (`kit.learning.conditions`).
    """
    size = settings.size_predicted_at
    filled = torch.empty(len(positions), 3, size, size)
    holes = torch.empty(len(positions), 1, size, size)
    for place, position in enumerate(positions):
        photo_row = photo_rows[position]
        photo = np.asarray(images[position]).astype(np.float32) / 255
        photo[scored_pixels(photo_row.boxes)] = fill.values(position)
        tensor = torch.from_numpy(photo.transpose(2, 0, 1))[None]
        filled[place] = F.interpolate(tensor, size=(size, size), mode="area")[0]
        holes[place] = hidden_share(photo_row.boxes, (photo_row.height, photo_row.width), size)[0]
    chosen = None if condition is None else condition[positions]
    return Inputs([photo_rows[position] for position in positions], positions, filled, holes, fill, chosen)


@torch.no_grad()
def residuals(
    generator: nn.Module,
    settings: DataSettings,
    filled: torch.Tensor,
    hole: torch.Tensor,
    condition: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the residual `(n, 3, S, S)`, averaged over the mirrored view if it was trained with mirrored photos."""
    extra = () if condition is None else (condition,)
    generator.eval()
    residual = generator(network_input(filled, hole), *extra)
    if settings.mirrored:
        residual = residual + generator(network_input(filled.flip(3), hole.flip(3)), *extra).flip(3)
        residual = residual / 2
    plain: torch.Tensor = residual.float()
    return plain


def predict(generator: nn.Module, settings: DataSettings, inputs: Inputs, device: torch.device) -> Iterator[np.ndarray]:
    """Yield the hidden pixels of each photo in order, `(n, 3)` float32 RGB in [0, 1]."""
    for start in range(0, len(inputs.photo_rows), CHUNK):
        piece = slice(start, start + CHUNK)
        seen = [inputs.filled[piece].to(device), inputs.hole[piece].to(device)]
        seen += [] if inputs.condition is None else [inputs.condition[piece].to(device)]
        yield from residual_values(residuals(generator, settings, *seen), inputs, start)


def residual_values(residual: torch.Tensor, inputs: Inputs, start: int = 0) -> Iterator[np.ndarray]:
    """Yield the hidden pixels of photos in order, `(n, 3)` float32 RGB in [0, 1]: the fill and what a network adds.

    Args:
        residual: `(N, 3, S, S)` of any size S, for N photos of the inputs from `start` on.
    """
    residual = residual.detach().float().cpu()
    for offset, photo_row in enumerate(inputs.photo_rows[start : start + len(residual)]):
        full = F.interpolate(residual[offset : offset + 1], size=(photo_row.height, photo_row.width), mode="bilinear")[
            0
        ]
        rows, columns = scored_pixels(photo_row.boxes)
        values = full.numpy()[:, rows, columns].T + inputs.fill.values(int(inputs.positions[start + offset]))
        yield np.clip(values, 0.0, 1.0)


def fold_rmse(
    generator: nn.Module,
    settings: DataSettings,
    inputs: Inputs,
    pack: Pack,
    device: torch.device,
    see: Callable[[int, np.ndarray], None] | None = None,
) -> float:
    """Return the RMSE in score space over training photos, their value ranges estimated as in the test split.

    Args:
        see: called with each photo's position and what is predicted for it, `(n, 3)` RGB in [0, 1].
    """

    def seen() -> Iterator[np.ndarray]:
        for position, values in zip(inputs.positions, predict(generator, settings, inputs, device), strict=True):
            if see is not None:
                see(int(position), values)
            yield values

    return rmse_of(seen(), inputs.positions, inputs.photo_rows, pack)


def fill_rmse(inputs: Inputs, pack: Pack) -> float:
    """Return the `fold_rmse` of the base fill alone."""
    values = (inputs.fill.values(int(position)) for position in inputs.positions)
    return rmse_of(values, inputs.positions, inputs.photo_rows, pack)
