"""The blend's own values on training photos, each by weights that never saw its fold: one streaming pass.

What Grams cannot say is measured here: the error after clipping, what the unknown extremes of the photos cost, and the
sums from which another rule for them can be fitted. Knows the stores; computes in float64.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from kit.competitions import score_scale
from kit.core.array_reader import Rows
from kit.core.parallel import cores
from kit.core.progress import track
from kit.data.index import Index
from kit.data.pack import Pack
from kit.imaging.holes import RINGS, cut_boxes, rings_of

Extremes = Callable[[int, np.ndarray], np.ndarray]
"""A photo's place and its blended values `(n, 3)` to the extremes `(2, 3)` to score it by."""


@dataclass(frozen=True)
class Crossfit:
    """Errors of cross-fitted values on P photos, in score space, and what they are made of."""

    clipped: np.ndarray
    """`(P, rings, 3)` float64, squared error after clipping to [0, 1]: what the competition counts."""
    known: np.ndarray
    """`(P, rings, 3)`, the same if the true extremes of the photo were known."""
    counts: np.ndarray
    """`(P, rings)` int, pixels."""
    range: np.ndarray
    """`(P, 2, 3)`, lowest and highest blended value of each channel, in pixel space."""
    sums: np.ndarray
    """`(P, 3, 5)`: sums of b, b^2, b y, y, y^2; b: the blended value in pixel space, y: the truth in score space."""


def crossfit(
    index: Index,
    pack: Pack,
    photos: np.ndarray,
    values: Callable[[int], np.ndarray],
    extremes: Extremes | None = None,
    *,
    workers: int | None = None,
) -> Crossfit:
    """Measure a blend on training photos.

    Args:
        photos: `(P,)` positions.
        values: a photo's place among `photos` to its values, `(n, 3)` RGB, which may leave [0, 1]. Called by threads.
        extremes: how to estimate a photo's extremes; by default from its known pixels alone.
    """
    from kit.blending.weights.kernel import measure  # numba takes a while to import, and `kit --help` needs none

    target, local = Rows(pack.train_target), threading.local()
    estimated, true = np.asarray(pack.train_estimated), np.asarray(pack.train_extremes)

    def work(place: int) -> tuple[np.ndarray, ...]:
        photo = int(photos[place])
        sample = index.train[photo]
        if not hasattr(local, "photo"):
            local.photo = np.empty((1, *pack.train_target.shape[1:]), np.uint8)
        truth = cut_boxes(target.read(photo, local.photo)[0], sample.boxes)
        blended = np.ascontiguousarray(values(place), np.float64)
        used = estimated[photo] if extremes is None else extremes(place, blended)
        rings = rings_of(sample.boxes, sample.height, sample.width)
        clipped, known, sums = np.zeros((len(RINGS), 3)), np.zeros((len(RINGS), 3)), np.zeros((3, 5))
        extent = np.empty((2, 3))
        measure(blended, truth, rings, _stretch(used), _stretch(true[photo]), clipped, known, extent, sums)
        return clipped, known, np.bincount(rings, minlength=len(RINGS)), extent, sums

    pool = ThreadPoolExecutor(workers or cores())
    try:
        done = track(pool.map(work, range(len(photos))), "Blend", len(photos), "photos")
        return Crossfit(*(np.stack(part) for part in zip(*done, strict=True)))
    finally:
        pool.shutdown(cancel_futures=True)
        target.close()


def _stretch(extremes: np.ndarray) -> np.ndarray:
    """Low, high and stretch of each channel, `(3, 3)`."""
    return np.vstack([extremes, score_scale(*extremes)])
