"""How alike two pictures look: SSIM. Knows arrays only."""

from __future__ import annotations

import cv2
import numpy as np

from kit.errors import ImageError

WINDOW = 11
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2
_MARGIN = WINDOW // 2


def ssim(predicted: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
    """Return the structural similarity of two pictures that differ in a hole alone, mean over places and channels.

    Wang, Bovik, Sheikh and Simoncelli 2004, IEEE TIP 13, 600-612: a Gaussian window of 11x11 with sigma 1.5, at every
    place where it fits. Where it touches no hidden pixel it is 1, so that only the hole's surroundings are computed.

    Args:
        predicted, truth: `(H, W, 3)` in [0, 1].
        hole: bool `(H, W)`: outside of it the two are the same.

    Raises:
        ImageError: the pictures are smaller than the window.
    """
    height, width = hole.shape
    if min(height, width) < WINDOW:
        raise ImageError(f"A picture of {width}x{height} has no SSIM: it needs {WINDOW}x{WINDOW}. Use --metric rmse")
    lost = 0.0
    places = 3.0 * (height - 2 * _MARGIN) * (width - 2 * _MARGIN)
    for rows, columns in _surroundings(hole):
        lost += float((1.0 - _similarity(predicted[rows, columns], truth[rows, columns])).sum())
    return float(1.0 - lost / places)


def _surroundings(hole: np.ndarray) -> list[tuple[slice, slice]]:
    """Return windows of a picture whose inner places, without a margin, are all that see hidden pixels, each once."""
    height, width = hole.shape
    near = np.asarray(cv2.dilate(hole.astype(np.uint8), np.ones((WINDOW, WINDOW), np.uint8)), bool)
    near[:_MARGIN] = near[height - _MARGIN :] = False
    near[:, :_MARGIN] = near[:, width - _MARGIN :] = False
    found = []
    # bands of rows that belong together, cut by columns: two boxes far apart would waste what lies between them
    for first, last in _stretches(np.asarray(near.any(axis=1))):
        for left, right in _stretches(np.asarray(near[first : last + 1].any(axis=0))):
            found.append((slice(first - _MARGIN, last + _MARGIN + 1), slice(left - _MARGIN, right + _MARGIN + 1)))
    return found


def _stretches(there: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and last place of each run of True."""
    step = np.diff(np.pad(there.astype(np.int8), 1))
    return list(zip(np.flatnonzero(step == 1).tolist(), (np.flatnonzero(step == -1) - 1).tolist(), strict=True))


def _similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return SSIM at each place where the window fits, `(h - 10, w - 10, 3)` float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a, var_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    both = _blurred(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    return np.asarray(above / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)))


def _blurred(values: np.ndarray) -> np.ndarray:
    blurred = cv2.GaussianBlur(values, (WINDOW, WINDOW), _SIGMA)
    return np.asarray(blurred[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN])
