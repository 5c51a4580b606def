"""Residual products of a photo, region by region, as fast as its predictions can be read. Compiled by numba.

numpy would pass over every value six times, each time through memory; here a tile of values goes from half precision
to residuals to products while it stays in the first cache. The order of every sum is given by the photo's own boxes
alone: a pair of members is summed tile after tile, whatever other members and workers there are.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TILE = 256
"""Values of one region that are turned and multiplied at a time: for ten members twenty kilobytes of residuals."""

# a half's exponent is 112 too small where its bits are read as a float's
_OF_HALF = 2.0**112
_REASSOCIATE = {"reassoc", "contract", "nsz"}  # sums in the lanes of a vector register; nothing that hides a NaN


@njit(nogil=True, cache=True)
def sort_values(rings: np.ndarray, regions: int, order: np.ndarray, region_of: np.ndarray) -> int:
    """Tiles of a photo's values: by ring and then channel, each region from a new tile on.

    Args:
        rings: `(n,)` uint8, the ring of each pixel.
        regions: three times the number of rings.
        order: `(T * TILE,)` uint32, gets the place `3 * pixel + channel` of each value, 3 n where there is none.
        region_of: `(T,)` uint8, gets the region `3 * ring + channel` of each tile.

    Returns:
        How many tiles there are.
    """
    counts = np.zeros(regions // 3, np.int64)
    for ring in rings:
        counts[ring] += 1
    places = np.empty(regions, np.int64)
    tiles = 0
    for region in range(regions):
        places[region] = tiles * TILE
        for _ in range(-(-counts[region // 3] // TILE)):
            region_of[tiles] = region
            tiles += 1
    order[: tiles * TILE] = 3 * len(rings)
    for pixel in range(len(rings)):
        for channel in range(3):
            region = 3 * rings[pixel] + channel
            order[places[region]] = 3 * pixel + channel
            places[region] += 1
    return tiles


@njit(nogil=True, cache=True)
def _sort_halves(raw: np.ndarray, order: np.ndarray, tiles: np.ndarray) -> None:
    for place in range(len(order)):
        tiles[place] = raw[order[place]]


@njit(nogil=True, cache=True)
def _residuals(
    halves: np.ndarray, factor: float, offset: np.ndarray, bits: np.ndarray, values: np.ndarray, z: np.ndarray
) -> None:
    """One tile of one member: bits of float16 to `p * factor / 2^112 - offset`; `values` are `bits` seen as float32."""
    for t in range(TILE):
        half = np.uint32(halves[t])
        bits[t] = ((half & np.uint32(0x7FFF)) << np.uint32(13)) | ((half & np.uint32(0x8000)) << np.uint32(16))
    for t in range(TILE):
        z[t] = np.float64(values[t]) * factor - offset[t]


@njit(nogil=True, cache=True, fastmath=_REASSOCIATE)
def _add_products(z: np.ndarray, first: int, products: np.ndarray, sums: np.ndarray) -> None:
    """Add `z z^T` and row sums; two rows by two, so that each value that is loaded is used twice.

    Args:
        z: `(K', TILE)`, K' even.
        first: rows from here on are multiplied with all before them, and with themselves. Even.
    """
    for a in range(first, len(z), 2):
        for b in range(0, a + 2, 2):
            s00 = s01 = s10 = s11 = 0.0
            for t in range(TILE):
                s00 += z[a, t] * z[b, t]
                s01 += z[a, t] * z[b + 1, t]
                s10 += z[a + 1, t] * z[b, t]
                s11 += z[a + 1, t] * z[b + 1, t]
            products[a, b] += s00
            products[a, b + 1] += s01
            products[a + 1, b] += s10
            products[a + 1, b + 1] += s11
        low = high = 0.0
        for t in range(TILE):
            low += z[a, t]
            high += z[a + 1, t]
        sums[a] += low
        sums[a + 1] += high


@njit(nogil=True, cache=True)
def photo_products(
    raw: np.ndarray,
    truth: np.ndarray,
    order: np.ndarray,
    region_of: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    low: np.ndarray,
    gain: np.ndarray,
    first: int,
    sorted_: np.ndarray,
    z: np.ndarray,
    products: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Residual products of one photo by region.

    Residuals are `p * scale[c] + shift[c] - (truth / 255 - low[c]) * gain[c]`.

    Args:
        raw: `(K, 3 n + 1)` uint16, the bits of float16 predictions, all finite; 0 at the end.
        truth: `(3 n + 1,)` uint8.
        order, region_of: `(T * TILE,)` and `(T,)`, of `sort_values`.
        scale, shift, low, gain: `(3,)`.
        first: members before this even number are not multiplied with one another: their products are known.
        sorted_: `(K, T * TILE)` uint16; z: `(K', TILE)` float64, zero, K' = K + K % 2: scratch.
        products: `(R, K', K')`, sums: `(R, K')`, zero: on and below the diagonal they get the products.
    """
    members, none = len(raw), raw.shape[1] - 1
    table = np.empty((3, 256))
    for channel in range(3):
        for byte in range(256):
            table[channel, byte] = (byte / 255.0 - low[channel]) * gain[channel] - shift[channel]
    offset, bits = np.empty(TILE, np.float64), np.empty(TILE, np.uint32)
    values = bits.view(np.float32)
    # member by member first: one fits into the second cache, all of them do not
    for k in range(members):
        _sort_halves(raw[k], order, sorted_[k])
    for tile in range(len(region_of)):
        region = region_of[tile]
        channel, begin = region % 3, tile * TILE
        for t in range(TILE):
            place = order[begin + t]
            offset[t] = table[channel, truth[place]] if place != none else 0.0
        for k in range(members):
            halves = sorted_[k, begin : begin + TILE]
            _residuals(halves, scale[channel] * _OF_HALF, offset, bits, values, z[k])
        _add_products(z, first, products[region], sums[region])
