"""`kit train` and `kit predict`: base fill, training and predictions of one fold, each step skipped when it is done."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kit.core.progress import track
from kit.core.storage import held, read_json, write_json
from kit.core.workspace import Fold, PredictionSplit, checked_name
from kit.data.extra_photos import extra_photos
from kit.data.fill_sources import make_fill_source
from kit.data.mean_source import check_not_a_mean
from kit.data.prediction_store import SPLITS, photo_split, splits_of
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import Busy, KitError, Mismatch, UnknownName, UsageError
from kit.imaging.fills import FILLS
from kit.learning.conditions import conditions_of
from kit.learning.experiments import Experiment, changed_fields, recipe_of, set_aside
from kit.learning.experiments.conflicts import check_source
from kit.learning.inference import Inputs, predict, prepare_inputs, residuals
from kit.learning.training import (
    DistributedContext,
    Options,
    Run,
    check_buildable,
    load_generator,
    processes_on,
    train_fold,
)
from kit.learning.training.checkpoints import drop_checkpoints, list_checkpoints
from kit.learning.training.model_check import check_answers


def fit_fold(
    project: Project,
    experiment: Experiment,
    fold: Fold,
    *,
    device: str = "auto",
    options: Options = Options(),
    force: bool = False,
    replacing: Collection[Fold] = (),
) -> Run:
    """Train one fold, or go on where it stopped, and predict its photos and the test photos; the full model, which is
    trained on all photos, predicts the test photos alone.

    Under torchrun all processes train, and the main one alone writes and predicts.

    Args:
        force: replace what is there of this fold, once the new training is done.
        replacing: folds that the caller is about to train alike, one after the other: what is there of them may differ.

    Raises:
        UsageError: the name is that of a fill; a full model is to stop early.
        Mismatch: the store holds another training under this name.
        Busy: another process trains this fold.
        TrainingError: see `kit.learning.training.train_fold`.
    """
    processes = processes_on(device)
    with _reserved(project, experiment, fold, processes):
        return _fit(project, experiment, fold, processes, options, force, replacing)


@contextlib.contextmanager
def _reserved(project: Project, experiment: Experiment, fold: Fold, processes: DistributedContext) -> Iterator[None]:
    """Keep other trainings from this fold, in the main process for all. Raises `Busy` when another one has it."""
    what = f"Fold {fold} of {experiment.name} is being trained"
    with contextlib.ExitStack() as stack:
        busy: Busy | None = None
        if processes.is_main_process:
            try:
                stack.enter_context(held(project.workspace.run(experiment.name, fold), what))
            except Busy as error:
                busy = error
        if processes.from_main(float(busy is not None)):
            raise busy or Busy(f"{what} by others.")
        yield


def _fit(
    project: Project,
    experiment: Experiment,
    fold: Fold,
    processes: DistributedContext,
    options: Options,
    force: bool,
    replacing: Collection[Fold],
) -> Run:
    check_source(project, experiment, fold, replacing)
    folder = project.workspace.run(experiment.name, fold)
    is_trained = (folder / "run.json").is_file() and not force
    if not (is_trained or (list_checkpoints(folder) and not force)):
        check_buildable(experiment, len(project.folds.train_positions(fold)), processes.device)
        if experiment.architecture == "own":
            check_answers(experiment)
    if processes.is_main_process:
        base_fills(project, experiment)
        conditions_of(project, experiment, fold, processes.device)
        if experiment.extra != "none" and not is_trained:
            extra_photos(project, experiment.extra)  # before the fellow processes ask for them
        if force:
            _back_up(folder)
    processes.wait()
    try:
        fill = base_fills(project, experiment)["oof"]
        run = train_fold(project, experiment, fold, fill, processes=processes, options=options)
    except KitError:
        if processes.is_main_process:
            _restore_backup(folder)
        raise
    predicted = processes.is_main_process and _predict(project, experiment.name, fold, processes)
    processes.wait()
    return dataclasses.replace(run, skipped=run.skipped and not predicted, is_main_process=processes.is_main_process)


def base_fills(project: Project, experiment: Experiment) -> dict[PredictionSplit, Predictions]:
    """Return the base fill's predictions of both splits, computed now if they are not there."""
    make_fill_source(project, experiment.base)
    return {split: project.predictions.read(experiment.base, split) for split in SPLITS}


def predict_fold(
    project: Project, name: str, fold: Fold, *, device: str = "auto", force: bool = False, size: int | None = None
) -> bool:
    """Predict a trained fold's photos and the test photos, or the test photos by the full model; False when all were
    there.

    Args:
        size: at which photos are shown from now on (`predict_size`); None leaves it as it is.

    Raises:
        MissingStep: the fold has not been trained.
        Mismatch: it was trained for another index or other folds.
        UsageError: its network cannot work at that size.
    """
    _check_trained(project, name)
    if size is not None:
        _predict_at(project, name, fold, size)
    return _predict(project, name, fold, processes_on(device), force=force)


