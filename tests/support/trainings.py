"""Small trainings for tests: settings that train in a second, and processes that are killed on their way.

    project = project_at(tmp_path)                                    # 24 training and 4 test photos, three folds
    run = train(project, tiny("pix2pix", "epochs=2"))                 # `train_fold` alone, in this process
    process = start(forks, tmp_path, tiny(), "in the first epoch")    # `fit_fold` in another one, killed there
    assert finish(process) == -signal.SIGKILL

The fixture `forks` is in `tests/conftest.py`.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch

import kit
import kit.learning.training.engine
import kit.learning.training.fit
import kit.learning.training.run_folder
import kit.learning.training.state
import kit.learning.training.trainer
from kit.core.workspace import Fold, Workspace
from kit.data.prediction_store import splits_of
from kit.data.project import Project
from kit.learning.datasets import TrainingPhotos
from kit.learning.experiments import Experiment, experiment
from kit.learning.experiments.settings import without_effect
from kit.learning.training import DistributedContext, Options, Run, train_fold
from kit.learning.training.checkpoints import save_checkpoint
from kit.learning.training.fit import base_fills, fit_fold
from support.toy import SLUG, make_toy_workspace

CPU = torch.device("cpu")
HERE = DistributedContext(CPU)
EPOCHS = 4
FOLDS = 3
STEPS = 4  # an epoch of 16 photos in batches of 4

SMALL = [
    *("encoder=tu-test_efficientnet", "encoder_weights=none", "decoder_channels=16,16,16", "base=mean", "size=32"),
    *("first_size=0", "box_copies=1"),
    *("width=8", "blocks=1", "discriminator_width=16", "discriminator_layers=1", "search_steps=2", "pool=2"),
]
"""Settings that make every experiment's networks small."""


def tiny(name: str = "regress", *settings: str, rename: str | None = None) -> Experiment:
    """An experiment that trains in about a second."""
    return experiment(name, [*SMALL, "batch_size=4", f"epochs={EPOCHS}", *settings], rename=rename)


def flags(*names: str) -> str:
    """For the command line: the settings of small networks that one of these experiments reads; others are refused."""
    useless = [without_effect(experiment(name)) for name in names]
    useful = [setting for setting in SMALL if not all(setting.partition("=")[0] in one for one in useless)]
    return " ".join(f"--set {setting}" for setting in [*useful, "batch_size=4"])


def short(name: str = "regress", *settings: str, rename: str | None = None) -> Experiment:
    """An experiment that trains in a moment."""
    return tiny(name, "epochs=2", *settings, rename=rename)


def trained_on_all_folds(folder: Path, names: Iterable[str]) -> Project:
    """The project of `project_at` with these experiments, as `short` has them, trained on every fold."""
    project = project_at(folder)
    for name in names:
        for fold in range(FOLDS):
            fit_fold(project, short(name), fold, device="cpu")
    return project


def project_at(folder: Path) -> Project:
    """A fresh toy competition, the same in every folder, opened."""
    return Project(make_toy_workspace(folder, photos=24, test=4).workspace)


def train(project: Project, one: Experiment, fold: Fold = 0, **options: Any) -> Run:
    """`train_fold` with the project's own parts."""
    fill = base_fills(project, one)["oof"]
    return train_fold(project, one, fold, fill, processes=HERE, options=Options(**options))


def photos_of(project: Project, one: Experiment, fold: int = 0) -> TrainingPhotos:
    """The photos on which a fold is trained."""
    parts = (project.pack.train_target, project.folds.train_positions(fold), project.index.train[0].boxes)
    return TrainingPhotos(one, *parts)


def weights_of(project: Project, name: str = "regress", fold: Fold = 0) -> bytes:
    """The bytes of the stored weights."""
    return (project.workspace.run(name, fold) / "model.safetensors").read_bytes()


def log_of(folder: Path) -> list[dict[str, float]]:
    """The rows of `log.csv`, without what was not measured."""
    rows = csv.DictReader(io.StringIO((folder / "log.csv").read_text()))
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


