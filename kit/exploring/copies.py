"""Near duplicates within training, between training and test, and within the test photos.

The search itself is kit.data's, the one of `kit folds` and of the notes of `kit fetch`; test photos are compared by
what is known of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kit.data.cropped import grey_pictures, turned
from kit.data.duplicates import duplicate_groups, duplicates_of_masked
from kit.data.index import PhotoRow
from kit.data.leaks import masked_thumbnails
from kit.data.likeness import MIN_CORRELATION, are_alike, thumbnails_of
from kit.data.project import Project
from kit.data.stratified_groups import METHOD
from kit.errors import KitError
from kit.exploring.result import Copies, Group, Leak

_SHARED = 0.25  # of two test photos' thumbnails must be known in both


@dataclass(frozen=True)
class Kinship:
    """Near duplicates by position."""

    copies: Copies
    groups: np.ndarray
    """`(N + M,)` int, training photos first: near duplicates share a number, across the splits too."""


def kinship_of(project: Project) -> Kinship:
    """Find all near duplicates."""
    index = project.index
    small = thumbnails_of(project.pack.train_target, len(index.train))
    of_train = _training_groups(project, small) if len(small) else np.zeros(0, np.int64)
    if not index.test:
        return Kinship(Copies((), _groups(index.train, of_train), ()), of_train)
    masked, known = masked_thumbnails(project)
    test_of = duplicates_of_masked(small, masked, known) if len(small) else np.zeros(0, np.int64)
    of_test = _joined(len(index.test), _pairs(masked.astype(np.float32), known))
    leaking = np.flatnonzero(test_of >= 0).tolist()
    leaks = tuple(Leak(index.train[photo].id, index.test[int(test_of[photo])].id) for photo in leaking)
    count = len(index.train)
    same = [pair for numbers, first in ((of_train, 0), (of_test, count)) for pair in _to_first(numbers, first)]
    same += [(photo, count + int(test_of[photo])) for photo in leaking]
    copies = Copies(leaks, _groups(index.train, of_train), _groups(index.test, of_test))
    return Kinship(copies, _joined(count + len(index.test), same))


def _training_groups(project: Project, small: np.ndarray) -> np.ndarray:
    """Return the groups of `kit folds`, from the folds where they were split by today's rule: the search takes long."""
    try:
        folds = project.folds
    except KitError:  # none yet, or not of these photos
        folds = None
    if folds is not None and folds.method == METHOD:
        return folds.group
    hashes = np.array([int(row.phash, 16) for row in project.index.train], np.uint64)
    greys = grey_pictures(project.pack.train_target, len(project.index.train))
    return duplicate_groups(hashes, small, greys)


def _pairs(masked: np.ndarray, known: np.ndarray) -> list[tuple[int, int]]:
    """Return the test photos that are near duplicates as a whole, turned, mirrored or inverted, where both are known.

    Correlations over what two photos share are five matrix products; what comes near is looked at again.
    """
    found: set[tuple[int, int]] = set()
    flat, weight = _weighted(masked, known)
    for turn in range(8):
        other = np.stack([turned(one, turn) for one in masked])
        other_known = np.stack([turned(one, turn) for one in known])
        for first, second in _correlated(flat, weight, *_weighted(other, other_known)):
            both = known[first] & other_known[second]
            shown = [np.where(both, one - one[both].mean(), 0) for one in (masked[first], other[second])]
            if first < second and are_alike(*shown):
                found.add((first, second))
    return sorted(found)


def _weighted(photos: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weight = known.reshape(len(known), -1).astype(np.float32)
    return (photos.reshape(len(photos), -1) / np.float32(128) - 1) * weight, weight


def _correlated(a: np.ndarray, a_known: np.ndarray, b: np.ndarray, b_known: np.ndarray) -> Iterable[tuple[int, int]]:
    """Yield the pairs that correlate over what is known of both; a little below the limit, for sums are in float32."""
    for start in range(0, len(a), 512):
        part, there = a[start : start + 512], a_known[start : start + 512]
        count = np.maximum(there @ b_known.T, 1)
        sum_a, sum_b = part @ b_known.T, there @ b.T
        spread_a = np.square(part) @ b_known.T - sum_a**2 / count
        spread_b = there @ np.square(b).T - sum_b**2 / count
        product = part @ b.T - sum_a * sum_b / count
        near = np.abs(product) >= (MIN_CORRELATION - 0.01) * np.sqrt(spread_a.clip(0) * spread_b.clip(0))
        near &= count >= _SHARED * a.shape[1]
        yield from ((start + first, second) for first, second in np.argwhere(near).tolist())


def _to_first(numbers: np.ndarray, first: int) -> list[tuple[int, int]]:
    """Return each photo with the first one of its group, numbered from `first` on."""
    begins: dict[int, int] = {}
    return [(first + begins.setdefault(number, place), first + place) for place, number in enumerate(numbers.tolist())]


def _joined(count: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Number what hangs together, `(count,)` int64."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = ([pair[place] for pair in pairs] for place in (0, 1))
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1]).astype(np.int64)


def _groups(rows: Sequence[PhotoRow], numbers: np.ndarray) -> tuple[Group, ...]:
    """Return the groups of more than one photo, those with several classes first, then the largest."""
    members: dict[int, list[PhotoRow]] = {}
    for row, number in zip(rows, numbers.tolist(), strict=True):
        members.setdefault(number, []).append(row)
    found = [
        Group(tuple(row.id for row in group), tuple(sorted({row.klass for row in group})))
        for group in members.values()
        if len(group) > 1
    ]
    return tuple(sorted(found, key=lambda group: (-len(group.classes), -len(group.ids), group.ids)))
