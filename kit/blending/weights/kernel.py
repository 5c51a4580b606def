"""The inner loops of mixing a photo's members and of measuring the result. Compiled by numba."""

from __future__ import annotations

import numpy as np

from kit.core.compiled import compiled


@compiled()
def numbers_of(raw: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Return stored values, `(K, n, 3)` uint16 bits of float16, as float32; see `grams.kernel.HALVES`."""
    numbers = np.empty(raw.shape, np.float32)
    bits, into = raw.reshape(-1), numbers.reshape(-1)
    for place in range(len(bits)):
        into[place] = halves[bits[place]]
    return numbers


@compiled()
def mix_levels(values: np.ndarray, levels: np.ndarray, weights: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return weighted sums by level and channel, `(n, 3)` float64.

    Args:
        values: `(K, n, 3)` float32; levels: `(n,)` uint8; weights: `(L, 3, K)`; offset: `(L, 3)`, float64.
    """
    K, n, _ = values.shape
    out = np.empty((n, 3))
    for pixel in range(n):
        for channel in range(3):
            out[pixel, channel] = offset[levels[pixel], channel]
    for member in range(K):
        for pixel in range(n):
            level = levels[pixel]
            for channel in range(3):
                out[pixel, channel] += weights[level, channel, member] * values[member, pixel, channel]
    return out


@compiled()
def measure(
    blended: np.ndarray,
    truth: np.ndarray,
    rings: np.ndarray,
    used: np.ndarray,
    true: np.ndarray,
    absolute: bool,
    clipped: np.ndarray,
    known: np.ndarray,
) -> None:
    """Add up the errors of one photo, see `kit.blending.evaluation.crossfit.Crossfit`.

    Args:
        blended: `(n, 3)` float64; truth: `(n, 3)` uint8; rings: `(n,)` uint8.
        used, true: `(3, 3)`: low, high and stretch (0 without contrast) of each channel, as estimated, and true.
        absolute: add up errors as they are, not squared.
        clipped, known: `(rings, 3)`, zero: get the results.
    """
    for pixel in range(len(blended)):
        ring = rings[pixel]
        for channel in range(3):
            b = blended[pixel, channel]
            y = (truth[pixel, channel] / 255.0 - true[0, channel]) * true[2, channel]
            by_used = min(max((b - used[0, channel]) * used[2, channel], 0.0), 1.0) - y
            by_true = min(max((b - true[0, channel]) * true[2, channel], 0.0), 1.0) - y
            clipped[ring, channel] += abs(by_used) if absolute else by_used * by_used
            known[ring, channel] += abs(by_true) if absolute else by_true * by_true
