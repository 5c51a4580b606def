"""Near duplicates among photos, and of photos that have holes. Knows arrays alone.

Two photos are near duplicates when their perceptual hashes almost agree and their 32x32 grey pictures correlate
(`kit.data.likeness`), the one turned by quarters, mirrored or inverted; the same is asked of the plain mean of the
channels, which exchanged channels do not alter, and of the window that one may be in the other (`kit.data.cropped`).
Of a photo with holes it is asked of what is known: hidden pixels are set to the mean in both.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kit.core.progress import track
from kit.data.cropped import near_pairs, show_the_same, turned, window_vectors
from kit.data.likeness import (
    HASH_SIZE,
    MAX_HASH_DISTANCE,
    MIN_CORRELATION,
    THUMBNAIL_SIZE,
    are_alike,
    correlate,
    low_signs,
)
from kit.data.near_search import Cells, is_many, near_pairs_of_many
from kit.imaging.images import resize

_LIGHT_AND_SHADE, _ABOUT_ALIKE = 0.9, 0.7  # cosines of what is looked at more closely, among very many photos
_SLACK = 0.01  # of correlations in float32 over holes: each candidate is looked at again
_TURNS = range(8)  # bits: transposed, upside down, mirrored


def duplicate_groups(hashes: np.ndarray, thumbnails: np.ndarray, greys: np.ndarray | None = None) -> np.ndarray:
    """Number the groups of near duplicates, `(N,)` int.

    Args:
        hashes: `(N,)` uint64, see `kit.data.likeness.perceptual_hash`.
        thumbnails: `(N, 32, 32)` uint8, see `kit.data.likeness.thumbnails_of`.
        greys: `(N, 64, 64)` uint8, see `kit.data.cropped.grey_picture`; None: parts and exchanged channels are not
            looked for.
    """
    count = len(hashes)
    pairs = set(_whole_pairs(hashes, thumbnails))
    if greys is not None:
        even = np.empty_like(thumbnails)
        signs = np.empty((count, HASH_SIZE**2 // 8), np.uint8)
        for place, grey in enumerate(greys):
            even[place] = resize(grey, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
            signs[place] = np.packbits(low_signs(_grey(even, place)).reshape(-1))
        pairs |= set(_whole_pairs(signs.view(">u8")[:, 0].astype(np.uint64), even))
        for near in near_pairs_of_many(greys) if is_many(count) else near_pairs(greys):
            pair = min(near.first, near.second), max(near.first, near.second)
            if pair not in pairs and show_the_same(greys, near):
                pairs.add(pair)
    rows, columns = ([pair[place] for pair in pairs] for place in (0, 1))
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def _whole_pairs(hashes: np.ndarray, thumbnails: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of photos that are alike as a whole, turned, mirrored or inverted."""
    cells = Cells([lambda rows: _vectors(thumbnails[rows], 0)], len(hashes)) if is_many(len(hashes)) else None
    for turn in track(_TURNS, "Comparing whole photos", len(_TURNS), "turns"):
        near = _near_hashes(hashes, turn) if cells is None else _near_in_cells(cells, hashes, thumbnails, turn)
        for first, second in near:
            if first < second and correlate(turned(_grey(thumbnails, first), turn), _grey(thumbnails, second)):
                yield first, second


def _grey(thumbnails: np.ndarray, place: int) -> np.ndarray:
    """Return one thumbnail as float32, in which it is compared."""
    return np.asarray(thumbnails[place], np.float32)


def _near_hashes(hashes: np.ndarray, turn: int) -> Iterator[tuple[int, int]]:
    """Yield pairs whose hashes almost agree, the first one's turned."""
    other = _turned_hashes(hashes, turn)
    for start in range(0, len(hashes), 256):  # 256 rows at a time keep the distance table small
        near = _almost_agree(other[start : start + 256, None], hashes[None, :])
        yield from ((start + first, second) for first, second in np.argwhere(near).tolist())


def _near_in_cells(cells: Cells, hashes: np.ndarray, thumbnails: np.ndarray, turn: int) -> Iterator[tuple[int, int]]:
    """Yield such pairs of those whose light and shade are alike."""
    other = _turned_hashes(hashes, turn)
    for first, second, _ in cells.near(_vectors(thumbnails, turn), _LIGHT_AND_SHADE):
        if _almost_agree(other[first], hashes[second]):
            yield first, second


