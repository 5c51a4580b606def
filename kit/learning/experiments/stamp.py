"""The stamp of a training: all that it depends on, and whether a fold is done. No torch, so that it costs little."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.core.storage import digest_file, digest_of, read_json
from kit.core.workspace import FULL, Fold
from kit.errors import StoreError
from kit.learning.experiments.copies import own_code, wrong_copy
from kit.learning.experiments.groups import CODE_FILES
from kit.learning.experiments.settings import Experiment, stored_names

if TYPE_CHECKING:  # the store needs pandas, of which `kit train --list` knows nothing
    from kit.data.project import Project

ENGINE = 3  # raised when the same settings would train to other weights than before


def run_stamp(project: Project, experiment: Experiment, fold: Fold = 0) -> dict[str, Any]:
    """Return what a training depends on; another stamp in the same folder is refused.

    Args:
        fold: matters only in that a full model sees all photos, however they are split.
    """
    stamp = {
        "experiment": experiment.fields,
        "index": project.index.digest,
        "folds": None if fold == FULL else project.folds.digest,
        "engine": ENGINE,
        "encoder_weights": digest_of_weights(experiment),
    }
    # trainings without extra photos are stamped as they were before there were any
    return stamp if experiment.extra == "none" else {**stamp, "extra_photos": digest_of_extra(experiment)}


_CALLED = {"index": "index", "folds": "folds", "engine": "version of kit"}
_FILES = {"encoder_weights": "encoder weights", "extra_photos": "extra photos"}
"""What a stamp names by its content, and how it is called."""


def differences(found: dict[str, Any], stamp: dict[str, Any]) -> list[str]:
    """Name what of a folder's stamp is not as in this one. Files that have gone since are not missed, nor is the name
    of ImageNet's weights in a stamp from before they had one."""
    unnamed = found.get("encoder_weights") is None and _from_imagenet(stamp["experiment"])
    for name in _FILES:
        if name in stamp and (stamp[name] is None or (unnamed and name == "encoder_weights")):
            found = {**found, name: stamp[name]}
    if digest_of(found) == digest_of(stamp):
        return []
    names = _different(found.get("experiment"), stamp["experiment"])
    called = {**_CALLED, **_FILES}
    names += [text for name, text in called.items() if found.get(name) != stamp.get(name)]
    names += [f"fields ({name})" for name in found if name not in stamp and name not in called]
    if "extra" in names:  # another folder has other photos
        names = [name for name in names if name != _FILES["extra_photos"]]
    return list(dict.fromkeys(names)) or ["version of kit"]


def different_settings(found: object, experiment: Experiment) -> list[str]:
    """Name the settings of a stored experiment that are not those of this one."""
    return _different(found, experiment.fields)


def _different(found: object, wanted: dict[str, Any]) -> list[str]:
    found = found if isinstance(found, dict) else {}
    own_names = stored_names()
    names = [name for name in {**wanted, **found} if digest_of(found.get(name)) != digest_of(wanted.get(name))]
    names = [own_names.get(name, name) for name in names]
    return names if len(names) <= 6 else [*(name for name in names if name in CODE_FILES), "settings"]


def set_aside(folder: Path) -> Path:
    """Return where a run that is replaced waits for the new one. While it is there, predictions are the old one's."""
    return folder.with_name(f".{folder.name}.replaced")


def changed_fields(found: dict[str, Any], project: Project, experiment: Experiment, fold: Fold = 0) -> list[str]:
    """Name what of a finished training's stamp has changed. Which version of kit trained it does not matter, and what
    it was given as files is in the model."""
    stamp = run_stamp(project, experiment, fold)
    files = {name: None for name in _FILES if name in stamp}
    return differences(found, {**stamp, "engine": found.get("engine"), **files})


def recipe_of(experiment: Experiment) -> dict[str, Any]:
    """Return what makes a trained source's predictions; the same for all folds."""
    return {"kind": "experiment", "experiment": experiment.fields}


def _from_imagenet(fields: dict[str, Any]) -> bool:
    return fields.get("encoder_weights") == "imagenet"


def digest_of_weights(experiment: Experiment) -> str | None:
    """Return the digest of the file from which the encoder starts, or for `imagenet` of the tensors that were used
    last; None where there is none, or none any more."""
    if not experiment.has_timm_encoder:
        return None
    if experiment.encoder_weights == "imagenet":
        from kit.pretrained.weights.places import used_digest

        return used_digest(experiment.encoder.removeprefix("tu-"))
    try:
        return digest_file(Path(experiment.encoder_weights))
    except (OSError, ValueError):
        return None


def digest_of_extra(experiment: Experiment) -> str | None:
    """Return the digest of the extra photos' contents; None where there are none, or none any more.

    Raises:
        UsageError: a file cannot be read.
    """
    if experiment.extra == "none":
        return None
    from kit.data.extra_photos import extra_digest

    return extra_digest(experiment.extra)


def other_files(project: Project, experiment: Experiment, fold: Fold) -> list[str]:
    """Name the files that this fold's training was given and that are not the same now: weights, extra photos."""
    path = project.workspace.run(experiment.name, fold) / "experiment.json"
    digests = {"encoder_weights": digest_of_weights(experiment), "extra_photos": digest_of_extra(experiment)}
    if not path.is_file() or not any(digests.values()):
        return []
    found = read_json(path, made_by=retrain_command(experiment, fold))
    if found.get("encoder_weights") is None and _from_imagenet(experiment.fields):
        digests["encoder_weights"] = None
    return [_FILES[name] for name, digest in digests.items() if digest is not None and found.get(name) != digest]


def retrain_command(experiment: Experiment, fold: Fold) -> str:
    """Return the command that trains a fold anew."""
    return f"kit train {experiment.name} --fold {fold} --force"


def finished_fold(project: Project, experiment: Experiment, fold: Fold) -> dict[str, Any] | None:
    """Return what `run.json` says of a fold whose training and predictions are there, or None."""
    from kit.data.prediction_store import splits_of

    folder = project.workspace.run(experiment.name, fold)
    path, recipe = folder / "run.json", recipe_of(experiment)
    if not all((folder / name).is_file() for name in ("run.json", "model.safetensors", "experiment.json")):
        return None
    if set_aside(folder).is_dir() or any(
        wrong_copy(folder / file, code) for file, code in own_code(experiment).items()
    ):
        return None
    try:
        stamp = read_json(folder / "experiment.json", made_by=retrain_command(experiment, fold))
        found = read_json(path, made_by=retrain_command(experiment, fold))
        if found.get("weights") not in (None, digest_file(folder / "model.safetensors")):
            return None
    except (StoreError, OSError):
        return None  # which is said where it is trained
    if other_files(project, experiment, fold) or changed_fields(stamp, project, experiment, fold):
        return None  # likewise
    for split in splits_of(fold):
        if not project.predictions.is_done(experiment.name, split, recipe, fold=fold):
            return None
    numbers = [found.get(key) for key in ("epochs", "seconds", *(["fold_rmse"] if fold != FULL else []))]
    return found if all(isinstance(number, int | float) and math.isfinite(number) for number in numbers) else None
