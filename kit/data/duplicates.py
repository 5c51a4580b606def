"""Near duplicates among photos, mirrored or not, and of photos that have holes. Knows arrays alone.

Two photos are near duplicates when their perceptual hashes almost agree and their 32x32 grey pictures correlate. Of a
photo with holes the same is asked of what is known: hidden pixels are set to the mean in both.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kit.data.pack import HASH_SIZE, THUMBNAIL_SIZE, low_signs
from kit.imaging.images import resize

MAX_HASH_DISTANCE = 10  # of 63 signs; unrelated photos differ in about 32
MIN_CORRELATION = 0.95  # of 32x32 grey pictures; what makes a hash candidate a near duplicate
_SLACK = 0.01  # of correlations in float32 over holes: each candidate is looked at again
_MIRRORS = tuple((vertical, horizontal) for vertical in (False, True) for horizontal in (False, True))


def duplicate_groups(hashes: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """Number the groups of near duplicates, `(N,)` int, mirrored copies included.

    Args:
        hashes: `(N,)` uint64, see `kit.data.pack.perceptual_hash`.
        thumbnails: `(N, S, S)` float32 grey.
    """
    count = len(hashes)
    pairs: list[tuple[int, int]] = []
    flips = _flip_patterns()
    for start in range(0, count, 256):  # 256 rows at a time keep the distance table small
        block = hashes[start : start + 256, None]
        for (vertical, horizontal), pattern in flips.items():
            near = np.bitwise_count((block ^ pattern) ^ hashes[None, :]) <= MAX_HASH_DISTANCE
            for first, second in np.argwhere(near) + np.array([start, 0]):
                if first < second and _alike(_mirrored(thumbnails[first], vertical, horizontal), thumbnails[second]):
                    pairs.append((int(first), int(second)))
    rows = [pair[0] for pair in pairs]
    columns = [pair[1] for pair in pairs]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def duplicates_of_masked(thumbnails: np.ndarray, masked: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return which photos are near duplicates of a photo with holes, `(N,)` bool, mirrored copies included.

    Args:
        thumbnails: `(N, S, S)` float32 grey, of whole photos.
        masked: `(M, S, S)` float32 grey; hidden pixels are not looked at.
        known: `(M, S, S)` bool.
    """
    found = np.zeros(len(thumbnails), bool)
    some = known.any((1, 2))
    masked, known = masked[some], known[some]
    for start in range(0, len(thumbnails), 512):  # of each photo's correlation with every masked one
        block = thumbnails[start : start + 512]
        for vertical, horizontal in _MIRRORS:
            mirrored = block[:, :: -1 if vertical else 1, :: -1 if horizontal else 1]
            for photo, other in _candidates(mirrored, masked, known):
                if not found[start + photo]:
                    found[start + photo] = _alike_where_known(mirrored[photo], masked[other], known[other])
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
    yield from (map(int, pair) for pair in np.argwhere(flat @ centred.T >= (MIN_CORRELATION - _SLACK) * scale - 1e-3))  # type: ignore[misc]


def known_thumbnail(hole: np.ndarray) -> np.ndarray:
    """Return which pixels of a photo's 32x32 grey picture are known whole, bool.

    Args:
        hole: bool `(H, W)`.
    """
    return np.asarray(resize(hole.astype(np.float32), THUMBNAIL_SIZE, THUMBNAIL_SIZE) <= 0)


def _flip_patterns() -> dict[tuple[bool, bool], np.uint64]:
    """Return the signs that change when a photo is mirrored (vertically, horizontally): those of odd frequency."""
    odd = np.arange(HASH_SIZE) % 2 == 1
    patterns = {}
    for vertical, horizontal in _MIRRORS:
        changes = (odd[:, None] & vertical) ^ (odd[None, :] & horizontal)
        patterns[vertical, horizontal] = np.packbits(changes.reshape(-1)).view(">u8").astype(np.uint64)[0]
    return patterns


def _mirrored(photo: np.ndarray, vertical: bool, horizontal: bool) -> np.ndarray:
    return photo[:: -1 if vertical else 1, :: -1 if horizontal else 1]


def _alike(first: np.ndarray, second: np.ndarray) -> bool:
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    # two blank photos have no correlation, and are duplicates of each other
    return float((a * b).sum()) >= MIN_CORRELATION * scale


def _alike_where_known(first: np.ndarray, second: np.ndarray, known: np.ndarray) -> bool:
    a, b = (np.where(known, one - one[known].mean(), 0) for one in (first, second))
    return bool((low_signs(a) != low_signs(b)).sum() <= MAX_HASH_DISTANCE) and _alike(a, b)
