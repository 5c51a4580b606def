"""Prepare a photo for a pipeline, and turn its output into hidden pixels. Knows arrays; no model.

Pictures here are float32 RGB `(H, W, 3)` in [0, 1]; the pipeline's axes are its module's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from kit.imaging.fills import fill_photo
from kit.imaging.holes import Box, cut_boxes, hole_of
from kit.imaging.images import resize

RING = 6
"""Pixels around a box on which known and painted are compared."""

BLACK = 2 / 255
"""A picture whose brightest value is below this is black."""


def model_picture(image: np.ndarray, boxes: Sequence[Box], size: int, fill: str) -> np.ndarray:
    """Return the photo with a fill in its holes, enlarged (bicubic) or reduced (by area) to `(size, size, 3)`.

    Without the fill the enlarging would draw the hole's black into known pixels.
    """
    filled = fill_photo(fill, image, hole_of(boxes, *image.shape[:2]))
    return np.asarray(np.clip(resize(filled, size, size), 0.0, 1.0))


def model_mask(boxes: Sequence[Box], height: int, width: int, size: int, cell: int) -> np.ndarray:
    """Return bool `(size, size)`, True = to be painted: every pixel that any hidden pixel reaches, in whole cells.

    Args:
        cell: pixels of a cell of the latent grid; 1 covers the hole alone.
    """
    mask = np.zeros((size, size), bool)
    for box in boxes:
        top, bottom = _covered(box.row, box.height, height, size, cell)
        left, right = _covered(box.col, box.width, width, size, cell)
        mask[top:bottom, left:right] = True
    return mask


def _covered(start: int, length: int, pixels: int, size: int, cell: int) -> tuple[int, int]:
    first = start * size // pixels
    last = -(-(start + length) * size // pixels)
    return first // cell * cell, min(-(-last // cell) * cell, size)


def hidden_values(painted: np.ndarray, boxes: Sequence[Box], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scored pixels of a painted picture, reduced to the photo's size by area, and that whole picture.

    Returns:
        `(n, 3)` uint8, and `(H, W, 3)` float32.
    """
    small = resize(np.ascontiguousarray(painted, np.float32), height, width)
    return np.clip(np.rint(cut_boxes(small, boxes) * 255), 0, 255).astype(np.uint8), small


def ring_shifts(painted: np.ndarray, image: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Return known minus painted, mean over known pixels around each box: `(boxes, 3)` float32; 0 where none is.

    A VAE shifts colours; by how much shows where the truth is known. What lies under the holes is not looked at.

    Args:
        painted: `(H, W, 3)` float32, the whole picture as the model gave it.
        image: `(H, W, 3)` uint8.
    """
    height, width = image.shape[:2]
    hole = hole_of(boxes, height, width)
    if len(boxes) > MOST_BOXES:
        return _shifts_of_shapes(painted, image, hole, boxes)
    known = (~hole).astype(np.float32)
    shifts = np.zeros((len(boxes), 3), np.float32)
    for number, box in enumerate(boxes):
        rows = slice(max(box.row - RING, 0), box.row + box.height + RING)
        columns = slice(max(box.col - RING, 0), box.col + box.width + RING)
        weights = known[rows, columns]
        if weights.any():
            difference = image[rows, columns] / np.float32(255) - painted[rows, columns]
            shifts[number] = np.einsum("hw,hwc->c", weights, difference) / weights.sum()
    return shifts


MOST_BOXES = 4  # more are the tiles of a free-form hole, which are shifted as its connected shapes are


def _shifts_of_shapes(painted: np.ndarray, image: np.ndarray, hole: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Return the same for the tiles of a free-form hole: of each connected shape, from the known pixels around it."""
    count, labels = cv2.connectedComponents(hole.astype(np.uint8))
    difference = image / np.float32(255) - painted
    of_shape = np.zeros((count, 3), np.float32)
    reach = np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)
    for label in range(1, count):
        around = (cv2.dilate((labels == label).astype(np.uint8), reach) > 0) & ~hole
        if around.any():
            of_shape[label] = difference[around].mean(axis=0)
    return of_shape[[int(labels[box.row, box.col]) for box in boxes]]


def shifted(values: np.ndarray, shifts: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Add each box's shift to `values`, `(n, 3)` uint8: float32 in [0, 1]."""
    lengths = [box.height * box.width for box in boxes]
    return np.asarray(np.clip(values / np.float32(255) + np.repeat(shifts, lengths, axis=0), 0.0, 1.0))


def is_picture(painted: np.ndarray, image: np.ndarray) -> bool:
    """Return whether a model's output is a picture: finite, and not black where the photo is not.

    Half precision overflows to NaN, which some pipelines turn to black; safety checkers paint black too.
    """
    if not np.isfinite(painted).all():
        return False
    return float(painted.max()) >= BLACK or float(image.max()) / 255 < 2 * BLACK
