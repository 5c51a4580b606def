"""Dividing groups of photos over folds, classes even. Knows names and classes alone; no project and no file.

Folds are a contract between team mates, so the rule is kit's own and owes nothing to a library's version:

1. Groups stand in order: those of more photos first; of equal ones by class (that of the group's first photo by name),
   then by the SHA-256 of the seed and that photo's name. Of the photos without near duplicates some wait till the end:
   of each class as many as its number leaves over when divided by the number of folds, the last ones in that order.
2. Each in turn goes to the fold that has the least of its classes: the sum over its photos of (photos of that class in
   the fold) / (photos of that class in all). Of equal folds the one with fewer photos is taken, then the first.

All of it is whole numbers and text, so that every machine agrees. Where no photo has a near duplicate, folds differ by
one photo at most, in number and in each class.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

METHOD = "stratified-groups-1"
"""Names the rule above in the folds' recipe; another rule needs another number."""

_WHOLE = 2**40  # shares of a class are whole numbers of this: sums of them are exact in any order


@dataclass(frozen=True)
class _Group:
    """Photos that stay together."""

    positions: tuple[int, ...]
    first: str
    """The name of its first photo, in the order of names."""
    klass: str
    """Of that photo."""
    counts: Counter[str]
    """Photos by class."""


def stratified_groups(
    names: Sequence[str], classes: Sequence[str], group: np.ndarray, *, k: int, seed: int
) -> np.ndarray:
    """Return the fold of each photo, `(N,)` int; no fold is empty if there are `k` groups.

    Args:
        names: of the photos, each its own; their order has no influence.
        classes: of the photos.
        group: `(N,)`, any numbers; photos of one number lie in one fold.
    """
    share = {klass: _WHOLE // count for klass, count in Counter(classes).items()}
    photos = [0] * k
    of_class = [Counter[str]() for _ in range(k)]
    fold = np.zeros(len(names), np.int64)
    for one in _in_order(_groups(names, classes, group), Counter(classes), k, seed):
        likeness = [sum(count * share[klass] * held[klass] for klass, count in one.counts.items()) for held in of_class]
        chosen = min(range(k), key=lambda number: (likeness[number], photos[number], number))
        fold[list(one.positions)] = chosen
        photos[chosen] += len(one.positions)
        of_class[chosen] += one.counts
    return fold


def _groups(names: Sequence[str], classes: Sequence[str], group: np.ndarray) -> list[_Group]:
    positions: dict[int, list[int]] = {}
    for position, number in enumerate(group.tolist()):
        positions.setdefault(number, []).append(position)
    groups = []
    for members in positions.values():
        first = min(members, key=lambda position: names[position])
        counts = Counter(classes[position] for position in members)
        groups.append(_Group(tuple(members), names[first], classes[first], counts))
    return groups


def _in_order(groups: list[_Group], totals: Counter[str], k: int, seed: int) -> list[_Group]:
    """Return the groups in the order in which folds receive them."""

    def turn(one: _Group) -> tuple[int, str, bytes]:
        text = f"{seed}/{one.first}".encode("utf-8", "surrogatepass")
        return -len(one.positions), one.klass, hashlib.sha256(text).digest()

    groups = sorted(groups, key=turn)
    over = {klass: count % k for klass, count in totals.items()}
    early: list[_Group] = []
    late: list[_Group] = []
    for one in reversed(groups):
        waits = len(one.positions) == 1 and over[one.klass] > 0
        over[one.klass] -= waits
        (late if waits else early).append(one)
    return [*reversed(early), *reversed(late)]
