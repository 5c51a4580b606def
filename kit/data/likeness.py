"""What makes two grey pictures of 32x32 near duplicates: their correlation, and the signs of their lowest frequencies.

Knows arrays alone. An inverted copy is a near duplicate too.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from kit.imaging.images import resize

HASH_SIZE = 8
THUMBNAIL_SIZE = 32
MAX_HASH_DISTANCE = 10  # of 63 signs; unrelated photos differ in about 32
MIN_CORRELATION = 0.95  # of 32x32 grey pictures; what makes a hash candidate a near duplicate


def perceptual_hash(image: np.ndarray) -> str:
    """Return 64 signs of the lowest DCT coefficients of the grey photo, as 16 hexadecimal digits.

    Signs instead of comparisons with the median (Zauner 2010): then a mirrored photo's hash differs by a constant
    pattern, because DCT coefficients of odd frequency change sign, and all four mirrorings cost no pixel; a transposed
    one's is transposed, and an inverted one's has every sign changed.
    """
    return np.packbits(low_signs(thumbnail(image)).reshape(-1)).tobytes().hex()


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return the grey photo at 32x32, on which near duplicates are compared: float32 of 0 to 255."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return resize(grey, THUMBNAIL_SIZE, THUMBNAIL_SIZE).astype(np.float32)


def thumbnails_of(photos: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Return the thumbnails of so many photos, `(count, 32, 32)` uint8, for their values are whole numbers.

    Args:
        photos: uint8 `(H, W, 3)`.
    """
    made = np.empty((count, THUMBNAIL_SIZE, THUMBNAIL_SIZE), np.uint8)
    for place, photo in enumerate(photos):
        made[place] = thumbnail(np.asarray(photo))
    return made


def low_signs(grey: np.ndarray) -> np.ndarray:
    """Return which of the lowest DCT coefficients of a thumbnail are positive, `(8, 8)` bool."""
    return np.asarray(cv2.dct(grey - grey.mean())[:HASH_SIZE, :HASH_SIZE] > 0)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return how much two pictures correlate, 0 to 1, the one inverted or not; 1 for two blank ones."""
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    # two blank photos have no correlation, and are duplicates of each other
    return abs(float((a * b).sum())) / scale if scale else 1.0


def correlate(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two pictures correlate as near duplicates do."""
    return correlation(first, second) >= MIN_CORRELATION


def are_alike(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two thumbnails are near duplicates by both measures."""
    differing = int((low_signs(first) != low_signs(second)).sum())
    return min(differing, HASH_SIZE**2 - 1 - differing) <= MAX_HASH_DISTANCE and correlate(first, second)
