"""Residual products of one photo, region by region. Compiled by numba; knows arrays only.

The sum of a pair of members depends on these two and on the photo's boxes alone: whatever other members and workers
there are, the bits are the same.
"""

from __future__ import annotations

import numpy as np

from kit.core.compiled import compiled

HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
"""Every half precision number by its bits."""

_ANY_ORDER = {"reassoc", "contract"}  # lets sums go over vector lanes; NaN and infinity still count


@compiled()
def add_photo(
    stored: np.ndarray,
    truth: np.ndarray,
    rings: np.ndarray,
    factors: np.ndarray,
    halves: np.ndarray,
    residuals: np.ndarray,
    first: int,
    products: np.ndarray,
    sums: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Add the products of one photo's residuals, `p * scale + shift - (truth / 255 - low) * gain`.

    Args:
        stored: `(K, n, 3)` uint16, bits of float16 predictions.
        truth: `(n, 3)` uint8.
        rings: `(n,)` uint8, the ring of each pixel.
        factors: `(4, 3)` float64: scale, shift, low and gain of each channel.
        halves: `HALVES`.
        residuals: `(K + 1, 3, n)` float64 or longer: scratch.
        first: members before this one are not multiplied with one another: their products are known.
        products: `(R, K, K)`; sums: `(R, K)`; counts: `(R,)`, values. R is three times the rings, or 1 to add all
            regions up.
    """
    K = len(stored)
    order, ends = _sort_by_ring(rings)
    start = 0
    for ring in range(len(ends)):  # what is needed of one ring stays in the cache
        n = ends[ring] - start
        _subtract(stored, truth, order[start : start + n], factors, halves, residuals)
        for channel in range(3):
            region = 3 * ring + channel if len(sums) > 1 else 0
            counts[region] += n
            for k in range(K):
                own = residuals[k, channel, :n]
                sums[region, k] += _sum(own)
                for other in range(k + 1 if k >= first else 0):
                    product = _dot(own, residuals[other, channel, :n])
                    products[region, k, other] += product
                    if other != k:
                        products[region, other, k] += product
        start += n


@compiled()
def _sort_by_ring(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels ring by ring, each ring in order, `(n,)`; and where each ring ends."""
    order, ends = np.empty(len(rings), np.uint32), np.zeros(rings.max() + 1 if len(rings) else 0, np.int64)
    place = 0
    for ring in range(len(ends)):
        for pixel in range(len(rings)):
            if rings[pixel] == ring:
                order[place] = pixel
                place += 1
        ends[ring] = place
    return order, ends


@compiled()
def _subtract(
    stored: np.ndarray,
    truth: np.ndarray,
    pixels: np.ndarray,
    factors: np.ndarray,
    halves: np.ndarray,
    residuals: np.ndarray,
) -> None:
    """Put the residuals of these pixels next to one another, channel by channel."""
    K = len(stored)
    scale, shift, low, gain = factors
    target = residuals[K]
    for i in range(len(pixels)):
        for channel in range(3):
            target[channel, i] = (truth[pixels[i], channel] / 255.0 - low[channel]) * gain[channel] - shift[channel]
    for k in range(K):
        for i in range(len(pixels)):
            for channel in range(3):
                value = halves[stored[k, pixels[i], channel]] * scale[channel]
                residuals[k, channel, i] = value - target[channel, i]


@compiled(fastmath=_ANY_ORDER)
def _dot(one: np.ndarray, other: np.ndarray) -> float:
    total = 0.0
    for i in range(len(one)):
        total += one[i] * other[i]
    return total


@compiled(fastmath=_ANY_ORDER)
def _sum(values: np.ndarray) -> float:
    total = 0.0
    for i in range(len(values)):
        total += values[i]
    return total
