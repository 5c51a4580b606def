"""Trainings that cannot stand beside what is stored, found without torch: before anything is loaded or computed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.core.storage import digest_of, read_json
from kit.core.workspace import FULL, Fold
from kit.errors import DamagedStore, Mismatch, UsageError
from kit.learning.experiments.groups import CODE_FILES
from kit.learning.experiments.settings import Experiment, setting_fields
from kit.learning.experiments.stamp import (
    differences,
    different_settings,
    other_files,
    recipe_of,
    retrain_command,
    run_stamp,
)

if TYPE_CHECKING:
    from kit.data.project import Project


def check_conflicts(project: Project, experiment: Experiment, fold: Fold, replacing: Collection[Fold] = ()) -> None:
    """Check that a fold's training can be stored under the experiment's name.

    Args:
        replacing: folds that are about to be trained alike, one after the other: what is there of them may differ.

    Raises:
        UsageError: the name is that of a fill, an import or a blend; a full model, or one of averaged steps, is to stop
            early.
        Mismatch: this fold or another one was trained in another way.
    """
    check_source(project, experiment, fold, replacing)
    if fold not in replacing:
        folder = project.workspace.run(experiment.name, fold)
        check_folder(folder, run_stamp(project, experiment, fold), experiment, fold)


def check_source(project: Project, experiment: Experiment, fold: Fold, replacing: Collection[Fold] = ()) -> None:
    """Check the experiment's name, and that the source's other folds were made alike: they will be read as one.

    Raises:
        UsageError, Mismatch: see `check_conflicts`.
    """
    from kit.data.prediction_store import SourceKind, splits_of

    if fold == FULL and experiment.patience:
        raise UsageError(
            f"{experiment.name}: patience={experiment.patience} stops a training by its fold's RMSE, and a full model "
            f"has none. Train the source without it, under another name: --fold all,{FULL} --set patience=0 --as NAME"
        )
    if fold in replacing or not (project.workspace.run(experiment.name, fold) / "run.json").is_file():
        check_patience(experiment)
    hint = "Store this one under another name: --as NAME"
    store = project.predictions
    store.claim_name(experiment.name, SourceKind.EXPERIMENT, hint=hint)
    others: list[Fold] = [*range(project.folds.k), FULL]
    for other in others:
        if other == fold or other in replacing:
            continue
        manifest = store.manifest(experiment.name, splits_of(other)[0], other)
        if manifest is None or manifest["folds"] != store.folds_digest(other):
            continue
        alike = digest_of(manifest["recipe"]) == digest_of(recipe_of(experiment))
        files = other_files(project, experiment, other) if alike else []
        if not alike or files:
            names = files or different_settings(manifest["recipe"].get("experiment"), experiment)
            every = f"all,{FULL}" if store.has_full(experiment.name) else "all"
            raise Mismatch(
                f"Fold {other} of {experiment.name} was trained with other {_named(names)}. Go "
                f"on with its own: kit train {experiment.name} --fold K; or store this one under another name with "
                f"--as NAME, or train all alike: the same command with --fold {every} --force"
            )


def _named(differences: Collection[str]) -> str:
    """Return what differs as a message has it; of code of the user's own, that it is the file that does."""
    return ", ".join(f"{name} (its file)" if name in CODE_FILES else name for name in differences) or "settings"


def check_patience(experiment: Experiment) -> None:
    """Raise `UsageError` for a training that may stop before the steps over which its weights are averaged.

    What was trained so before can still be read, so it is no rule of `Experiment` itself.
    """
    if experiment.patience and experiment.average == "swa":
        raise UsageError(
            f"{experiment.name}: average=swa is the mean of the last quarter of the planned steps, and "
            f"patience={experiment.patience} may stop before them. Give --set patience=0 or --set average=ema"
        )


def check_folder(folder: Path, stamp: dict[str, Any], experiment: Experiment, fold: Fold) -> bool:
    """Return whether the fold's folder is this training's already.

    Args:
        stamp: what the training depends on, see `run_stamp`.

    Raises:
        Mismatch: it is another's.
        DamagedStore: it holds a training of which nothing says any more what it was.
    """
    path = folder / "experiment.json"
    if not path.is_file():
        if (folder / "run.json").is_file() or any(folder.glob("checkpoint_*.pt")):
            raise DamagedStore(
                f"{path} is gone, and with it which settings were trained there. Train that fold anew: "
                f"{retrain_command(experiment, fold)}"
            )
        return False
    stored = read_json(path, made_by=retrain_command(experiment, fold))
    if (folder / "run.json").is_file():  # which version of kit finished it does not matter
        stamp = {**stamp, "engine": stored.get("engine")}
    if others := differences(stored, stamp):
        only_settings = set(others) <= setting_fields().keys()
        goes_on = (
            f"Go on with its own: kit train {experiment.name} --fold {fold}; or store" if only_settings else "Store"
        )
        raise Mismatch(
            f"{folder} holds a training with other {_named(others)}. {goes_on} this one under another name "
            f"with --as NAME, or replace it: the same command with --force"
        )
    return True
