"""Two sources side by side: where they differ, by how much, and in which settings. Reads the stores, writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.blending import blend_oof_values, read_blend
from kit.blending.evaluation.intervals import Bootstrap
from kit.blending.evaluation.pixels import Photos
from kit.blending.result import ring_names
from kit.core.numbers import change_text, score_text
from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.core.tables import html_table
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.errors import MissingStep, UnknownName, UsageError
from kit.imaging.holes import RINGS, rings_of
from kit.imaging.metrics import RMSE, Estimate, Metric

SHOWN = 5  # photos of either end in a notebook
CHANNELS = ("red", "green", "blue")

OofValues = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class PartRow:
    """The two on a part of the hidden values."""

    by: str
    """distance, channel or class."""
    name: str
    first: float
    second: float
    gain: Estimate
    """By how much the second is better, paired."""


@dataclass(frozen=True)
class PhotoDifference:
    """The two on one photo."""

    name: str
    klass: str
    first: float
    second: float
    gain: float
    """By how much the second is better."""


@dataclass(frozen=True)
class Comparison:
    """Two sources on the photos that both have predicted out of fold."""

    names: tuple[str, str]
    metric: str
    of_parts: str
    """The metric of the parts."""
    photos: int
    scores: tuple[Estimate, Estimate]
    gain: Estimate
    """By how much the second is better, paired; its interval is over photos."""
    better: int
    """Photos on which the second is better."""
    correlation: float
    """Of their residuals."""
    parts: tuple[PartRow, ...]
    differences: tuple[PhotoDifference, ...]
    """By gain, the most for the second first."""
    settings: tuple[tuple[str, str, str], ...]
    """Names and values that differ."""

    @property
    def verdict(self) -> str:
        """Say which is better, if that is credible."""
        first, second = self.names
        if self.gain.low > 0:
            return f"{second} is better than {first}: {self.gain.signed} {self.metric}, on {self._share} of the photos."
        if self.gain.high < 0:
            gain = Estimate(-self.gain.value, -self.gain.high, -self.gain.low)
            return f"{first} is better than {second}: {gain.signed} {self.metric}, on {self._share} of the photos."
        return f"{first} and {second} are not credibly different: {self.metric} {self.gain.signed}."

    def __str__(self) -> str:
        return self.verdict

    def _repr_html_(self) -> str:
        first, second = self.names
        parts = [
            (row.by, row.name, score_text(row.first), score_text(row.second), row.gain.signed) for row in self.parts
        ]
        ends = [*self.differences[:SHOWN], *self.differences[SHOWN:][-SHOWN:]]
        photos = [
            (one.name, one.klass, score_text(one.first), score_text(one.second), change_text(one.gain)) for one in ends
        ]
        tables = [
            html_table((self.metric, "", first, second, f"{second} better by"), parts, [self.verdict]),
            html_table(("photo", "class", first, second, f"{second} better by"), photos),
        ]
        return "".join(tables) + (html_table(("setting", first, second), self.settings) if self.settings else "")

    @property
    def _share(self) -> str:
        share = self.better / self.photos
        return f"{share if self.gain.low > 0 else 1 - share:.0%}"


def compare(project: Project, first: str, second: str, *, seed: int = 0) -> Comparison:
    """Compare two sources or blends.

    Raises:
        UnknownName: there is no such source or blend.
        UsageError: both are the same, or no photo is predicted by both.
    """
    if first == second:
        raise UsageError(f"{first} is compared with itself. Name two sources: kit compare A B")
    found = [oof_values(project, name) for name in (first, second)]
    photos = np.intersect1d(found[0][1], found[1][1])
    if not len(photos):
        raise UsageError(f"No photo is predicted by both {first} and {second}. See which folds are there: kit sources")
    measured = _measured(project, photos, [values for values, _ in found])
    metric = project.layout.measured_by
    counts = np.array([3 * project.index.train[photo].scored for photo in photos])
    group = _groups(project, photos)
    whole = Bootstrap({"1": measured.errors[:, 0], "2": measured.errors[:, 1]}, counts, group, metric=metric, seed=seed)
    scores = np.stack([_by_photo(metric, errors, counts) for errors in measured.errors.T])
    gain = np.nan_to_num(metric.gain(scores[0], scores[1]))
    order = np.argsort(-gain, kind="stable")
    rows = [project.index.train[photo] for photo in photos]
    of_parts = metric if metric.of == "squares" else RMSE
    return Comparison(
        names=(first, second),
        metric=metric.label,
        of_parts=of_parts.label,
        photos=len(photos),
        scores=(whole.estimate("1"), whole.estimate("2")),
        gain=whole.difference("1", "2"),
        better=int((gain > 0).sum()),
        correlation=measured.correlation,
        parts=tuple(_parts(measured, [row.klass for row in rows], group, of_parts, seed)),
        differences=tuple(
            PhotoDifference(rows[at].name, rows[at].klass, *map(float, (scores[0, at], scores[1, at], gain[at])))
            for at in order
        ),
        settings=settings_that_differ(project.workspace, first, second),
    )


def fold_gain(project: Project, first: str, second: str, fold: int) -> Estimate:
    """Return by how much the second source's RMSE is better on a fold's photos, paired, with its interval.

    Raises:
        UnknownName: there is no such source.
        UsageError: no photo of the fold is predicted by both.
    """
    return paired_gain(project, first, second, among=project.folds.valid_positions(fold), metric=RMSE)


def paired_gain(
    project: Project, first: str, second: str, *, among: np.ndarray | None = None, metric: Metric | None = None
) -> Estimate:
    """Return by how much the second source is better on photos that both predict, with its interval.

    Args:
        among: positions of training photos; None: all.
        metric: by default the competition's.

    Raises:
        UnknownName: there is no such source.
        UsageError: no photo is predicted by both.
    """
    found = [oof_values(project, name) for name in (first, second)]
    photos = np.intersect1d(found[0][1], found[1][1])
    photos = photos if among is None else np.intersect1d(photos, among)
    if not len(photos):
        raise UsageError(f"No photo is predicted by both {first} and {second}. See which folds are there: kit sources")
    metric = metric or project.layout.measured_by
    of = Photos(project, metric)
    errors = np.array([of.errors(int(photo), [values(int(photo)) for values, _ in found]) for photo in photos])
    counts = np.array([3 * project.index.train[photo].scored for photo in photos])
    both = {"1": errors[:, 0], "2": errors[:, 1]}
    return Bootstrap(both, counts, _groups(project, photos), metric=metric).difference("1", "2")


def oof_values(project: Project, name: str) -> tuple[OofValues, np.ndarray]:
    """Return a training photo's position to values `(n, 3)` of a source or blend, and the positions that it has.

    Raises:
        UnknownName: there is neither.
    """
    if name in project.predictions.sources():
        one = project.predictions.read(name, "oof", partial=True).opened()
        return one.values, one.photos
    blends = sorted(path.stem for path in project.workspace.blends.glob("*.json"))
    if name in blends:
        return blend_oof_values(project, read_blend(project.workspace, name)), np.arange(len(project.index.train))
    raise UnknownName("source or blend", name, [*project.predictions.sources(), *blends])


def _groups(project: Project, photos: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(project.folds.group[photos])
    except MissingStep:  # fills need no folds
        return photos


def _by_photo(metric: Metric, errors: np.ndarray, counts: np.ndarray) -> np.ndarray:
    above, below = metric.statistics(errors, counts)
    return np.where(counts > 0, metric.value(above, below), np.nan)


@dataclass(frozen=True)
class _Measured:
    """Errors of the two."""

    errors: np.ndarray
    """`(P, 2)` as the metric sums them."""
    squares: np.ndarray
    """`(P, 2, rings, 3)`."""
    counts: np.ndarray
    """`(P, rings)` pixels."""
    correlation: float


def _measured(project: Project, photos: np.ndarray, values: Sequence[OofValues]) -> _Measured:
    """Measure both in one pass."""
    of = Photos(project, project.layout.measured_by)

    def work(photo: int) -> tuple[list[float], np.ndarray, np.ndarray, np.ndarray]:
        row = project.index.train[photo]
        both = [one(photo) for one in values]
        truth = of.truth(photo)
        residuals = np.stack([of.scored(photo, one) - truth for one in both])
        rings = rings_of(row.boxes, row.height, row.width)
        in_ring = (rings == np.arange(len(RINGS))[:, None]).astype(np.float64)
        squares = in_ring @ np.square(residuals)  # (2, rings, 3)
        products = residuals[0].ravel() @ residuals[1].ravel(), squares[0].sum(), squares[1].sum()
        return of.errors(photo, both), squares, np.bincount(rings, minlength=len(RINGS)), np.array(products)

    with closing(map_in_order(work, map(int, photos))) as done:
        parts = list(zip(*track(done, "Compare", len(photos), "photos"), strict=True))
    errors, squares, counts, products = (np.array(part) for part in parts)
    both, first, second = products.sum(axis=0)
    correlation = float(both / np.sqrt(first * second)) if first > 0 and second > 0 else 0.0
    return _Measured(errors, squares, counts, correlation)


def _parts(measured: _Measured, classes: Sequence[str], group: np.ndarray, metric: Metric, seed: int) -> list[PartRow]:
    found: list[PartRow] = []

    def add(by: str, name: str, squares: np.ndarray, counts: np.ndarray) -> None:
        use = counts > 0
        if use.any():
            errors = {"1": squares[use, 0], "2": squares[use, 1]}
            bootstrap = Bootstrap(errors, counts[use], group[use], metric=metric, seed=seed)
            first, second = (bootstrap.estimate(name).value for name in ("1", "2"))
            found.append(PartRow(by, name, first, second, bootstrap.difference("1", "2")))

    for ring, name in enumerate(ring_names()):
        add("distance", name, measured.squares[:, :, ring].sum(axis=2), 3 * measured.counts[:, ring])
    for channel, name in enumerate(CHANNELS):
        add("channel", name, measured.squares[:, :, :, channel].sum(axis=2), measured.counts.sum(axis=1))
    klass = np.array(classes)
    for name in sorted(set(classes)):
        add(
            "class",
            name or "none",
            measured.squares.sum(axis=(2, 3)),
            3 * measured.counts.sum(axis=1) * (klass == name),
        )
    return found


def settings_that_differ(workspace: Workspace, first: str, second: str) -> tuple[tuple[str, str, str], ...]:
    """Return names of settings with the values of the two, where they differ; none where one was not trained here."""
    one, other = (_settings(workspace, name) for name in (first, second))
    if one is None or other is None:
        return ()
    names = sorted({*one, *other} - {"name"})
    missing = object()
    return tuple(
        (name, _text(one.get(name)), _text(other.get(name)))
        for name in names
        if one.get(name, missing) != other.get(name, missing)
    )


def _settings(workspace: Workspace, name: str) -> dict[str, Any] | None:
    for path in sorted(workspace.runs.glob(f"{name}/fold_*/experiment.json")):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["experiment"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _text(value: Any) -> str:
    return "-" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
