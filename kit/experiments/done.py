"""Whether a fold is done, told without torch: `kit train A B C --fold all` passes over what is there in a blink."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.experiments.settings import Experiment
from kit.storage import digest_file, read_json

if TYPE_CHECKING:  # the store needs pandas, of which `kit train --list` knows nothing
    from kit.project import Project


def recipe_of(experiment: Experiment) -> dict[str, Any]:
    """What makes a trained source's predictions; the same for all folds."""
    return {"kind": "experiment", "experiment": dataclasses.asdict(experiment)}


def digest_of_weights(experiment: Experiment) -> str | None:
    """Of the file from which the encoder starts; None where there is no file, or none any more."""
    try:
        return digest_file(Path(experiment.encoder_weights))
    except (OSError, ValueError):
        return None


def other_weights(project: Project, experiment: Experiment, fold: int) -> bool:
    """Whether this fold's training started from another file than the one that is now at its encoder weights' path."""
    digest = digest_of_weights(experiment)
    path = project.workspace.run(experiment.name, fold) / "experiment.json"
    if digest is None or not path.is_file():
        return False
    stamp = read_json(path, made_by=f"kit train {experiment.name} --fold {fold} --force")
    return stamp.get("encoder_weights") != digest


def finished_fold(project: Project, experiment: Experiment, fold: int) -> dict[str, Any] | None:
    """What `run.json` says of a fold whose training and predictions are there, or None."""
    from kit.predictions import is_done
    from kit.sources import SPLITS

    path = project.workspace.run(experiment.name, fold) / "run.json"
    recipe = recipe_of(experiment)
    if not path.is_file() or not path.with_name("model.safetensors").is_file():
        return None
    if other_weights(project, experiment, fold):
        return None  # which is refused where it is trained
    for split in SPLITS:
        if not is_done(
            project.workspace, project.index, experiment.name, split, recipe, folds=project.folds, fold=fold
        ):
            return None
    found = read_json(path, made_by=f"kit train {experiment.name} --fold {fold} --force")
    numbers = [found.get(key) for key in ("fold_rmse", "epochs", "seconds")]
    return found if all(isinstance(number, int | float) for number in numbers) else None
