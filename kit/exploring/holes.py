"""Where holes are, how large and how deep, in both splits. Knows boxes and sizes; no pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from kit.core.progress import track
from kit.core.workspace import Split
from kit.data.index import Index, PhotoRow
from kit.exploring.result import Holes, SizeCount, rounded
from kit.imaging.images import resize

GRID = 32
"""Rows and columns of the map of holes."""
MEASURES = (
    ("hidden share", "share of the photo that is hidden"),
    ("depth", "largest distance of a hidden pixel to a known one, in sides of the photo"),
    ("pieces", "connected pieces of the hole"),
    ("middle, down", "middle of the hole, 0 at the top, 1 at the bottom"),
    ("middle, across", "middle of the hole, 0 at the left, 1 at the right"),
    ("off the middle", "mean distance of hidden pixels to the photo's middle, in half sides"),
)
_FEW_BOXES = 16  # a photo with more has a hole of free form, whose boxes are runs of pixels
_LISTED = 12


@dataclass(frozen=True)
class HoleFacts:
    """The holes of one split."""

    measures: np.ndarray
    """`(N, 6)` float64, see `MEASURES`; NaN of a photo that hides nothing, but for the share."""
    heat: np.ndarray
    """`(GRID, GRID)` float64: the share of photos that hide each place."""


def hole_facts(rows: Sequence[PhotoRow], called: str) -> HoleFacts:
    """Return the facts of one split's holes; the bar calls it so."""
    heat = np.zeros((GRID, GRID))
    measures = np.full((len(rows), len(MEASURES)), np.nan)
    for place, row in enumerate(track(rows, f"Measuring holes, {called}", len(rows), "photos")):
        hole = row.hole
        heat += resize(hole.astype(np.float32), GRID, GRID).clip(0, 1)
        measures[place] = _measures(hole)
    return HoleFacts(measures, heat / max(1, len(rows)))


def _measures(hole: np.ndarray) -> tuple[float, ...]:
    height, width = hole.shape
    rows, columns = np.nonzero(hole)
    if not len(rows):
        return (0.0, *[float("nan")] * (len(MEASURES) - 1))
    bits = hole.astype(np.uint8)
    if hole.all():
        depth = 1.0
    else:
        depth = float(cv2.distanceTransform(bits, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max()) / min(hole.shape)
    pieces = cv2.connectedComponents(bits, connectivity=8)[0] - 1
    down, across = (rows + 0.5) / height, (columns + 0.5) / width
    off = float(_off_the_middle(height, width)[hole].mean())
    return len(rows) / hole.size, depth, float(pieces), float(down.mean()), float(across.mean()), off


@lru_cache(maxsize=64)
def _off_the_middle(height: int, width: int) -> np.ndarray:
    """Return each pixel's distance to the photo's middle, 1 at the middles of its sides."""
    down, across = ((2 * np.arange(side) + 1) / side - 1 for side in (height, width))
    return np.hypot(down[:, None], across)


def holes_of(index: Index, train: HoleFacts, test: HoleFacts) -> Holes:
    """Return what is told of the holes of both splits."""
    splits: tuple[Split, Split] = ("train", "test")
    both = [index.split(split) for split in splits]
    is_boxes = all(len(row.boxes) <= _FEW_BOXES for rows in both for row in rows)
    counts = [Counter((box.height, box.width) for row in rows for box in row.boxes) for rows in both]
    sizes = sorted(counts[0] | counts[1], key=lambda size: (-counts[0][size] - counts[1][size], size))
    shares = [facts.measures[:, 0] for facts in (train, test)]
    overlapping = [
        sum(row.scored > share * row.height * row.width + 0.5 for row, share in zip(rows, found, strict=True))
        for rows, found in zip(both, shares, strict=True)
    ]
    return Holes(
        train=_grid(train.heat),
        test=_grid(test.heat),
        boxes=tuple(SizeCount(*size, counts[0][size], counts[1][size]) for size in sizes[:_LISTED]) if is_boxes else (),
        overlapping=(overlapping[0], overlapping[1]),
        hides_nothing=(int((shares[0] == 0).sum()), int((shares[1] == 0).sum())),
    )


def _grid(heat: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(rounded(value, 4) for value in row) for row in heat.tolist())


def photo_sizes(index: Index) -> tuple[SizeCount, ...]:
    """Return how many photos have each size, the most frequent first."""
    counts = [Counter((row.height, row.width) for row in rows) for rows in (index.train, index.test)]
    sizes = sorted(counts[0] | counts[1], key=lambda size: (-counts[0][size] - counts[1][size], size))
    return tuple(SizeCount(*size, counts[0][size], counts[1][size]) for size in sizes[:_LISTED])
