"""Residual Grams by spatial frequency: each box is a patch, its orthonormal cosine transform is cut into bands.

An orthonormal transform keeps sums of products (Parseval), so a photo's band Grams add up to its Gram, and weights may
differ from band to band: one member may know the colour of a hole, another one its texture. Chosen is the DCT-II, whose
even extension has no jump at the border of a box.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from scipy.fft import dctn, idctn

from kit.blending.grams.residual_gram import ResidualGram
from kit.competitions import to_score_space
from kit.core.array_reader import Rows
from kit.core.parallel import cores
from kit.core.progress import track
from kit.data.index import Index
from kit.data.pack import Pack
from kit.data.predictions import Predictions
from kit.imaging.holes import Box, cut_boxes

BANDS = (0.0, 0.5, 2.0, 5.0, 12.0, 30.0)
"""Least radial frequency of each band, in half periods per 75 pixels; the first is the mean alone."""
_SIDE = 75.0


@lru_cache(maxsize=64)
def bands_of(height: int, width: int) -> np.ndarray:
    """The band of each coefficient of a box, `(height, width)` uint8."""
    rows, columns = np.arange(height) / height, np.arange(width) / width
    radius = _SIDE * np.hypot(rows[:, None], columns)
    found = (np.searchsorted(BANDS, radius, side="right") - 1).astype(np.uint8)
    found.flags.writeable = False
    return found


def boxes_of(values: np.ndarray, boxes: Sequence[Box]) -> Iterator[np.ndarray]:
    """Views of `(n, ...)` scored pixels as the boxes that they are, `(height, width, ...)` each."""
    start = 0
    for box in boxes:
        stop = start + box.height * box.width
        yield values[start:stop].reshape(box.height, box.width, *values.shape[1:])
        start = stop


def to_frequencies(box: np.ndarray) -> np.ndarray:
    """Orthonormal DCT-II over the first two axes, float64."""
    return np.asarray(dctn(box.astype(np.float64), axes=(0, 1), norm="ortho"))


def from_frequencies(box: np.ndarray) -> np.ndarray:
    """The inverse of `to_frequencies`."""
    return np.asarray(idctn(box, axes=(0, 1), norm="ortho"))


def band_gram(
    index: Index, pack: Pack, predictions: Sequence[Predictions], photos: np.ndarray, *, workers: int | None = None
) -> ResidualGram:
    """The Gram of these photos with region `3 * band + channel`, in one streaming pass.

    Args:
        photos: `(P,)` positions, ascending, which all predictions cover.

    Raises:
        PredictionsError: a value is not finite.
    """
    members = [one.opened() for one in predictions]
    target = Rows(pack.train_target)
    estimated, extremes = np.asarray(pack.train_estimated), np.asarray(pack.train_extremes)
    local = threading.local()

    def residuals(photo: int) -> np.ndarray:
        """`(n, 3, K)` float64."""
        if not hasattr(local, "photo"):
            local.photo = np.empty((1, *pack.train_target.shape[1:]), np.uint8)
        picture = target.read(photo, local.photo)[0]
        truth = to_score_space(cut_boxes(picture, index.train[photo].boxes) / 255.0, extremes[photo])
        return np.stack([to_score_space(one.values(photo), estimated[photo]) - truth for one in members], axis=2)

    def work(photo: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _products(residuals(photo), index.train[photo].boxes)

    pool = ThreadPoolExecutor(workers or cores())
    try:
        done = track(pool.map(work, map(int, photos)), "Frequencies", len(photos), "photos")
        products, sums, counts = (np.stack(part) for part in zip(*done, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
        target.close()
    names, digests = tuple(one.source for one in predictions), tuple(one.digest for one in predictions)
    return ResidualGram(names, digests, photos, products, sums, counts)


def _products(z: np.ndarray, boxes: Sequence[Box]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One photo's `(R, K, K)`, `(R, K)` and `(R,)`: with a constant's coefficients for the sums and the counts.

    The constant one has all its weight in the first band, so sums and counts of the others are 0.
    """
    K, regions = z.shape[2], 3 * len(BANDS)
    products, sums, counts = np.zeros((regions, K, K)), np.zeros((regions, K)), np.zeros(regions, np.int64)
    for box in boxes_of(z, boxes):
        spectrum = to_frequencies(box)
        bands = bands_of(*box.shape[:2])
        for band in range(len(BANDS)):
            of_band = spectrum[bands == band]
            for channel in range(3):
                one = np.ascontiguousarray(of_band[:, channel])
                products[3 * band + channel] += one.T @ one
        pixels = box.shape[0] * box.shape[1]
        sums[:3] += spectrum[0, 0] * np.sqrt(pixels)
        counts[:3] += pixels
    return products, sums, counts
