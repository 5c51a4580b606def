"""The folder of one fold's training: who owns it, what it was, and the weights that came out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from kit.checkpoints import drop_checkpoints, list_checkpoints
from kit.errors import DamagedStore, Mismatch, MissingStep, UsageError
from kit.experiments import Experiment, digest_of_weights, experiment_from
from kit.folds import Folds
from kit.index import Index
from kit.models import build_generator
from kit.storage import digest_of, read_json, write_json, write_text, writing
from kit.training.processes import Processes
from kit.training.state import State
from kit.workspace import Workspace

ENGINE = 2  # raised when the same settings would train to other weights than before


@dataclass(frozen=True)
class Run:
    """Where one fold's training lives, and what it was."""

    folder: Path
    seconds: float
    epochs: int
    rmse: float
    skipped: bool = False
    main: bool = True
    """Whether this process is the one that wrote it."""


def run_stamp(index: Index, folds: Folds, experiment: Experiment) -> dict[str, Any]:
    """What a training depends on; another stamp in the same folder is refused."""
    return {
        "experiment": dataclasses.asdict(experiment),
        "index": index.digest,
        "folds": folds.digest,
        "engine": ENGINE,
        "encoder_weights": digest_of_weights(experiment),
    }


def differences(found: dict[str, Any], stamp: dict[str, Any]) -> list[str]:
    """What of a folder's stamp is not as in this one; a weights file that has gone since is not missed."""
    if stamp["encoder_weights"] is None:
        found = {**found, "encoder_weights": None}
    if digest_of(found) == digest_of(stamp):
        return []
    settings = found.get("experiment")
    settings = settings if isinstance(settings, dict) else {}
    names = [name for name, value in stamp["experiment"].items() if digest_of(settings.get(name)) != digest_of(value)]
    others = {"index": "index", "folds": "folds", "engine": "version of kit", "encoder_weights": "encoder weights"}
    names += [text for name, text in others.items() if found.get(name) != stamp[name]]
    return list(dict.fromkeys(names)) or ["version of kit"]


def again(experiment: Experiment, fold: int) -> str:
    """The command that trains anew."""
    return f"kit train {experiment.name} --fold {fold} --force"


def claim(folder: Path, stamp: dict[str, Any], experiment: Experiment, fold: int) -> None:
    """Make the folder this training's. Raises `Mismatch` when it is another's."""
    path = folder / "experiment.json"
    if path.is_file():
        found = read_json(path, made_by=again(experiment, fold))
        if others := differences(found, stamp):
            raise Mismatch(
                f"{folder} holds a training with other {', '.join(others)}. Keep it and store this one under "
                f"another name with --as NAME, or replace it: {again(experiment, fold)}"
            )
        return
    write_json(path, stamp)


def unclaim(folder: Path) -> None:
    """Give up a folder in which nothing has been reached, so that other settings can have it."""
    if not list_checkpoints(folder):
        (folder / "experiment.json").unlink(missing_ok=True)


def finished(folder: Path, experiment: Experiment, fold: int) -> Run | None:
    """The run, if it came to its end."""
    path = folder / "run.json"
    if not (path.is_file() and (folder / "model.safetensors").is_file()):
        return None
    done = read_json(path, made_by=again(experiment, fold))
    try:
        return Run(folder, float(done["seconds"]), int(done["epochs"]), float(done["fold_rmse"]), skipped=True)
    except (KeyError, TypeError, ValueError) as error:
        text = f"{path} is not what kit wrote ({error!r}). Train again: {again(experiment, fold)}"
        raise DamagedStore(text) from None


def finish(folder: Path, experiment: Experiment, state: State, processes: Processes, photos_per_step: int) -> Run:
    """Write the averaged weights, then `run.json` as the sign that they are whole, then drop the checkpoints."""
    best = state.best if experiment.patience else None
    weights = best["weights"] if best else state.average.state_dict()
    rmse = best["rmse"] if best else state.log[-1]["fold_rmse"]
    if processes.main:
        weights = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        with writing(folder / "model.safetensors") as file:
            file.write(save(weights))
        write_log(folder, state.log)
        write_json(
            folder / "run.json",
            {
                "epochs": state.epoch,
                "best_epoch": best["epoch"] if best else state.epoch,
                "steps": state.step,
                "seconds": round(state.seconds, 2),
                "photos_per_second": round(state.step * photos_per_step / max(state.seconds, 1e-9), 2),
                "fold_rmse": rmse,
                "processes": processes.count,
                "device": str(processes.device),
            },
        )
        drop_checkpoints(folder)
    processes.wait()
    return Run(folder, state.seconds, state.epoch, rmse)


def write_log(folder: Path, log: list[dict[str, float]]) -> None:
    """`log.csv`: one row an epoch."""
    columns = list(dict.fromkeys(name for row in log for name in row))
    lines = [",".join(columns)]
    lines += [",".join(f"{row[name]:.8g}" if name in row else "" for name in columns) for row in log]
    write_text(folder / "log.csv", "\n".join(lines) + "\n")


def load_generator(workspace: Workspace, name: str, fold: int, device: torch.device) -> tuple[Experiment, nn.Module]:
    """The trained generator of one fold, for prediction.

    Raises:
        MissingStep: it has not been trained to the end.
        DamagedStore: its weights are not those of its experiment.
    """
    folder = workspace.run(name, fold)
    command = f"kit train {name} --fold {fold}"
    stamp = read_json(folder / "experiment.json", made_by=command)
    if not (folder / "run.json").is_file():
        raise MissingStep(f"{folder} holds no finished training. Run: {command}")
    try:
        experiment = experiment_from(stamp)
    except (KeyError, TypeError, ValueError, UsageError):
        text = (
            f"{folder / 'experiment.json'} does not hold an experiment of this version. Train again: {command} --force"
        )
        raise DamagedStore(text) from None
    generator = build_generator(experiment, pretrained=False)
    path = folder / "model.safetensors"
    try:
        generator.load_state_dict(load_file(path))
    except Exception as error:  # safetensors and torch each have their own family for damaged or foreign files
        reason = str(error).splitlines()[0][:120]
        raise DamagedStore(f"{path} cannot be loaded ({reason}). Train again: {command} --force") from None
    generator.requires_grad_(False)
    return experiment, generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
