"""Photos of several sizes in one flat array, read like an array of photos. Knows bytes and sizes alone.

Photos of one size stay a plain array `(N, H, W, 3)`; both are indexed by a photo's position and give `(H, W, 3)` uint8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TypeAlias

import numpy as np

from kit.core.array_reader import ArrayReader

CHANNELS = 3


class PhotoList:
    """A sequence of photos, each a view of one flat uint8 array."""

    def __init__(self, flat: np.ndarray, sizes: Sequence[tuple[int, int]]) -> None:
        """
        Args:
            flat: uint8 `(bytes,)`, photo after photo.
            sizes: height and width of each.
        """
        self.flat, self.sizes = flat, tuple(sizes)
        self.starts = tuple(starts_of(sizes))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, position: int | np.integer) -> np.ndarray:
        if not -len(self) <= position < len(self):
            raise IndexError(position)
        position = int(position) % len(self)
        height, width = self.sizes[position]
        start = self.starts[position]
        photo: np.ndarray = self.flat[start : start + CHANNELS * height * width]
        return photo.reshape(height, width, CHANNELS)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[position] for position in range(len(self)))


PhotoArray: TypeAlias = np.ndarray | PhotoList


def starts_of(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Return the first byte of each photo, and the end of the last: one more than photos."""
    return [0, *accumulate(CHANNELS * height * width for height, width in sizes)]


def sizes_of(photos: PhotoArray) -> list[tuple[int, int]]:
    """Return height and width of each photo."""
    if isinstance(photos, PhotoList):
        return list(photos.sizes)
    return [(photos.shape[1], photos.shape[2])] * len(photos)


class PhotoReader:
    """Reads photos by their positions into a buffer, not through the map: see `ArrayReader`. Safe between threads."""

    def __init__(self, photos: PhotoArray) -> None:
        self._photos = photos
        self._reader = ArrayReader(photos.flat if isinstance(photos, PhotoList) else photos)

    def buffer(self) -> np.ndarray:
        """Return a buffer for the largest photo; each thread needs its own."""
        if isinstance(self._photos, PhotoList):
            largest = max((height * width for height, width in self._photos.sizes), default=0)
            return np.empty(CHANNELS * largest, np.uint8)
        return np.empty((1, *self._photos.shape[1:]), np.uint8)

    def read(self, position: int, buffer: np.ndarray) -> np.ndarray:
        """Return one photo `(H, W, 3)`, which lies in the buffer. Raises `DamagedStore` where the file ends early."""
        if not isinstance(self._photos, PhotoList):
            photo: np.ndarray = self._reader.read(position, buffer)[0]
            return photo
        height, width = self._photos.sizes[position]
        part = buffer[: CHANNELS * height * width]
        return self._reader.read(self._photos.starts[position], part).reshape(height, width, CHANNELS)

    def close(self) -> None:
        """Give the file back."""
        self._reader.close()
