"""Photos that are parts of one another: crops and shifted copies, turned, mirrored or inverted too. Knows arrays alone.

Windows of every photo, of the whole side, nine and eight tenths of it, along each axis alone, are compared with every
whole photo, and their middle ones with every photo's middle (shifted copies), by their lowest cosine coefficients: one
matrix product. What comes near is laid over the other at 64x64 as well as it fits, and judged there as other near
duplicates are: by correlation and signs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.data.likeness import THUMBNAIL_SIZE, are_alike, correlation
from kit.imaging.images import resize

SIDE = 64
LOWEST = 6  # cosine coefficients along each axis, but for the mean
DETAIL = 0.9  # correlation of what is left between two blurs
NEAR = 0.95  # cosine of two windows' coefficients from which the pair is laid over each other
_BLOCK = 4096  # pictures whose pixels are numbers with a point at once
Window = tuple[tuple[int, int], tuple[int, int]]
"""First pixel and length along rows and along columns."""


@dataclass(frozen=True)
class Windows:
    """Windows of each photo, and the one of every other photo that they are compared with."""

    places: list[Window]
    compared: Window


_SIDES = ((0, 64), (0, 58), (6, 58), (0, 52), (6, 52), (12, 52))
_SHIFTS = tuple((start, 52) for start in range(0, 13, 3))
WHOLE_WINDOWS = Windows(list(itertools.product(_SIDES, _SIDES)), ((0, 64), (0, 64)))
"""Parts of a photo, of which one may be another photo whole."""
MIDDLE_WINDOWS = Windows(list(itertools.product(_SHIFTS, _SHIFTS)), ((6, 52), (6, 52)))
"""Places at which another photo's middle may lie: shifted copies."""


