"""Boxes as tensors: the share of each pixel that they hide at the network's size, and JPEG's traces beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from kit.imaging.holes import Box, hole_of
from kit.learning.datasets.base_fill import Windows, luma_of

# beside boxes that were painted before a photo became a JPEG with 4:2:0 chroma, the boxes' grey bleeds into the chroma:
# measured shrinkage of the chroma in the first, second and third pixel (EXPERIMENTS.md, 2026-11-22)
BLEED = (0.31, 0.08, 0.02)


def as_tensor(boxes: Sequence[Sequence[Box]], device: torch.device | str = "cpu") -> torch.Tensor:
    """Return the boxes of each photo, equally many, as `(N, k, 4)` int64: row, column, height, width."""
    numbers = [[(box.row, box.col, box.height, box.width) for box in of_photo] for of_photo in boxes]
    return torch.tensor(numbers, dtype=torch.int64).reshape(len(boxes), -1, 4).to(device, non_blocking=True)


def coverage(boxes: Sequence[Box], full: tuple[int, int], size: int) -> torch.Tensor:
    """Return the share of each pixel hidden by boxes given at full size, `(1, 1, S, S)` float32; see `coverage_of`."""
    return coverage_of(as_tensor([boxes]), full, size)


MOST_BOXES = 4  # more are the tiles of a free-form hole, which add up where they touch


def hidden_share(boxes: Sequence[Box], full: tuple[int, int], size: int) -> torch.Tensor:
    """Return the share of each pixel hidden by a hole of any shape, `(1, 1, S, S)` float32: of a few boxes as in
    training (`coverage`), of tiles by area."""
    if len(boxes) <= MOST_BOXES:
        return coverage(boxes, full, size)
    return area_share(hole_of(boxes, *full), size)


def area_share(hole: np.ndarray, size: int) -> torch.Tensor:
    """Return the share of each pixel that a hole `(H, W)` hides, `(1, 1, S, S)` float32, by area."""
    return F.interpolate(torch.from_numpy(hole.astype(np.float32))[None, None], size=(size, size), mode="area")


def coverage_of(boxes: torch.Tensor, full: tuple[int, int], size: int, *, grown: int = 0) -> torch.Tensor:
    """Return the share of each pixel that is hidden, `(N, 1, S, S)` float32.

    Exact for one box; where boxes overlap the larger share counts, exact wherever a pixel is hidden whole.

    Args:
        boxes: `(N, k, 4)`, at full size.
        full: height and width of a photo at full size.
        grown: by so many pixels of full size, to all four sides.
    """
    if not boxes.shape[1]:
        return torch.zeros(len(boxes), 1, size, size, device=boxes.device)
    start, length = boxes[..., :2].double() - grown, boxes[..., 2:].double() + 2 * grown
    shares = []
    for axis in (0, 1):
        scale = size / full[axis]
        edges = torch.arange(size + 1, dtype=torch.float64, device=boxes.device)
        low, high = start[..., axis, None] * scale, (start + length)[..., axis, None] * scale
        inside = torch.minimum(torch.maximum(edges, low), high)
        shares.append((inside[..., 1:] - inside[..., :-1]).float())
    rows, columns = shares
    return (rows[..., :, None] * columns[..., None, :]).amax(dim=1, keepdim=True)


def windows_of(boxes: Sequence[Sequence[Box]], full: tuple[int, int], size: int, device: torch.device) -> Windows:
    """Return squares of one size around the boxes of each photo, for `SpectralFill`."""
    numbers = as_tensor(boxes)
    scales = torch.tensor([size / full[0], size / full[1]], dtype=torch.float64)
    low, high = numbers[..., :2] * scales, (numbers[..., :2] + numbers[..., 2:]) * scales
    side = min(size, math.ceil((numbers[..., 2:] * scales).max()) + 1)
    corners = low.long().clamp(max=size - side)
    free = (low < 1).long() + 2 * (high > size - 1).long()
    corners, free = torch.stack([corners, free]).to(device, non_blocking=True)
    return Windows(corners, side, free)


def bleed(photos: torch.Tensor, boxes: torch.Tensor, full: tuple[int, int], strength: float) -> torch.Tensor:
    """Shrink the chroma beside the boxes as a JPEG with painted boxes does.

    Args:
        photos: `(N, 3, S, S)`.
        boxes: `(N, k, 4)`, at full size.
        strength: 1 as it was measured.
    """
    size = photos.shape[-1]
    inner = coverage_of(boxes, full, size)
    shrinkage = torch.zeros_like(inner)
    for distance, share in enumerate(BLEED, start=1):
        outer = coverage_of(boxes, full, size, grown=distance)
        shrinkage = shrinkage + strength * share * (outer - inner).clamp(min=0)
        inner = outer
    return photos.lerp(luma_of(photos)[:, None], shrinkage.clamp(max=1))
