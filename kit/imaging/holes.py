"""Holes: boxes, masks, and the order in which hidden pixels are scored. Knows nothing of files or models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

import cv2
import numpy as np

RINGS = (1, 3, 6, 12, 21)
"""Least distance in pixels of each ring of hidden pixels; 38 is the deepest of a 75x75 box."""

_FEW = 64  # boxes: more are kept as an array, and not compared with each other
_MANY = re.compile(r"(?:\d{1,9}:\d{1,9}:\d{1,9}:\d{1,9} )+\d{1,9}:\d{1,9}:\d{1,9}:\d{1,9}", re.ASCII)


@dataclass(frozen=True, order=True, slots=True)
class Box:
    """A hidden rectangle; `row`, `col` is its top-left pixel."""

    row: int
    col: int
    height: int = 75
    width: int = 75

    def fits(self, image_height: int, image_width: int) -> bool:
        """Return whether the box lies wholly inside the picture."""
        return (
            self.row >= 0
            and self.col >= 0
            and self.height > 0
            and self.width > 0
            and self.row + self.height <= image_height
            and self.col + self.width <= image_width
        )


class BoxArray(Sequence[Box]):
    """Boxes as an array of numbers, each made an object when it is asked for: a free-form hole has a thousand, and ten
    thousand photos of these would be a gigabyte of objects.

    Args:
        numbers: int `(n, 4)`, row, col, height and width of each.
    """

    def __init__(self, numbers: np.ndarray) -> None:
        small = np.int16 if numbers.size and np.abs(numbers).max() < 1 << 15 else np.int64
        self.numbers = np.ascontiguousarray(numbers, small)
        self.numbers.flags.writeable = False

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Box]:
        return (Box(*four) for four in self.numbers.tolist())

    @overload
    def __getitem__(self, place: int) -> Box: ...
    @overload
    def __getitem__(self, place: slice) -> BoxArray: ...
    def __getitem__(self, place: int | slice) -> Box | BoxArray:
        if isinstance(place, slice):
            return BoxArray(self.numbers[place])
        return Box(*self.numbers[place].tolist())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BoxArray):
            return np.array_equal(self.numbers, other.numbers)
        return isinstance(other, tuple) and tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))  # that of the tuple, to which it is equal

    def __repr__(self) -> str:
        return f"BoxArray({len(self)} boxes)"


def _corners(boxes: Sequence[Box]) -> list[list[int]]:
    """Return row, col, height and width of each box."""
    if isinstance(boxes, BoxArray):
        numbers: list[list[int]] = boxes.numbers.tolist()
        return numbers
    return [[box.row, box.col, box.height, box.width] for box in boxes]


def hole_of(boxes: Sequence[Box], height: int, width: int) -> np.ndarray:
    """Return bool `(H, W)`, True = missing."""
    hole = np.zeros((height, width), bool)
    for row, col, down, across in _corners(boxes):
        hole[row : row + down, col : col + across] = True
    return hole


def scored_pixels(boxes: Sequence[Box]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns, each int `(n,)`, of the scored pixels in order.

    Box after box, each row-major. A pixel inside two boxes is there twice: the competition asks for it, and counts it,
    twice.
    """
    if isinstance(boxes, BoxArray):
        return _scored_of(boxes.numbers.astype(np.int64))
    grids = [np.mgrid[box.row : box.row + box.height, box.col : box.col + box.width].reshape(2, -1) for box in boxes]
    rows, columns = np.concatenate(grids, axis=1) if grids else np.zeros((2, 0), np.int64)
    return rows, columns


