"""Fresh holes of any shape for training photos: the training photos' own, turned, mirrored and moved. Knows arrays.

Competitions whose photos all have boxes of the same sizes draw fresh boxes instead (`kit.imaging.holes.random_boxes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kit.data.index import PhotoRow
from kit.imaging.holes import Box
from kit.imaging.images import resize

MOST_BOXES = 16  # of a photo whose holes are boxes of the competition
MOST_SHAPES = 4096  # kept, evenly spread over the photos
_MOVED = 8  # a shape moves by at most this part of a side


@dataclass(frozen=True)
class HoleShapes:
    """Holes to be drawn from."""

    shares: np.ndarray
    """`(M, S, S)` uint8: the share of each pixel that is hidden, 255 = all of it."""

    def at(self, size: int) -> HoleShapes:
        """Return them at another side."""
        return HoleShapes(np.stack([resize(one, size, size) for one in self.shares]))

    def draw(self, rng: np.random.Generator, copies: int) -> torch.Tensor:
        """Return one fresh hole `(1, S, S)` float32 of so many shapes over each other."""
        drawn = [self._one(rng) for _ in range(copies)]
        return torch.from_numpy(np.maximum.reduce(drawn).astype(np.float32) / 255)[None]

    def _one(self, rng: np.random.Generator) -> np.ndarray:
        side = self.shares.shape[1]
        shape = self.shares[int(rng.integers(len(self.shares)))]
        turn, most = int(rng.integers(8)), side // _MOVED
        shape = shape.T if turn & 4 else shape
        shape = shape[:: -1 if turn & 2 else 1, :: -1 if turn & 1 else 1]
        down, across = (int(step) for step in rng.integers(-most, most + 1, 2))
        moved: np.ndarray = np.zeros_like(shape)
        moved[max(down, 0) : side + min(down, 0), max(across, 0) : side + min(across, 0)] = shape[
            max(-down, 0) : side + min(-down, 0), max(-across, 0) : side + min(-across, 0)
        ]
        return moved


def fresh_holes(photo_rows: Sequence[PhotoRow], size: int) -> tuple[Box, ...] | HoleShapes:
    """Return what training photos are to be hidden by: boxes of the sizes that all these photos have, or else shapes.

    Args:
        photo_rows: of the photos that a model may see.
        size: side at which it works.
    """
    first = photo_rows[0].boxes if photo_rows else ()
    if all(len(row.boxes) == len(first) <= MOST_BOXES for row in photo_rows):  # free-form holes have a thousand each
        kinds = {tuple(sorted((box.height, box.width) for box in row.boxes)) for row in photo_rows}
        if len(kinds) == 1:
            return tuple(first)
    some = [row for row in photo_rows if row.boxes]
    chosen = some[:: -(-len(some) // MOST_SHAPES)] if some else []
    holes = [resize(row.hole.astype(np.uint8) * np.uint8(255), size, size) for row in chosen]
    return HoleShapes(np.stack(holes) if holes else np.zeros((1, size, size), np.uint8))
