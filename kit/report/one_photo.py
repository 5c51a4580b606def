"""One photo by every source: scores, where they stand among all photos, and a picture. Reads the stores."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.blending.evaluation.pixels import Photos
from kit.core.numbers import score_text
from kit.core.tables import html_picture, html_table
from kit.core.workspace import Split
from kit.data.index import PhotoRow
from kit.data.project import Project
from kit.errors import KitError, MissingStep, UnknownName, UsageError, closest_name
from kit.report.compare import oof_values
from kit.report.figure import side_by_side

AT_ONCE = 4  # sources beside each other


@dataclass(frozen=True)
class ByOne:
    """What one source or blend makes of the photo."""

    name: str
    score: float | None
    """By the competition's metric; None where there is no prediction, or nobody knows the truth."""


@dataclass(frozen=True)
class OnePhoto:
    """A photo."""

    id: str
    name: str
    split: Split
    klass: str
    width: int
    height: int
    hidden: int
    """Hidden pixels, one in two boxes once."""
    fold: int | None
    metric: str
    sources: tuple[ByOne, ...]
    """The best first."""
    picture: Path | None

    def __str__(self) -> str:
        scores = ", ".join(f"{one.name} {'-' if one.score is None else score_text(one.score)}" for one in self.sources)
        return f"{self.id}: {self.metric} {scores}"

    def _repr_html_(self) -> str:
        of = f"{self.split}, {self.width}x{self.height}, {self.hidden} pixels hidden"
        rows = [[one.name, "-" if one.score is None else score_text(one.score)] for one in self.sources]
        scores = html_table((f"{self.name} ({of})", self.metric), rows)
        if self.picture is None or not self.picture.is_file():
            return scores
        return scores + html_picture(self.picture.read_bytes(), "png", self.name)


def find_photo(project: Project, wanted: str) -> tuple[Split, int]:
    """Return split and position of a photo by its id or name, also without its suffix.

    Raises:
        UnknownName: there is none.
        UsageError: several are called so.
    """
    wanted = str(wanted)  # of Python's callers, some give a number
    splits: tuple[Split, ...] = ("train", "test")
    for exact in (True, False):
        for split in splits:  # of the same name in both, the training photo: its truth is known
            found = [
                place
                for place, row in enumerate(project.index.split(split))
                if wanted in ((row.id, row.name) if exact else (Path(row.name).stem, Path(row.name).name))
            ]
            if len(found) > 1:
                raise _ambiguous(wanted, [project.index.split(split)[place].id for place in found])
            if found:
                return split, found[0]
    rows = [*project.index.train, *project.index.test]
    known = [name for row in rows for name in (row.name, Path(row.name).stem)]
    nearest = closest_name(wanted, known)
    suggestion = shlex.quote(nearest) if nearest else None
    raise UnknownName("photo", wanted, known, suggestion=suggestion, listed_by="kit sources --photos photos.csv")


def _ambiguous(wanted: str, ids: Sequence[str]) -> UsageError:
    said = ", ".join(shlex.quote(one) for one in ids[:3]) + (" ..." if len(ids) > 3 else "")
    return UsageError(f"{len(ids)} photos are called {wanted!r}: {said}. Name one by its id: kit show ID")


def show_photo(project: Project, wanted: str, *, out: Path | None = None, draw: bool = True) -> OnePhoto:
    """Score one photo by every source and the newest blend, and draw it.

    Args:
        out: of the picture, `.png`; by default `report/photo-NAME.png`.

    Raises:
        UnknownName: there is no such photo.
        MissingStep: there is no source.
    """
    split, place = find_photo(project, wanted)
    row = project.index.split(split)[place]
    names = _names(project)
    if not names:
        raise MissingStep("There is no source to show. Run: kit fill all")
    metric = project.layout.measured_by
    scored = [ByOne(name, _score(project, name, place) if split == "train" else None) for name in names]
    sign = -1.0 if metric.higher_is_better else 1.0
    scored.sort(key=lambda one: (one.score is None, sign * (one.score or 0.0)))
    path = None
    if draw:
        path = out or project.workspace.report / f"photo-{_file_name(project, row)}.png"
        _draw(path, project, split, place, [one.name for one in scored])
    fold = int(project.folds.fold[place]) if split == "train" and project.folds_if_any is not None else None
    facts = (row.id, row.name, split, row.klass, row.width, row.height, int(row.hole.sum()))
    return OnePhoto(*facts, fold, metric.label, tuple(scored), path)


def _file_name(project: Project, row: PhotoRow) -> str:
    """Return a photo's name without suffix, or its whole id where another one is called the same."""
    stem = Path(row.name).stem
    every = (*project.index.train, *project.index.test)
    return stem if sum(Path(one.name).stem == stem for one in every) == 1 else row.id.replace("/", "-")


def _names(project: Project) -> list[str]:
    """Return the sources that can be read, and the newest blend."""
    found = []
    newest = sorted(project.workspace.blends.glob("*.json"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    for name in [*project.predictions.sources(), *(path.stem for path in newest[:1])]:
        try:
            oof_values(project, name)
        except KitError:
            continue  # kit sources says why
        found.append(name)
    return found


def _score(project: Project, name: str, place: int) -> float | None:
    values, photos = oof_values(project, name)
    count = 3 * project.index.train[place].scored
    if place not in photos or not count:
        return None
    metric = project.layout.measured_by
    [error] = Photos(project, metric).errors(place, [values(place)])
    above, below = metric.statistics(np.array([error]), np.array([count]))
    return float(metric.value(above, below)[0])


def _draw(path: Path, project: Project, split: Split, place: int, names: Sequence[str]) -> None:
    from kit.report.figure import save_figure

    rows = [names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)]
    pictures = [side_by_side(project, photos=[place], columns=row, split=split) for row in rows]
    widest = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(one, ((0, 0), (0, widest - one.shape[1]), (0, 0)), constant_values=255) for one in pictures]
    save_figure(path, np.concatenate(padded))
