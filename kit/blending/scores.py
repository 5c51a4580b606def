"""Scores of single sources, and which of them are complete. Knows the stores; prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.blending.evaluation.intervals import Bootstrap
from kit.blending.grams.cache import cached_gram
from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.weights.candidates import STACK
from kit.core.workspace import PredictionSplit, Workspace
from kit.data.folds import Folds
from kit.data.index import Index
from kit.data.pack import Pack
from kit.data.prediction_store import ALL, list_sources, missing_folds, read_manifest, read_predictions
from kit.errors import DamagedStore, KitError, Mismatch, MissingStep
from kit.imaging.metrics import Estimate


def complete_sources(workspace: Workspace, index: Index, folds: Folds) -> list[str]:
    """Sources of this index and these folds with all OOF and all test predictions, by name."""
    return [source for source in list_sources(workspace) if _why_incomplete(workspace, index, folds, source) is None]


def left_out_sources(workspace: Workspace, index: Index, folds: Folds) -> dict[str, str]:
    """Every other source, and why it is not complete."""
    reasons = {source: _why_incomplete(workspace, index, folds, source) for source in list_sources(workspace)}
    return {source: reason for source, reason in reasons.items() if reason is not None}


def _why_incomplete(workspace: Workspace, index: Index, folds: Folds, source: str) -> str | None:
    try:
        for split in ("oof", "test"):
            read_predictions(workspace, index, folds, source, split)
    except KitError as error:
        return str(error)
    return None


def stack_recipe(workspace: Workspace, source: str) -> dict[str, Any] | None:
    """What a stacked network was made from, None for any other source."""
    folder = workspace.source(source, "oof")
    for path in sorted(folder.glob("fold_*.json")):
        try:
            manifest = read_manifest(workspace, source, "oof", int(path.stem.removeprefix("fold_")))
        except (KitError, ValueError):
            continue
        if manifest is not None:
            return manifest["recipe"] if manifest["recipe"].get("kind") == STACK else None
    return None


@dataclass(frozen=True)
class SourceScore:
    """What there is to know of one source."""

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


def score_sources(
    workspace: Workspace, index: Index, folds: Folds, pack: Pack, *, seed: int = 0, workers: int | None = None
) -> list[SourceScore]:
    """Score every source of the store: the complete ones from best to worst, then the rest by name.

    Raises:
        PredictionsError: a value is not finite; names the file and the command that makes it again.
    """
    complete = complete_sources(workspace, index, folds)
    gram = cached_gram(workspace, index, folds, pack, complete, workers=workers) if complete else None
    scores = []
    for source in list_sources(workspace):
        try:
            scores.append(_score(workspace, index, folds, pack, source, gram, seed, workers))
        except (MissingStep, Mismatch, DamagedStore) as error:
            scores.append(_unreadable(source, str(error)))
    return sorted(
        scores, key=lambda one: (not one.complete, one.score.value if one.complete and one.score else 0.0, one.name)
    )


def _unreadable(source: str, problem: str) -> SourceScore:
    return SourceScore(source, None, 0, False, (), (), False, 0.0, "", problem=problem)


def _score(
    workspace: Workspace,
    index: Index,
    folds: Folds,
    pack: Pack,
    source: str,
    complete: ResidualGram | None,
    seed: int,
    workers: int | None,
) -> SourceScore:
    missing_oof, missing_test = (_missing(workspace, folds, source, split) for split in ("oof", "test"))
    oof = read_predictions(workspace, index, folds, source, "oof", partial=True)
    trained = oof.parts[0].name != ALL
    test = None if missing_test else read_predictions(workspace, index, folds, source, "test")
    facts: dict[str, Any] = {
        "name": source,
        "photos": len(oof.photos),
        "trained": trained,
        "missing_oof": missing_oof,
        "missing_test": missing_test,
        "seconds": oof.seconds + (test.seconds if test else 0.0),
        "digest": oof.digest,
    }
    if complete is not None and source in complete.members:
        own = {"own": complete.sse[:, complete.of(source)]}
        bootstrap = Bootstrap(own, complete.counts, folds.group[complete.photos], seed=seed)
        return SourceScore(score=bootstrap.estimate("own"), complete=True, **facts)
    gram = cached_gram(workspace, index, folds, pack, [source], partial=True, workers=workers)
    reference = _reference(workspace, complete, gram.photos)
    errors = {"own": gram.sse[:, 0]}
    if complete is not None and reference:
        errors["reference"] = complete.on(gram.photos).sse[:, complete.of(reference)]
    bootstrap = Bootstrap(errors, gram.counts, folds.group[gram.photos], seed=seed)
    return SourceScore(
        score=bootstrap.estimate("own"),
        complete=False,
        reference=reference,
        reference_score=bootstrap.estimate("reference") if reference else None,
        difference=bootstrap.difference("own", "reference") if reference else None,
        **facts,
    )


def _missing(workspace: Workspace, folds: Folds, source: str, split: PredictionSplit) -> tuple[int, ...]:
    if read_manifest(workspace, source, split, None) is not None:
        return ()
    return tuple(missing_folds(workspace, folds, source, split))


def _reference(workspace: Workspace, complete: ResidualGram | None, photos: np.ndarray) -> str:
    """The best training-free member on these photos, "" when there is none."""
    if complete is None:
        return ""
    free = [member for member in complete.members if read_manifest(workspace, member, "oof", None) is not None]
    sse = complete.on(photos).sse.sum(axis=0)
    return min(free, key=lambda member: sse[complete.of(member)], default="")
