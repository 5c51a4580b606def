"""Near duplicates among very many photos, found without comparing each with each. Knows arrays alone.

Up to `EXACT` photos all pairs are compared. Beyond, the vectors of windows lie in cells about 2 sqrt(n) centres (an
inverted file, Sivic and Zisserman 2003, by Faiss, Douze et al. 2024, arXiv:2401.08281), and a photo is compared with
the nearest ones in the `PROBES` cells nearest to it. What is found is then judged as every other pair is.
`scripts/bench/duplicates.py --many` counts what is missed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from kit.core.extras import is_installed
from kit.core.progress import track
from kit.core.speech import say_once
from kit.data.cropped import MIDDLE_WINDOWS, NEAR, WHOLE_WINDOWS, Near, Window, window_vectors

EXACT = 20_000
"""Photos up to which every pair is compared."""

PROBES, NEAREST = 12, 64  # cells that are looked into, and neighbours that are kept: own windows are many of them
BLOCK = 4096  # queries at once
MOST_BYTES = 2 << 30  # of vectors in memory, two bytes a number
_SEEN_A_CELL = 64  # vectors that a centre is found from
_ADDED = 1 << 16  # vectors that are made and added at once


def is_many(count: int) -> bool:
    """Return whether so many photos are searched by cells; says what is missing where they should be."""
    if count <= EXACT:
        return False
    if is_installed("faiss"):
        return True
    say_once(f"{count:,} photos are compared pair by pair, which takes hours. Sooner: pip install 'hole-kit[many]'")
    return False


Part = Callable[[slice], np.ndarray]
"""Gives some of the vectors of a part, `(n, D)` float32 of length 1, or 0."""


class Cells:
    """Vectors in cells."""

    def __init__(self, parts: Sequence[Part], size: int) -> None:
        """
        Args:
            parts: what is kept, one after the other; made when it is needed, for all of it is large.
            size: vectors in each.
        """
        import faiss

        count, width = len(parts) * size, parts[0](slice(0, 1)).shape[1]
        cells = 1 << max(0, round(np.log2(2 * np.sqrt(count))))
        made: Any = faiss.index_factory(width, f"IVF{cells},SQfp16", faiss.METRIC_INNER_PRODUCT)
        made.nprobe = min(PROBES, cells)
        made.cp.min_points_per_centroid = 1  # else it prints what it thinks of few
        step = max(1, count // (_SEEN_A_CELL * cells))
        # every so-manieth of all, wherever its part begins
        made.train(np.concatenate([part(slice(-place * size % step, None, step)) for place, part in enumerate(parts)]))
        for part in parts:
            for start in range(0, size, _ADDED):
                made.add(part(slice(start, start + _ADDED)))
        self._index = made

    def near(self, queries: np.ndarray, least: float) -> Iterator[tuple[int, int, float]]:
        """Yield query, vector and cosine of those that point the same way or the opposite one, nearly."""
        for start in range(0, len(queries), BLOCK):
            block = queries[start : start + BLOCK]
            for sign in (1.0, -1.0):  # an inverted picture points the other way
                cosines, places = self._index.search(np.float32(sign) * block, NEAREST)
                rows, columns = np.nonzero((cosines >= least) & (places >= 0))
                found = places[rows, columns].tolist(), cosines[rows, columns].tolist()
                yield from zip((rows + start).tolist(), *found, strict=True)


def near_pairs_of_many(greys: np.ndarray) -> list[Near]:
    """Return what may be a part of one another, as `kit.data.cropped.near_pairs` does, but for what no cell finds.

    Args:
        greys: uint8 `(N, 64, 64)`.
    """
    best: dict[tuple[int, int, int, bool], tuple[float, Near]] = {}
    for middle, windows in ((False, WHOLE_WINDOWS), (True, MIDDLE_WINDOWS)):
        turns = [window_vectors(greys, *windows.compared, turn=turn) for turn in range(8)]
        size = 2 * turns[0].size
        for group in _groups(windows.places, max(1, MOST_BYTES // size)):
            cells = Cells([partial(_of_window, greys, window) for window in group], len(greys))
            title = f"Comparing {'shifted ' if middle else ''}photos"
            for turn, queries in enumerate(track(turns, title, len(turns), "turns")):
                for second, place, cosine in cells.near(queries, NEAR):
                    window, first = divmod(place, len(greys))
                    if first < second or (first > second and not middle):
                        key = first, second, turn, middle
                        if abs(cosine) > best.get(key, (0.0,))[0]:
                            best[key] = abs(cosine), Near(first, second, turn, *group[window], middle)
    return [near for _, near in best.values()]


def _of_window(greys: np.ndarray, window: Window, rows: slice) -> np.ndarray:
    return window_vectors(greys[rows], *window)


def _groups(windows: list[Window], size: int) -> Iterator[list[Window]]:
    for start in itertools.count(0, size):
        if not (group := windows[start : start + size]):
            return
        yield group