def events_of(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard's own reader finds: name, step, value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def results(root: Path, name: str, fold: Fold = 0) -> dict[str, bytes]:
    """What a finished training leaves behind; seconds are measured, so the JSON files are not compared."""
    paths = [root / "runs" / name / f"fold_{fold}" / file for file in ("model.safetensors", "log.csv")]
    paths += [root / "predictions" / name / split / f"fold_{fold}.npy" for split in splits_of(fold)]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


class Stopped(Exception):
    """Stands for Ctrl-C in tests that need no real kill."""


def stop_in_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make the training stop before its step of this number."""
    steps = iter(range(10**6))
    original = kit.learning.training.trainer.train_step

    def step(*arguments: Any) -> dict[str, torch.Tensor]:
        if next(steps) == number:
            raise Stopped
        return original(*arguments)

    monkeypatch.setattr(kit.learning.training.trainer, "train_step", step)
    monkeypatch.setattr(kit.learning.training.engine, "CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every epoch


def train_until(project: Project, one: Experiment, step: int, fold: Fold = 0, **options: Any) -> None:
    """Train, and stop before the step of this number; every epoch before it has its checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        stop_in_step(patch, step)
        with pytest.raises(Stopped):
            train(project, one, fold, **options)


# --- children: started by a fork server that has imported torch once, and killed without a chance to clean up

COMMANDS = (
    "kit.blending",
    "kit.cli.train",
    "kit.learning.stacking.stack",
    "kit.report.figure",
    "kit.submission.upload",
)
"""Imported once, for all children."""


def fork_server() -> Any:
    """A context whose processes begin with the kit imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kit.learning.training.fit", "support.trainings", *COMMANDS])
    with pytest.MonkeyPatch.context() as patch:  # the server's own path begins without this folder
        folders = [str(Path(__file__).parents[1]), str(Path(kit.__file__).parents[1])]
        patch.setenv("PYTHONPATH", os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]))
        forkserver.ensure_running()
    return context


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(module: Any, name: str, number: int, do: Callable[..., Any]) -> None:
    """Let `do` take the place of the call of this number of a function of a module."""
    original = getattr(module, name)
    calls = iter(range(10**6))

    def replaced(*arguments: Any, **options: Any) -> Any:
        return (do if next(calls) == number else original)(*arguments, **options)

    setattr(module, name, replaced)


def half_a_checkpoint(state: Any, file: Any) -> None:
    whole = io.BytesIO()
    REAL_SAVE(state, whole)
    file.write(whole.getvalue()[: whole.tell() // 2])
    file.flush()
    die()


def save_and_die(*arguments: Any) -> None:
    save_checkpoint(*arguments)
    die()


def predict_one_and_die(*arguments: Any) -> Any:
    yield next(REAL_PREDICT(*arguments))
    die()


REAL_SAVE = torch.save
REAL_PREDICT = kit.learning.training.fit.predict
engine, runs, trainer = kit.learning.training.engine, kit.learning.training.run_folder, kit.learning.training.trainer

MOMENTS: dict[str, tuple[Any, str, int, Callable[..., Any]]] = {
    "in the first epoch": (trainer, "train_step", 2, lambda *_: die()),
    "just after a checkpoint": (engine, "save_checkpoint", 0, save_and_die),
    "in the middle of an epoch": (trainer, "train_step", STEPS + 1, lambda *_: die()),
    "while writing a checkpoint": (torch, "save", 0, half_a_checkpoint),
    "before the log of a checkpoint": (engine, "write_log", 0, lambda *_: die()),
    "in the last epoch": (trainer, "train_step", STEPS - 1, lambda *_: die()),
    "after the weights, before run.json": (runs, "write_json", 0, lambda *_: die()),
    "before the checkpoints are dropped": (runs, "drop_checkpoints", 0, lambda *_: die()),
    "while predicting its fold": (kit.learning.training.fit, "predict", 0, predict_one_and_die),
    "between its fold and the test photos": (kit.learning.training.fit, "predict", 1, lambda *_: die()),
    "while predicting the test photos": (kit.learning.training.fit, "predict", 0, predict_one_and_die),
}
# a training of four epochs is killed eleven times on its way; the order matters: each moment is reached from the one
# before it

SOME_MOMENTS = ("in the middle of an epoch", "while writing a checkpoint", "after the weights, before run.json")


def child(root: str, one: Experiment, moment: str | None, pause: float, fold: Fold) -> None:
    """Train and predict a fold in this process, dying at a moment."""
    torch.set_num_threads(1)
    engine.CHECKPOINT_SECONDS = 0.0
    if moment is not None:
        at_call(*MOMENTS[moment])
    if pause:
        original = trainer.train_step

        def slow(*arguments: Any) -> dict[str, torch.Tensor]:
            time.sleep(pause)
            return original(*arguments)

        trainer.train_step = slow
    fit_fold(Project(Workspace(Path(root), SLUG)), one, fold, device="cpu")


def start(
    forks: Any, root: Path, one: Experiment, moment: str | None = None, pause: float = 0.0, fold: Fold = 0
) -> Any:
    process = forks.Process(target=child, args=(str(root), one, moment, pause, fold))
    process.start()
    return process


def finish(process: Any) -> int:
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


# --- several processes that train together, as torchrun starts them


def plain_descent(networks: Any, one: Experiment) -> torch.optim.Optimizer:
    """Adam divides by the gradient's own size, and makes steps out of rounding; this does not."""
    parameters = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.SGD([{"params": parameters, "share": 1.0}], lr=one.learning_rate)


def member(root: str, one: Experiment, rank: int, count: int, port: int, steps: int | None) -> None:
    """Be one of several processes that train fold 0; with plain descent, stopped before a step."""
    torch.set_num_threads(1)
    os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)})
    os.environ.update({"LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
    kit.learning.training.state.make_optimizer = plain_descent
    engine.CHECKPOINT_SECONDS = 0.0
    if steps is not None:
        at_call(trainer, "train_step", steps, lambda *_: die())
    fit_fold(Project(Workspace(Path(root), SLUG)), one, 0, device="cpu")


def start_together(forks: Any, root: Path, one: Experiment, count: int = 2, steps: int | None = None) -> list[Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [forks.Process(target=member, args=(str(root), one, rank, count, port, steps)) for rank in range(count)]
    for process in processes:
        process.start()
    return processes
