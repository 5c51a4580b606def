"""Whether the competition's files agree with each other: a pair with its masked copy, boxes with what is black.

Knows arrays and boxes alone. The limits were measured on sound JPEGs (`scripts/bench/soundness.py`): what compression
does to means of 16x16 pixels stays below half of `MISFIT`, another photo is far beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from kit.imaging.holes import Box

TILE = 16  # pixels; compression moves the mean of so many hardly at all
MISFIT = 25.0  # grey levels between the means of one tile: another photo, or a destroyed part
DARK = 32  # the highest grey level that compression leaves in what was painted black
PAINTED = 0.99  # the share of a box that is at most `DARK`: one row of 75 less is already below
BLACK, ELSEWHERE = 8, 0.95  # what is as black as that over so much of a box's size was painted, or is a night
FEW = 0.05  # of a split's photos: more that contradict themselves mean that all are doubtful


class Doubt(StrEnum):
    """What is wrong with a photo, in the words that follow a count."""

    PAIR = "whose whole photo does not fit the masked one"
    BOXES = "black elsewhere than in their boxes"
    UNPAINTED = "not painted black in their boxes"


@dataclass(frozen=True)
class Doubtful:
    """One photo with a doubt, and what else is known of it."""

    id: str
    doubt: Doubt
    hint: str = ""


def doubt_about(
    masked: np.ndarray, boxes: Sequence[Box], hole: np.ndarray, whole: np.ndarray | None, *, painted: bool = True
) -> Doubt | None:
    """Return what is wrong with a photo, None where all agrees.

    Args:
        masked: uint8 `(H, W, 3)`, as the file has it.
        hole: bool `(H, W)`, of the boxes.
        whole: the same photo without holes, None in the test split.
        painted: whether holes are painted black.
    """
    doubt = _doubt_about_boxes(masked, boxes, whole) if painted else None
    if doubt is not Doubt.BOXES and whole is not None and misfit(masked, whole, hole) > MISFIT:
        return Doubt.PAIR
    return doubt


def misfit(masked: np.ndarray, whole: np.ndarray, hole: np.ndarray) -> float:
    """Return by how many grey levels the mean of the worst tile differs, known pixels alone.

    Means and not pixels: compression changes every pixel a little, and a tile's mean not.
    """
    size = (max(1, hole.shape[1] // TILE), max(1, hole.shape[0] // TILE))
    known = np.where(hole, np.uint8(0), np.uint8(255))
    shown = (cv2.copyTo(photo, known) for photo in (masked, whole))
    first, second = (cv2.resize(photo, size, interpolation=cv2.INTER_AREA).astype(np.float32) for photo in shown)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA) / 255
    enough = share > 0.5
    return float((np.abs(first - second)[enough] / share[enough][:, None]).max(initial=0.0))


def turned(masked: np.ndarray, whole: np.ndarray, hole: np.ndarray) -> str:
    """Return how the whole photo has to be turned to fit the masked one, "" where it never does."""
    for name, quarters, mirrored in _TURNS:
        other = np.ascontiguousarray(np.rot90(whole[:, ::-1] if mirrored else whole, quarters))
        if other.shape == masked.shape and misfit(masked, other, hole) <= MISFIT:
            return name
    return ""


_TURNS = (
    ("turned by 90 degrees, as EXIF says it", 1, False),
    ("turned by 180 degrees, as EXIF says it", 2, False),
    ("turned by 270 degrees, as EXIF says it", 3, False),
    ("mirrored", 0, True),
    ("mirrored and turned", 1, True),
    ("upside down", 2, True),
    ("mirrored and turned", 3, True),
)


def _doubt_about_boxes(masked: np.ndarray, boxes: Sequence[Box], whole: np.ndarray | None) -> Doubt | None:
    grey = cv2.cvtColor(masked, cv2.COLOR_RGB2GRAY)
    dark = (grey <= DARK).view(np.uint8)
    wrong = [box for box in boxes if _share(dark, box) < PAINTED]
    if not wrong:
        return None
    painted = {(box.row, box.col) for box in boxes if box not in wrong}
    black = (grey <= BLACK).view(np.uint8)
    own = None if whole is None else (cv2.cvtColor(whole, cv2.COLOR_RGB2GRAY) <= DARK).view(np.uint8)
    for height, width in {(box.height, box.width) for box in wrong}:
        for row, col in np.argwhere(_shares(black, height, width) >= ELSEWHERE).tolist():
            found = Box(row, col, height, width)
            if (row, col) not in painted and (own is None or _share(own, found) < ELSEWHERE):
                return Doubt.BOXES
    return Doubt.UNPAINTED


def _shares(dark: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return which share of each window of this size is dark, by the window's first row and column."""
    summed = cv2.integral(dark)
    inside = summed[height:, width:] - summed[:-height, width:] - summed[height:, :-width] + summed[:-height, :-width]
    return np.asarray(inside / (height * width))


def _share(dark: np.ndarray, box: Box) -> float:
    part = dark[box.row : box.row + box.height, box.col : box.col + box.width]
    return cv2.countNonZero(np.ascontiguousarray(part)) / part.size


def is_few(count: int, total: int) -> bool:
    """Return whether so many photos of a split may contradict themselves without the whole being doubtful."""
    return count < total and count <= max(1, FEW * total)


def described(doubtful: Sequence[Doubtful], *, counted: bool = True) -> str:
    """Return counts by kind, with the first photos of each: `2 whose ... (first: 'a', 'b')`."""
    parts = []
    for doubt in Doubt:
        ones = [one for one in doubtful if one.doubt is doubt]
        if ones:
            hint = f"; the first would fit {ones[0].hint}" if ones[0].hint else ""
            names = ", ".join(repr(one.id) for one in ones[:3])
            parts.append(f"{f'{len(ones)} ' if counted else ''}{doubt} (first: {names}{hint})")
    return "; ".join(parts)
