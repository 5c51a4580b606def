"""Which photos are shown: a few of each class, the worst, the best, or any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from kit.core.progress import track
from kit.core.workspace import Split
from kit.data.index import Index, PhotoRow
from kit.data.project import Project
from kit.errors import UnknownName, UsageError
from kit.report.compare import oof_values
from kit.report.figure import photo_score

Order = Literal["spread", "worst", "best", "random"]
"""`spread`: from the classes in turn; `worst` and `best` by the last column."""


def choose_photos(
    project: Project,
    columns: Sequence[str],
    split: Split,
    count: int,
    *,
    order: Order = "spread",
    klass: str | None = None,
    seed: int = 0,
) -> list[int]:
    """Return positions of photos to show, of the training split those that every column has predicted.

    Args:
        columns: names of sources and blends.
        klass: of this class alone.
        seed: of `random`.

    Raises:
        UnknownName: no such source, blend, class or order.
        UsageError: no photo is left; the worst of photos whose truth is not known.
    """
    if order not in get_args(Order):
        raise UnknownName("order", order, get_args(Order))
    rows = project.index.split(split)
    among = list(range(len(rows)))
    if split == "train":
        for name in columns:
            there = set(oof_values(project, name)[1].tolist())
            among = [place for place in among if place in there]
    if klass is not None:
        among = _of_class(rows, among, klass)
    if not among:
        raise UsageError(
            f"No photo is predicted by all of {', '.join(columns)}. See which folds are there: kit sources"
        )
    if order == "spread":
        return pick_among(rows, among, count)
    if order == "random":
        return [int(place) for place in np.random.default_rng(seed).permutation(among)[:count]]
    if split == "test":
        raise UsageError("Of test photos nobody knows which is the worst: show training photos, or name them: --photo")
    hides = [place for place in among if rows[place].scored]
    return _by_score(project, columns[-1], hides, count, worst=order == "worst")


def _of_class(rows: Sequence[PhotoRow], among: Sequence[int], klass: str) -> list[int]:
    found = [place for place in among if rows[place].klass == klass]
    if not found:
        raise UnknownName("class", klass, sorted({row.klass for row in rows if row.klass}))
    return found


def _by_score(project: Project, name: str, among: Sequence[int], count: int, *, worst: bool) -> list[int]:
    """Sort by the number that stands beneath a picture."""
    values, _ = oof_values(project, name)
    pack, rows = project.pack, project.index.train
    scores = np.array(
        [
            photo_score(
                rows[place],
                values(place),
                np.asarray(pack.train_target[place]),
                pack.train_estimated_range[place],
                project.layout,
            )
            for place in track(among, "Score photos", len(among), "photos")
        ]
    )
    bad = -scores if project.layout.measured_by.higher_is_better else scores
    order = np.argsort(-bad if worst else bad, kind="stable")[:count]
    return [among[place] for place in order]


def pick_photos(index: Index, split: Split, count: int) -> list[int]:
    """Return positions of `count` photos, from the classes in turn."""
    photo_rows = index.split(split)
    return pick_among(photo_rows, range(len(photo_rows)), count)


def pick_among(photo_rows: Sequence[PhotoRow], among: Sequence[int], count: int) -> list[int]:
    """Return `count` of these positions, or all where they are fewer, from the classes in turn."""
    waiting: dict[str, list[int]] = {}
    for position in among:
        waiting.setdefault(photo_rows[position].klass, []).append(position)
    picked: list[int] = []
    while len(picked) < min(count, len(among)):
        for positions in waiting.values():
            if positions and len(picked) < count:
                picked.append(positions.pop(0))
    return picked
