"""The blend's own values on training photos, each by weights that never saw its fold: one streaming pass.

What Grams cannot say is measured here: the error after clipping, and what the unknown value ranges of the photos cost.
Computes in float64.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from kit.competitions import score_scale
from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.data.index import PhotoRow
from kit.data.pack import Pack
from kit.data.photo_list import PhotoReader
from kit.imaging.holes import RINGS, cut_boxes, rings_of


@dataclass(frozen=True)
class Crossfit:
    """Errors of cross-fitted values on P photos, in score space."""

    clipped: np.ndarray
    """`(P, rings, 3)` float64, squared or absolute error after clipping to [0, 1]: what the competition counts."""
    known: np.ndarray
    """`(P, rings, 3)`, the same if the photo's true value range were known."""
    counts: np.ndarray
    """`(P, rings)` int, pixels."""


def crossfit(
    photo_rows: Sequence[PhotoRow],
    pack: Pack,
    photos: np.ndarray,
    values: Callable[[int], np.ndarray],
    *,
    absolute: bool = False,
    workers: int | None = None,
) -> Crossfit:
    """Measure a blend on training photos.

    Args:
        photo_rows: all training photos of the pack.
        photos: `(P,)` positions.
        values: a photo's place among `photos` to its values, `(n, 3)` RGB, which may leave [0, 1]. Called by threads.
        absolute: add up errors as they are, not squared.
    """
    from kit.blending.weights.kernel import measure  # numba takes a while to import, and `kit --help` needs none

    target, local = PhotoReader(pack.train_target), threading.local()
    estimated_range, true = np.asarray(pack.train_estimated_range), np.asarray(pack.train_value_range)

    def work(place: int) -> tuple[np.ndarray, ...]:
        photo = int(photos[place])
        photo_row = photo_rows[photo]
        if not hasattr(local, "photo"):
            local.photo = target.buffer()
        truth = cut_boxes(target.read(photo, local.photo), photo_row.boxes)
        blended = np.ascontiguousarray(values(place), np.float64)
        rings = rings_of(photo_row.boxes, photo_row.height, photo_row.width)
        clipped, known = np.zeros((2, len(RINGS), 3))
        measure(
            blended, truth, rings, _stretch(estimated_range[photo]), _stretch(true[photo]), absolute, clipped, known
        )
        return clipped, known, np.bincount(rings, minlength=len(RINGS))

    # the threads have ended before the file that they read is closed
    with closing(target), closing(map_in_order(work, range(len(photos)), workers=workers)) as measured:
        done = track(measured, "Blend", len(photos), "photos")
        return Crossfit(*(np.stack(part) for part in zip(*done, strict=True)))


def _stretch(value_range: np.ndarray) -> np.ndarray:
    """Return the low, high and stretch of each channel, `(3, 3)`."""
    return np.vstack([value_range, score_scale(*value_range)])
