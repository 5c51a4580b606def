"""Scores of single sources, and which of them are complete. Knows the stores; prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.blending.evaluation.intervals import Bootstrap
from kit.blending.evaluation.pixels import source_errors
from kit.blending.grams.cache import cached_gram
from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.weights.candidates import STACK
from kit.core.workspace import PredictionSplit
from kit.data.prediction_store import ALL, SPLITS
from kit.data.project import Project
from kit.errors import DamagedStore, KitError, Mismatch, MissingStep, PredictionsError
from kit.imaging.metrics import Estimate, Metric


def complete_sources(project: Project) -> list[str]:
    """Return the sources of this index and these folds with all OOF and all test predictions, by name."""
    return [source for source in project.predictions.sources() if _why_incomplete(project, source) is None]


def left_out_sources(project: Project) -> dict[str, str]:
    """Return every other source, and why it is not complete."""
    reasons = {source: _why_incomplete(project, source) for source in project.predictions.sources()}
    return {source: reason for source, reason in reasons.items() if reason is not None}


def _why_incomplete(project: Project, source: str) -> str | None:
    try:
        for split in SPLITS:
            project.predictions.read(source, split)
    except KitError as error:
        return str(error)
    return None


def finite_gram(
    project: Project, sources: list[str], *, workers: int | None = None
) -> tuple[ResidualGram | None, dict[str, str]]:
    """Return the Gram of those of these complete sources whose OOF values are all finite, and what is wrong with each
    other one; None in place of the Gram where there is no such source."""
    if not sources:
        return None, {}
    try:
        return cached_gram(project, sources, workers=workers), {}
    except PredictionsError:
        found = {source: project.predictions.read(source, "oof").flaw() for source in sources}
    flaws = {source: str(flaw) for source, flaw in found.items() if flaw is not None}
    finite = [source for source in sources if source not in flaws]
    return cached_gram(project, finite, workers=workers) if finite else None, flaws


def stack_recipe(project: Project, source: str) -> dict[str, Any] | None:
    """Return the recipe of a stacked network, None for any other source."""
    folder = project.workspace.source(source, "oof")
    for path in sorted(folder.glob("fold_*.json")):
        try:
            manifest = project.predictions.manifest(source, "oof", int(path.stem.removeprefix("fold_")))
        except (KitError, ValueError):
            continue
        if manifest is not None:
            return manifest["recipe"] if manifest["recipe"].get("kind") == STACK else None
    return None


@dataclass(frozen=True)
class SourceScore:
    """One source: its score, cost, digest, and what is missing."""

    name: str
    score: Estimate | None
    """CV RMSE on the photos that it has OOF predictions of; None when there are none that can be read."""
    photos: int
    """How many photos that is."""
    trained: bool
    """False for a source fitted on no fold: a classical fill, a pretrained generator."""
    missing_oof: tuple[int, ...]
    missing_test: tuple[int, ...]
    """Folds of which predictions are absent."""
    complete: bool
    """Whether `kit blend` takes it by itself."""
    seconds: float
    """Computing time noted with its predictions."""
    digest: str
    """Of its OOF predictions, "" when there are none."""
    reference: str = ""
    """For an incomplete source: the best complete training-free one on the same photos."""
    reference_score: Estimate | None = None
    difference: Estimate | None = None
    """Score less reference, paired; below 0: better than the reference."""
    problem: str = ""
    """Why it cannot be read, in one line."""
    full: bool = False
    """Whether a model of all training photos is in the mean of its test predictions; no score here knows of it."""


def score_sources(
    project: Project, *, metric: Metric | None = None, seed: int = 0, workers: int | None = None
) -> list[SourceScore]:
    """Score every source of the store: the complete ones from best to worst, then the rest by name.

    By the competition's metric unless another one is given. One that cannot be read, or has values that are not finite,
    has its problem in place of a score.
    """
    gram, flaws = finite_gram(project, complete_sources(project), workers=workers)
    metric = metric or project.layout.measured_by
    errors = np.zeros((0, 0)) if gram is None else source_errors(project, gram, metric, workers=workers)
    scores = []
    for source in project.predictions.sources():
        if source in flaws:
            scores.append(_unreadable(project, source, flaws[source]))
            continue
        try:
            scores.append(_score(project, source, gram, errors, metric, seed, workers))
        except (MissingStep, Mismatch, DamagedStore, PredictionsError) as error:
            scores.append(_unreadable(project, source, str(error)))
    sign = -1.0 if metric.higher_is_better else 1.0
    return sorted(
        scores,
        key=lambda one: (not one.complete, sign * one.score.value if one.complete and one.score else 0.0, one.name),
    )


def _unreadable(project: Project, source: str, problem: str) -> SourceScore:
    try:
        full = project.predictions.has_full(source)
    except DamagedStore:
        full = False
    return SourceScore(source, None, 0, False, (), (), False, 0.0, "", problem=problem, full=full)


def _score(
    project: Project,
    source: str,
    complete: ResidualGram | None,
    complete_errors: np.ndarray,
    metric: Metric,
    seed: int,
    workers: int | None,
) -> SourceScore:
    missing_oof, missing_test = (_missing(project, source, split) for split in ("oof", "test"))
    oof = project.predictions.read(source, "oof", partial=True)
    trained = oof.parts[0].name != ALL
    test = None if missing_test else project.predictions.read(source, "test")
    facts: dict[str, Any] = {
        "name": source,
        "photos": len(oof.photos),
        "trained": trained,
        "missing_oof": missing_oof,
        "missing_test": missing_test,
        "seconds": oof.seconds + (test.seconds if test else 0.0),
        "digest": oof.digest,
        "full": project.predictions.has_full(source),
    }
    if complete is not None and source in complete.members:
        own = {"own": complete_errors[:, complete.of(source)]}
        bootstrap = Bootstrap(own, complete.counts, project.folds.group[complete.photos], metric=metric, seed=seed)
        return SourceScore(score=bootstrap.estimate("own"), complete=True, **facts)
    gram = cached_gram(project, [source], partial=True, workers=workers)
    rows = None if complete is None else np.searchsorted(complete.photos, gram.photos)
    reference = _reference(project, complete, rows, complete_errors, metric)
    errors = {"own": source_errors(project, gram, metric, workers=workers)[:, 0]}
    if complete is not None and reference:
        errors["reference"] = complete_errors[rows, complete.of(reference)]
    bootstrap = Bootstrap(errors, gram.counts, project.folds.group[gram.photos], metric=metric, seed=seed)
    return SourceScore(
        score=bootstrap.estimate("own"),
        complete=False,
        reference=reference,
        reference_score=bootstrap.estimate("reference") if reference else None,
        difference=bootstrap.difference("own", "reference") if reference else None,
        **facts,
    )


def _missing(project: Project, source: str, split: PredictionSplit) -> tuple[int, ...]:
    if project.predictions.manifest(source, split, None) is not None:
        return ()
    return tuple(project.predictions.missing_folds(source, split))


def _reference(
    project: Project, complete: ResidualGram | None, rows: np.ndarray | None, errors: np.ndarray, metric: Metric
) -> str:
    """Return the training-free member that is best on these rows of the Gram, "" when there is none."""
    if complete is None or rows is None:
        return ""
    free = [member for member in complete.members if project.predictions.manifest(member, "oof", None) is not None]
    sign = -1.0 if metric.higher_is_better else 1.0

    def score(member: str) -> float:
        above, below = metric.statistics(errors[rows, complete.of(member)], complete.counts[rows])
        return sign * float(metric.value(above.sum(), below.sum()))

    return min(free, key=score, default="")