def _predict(project: Project, name: str, fold: Fold, processes: DistributedContext, *, force: bool = False) -> bool:
    device = processes.device
    experiment, generator = load_generator(project.workspace, name, fold, device)
    _discard_backup(project, name, fold)
    check_trained_here(project, experiment, fold)
    recipe = recipe_of(experiment)
    made = False
    for split in splits_of(fold):
        if not force and project.predictions.is_done(name, split, recipe, fold=fold):
            continue
        _write(project, experiment, generator, fold, split, device)
        made = True
    return made


def _predict_at(project: Project, name: str, fold: Fold, size: int) -> None:
    """Note another `predict_size` in a trained fold's stamp; the weights stay."""
    experiment, generator = load_generator(project.workspace, name, fold, torch.device("cpu"))
    changed = dataclasses.replace(experiment, predict_size=size)
    if changed == experiment:
        return
    side = changed.size_predicted_at
    try:
        if not changed.conditioned:  # those networks are kit's own, which take any size
            residuals(generator, changed, torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0][:150].rstrip(".")
        raise UsageError(f"The network of {name} cannot work at {side} pixels: {reason}. Try another --size.") from None
    path = project.workspace.run(name, fold) / "experiment.json"
    stamp = read_json(path, made_by=f"kit train {name} --fold {fold} --force")
    write_json(path, {**stamp, "experiment": changed.fields})


def _write(
    project: Project,
    experiment: Experiment,
    generator: nn.Module,
    fold: Fold,
    split: PredictionSplit,
    device: torch.device,
) -> None:
    name = experiment.name
    photo_rows = project.index.split(photo_split(split))
    positions = project.folds.valid_positions(fold) if split == "oof" else np.arange(len(photo_rows))
    fill = base_fills(project, experiment)[split]
    conditions = conditions_of(project, experiment, fold, device)
    condition = None if conditions is None else conditions.train if split == "oof" else conditions.test
    trained = read_json(project.workspace.run(name, fold) / "run.json", made_by=f"kit train {name} --fold {fold}")
    # the training's time is counted once
    before = float(trained.get("seconds", 0.0)) if split == splits_of(fold)[0] else 0.0
    started = time.perf_counter()

    def values() -> Iterator[np.ndarray]:
        images = project.pack.image(photo_split(split))
        inputs: Inputs = prepare_inputs(experiment, images, photo_rows, positions, fill, condition)
        title = f"Predicting {name}, fold {fold} ({split})"
        yield from track(predict(generator, experiment, inputs, device), title, len(positions), "photos")

    project.predictions.write(
        name,
        split,
        values(),
        made_by=f"kit predict {name} --fold {fold}",
        recipe=recipe_of(experiment),
        fold=fold,
        seconds=lambda: before + time.perf_counter() - started,
    )


def check_trained_here(project: Project, experiment: Experiment, fold: Fold) -> None:
    """Raise `Mismatch` for a fold that was trained for another index, other folds or settings."""
    again = f"kit train {experiment.name} --fold {fold} --force"
    found = read_json(project.workspace.run(experiment.name, fold) / "experiment.json", made_by=again)
    if others := changed_fields(found, project, experiment, fold):
        raise Mismatch(f"Fold {fold} of {experiment.name} was trained with other {', '.join(others)}. Run: {again}")


def _check_trained(project: Project, name: str) -> None:
    checked_name("The source", name)
    if name in FILLS:
        raise UsageError(f"{name} is a fill, and is not trained. Run: kit fill {name} --force")
    check_not_a_mean(project.workspace, name, predict=True)
    known = sorted(path.parent.parent.name for path in project.workspace.runs.glob("*/fold_*/experiment.json"))
    if name not in known:
        raise UnknownName("trained source", name, set(known))


def _back_up(folder: Path) -> None:
    """Keep what is there of a fold (`--force`) until the new training is done."""
    drop_checkpoints(folder)
    if (folder / "run.json").is_file():
        shutil.rmtree(set_aside(folder), ignore_errors=True)
        folder.rename(set_aside(folder))
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _restore_backup(folder: Path) -> None:
    """Put the old training back where the new one has come to nothing."""
    if set_aside(folder).is_dir() and not list_checkpoints(folder) and not (folder / "run.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        set_aside(folder).rename(folder)


def _discard_backup(project: Project, name: str, fold: Fold) -> None:
    """Delete the old training and its predictions, manifests first, once the new training is done."""
    folder = project.workspace.run(name, fold)
    if not set_aside(folder).is_dir():
        return
    project.predictions.delete(name, fold)
    shutil.rmtree(set_aside(folder), ignore_errors=True)
