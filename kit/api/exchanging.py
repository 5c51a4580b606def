"""Predictions from and for others, as `kit import` and `kit export` take and give them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kit.api.results import ImportedSource
from kit.errors import KitError, UnknownName, UsageError

if TYPE_CHECKING:
    from kit.core.workspace import PredictionSplit
    from kit.data.project import Project
    from kit.exchange import Imported
    from kit.exchange.checks import OwnScore

SPACES = ("pixel", "score")
CHANNELS = ("rgb", "bgr")
LEAST_SCALE, LARGEST_SCALE = 1e-3, 1e6


def import_source(
    project: Project,
    name: str,
    paths: dict[PredictionSplit, Path],
    *,
    space: Literal["pixel", "score"] | None,
    channels: Literal["rgb", "bgr"] | None,
    scale: float | None,
    folds: Path | None,
    force: bool,
) -> ImportedSource:
    """Check predictions of others, store them, and say what looks wrong with them."""
    from kit.exchange import compare_folds, import_part
    from kit.exchange.importing import check_name, format_of
    from kit.learning.experiments import EXPERIMENTS

    _check(space, channels, scale)
    if not paths:
        raise UsageError(f"What is {name} to be made of? Give oof=FILE, test=FILE or both.")
    reserved = frozenset(EXPERIMENTS)
    check_name(project, name, reserved)
    for path in paths.values():  # before the first of them is imported
        format_of(path)
    notes = compare_folds(project, folds) if folds else []
    parts: list[Imported] = []
    for split, path in paths.items():
        parts.append(
            import_part(
                project,
                name,
                split,
                path,
                space=space,
                channels=channels,
                scale=scale,
                force=force,
                reserved=reserved,
            )
        )
    notes = [note for part in parts for note in part.notes] + notes
    warnings = [warning for part in parts for warning in part.warnings]
    return _judged(project, name, parts, notes, warnings)


def _judged(
    project: Project, name: str, parts: list[Imported], notes: list[str], warnings: list[str]
) -> ImportedSource:
    """Add what looks wrong, and what it scores; the import itself is done."""
    from kit.exchange import doubts_about, doubts_about_score, own_score

    looked = any(part.made for part in parts)
    if looked:
        warnings += doubts_about(project, name)
    score: OwnScore | None = None
    try:
        if project.predictions.manifest(name, "oof", None) is not None:
            score = own_score(project, name)
    except KitError as error:
        notes.append(f"Not scored: {error}")
    if score is not None and looked:
        warnings += doubts_about_score(name, score)
    return ImportedSource(name, tuple(parts), tuple(notes), tuple(warnings), score)


def _check(space: str | None, channels: str | None, scale: float | None) -> None:
    """Raise `UsageError` for words and numbers that cannot be."""
    if space is not None and space not in SPACES:
        raise UnknownName("space", space, SPACES)
    if channels is not None and channels not in CHANNELS:
        raise UnknownName("order of channels", channels, CHANNELS)
    if scale is not None and not (math.isfinite(scale) and LEAST_SCALE <= scale <= LARGEST_SCALE):
        raise UsageError(f"scale={scale}: a number from {LEAST_SCALE:g} to {LARGEST_SCALE:g} is needed.")