def _almost_agree(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    distance = np.bitwise_count(first ^ second)
    return np.asarray((distance <= MAX_HASH_DISTANCE) | (distance >= HASH_SIZE**2 - 1 - MAX_HASH_DISTANCE))


def _vectors(thumbnails: np.ndarray, turn: int) -> np.ndarray:
    return window_vectors(thumbnails, (0, THUMBNAIL_SIZE), (0, THUMBNAIL_SIZE), turn=turn)


def _turned_hashes(hashes: np.ndarray, turn: int) -> np.ndarray:
    """Return the hashes of the turned photos: signs of odd frequency change, axes change places."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1).reshape(-1, HASH_SIZE, HASH_SIZE)
    odd = np.arange(HASH_SIZE) % 2 == 1
    bits = bits.transpose(0, 2, 1) if turn & 4 else bits
    bits = bits ^ (odd[:, None] & bool(turn & 2)) ^ (odd & bool(turn & 1))
    return np.packbits(bits.reshape(-1, HASH_SIZE**2), axis=1).view(">u8")[:, 0].astype(np.uint64)


def duplicates_of_masked(thumbnails: np.ndarray, masked: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return of which photo with holes each photo is a near duplicate, `(N,)` int, -1 for none; the first of several.

    Args:
        thumbnails: `(N, 32, 32)` uint8, of whole photos.
        masked: `(M, 32, 32)` uint8; hidden pixels are not looked at.
        known: `(M, 32, 32)` bool.
    """
    found = np.full(len(thumbnails), -1)
    some = np.flatnonzero(known.any((1, 2)))
    masked, known = masked[some], known[some]
    if is_many(len(thumbnails)):
        for photo, turn, other in _candidates_in_cells(thumbnails, masked, known):
            if found[photo] < 0:
                both = turned(_grey(thumbnails, photo), turn), _grey(masked, other)
                if _alike_where_known(*both, known[other]):
                    found[photo] = some[other]
        return found
    masked = masked.astype(np.float32)
    for start in range(0, len(thumbnails), 512):  # of each photo's correlation with every masked one
        block = thumbnails[start : start + 512].astype(np.float32)
        for turn in _TURNS:
            other_way = np.stack([turned(one, turn) for one in block])
            for photo, other in _candidates(other_way, masked, known):
                if found[start + photo] < 0 and _alike_where_known(other_way[photo], masked[other], known[other]):
                    found[start + photo] = some[other]
    return found


def _candidates(photos: np.ndarray, masked: np.ndarray, known: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the pairs that may correlate over what is known: matrix products, for they are millions."""
    weights = known.reshape(len(known), -1).astype(np.float32)
    count = weights.sum(1, keepdims=True)
    centred = masked.reshape(len(masked), -1) / 128 - 1
    centred = weights * (centred - (weights * centred).sum(1, keepdims=True) / count)
    flat = photos.reshape(len(photos), -1) / 128 - 1
    variance = np.square(flat) @ weights.T - np.square(flat @ weights.T) / count.T
    scale = np.sqrt(variance.clip(0) * np.square(centred).sum(1))
    yield from (
        map(int, pair) for pair in np.argwhere(np.abs(flat @ centred.T) >= (MIN_CORRELATION - _SLACK) * scale - 1e-3)
    )  # type: ignore[misc]


def _candidates_in_cells(photos: np.ndarray, masked: np.ndarray, known: np.ndarray) -> list[tuple[int, int, int]]:
    """Return photo, turn and photo with holes of pairs whose light and shade are about alike, holes filled by the mean
    of what is known."""

    def filled(rows: slice) -> np.ndarray:
        weights, grey = known[rows].astype(np.float32), masked[rows].astype(np.float32)
        mean = (weights * grey).sum((1, 2), keepdims=True) / weights.sum((1, 2), keepdims=True)
        return _vectors(np.where(known[rows], grey, mean).astype(np.float32), 0)

    cells = Cells([filled], len(masked))
    turns = track(_TURNS, "Comparing training with test photos", len(_TURNS), "turns")
    return sorted(
        (photo, turn, other) for turn in turns for photo, other, _ in cells.near(_vectors(photos, turn), _ABOUT_ALIKE)
    )


def known_thumbnail(hole: np.ndarray) -> np.ndarray:
    """Return which pixels of a photo's 32x32 grey picture are known whole, bool.

    Args:
        hole: bool `(H, W)`.
    """
    return np.asarray(resize(hole.astype(np.float32), THUMBNAIL_SIZE, THUMBNAIL_SIZE) <= 0)


def _alike_where_known(first: np.ndarray, second: np.ndarray, known: np.ndarray) -> bool:
    return are_alike(*(np.where(known, one - one[known].mean(), 0) for one in (first, second)))
