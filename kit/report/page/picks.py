"""Which photos are worth a look: the worst and best of each source and of the blend. Knows scores only."""

from __future__ import annotations

import numpy as np

EXTREMES = 50


def picked_photos(scores: np.ndarray, *, higher_is_better: bool, most: int | None) -> list[int]:
    """Return positions of photos, the most telling first: the worst and the best of each column in turn.

    Args:
        scores: `(P, C)`, NaN where there is none; the last column first.
        most: how many at most; None: all photos, those that are not among the extremes last.
    """
    sign = -1.0 if higher_is_better else 1.0
    lists = []
    for column in reversed(range(scores.shape[1])):
        there = np.flatnonzero(np.isfinite(scores[:, column]))
        order = there[np.argsort(-sign * scores[there, column], kind="stable")]
        lists += [order[:EXTREMES].tolist(), order[::-1][:EXTREMES].tolist()]
    found: dict[int, None] = {}
    for rank in range(EXTREMES):
        for one in lists:
            if rank < len(one):
                found[int(one[rank])] = None
    if most is None:
        found |= dict.fromkeys(range(len(scores)))
    return list(found)[:most]
