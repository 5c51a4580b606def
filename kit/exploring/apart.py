"""Adversarial validation: can test photos be told from training photos? A classifier on simple statistics tries.

Each photo is judged by a model that saw neither it nor its near duplicates. What it sees are known pixels, through the
holes of both splits (`kit.exploring.looking`). Files and holes are compared apart from this, in the measures.
"""

from __future__ import annotations

import numpy as np

from kit.data.index import Index
from kit.data.stratified_groups import stratified_groups
from kit.exploring.auc import area_by_group, is_credible
from kit.exploring.comparing import LEAST, compared
from kit.exploring.known import STATISTICS
from kit.exploring.logistic import scores_out_of_fold
from kit.exploring.result import Apart, Telling, rounded_estimate

FOLDS = 5
_LISTED = 5
_UNLIKE = 8


def apart_of(index: Index, statistics: np.ndarray, of_test: np.ndarray, groups: np.ndarray) -> Apart | None:
    """Return how well test photos are told from training photos; None where a split has too few.

    Args:
        statistics: `(N, n)` float64, see `STATISTICS`; training photos first.
        of_test: `(N,)` bool.
        groups: `(N,)` int, near duplicates share a number, across the splits too.
    """
    if min(len(np.unique(groups[side])) for side in (of_test, ~of_test)) < 2 * max(FOLDS, LEAST):
        return None
    ids = [row.id for row in (*index.train, *index.test)]
    fold = stratified_groups(ids, ["test" if one else "train" for one in of_test], groups, k=FOLDS, seed=0)
    odds = scores_out_of_fold(statistics, of_test, fold)
    odds = np.round(odds, 9)  # what threads add up differently is no order
    area = area_by_group(odds, of_test, groups, strata=fold)
    differs = area.distance > 0 and is_credible(area.distance, area.groups, 1)
    return Apart(
        area=rounded_estimate(area.estimate),
        differs=differs,
        statistics=len(STATISTICS),
        by=_telling(statistics, of_test, groups),
        unlike=_unlike(index, odds[of_test]) if differs else (),
    )


def _telling(statistics: np.ndarray, of_test: np.ndarray, groups: np.ndarray) -> tuple[Telling, ...]:
    found = []
    for name, values in zip(STATISTICS, statistics.T, strict=True):
        one = compared(values, of_test, groups, asked=len(STATISTICS))
        if one is not None and one[1]:
            found.append(Telling(name, one[0]))
    found.sort(key=lambda one: (-abs(one.higher.value - 0.5), one.name))
    return tuple(found[:_LISTED])


def _unlike(index: Index, odds: np.ndarray) -> tuple[str, ...]:
    return tuple(index.test[place].id for place in np.argsort(-odds, kind="stable")[:_UNLIKE].tolist())