def _scored_of(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `scored_pixels` of `(n, 4)` numbers, all boxes at once: of a thousand in a tenth of the time."""
    counts = numbers[:, 2] * numbers[:, 3]
    row, col, across = (np.repeat(numbers[:, column], counts) for column in (0, 1, 3))
    first = np.repeat(np.cumsum(counts) - counts, counts)
    down, right = np.divmod(np.arange(counts.sum()) - first, across)
    return row + down, col + right


def cut_boxes(photo: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Return `photo[scored_pixels(boxes)]`, `(n, ...)`, by slices: a tenth of the time."""
    if not boxes:
        return np.empty((0, *photo.shape[2:]), photo.dtype)
    parts = [photo[row : row + height, col : col + width] for row, col, height, width in _corners(boxes)]
    return np.concatenate([part.reshape(-1, *photo.shape[2:]) for part in parts])


def border_distances(boxes: Sequence[Box], height: int, width: int) -> np.ndarray:
    """Return each scored pixel's chessboard distance to the nearest known one, in order: `(n,)` uint8, at most 255.

    What lies outside the picture is not known: a box at its edge is deep there.
    """
    few = 0 < len(boxes) <= _FEW  # each is compared with each
    if few and all(_is_alone(box, boxes, height, width) for box in boxes):
        return np.concatenate([_distances_inside(box.height, box.width) for box in boxes])
    distance = cv2.distanceTransform(hole_of(boxes, height, width).astype(np.uint8), cv2.DIST_C, 3)
    distances: np.ndarray = np.minimum(cut_boxes(distance, boxes), 255).astype(np.uint8)
    return distances


def _is_alone(box: Box, boxes: Sequence[Box], height: int, width: int) -> bool:
    """Return whether all pixels around the box are known."""
    inside = box.row > 0 and box.col > 0 and box.row + box.height < height and box.col + box.width < width
    return inside and not any(
        other is not box
        and other.row <= box.row + box.height
        and box.row <= other.row + other.height
        and other.col <= box.col + box.width
        and box.col <= other.col + other.width
        for other in boxes
    )


@lru_cache(maxsize=64)
def _distances_inside(height: int, width: int) -> np.ndarray:
    rows, columns = np.arange(height), np.arange(width)
    of_row, of_column = np.minimum(rows + 1, height - rows), np.minimum(columns + 1, width - columns)
    found = np.minimum(np.minimum(of_row[:, None], of_column), 255).astype(np.uint8).reshape(-1)
    found.flags.writeable = False
    return found


def rings_of(boxes: Sequence[Box], height: int, width: int) -> np.ndarray:
    """Return the ring (`RINGS`) of each scored pixel in order, `(n,)` uint8."""
    rings: np.ndarray = _RING_OF[border_distances(boxes, height, width)]
    return rings


_RING_OF = (np.searchsorted(RINGS, np.arange(256), side="right") - 1).clip(0).astype(np.uint8)


def scored_count(boxes: Sequence[Box]) -> int:
    """Return how many pixels `scored_pixels` lists."""
    if isinstance(boxes, BoxArray):
        return int(boxes.numbers.astype(np.int64)[:, 2:].prod(axis=1).sum())
    return sum(box.height * box.width for box in boxes)


def boxes_of(hole: np.ndarray) -> tuple[Box, ...]:
    """Return boxes that together are a hole of any shape, none over another: equal runs in rows below each other.

    Args:
        hole: bool `(H, W)`, True = missing.
    """
    steps = np.diff(np.pad(hole.astype(np.int8), ((0, 1), (1, 1))), axis=1)  # one row more: there all runs end
    begun: dict[tuple[int, int], int] = {}
    boxes = []
    for row, step in enumerate(steps):
        starts, ends = np.flatnonzero(step == 1).tolist(), np.flatnonzero(step == -1).tolist()
        runs = set(zip(starts, ends, strict=True))
        for run in [run for run in begun if run not in runs]:
            first = begun.pop(run)
            boxes.append(Box(first, run[0], row - first, run[1] - run[0]))
        for run in runs - begun.keys():
            begun[run] = row
    return tuple(sorted(boxes))


def random_boxes(rng: np.random.Generator, like: Sequence[Box], height: int, width: int) -> list[Box]:
    """Return fresh boxes of the same sizes as `like`, each uniform over the places where it fits."""
    return [
        Box(
            int(rng.integers(0, height - box.height + 1)),
            int(rng.integers(0, width - box.width + 1)),
            box.height,
            box.width,
        )
        for box in like
    ]


def boxes_to_text(boxes: Sequence[Box]) -> str:
    """Return `row:col:height:width` for each box, blank between: the form in `index.csv`."""
    return " ".join(f"{box.row}:{box.col}:{box.height}:{box.width}" for box in boxes)


def boxes_from_text(text: str) -> tuple[Box, ...] | BoxArray:
    """Read what `boxes_to_text` wrote, many boxes as an array. Raises ValueError on anything else."""
    if text.count(":") > 3 * _FEW and _MANY.fullmatch(text):
        return BoxArray(np.fromstring(text.replace(":", " "), np.int64, sep=" ").reshape(-1, 4))
    boxes = []
    for part in text.split():
        row, col, height, width = (int(number) for number in part.split(":"))
        boxes.append(Box(row, col, height, width))
    return tuple(boxes)
