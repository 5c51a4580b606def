"""Photos for the page: one picture of each, and of every source only what lies in the holes. Draws no chart.

A page of 200 photos and ten sources has to stay under 10 MB, so pictures are WebP, and a source's is a strip of the
rectangles around the holes. The page puts them into the photo again.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.core.workspace import Split
from kit.data.index import PhotoRow
from kit.data.project import Project
from kit.imaging.holes import Box
from kit.imaging.images import composite_values

LARGEST = 384  # pixels of a photo's longer side
_FEW = 6  # boxes that are each a rectangle of the strip; else one is put around all
QUALITIES = (92, 85, 75, 60, 40)

Values = Callable[[int], np.ndarray | None]


@dataclass(frozen=True)
class Picked:
    """One photo of the gallery, not yet encoded."""

    split: Split
    position: int
    row: PhotoRow
    whole: np.ndarray
    """`(h, w, 3)` uint8, the truth, or for a test photo what is known."""
    hole: np.ndarray
    """bool `(h, w)`."""
    rectangles: tuple[Box, ...]
    """Of the strips, at the picture's size."""
    strips: dict[str, np.ndarray]
    """Of each source `(sum of heights, widest, 3)` uint8."""


def shown_photos(
    project: Project, picks: Sequence[tuple[Split, int]], columns: dict[Split, dict[str, Values]]
) -> list[Picked]:
    """Read photos and what the columns predict of them.

    Args:
        columns: for each split names of columns, and a photo's position to `(n, 3)` RGB in [0, 1], None where there
            is no prediction.
    """

    def read(pick: tuple[Split, int]) -> Picked:
        split, position = pick
        row = project.index.split(split)[position]
        stored = project.pack.train_target if split == "train" else project.pack.image("test")
        whole = np.asarray(stored[position])
        scale = min(1.0, LARGEST / max(whole.shape[:2]))
        hole = _resized(row.hole.astype(np.uint8), scale, cv2.INTER_NEAREST) > 0
        rectangles = rectangles_of(row.boxes, hole, scale)
        strips = {}
        for name, values in columns[split].items():
            found = values(position)
            if found is not None and rectangles:
                picture = composite_values(whole, np.clip(found, 0.0, 1.0), row.boxes, 0, 0)
                strips[name] = strip_of(_resized(picture, scale), rectangles)
        return Picked(split, position, row, _resized(whole, scale), hole, rectangles, strips)

    with closing(map_in_order(read, picks)) as done:
        return list(track(done, "Pictures", len(picks), "photos"))


def rectangles_of(boxes: Sequence[Box], hole: np.ndarray, scale: float) -> tuple[Box, ...]:
    """Return what of a picture a strip holds: the boxes, or of a hole of any shape one rectangle around it."""
    if scale == 1.0 and len(boxes) <= _FEW:
        return tuple(boxes)
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    if not len(rows):
        return ()
    top, left = int(rows[0]), int(columns[0])
    return (Box(top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1),)


def strip_of(picture: np.ndarray, rectangles: Sequence[Box]) -> np.ndarray:
    """Return these rectangles of a picture below each other, `(sum of heights, widest, 3)`."""
    widest = max(one.width for one in rectangles)
    strip = np.zeros((sum(one.height for one in rectangles), widest, 3), np.uint8)
    row = 0
    for one in rectangles:
        strip[row : row + one.height, : one.width] = picture[one.row : one.row + one.height, one.col :][:, : one.width]
        row += one.height
    return strip


def encoded(shown: Sequence[Picked], budget: int) -> tuple[list[dict[str, Any]], int]:
    """Return each photo as the page wants it, as good as all of them together fit, and the quality of that.

    Args:
        budget: bytes of them all, as text.
    """
    found: list[dict[str, Any]] = []
    for quality in QUALITIES:
        found = [_photo(one, quality) for one in shown]
        if sum(len(one["whole"]) + len(one["mask"]) + sum(map(len, one["strips"].values())) for one in found) <= budget:
            return found, quality
    return found, QUALITIES[-1]


def _photo(one: Picked, quality: int) -> dict[str, Any]:
    return {
        "split": one.split,
        "at": one.position,
        "name": one.row.name,
        "class": one.row.klass,
        "size": [one.whole.shape[1], one.whole.shape[0]],
        "boxes": [[box.row, box.col, box.height, box.width] for box in one.rectangles],
        "whole": data_uri(one.whole, quality),
        "mask": "" if len(one.row.boxes) <= _FEW and one.whole.shape[:2] == one.row.hole.shape else mask_uri(one.hole),
        "strips": {name: data_uri(strip, quality) for name, strip in one.strips.items()},
    }


def data_uri(picture: np.ndarray, quality: int) -> str:
    """Return a picture as WebP in a text that a page can show, RGB uint8 `(h, w, 3)`."""
    data = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def mask_uri(hole: np.ndarray) -> str:
    """Return a hole as a PNG that is white where a pixel is hidden."""
    data = cv2.imencode(".png", hole.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])[1]
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _resized(picture: np.ndarray, scale: float, how: int = cv2.INTER_AREA) -> np.ndarray:
    if scale == 1.0:
        return picture
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=how))