def grey_picture(photo: np.ndarray) -> np.ndarray:
    """Return uint8 `(64, 64)`: the plain mean of the channels, which no exchange of them alters."""
    small = cv2.resize(photo, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.transform(small, np.full((1, 3), 1 / 3))


def grey_pictures(photos: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Return `grey_picture` of so many photos, `(count, 64, 64)` uint8."""
    made = np.empty((count, SIDE, SIDE), np.uint8)
    for place, photo in enumerate(photos):
        made[place] = grey_picture(np.asarray(photo))
    return made


def turned(picture: np.ndarray, number: int) -> np.ndarray:
    """Return one of the eight ways to turn and mirror a square picture: bits transpose, vertical, horizontal."""
    picture = picture.T if number & 4 else picture
    return picture[:: -1 if number & 2 else 1, :: -1 if number & 1 else 1]


@dataclass(frozen=True)
class Near:
    """Two photos of which the second, turned, may be a window of the first; or its middle is one."""

    first: int
    second: int
    turn: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    middle: bool


def near_pairs(greys: np.ndarray) -> list[Near]:
    """Return what may be a part of one another: of each pair and turn the nearest window.

    Args:
        greys: uint8 `(N, 64, 64)`.
    """
    best: dict[tuple[int, int, int, bool], tuple[float, Near]] = {}
    for middle, windows in ((False, WHOLE_WINDOWS), (True, MIDDLE_WINDOWS)):
        turns = np.concatenate([window_vectors(greys, *windows.compared, turn=turn) for turn in range(8)]).T.copy()
        own = (window_vectors(greys, *window) for window in windows.places)
        found = map_in_order(partial(_products_beyond, columns=turns), own)
        title = f"Comparing {'shifted ' if middle else ''}photos"
        shown = track(found, title, len(windows.places), "windows")
        for (rows, columns), products in zip(windows.places, shown, strict=True):
            for first, other, cosine in products:
                turn, second = divmod(other, len(greys))
                # of two shifted copies each lies in the other: one of them is enough
                if first < second or (first > second and not middle):
                    key = (first, second, turn, middle)
                    if cosine > best.get(key, (0.0,))[0]:
                        best[key] = cosine, Near(first, second, turn, rows, columns, middle)
    return [near for _, near in best.values()]


def _products_beyond(rows: np.ndarray, columns: np.ndarray) -> list[tuple[int, int, float]]:
    """Return row, column and size of each element of the product of at least `NEAR` in size: few of very many."""
    found = []
    for start in range(0, len(rows), 64):
        products = rows[start : start + 64] @ columns
        # the extremes of each row are found several times faster than the places in all of them
        for row in np.flatnonzero((products.max(axis=1) >= NEAR) | (products.min(axis=1) <= -NEAR)).tolist():
            sizes = np.abs(products[row])
            found += [(start + row, column, float(sizes[column])) for column in np.flatnonzero(sizes >= NEAR).tolist()]
    return found


def window_vectors(greys: np.ndarray, rows: tuple[int, int], columns: tuple[int, int], *, turn: int = 0) -> np.ndarray:
    """Return the lowest cosine coefficients of one window of each picture, `(N, 35)` float32 of length 1 (or 0: blank).

    Args:
        turn: of the picture, see `turned`.
    """
    basis = [_cosines(length) for _, length in (rows, columns)]
    found = np.empty((len(greys), LOWEST**2 - 1), np.float32)
    for start in range(0, len(greys), _BLOCK):
        cut = greys[start : start + _BLOCK, rows[0] : rows[0] + rows[1], columns[0] : columns[0] + columns[1]]
        made = basis[0] @ cut.astype(np.float32) @ basis[1].T
        found[start : start + _BLOCK] = made.reshape(len(cut), -1)[:, 1:]
    length = np.linalg.norm(found, axis=1, keepdims=True)
    unit = np.divide(found, length, out=np.zeros_like(found), where=length > 1e-3)
    return _turned_coefficients(unit, turn)


def _cosines(length: int) -> np.ndarray:
    places = np.pi * (np.arange(length) + 0.5) / length
    return np.cos(np.arange(LOWEST)[:, None] * places).astype(np.float32) / np.float32(length)


def _turned_coefficients(found: np.ndarray, number: int) -> np.ndarray:
    """Return the coefficients of the turned pictures: odd frequencies change sign, axes change places."""
    square = np.concatenate([np.zeros((len(found), 1), np.float32), found], axis=1).reshape(-1, LOWEST, LOWEST)
    signs = np.where(np.arange(LOWEST) % 2 == 1, np.float32(-1), np.float32(1))
    square = square.transpose(0, 2, 1) if number & 4 else square
    square = square * (signs[:, None] if number & 2 else 1) * (signs if number & 1 else 1)
    return np.ascontiguousarray(square.reshape(len(found), -1)[:, 1:], np.float32)


def show_the_same(greys: np.ndarray, near: Near) -> bool:
    """Return whether the second photo, laid over the first as well as it fits, shows the same: detail included.

    What two photos share by chance is light and shade; what lies between blurs of one and three pixels they do not.
    """
    first, second = _overlaid(greys, near)
    small = [resize(part, THUMBNAIL_SIZE, THUMBNAIL_SIZE).astype(np.float32) for part in (first, second)]
    return are_alike(*small) and correlation(_detail(first), _detail(second)) >= DETAIL


def _detail(picture: np.ndarray) -> np.ndarray:
    floats = picture.astype(np.float32)
    return np.asarray(cv2.GaussianBlur(floats, (0, 0), 1) - cv2.GaussianBlur(floats, (0, 0), 3))


def _overlaid(greys: np.ndarray, near: Near) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of two photos that show the same, if anything does: what fits best near the window found."""
    large, small = greys[near.first], greys[near.second]
    part = small[6:58, 6:58] if near.middle else small
    part = np.ascontiguousarray(turned(part, near.turn))
    best: tuple[float, np.ndarray, np.ndarray] = (-1.0, large, small)
    for height in _sizes(near.rows[1], near.middle):
        for width in _sizes(near.columns[1], near.middle):
            template = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
            fit = np.abs(cv2.matchTemplate(large, template, cv2.TM_CCOEFF_NORMED))
            row, column = divmod(int(fit.argmax()), fit.shape[1])
            if np.isfinite(fit[row, column]) and fit[row, column] > best[0]:
                best = (
                    float(fit[row, column]),
                    np.ascontiguousarray(large[row : row + height, column : column + width]),
                    template,
                )
    return best[1], best[2]


def _sizes(length: int, middle: bool) -> range:
    return range(length, length + 1) if middle else range(max(46, length - 6), min(SIDE, length + 6) + 1, 2)
