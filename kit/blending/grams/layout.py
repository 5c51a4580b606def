"""Where a photo's hidden pixels lie once they are sorted by ring. Compiled by numba; knows boxes, and no predictions.

Neighbours in a row mostly share their ring, so a sorted photo is a list of runs of pixels, a thousand of them for two
boxes of 75x75: runs are copied several values at a time, where an index would be looked up for every single one. No
step here visits pixels one by one. What is found equals `kit.imaging.holes.rings_of`; a test compares them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TILE = 96
"""Pixels of one ring that the kernel takes at a time: what it keeps of them for ten members fits the first cache."""

MOVE = 5
"""Pixels that are copied at a time: fifteen of the sixteen halves of a vector register."""

_FAR = 1 << 20  # what lies outside the picture is not known: as good as a hole that never ends


@njit(nogil=True, cache=True)
def lay_out(
    boxes: np.ndarray,
    owners: np.ndarray,
    rows: np.ndarray,
    tops: np.ndarray,
    rings: np.ndarray,
    size: tuple[int, int],
    ends: np.ndarray,
    spans: np.ndarray,
    moves: tuple[np.ndarray, np.ndarray],
    counts: np.ndarray,
    truth: np.ndarray,
) -> None:
    """Sort the scored pixels of some photos by ring, and put their true values next to one another.

    Args:
        boxes: `(B, 4)` int64: row, column, height, width.
        owners: `(c + 1,)`: photo i has boxes `owners[i]` to `owners[i + 1]`.
        rows: `(c, H, W, 3)` uint8, of each photo the rows from `tops[i]` on.
        rings: `(R,)` int64, `kit.imaging.holes.RINGS`.
        size: H and W.
        ends: `(c + 1,)`: photo i has scored pixels `ends[i]` to `ends[i + 1]`.
        spans: `(R, n, 2)` int32 for n scored pixels of one photo: scratch.
        moves: two int32 arrays, `(ends[c],)`, of which photo i gets what begins at `ends[i]`. The sorted pixels of a
            ring are made in tiles: copy the `MOVE` pixels that begin with this value to this place in the tile.
        counts: `(c, 2, R)` int64, gets moves and pixels of each ring.
        truth: uint8, gets `kit.imaging.holes.scored_pixels` of each photo from value `3 * ends[i]` on.
    """
    for photo in range(len(tops)):
        own = boxes[owners[photo] : owners[photo + 1]]
        _copy_boxes(rows[photo], tops[photo], own, truth[3 * ends[photo] :])
        found = _find_spans(own, size, rings, spans)
        _sort(spans, found, moves[0][ends[photo] :], moves[1][ends[photo] :], counts[photo])


@njit(nogil=True, cache=True)
def _copy_boxes(rows: np.ndarray, top: int, boxes: np.ndarray, truth: np.ndarray) -> None:
    values, stride, place = rows.reshape(-1), 3 * rows.shape[1], 0
    for box in range(len(boxes)):
        width = 3 * boxes[box, 3]
        for row in range(boxes[box, 0] - top, boxes[box, 0] - top + boxes[box, 2]):
            begin = row * stride + 3 * boxes[box, 1]
            truth[place : place + width] = values[begin : begin + width]
            place += width


@njit(nogil=True, cache=True)
def _sort(spans: np.ndarray, found: np.ndarray, sources: np.ndarray, places: np.ndarray, counts: np.ndarray) -> None:
    last = 0
    for ring in range(len(found)):
        first, pixels = last, 0
        for span in range(found[ring]):
            start, left = int(spans[ring, span, 0]), int(spans[ring, span, 1])
            while left:
                place = pixels % TILE
                length = min(left, MOVE, TILE - place)
                sources[last], places[last] = 3 * start, 3 * place
                last, pixels, start, left = last + 1, pixels + length, start + length, left - length
        counts[0, ring], counts[1, ring] = last - first, pixels


@njit(nogil=True, cache=True)
def _find_spans(boxes: np.ndarray, size: tuple[int, int], rings: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """First pixel and length of neighbours in order that share their ring; returns how many each ring has."""
    height, width = size
    edges = np.concatenate((np.array([-_FAR, 0, width, _FAR]), boxes[:, 1], boxes[:, 1] + boxes[:, 3]))
    edges.sort()
    levels = _levels(boxes, height, width, edges, rings)
    of_row = np.empty((2 * len(rings) * len(edges), 2), np.int64)
    found, pixel, pieces, before = np.zeros(len(rings), np.int64), 0, 0, -1
    for box in range(len(boxes)):
        left, right = boxes[box, 1], boxes[box, 1] + boxes[box, 3]
        for row in range(boxes[box, 0], boxes[box, 0] + boxes[box, 2]):
            if row == boxes[box, 0] or not _are_equal(levels[row], levels[row - 1]):  # else as in the row before
                pieces = _divide_row(levels[row], edges, left, right, rings, of_row)
            for piece in range(pieces):
                length, ring = of_row[piece]
                if ring == before:
                    spans[ring, found[ring] - 1, 1] += length
                else:
                    spans[ring, found[ring], 0], spans[ring, found[ring], 1] = pixel, length
                    found[ring] += 1
                pixel, before = pixel + length, ring
    return found


@njit(nogil=True, cache=True)
def _are_equal(one: np.ndarray, other: np.ndarray) -> bool:
    for n in range(len(one)):  # noqa: SIM110  numba has no all()
        if one[n] != other[n]:
            return False
    return True


@njit(nogil=True, cache=True)
def _levels(boxes: np.ndarray, height: int, width: int, edges: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """`(H, E - 1)` int64: the ring of a pixel by the known ones of its own column, -1 where it is known itself.

    Between two edges of boxes all pixels of a row have the same answer.
    """
    levels = np.empty((height, len(edges) - 1), np.int64)
    depths = np.empty(height, np.int64)
    for n in range(len(edges) - 1):
        depths[:] = 0 if 0 <= edges[n] < width else _FAR
        hidden = False
        for box in range(len(boxes)):
            if boxes[box, 1] <= edges[n] < boxes[box, 1] + boxes[box, 3]:
                depths[boxes[box, 0] : boxes[box, 0] + boxes[box, 2]] = _FAR
                hidden = True
        if not hidden:  # one column is wholly known, or outside
            levels[:, n] = -1 if depths[0] == 0 else len(rings) - 1
            continue
        depth = _FAR
        for row in range(height):
            depth = min(depth + 1, depths[row])
            depths[row] = depth
        depth = _FAR
        for row in range(height - 1, -1, -1):
            depth = min(depth + 1, depths[row])
            level = -1
            while level + 1 < len(rings) and depth >= rings[level + 1]:
                level += 1
            levels[row, n] = level
    return levels


@njit(nogil=True, cache=True)
def _divide_row(
    levels: np.ndarray, edges: np.ndarray, left: int, right: int, rings: np.ndarray, pieces: np.ndarray
) -> int:
    """Lengths and rings, `(n, 2)`, of what columns `left` to `right` of a row are made of; returns how many there are.

    A pixel is in a ring or deeper where `levels` are at least that ring for `rings[ring] - 1` columns on both sides.
    """
    inside = np.empty((len(rings) * len(levels), 3), np.int64)
    intervals = 0
    for ring in range(1, len(rings)):
        n = 0
        while n < len(levels):
            first = n
            while n < len(levels) and levels[n] >= ring:
                n += 1
            begin, end = max(edges[first] + rings[ring] - 1, left), min(edges[n] - rings[ring] + 1, right)
            if begin < end:
                inside[intervals, 0], inside[intervals, 1], inside[intervals, 2] = begin, end, ring
                intervals += 1
            n += n == first
    column, found = left, 0
    while column < right:
        ring, end = 0, right
        for n in range(intervals):  # the last interval that holds a column has its ring: they are nested
            if column < inside[n, 0]:
                end = min(end, inside[n, 0])
            elif column < inside[n, 1]:
                ring, end = inside[n, 2], min(end, inside[n, 1])
        pieces[found, 0], pieces[found, 1] = end - column, ring
        found, column = found + 1, end
    return found
