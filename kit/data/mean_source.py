"""One source as the mean of others, fold by fold: what several seeds of a training become. Knows predictions alone.

A part is the mean of the members' parts of the same fold, so an OOF value comes from models that have not seen its
photo, as theirs do; where all members have a full model, so has their mean. A source and no blend: a blend cannot be a
member of a blend, and equal weights need no fitting.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from kit.core.progress import track
from kit.core.storage import read_json
from kit.core.workspace import FULL, Fold, PredictionSplit, Workspace
from kit.data.prediction_store import SPLITS, SourceKind, splits_of
from kit.data.predictions import Part
from kit.data.project import Project
from kit.errors import MissingStep, UsageError

HINT = "Train under another name: --as NAME"


def claim_mean_name(project: Project, name: str, members: Sequence[str], *, replace: bool = False) -> None:
    """Raise `UsageError` unless a mean of these members may be stored under this name.

    Args:
        replace: the mean that is there, also when more sources are in it.
    """
    project.predictions.claim_name(name, SourceKind.MEAN, hint=HINT)
    stored = _mean_there(project.workspace, name)
    before = [] if stored is None else stored["recipe"]["members"]
    if not replace and set(before) > set(members):
        folder = shlex.quote(str(project.workspace.predictions / name))
        raise UsageError(
            f"{name} is the mean of {len(before)} sources ({', '.join(before)}), and would be that of {len(members)}. "
            f"Keep it with --seeds {len(before)}, or delete it, then type the same command: rm -r {folder}"
        )


def check_not_a_mean(workspace: Workspace, name: str, *, predict: bool = False) -> None:
    """Raise `UsageError` for the name of a mean, which has no training of its own; says what to type instead."""
    stored = _mean_there(workspace, name)
    if stored is None:
        return
    members = stored["recipe"]["members"]
    begin = f"Predict those again (kit predict {members[0]} ...), then average them" if predict else "Train those"
    raise UsageError(
        f"{name} is the mean of {', '.join(members)}, and has no training of its own. {begin}: {stored['made_by']}"
    )


def _mean_there(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """Return the manifest of a mean's first part, or None where nothing or something else has this name."""
    for split in SPLITS:
        for path in sorted(workspace.source(name, split).glob("*.json")):
            manifest = read_json(path, made_by="kit sources")
            recipe = manifest.get("recipe")
            is_mean = isinstance(recipe, dict) and recipe.get("kind") == SourceKind.MEAN and "members" in recipe
            return manifest if is_mean and "made_by" in manifest else None
    return None


def make_mean_source(
    project: Project, name: str, members: Sequence[str], *, made_by: str, replace: bool = False
) -> bool:
    """Store the mean of sources that were trained fold by fold; return False when it was there already.

    Args:
        made_by: the command that makes it again.
        replace: a mean of more sources than these.

    Raises:
        UsageError: the name belongs to something else, or to a mean of more sources.
        MissingStep: a member lacks a fold, or a full model that another one has; says how to train it.
        Mismatch: a member was made for another index or other folds.
    """
    claim_mean_name(project, name, members, replace=replace)
    sources = {split: [project.predictions.read(member, split) for member in members] for split in SPLITS}
    digests = {split: [source.digest for source in sources[split]] for split in SPLITS}
    recipe = {"kind": SourceKind.MEAN.value, "members": list(members), "digests": digests}
    folds: list[Fold] = [*range(project.folds.k)]
    if _have_full(project, members):
        folds.append(FULL)
    else:
        project.predictions.delete(name, FULL)  # of members that had one once
    made = False
    for place, fold in enumerate(folds):  # a source's parts are in this order
        for split in splits_of(fold):
            if not project.predictions.is_done(name, split, recipe, fold=fold):
                _write(project, name, split, fold, [source.parts[place] for source in sources[split]], recipe, made_by)
                made = True
    return made


def make_test_mean(project: Project, name: str, members: Sequence[str], folds: Sequence[Fold], *, made_by: str) -> bool:
    """Store the mean for other test photos, of members that have predicted them; False when it was there already."""
    sources = [project.predictions.read(member, "test") for member in members]
    recipe = {"kind": SourceKind.MEAN.value, "members": list(members), "digests": [one.digest for one in sources]}
    made = False
    for place, fold in enumerate(folds):
        if not project.predictions.is_done(name, "test", recipe, fold=fold):
            _write(project, name, "test", fold, [source.parts[place] for source in sources], recipe, made_by)
            made = True
    return made


def _have_full(project: Project, members: Sequence[str]) -> bool:
    """Return whether the members have full models. Raises `MissingStep` when some have and others have not."""
    without = [member for member in members if not project.predictions.has_full(member)]
    if without and len(without) < len(members):
        raise MissingStep(
            f"{', '.join(without)}: no full model is there, and other members have one. "
            f"Run: kit train {' '.join(without)} --fold {FULL}"
        )
    return not without


def _write(
    project: Project,
    name: str,
    split: PredictionSplit,
    fold: Fold,
    parts: Sequence[Part],
    recipe: dict[str, Any],
    made_by: str,
) -> None:
    counts = [photo_row.scored for photo_row in project.predictions.photos(split, fold)]
    project.predictions.write(
        name,
        split,
        track(_means(parts, counts), f"Averaging {name}, fold {fold} ({split})", len(counts), "photos"),
        made_by=made_by,
        recipe=recipe,
        fold=fold,
        seconds=partial(_seconds, parts, time.perf_counter()),
    )


def _means(parts: Sequence[Part], counts: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield each photo's mean over the members, `(n, 3)` float32."""
    arrays = [part.mapped() for part in parts]
    start = 0
    for count in counts:
        yield np.mean([array[start : start + count].astype(np.float32) for array in arrays], axis=0)
        start += count


def _seconds(parts: Sequence[Part], started: float) -> float:
    """Return what it cost: its members' trainings too."""
    return float(sum(part.manifest["seconds"] for part in parts)) + time.perf_counter() - started
