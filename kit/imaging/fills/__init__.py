"""Classical fills: a guess for hidden pixels from the known pixels of the same photo. Knows no files, models or scores.

    mean            the mean of the known pixels of each channel
    telea           OpenCV's fast marching
    navier-stokes   OpenCV's Navier-Stokes
    harmonic        Laplace's equation in the hole, exactly
    fractional      the conditional mean of a Gaussian field with about the spectrum of photos; see `gaussian.py`

A new fill is one function here and one row in `FILLS`. Sums and transforms are numpy's own and scipy.fft's, not BLAS's,
so that a result is the same, bit for bit, on any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kit.core.parallel import map_in_order
from kit.errors import UnknownName, UsageError
from kit.imaging.fills.gaussian import CHROMA_GUARD, FRACTIONAL_POWER, fractional_fill, harmonic_fill

__all__ = [
    "CHROMA_GUARD",
    "FILLS",
    "FRACTIONAL_POWER",
    "INPAINT_RADIUS",
    "Fill",
    "fill_photo",
    "fill_photos",
    "fractional_fill",
    "harmonic_fill",
]

INPAINT_RADIUS = 3  # pixels, for OpenCV's two methods


@dataclass(frozen=True)
class Fill:
    """A way to guess hidden pixels.

    Attributes:
        name: what a person types.
        summary: one line for a person.
        function: `(image, hole)` to float `(H, W, 3)`. `image` is uint8 with zeros under the hole; at least one pixel
            is hidden and one known. Values outside the hole are ignored. Call it through `fill_photo`.
    """

    name: str
    summary: str
    function: Callable[[np.ndarray, np.ndarray], np.ndarray]


def fill_photo(name: str, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill one photo: float32 RGB `(H, W, 3)` in [0, 1].

    Known pixels are exactly `image / 255`; what lies under the hole has no influence. Without a known pixel all is 0.5.

    Args:
        name: a key of `FILLS`.
        image: uint8 RGB `(H, W, 3)`, any size.
        hole: bool `(H, W)`, True = missing, any shape.

    Raises:
        UnknownName: no such fill.
        UsageError: an image or a hole of another shape or type.
    """
    fill = _fill_of(name)
    image, hole = np.asarray(image), np.asarray(hole)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(f"A fill wants a uint8 photo of shape (H, W, 3), not {image.dtype} {image.shape}.")
    if hole.dtype != np.bool_ or hole.shape != image.shape[:2]:
        raise UsageError(f"A fill wants a bool hole of shape {image.shape[:2]}, not {hole.dtype} {hole.shape}.")
    filled = image.astype(np.float32) / np.float32(255)
    if hole.all():
        return np.full_like(filled, 0.5)
    if hole.any():
        guess = fill.function(np.where(hole[..., None], np.uint8(0), image), hole)
        filled[hole] = np.clip(guess[hole], 0.0, 1.0)
    return filled


def fill_photos(
    name: str,
    images: Sequence[np.ndarray] | np.ndarray,
    holes: Callable[[int], np.ndarray] | Sequence[np.ndarray] | np.ndarray,
    *,
    workers: int | None = None,
) -> Iterator[np.ndarray]:
    """Fill many photos and yield them in order; see `fill_photo` for each.

    Threads, since nearly all the work happens outside the interpreter's lock. Only a few photos are held in memory, and
    leaving the loop early, also by Ctrl-C, waits for no more than the photos in flight.

    Args:
        name: a key of `FILLS`.
        images: indexable with a length, such as a memmap `(N, H, W, 3)` of uint8.
        holes: bool `(H, W)` for each photo, or a function from its number to that.
        workers: threads; all cores when None. The results do not depend on it.

    Raises:
        UnknownName: no such fill (at once, not with the first photo).
        UsageError: an image or a hole of another shape or type.
    """
    _fill_of(name)
    hole_of_photo = holes if callable(holes) else holes.__getitem__
    photos = ((np.array(images[number]), hole_of_photo(number)) for number in range(len(images)))
    return map_in_order(lambda photo: fill_photo(name, *photo), photos, workers=workers)


def _fill_of(name: str) -> Fill:
    if name not in FILLS:
        raise UnknownName("fill", name, FILLS)
    return FILLS[name]


def _mean(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    # zeros under the hole add nothing to the sum
    total = image.sum(axis=(0, 1), dtype=np.int64)
    return np.broadcast_to(total / (255.0 * np.count_nonzero(~hole)), image.shape)


def _telea(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    # Telea 2004, "An image inpainting technique based on the fast marching method"
    return cv2.inpaint(image, hole.astype(np.uint8), INPAINT_RADIUS, cv2.INPAINT_TELEA) / np.float32(255)


def _navier_stokes(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    # Bertalmio et al. 2001, "Navier-Stokes, fluid dynamics, and image and video inpainting"
    return cv2.inpaint(image, hole.astype(np.uint8), INPAINT_RADIUS, cv2.INPAINT_NS) / np.float32(255)


FILLS = {
    fill.name: fill
    for fill in (
        Fill("mean", "the mean of the known pixels of each channel", _mean),
        Fill("telea", "OpenCV's fast marching, radius 3", _telea),
        Fill("navier-stokes", "OpenCV's Navier-Stokes, radius 3", _navier_stokes),
        Fill("harmonic", "Laplace's equation: each hidden pixel is the mean of its neighbours", harmonic_fill),
        Fill("fractional", "the conditional mean of a Gaussian field with the spectrum of photos", fractional_fill),
    )
}
