"""The folder of one training: reserved for one experiment, then filled with weights and figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from kit.core.storage import digest_file, read_json, write_json, write_text, writing
from kit.core.workspace import FULL, Fold, Workspace
from kit.errors import DamagedStore, KitError, MissingStep, UsageError
from kit.learning.experiments import (
    Experiment,
    drop_code,
    experiment_from,
    recall_run,
    retrain_command,
    save_code,
    set_aside,
)
from kit.learning.experiments.conflicts import check_folder
from kit.learning.experiments.progress import NOTE, RECORDS
from kit.learning.models import build_generator
from kit.learning.training.checkpoints import drop_checkpoints, list_checkpoints
from kit.learning.training.distributed import DistributedContext
from kit.learning.training.state import State


@dataclass(frozen=True)
class Run:
    """The training of one fold: its folder and its figures."""

    folder: Path
    seconds: float
    epochs: int
    rmse: float
    """On the fold's photos; NaN of a full model, which has seen them all."""
    fill_rmse: float = math.nan
    """Of the base fill alone on the same photos; not known of runs of earlier versions."""
    skipped: bool = False
    is_main_process: bool = True
    """Whether this process is the one that wrote it."""


def reserve_folder(folder: Path, stamp: dict[str, Any], experiment: Experiment, fold: Fold) -> None:
    """Reserve the folder for this training. Raises `Mismatch` when it is another's."""
    is_there = check_folder(folder, stamp, experiment, fold)
    save_code(folder, experiment)
    if not is_there:
        write_json(folder / "experiment.json", stamp)


def release_folder(folder: Path) -> None:
    """Give up a folder in which nothing has been reached, so that other settings can have it."""
    if not list_checkpoints(folder):
        for name in ("experiment.json", NOTE, RECORDS):
            (folder / name).unlink(missing_ok=True)
        drop_code(folder)


def load_result(folder: Path, experiment: Experiment, fold: Fold) -> Run | None:
    """Load the run; None if it did not come to its end."""
    path = folder / "run.json"
    if not (path.is_file() and (folder / "model.safetensors").is_file()):
        return None
    done = read_json(path, made_by=retrain_command(experiment, fold))
    try:
        seconds, epochs = float(done["seconds"]), int(done["epochs"])
        rmse = math.nan if fold == FULL else float(done["fold_rmse"])
        run = Run(folder, seconds, epochs, rmse, float(done.get("fill_rmse", math.nan)), skipped=True)
        if not (math.isfinite(run.seconds) and (fold == FULL or math.isfinite(run.rmse))):
            raise ValueError("a number that is not finite")
        return run
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        text = f"{path} is not what kit wrote ({error!r}). Train again: {retrain_command(experiment, fold)}"
        raise DamagedStore(text) from None


def save_result(
    folder: Path,
    experiment: Experiment,
    state: State,
    processes: DistributedContext,
    photos_per_step: int,
    fill_rmse: float | None,
) -> Run:
    """Write the averaged weights, then `run.json` as the sign that they are whole, then drop the checkpoints.

    Args:
        fill_rmse: of the base fill alone on the fold's photos; None for a full model, which has no RMSE either.
    """
    best = state.best if experiment.patience else None
    weights = best["weights"] if best else state.average.state_dict()
    rmse = best["rmse"] if best else state.log[-1].get("fold_rmse", math.nan)
    measured = {} if fill_rmse is None else {"fold_rmse": rmse, "fill_rmse": fill_rmse}
    if processes.is_main_process:
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
                **measured,
                "processes": processes.count,
                "device": str(processes.device),
                "weights": digest_file(folder / "model.safetensors"),
            },
        )
        drop_checkpoints(folder)
    processes.wait()
    return Run(folder, state.seconds, state.epoch, rmse, math.nan if fill_rmse is None else fill_rmse)


def write_log(folder: Path, log: list[dict[str, float]]) -> None:
    """Write `log.csv`: one row an epoch."""
    columns = list(dict.fromkeys(name for row in log for name in row))
    lines = [",".join(columns)]
    lines += [",".join(f"{row[name]:.8g}" if name in row else "" for name in columns) for row in log]
    write_text(folder / "log.csv", "\n".join(lines) + "\n")


def load_generator(workspace: Workspace, name: str, fold: Fold, device: torch.device) -> tuple[Experiment, nn.Module]:
    """Load the trained generator of one fold, for prediction.

    Raises:
        MissingStep: it has not been trained to the end.
        DamagedStore: its weights, or the code of its model, are not those of its experiment.
    """
    folder = workspace.run(name, fold)
    command = f"kit train {name} --fold {fold}"
    if not (folder / "run.json").is_file():
        if set_aside(folder).is_dir():
            raise MissingStep(
                f"Fold {fold} of {name} is being replaced (--force), and that training has not come to its end: its "
                f"predictions are still those of before. Go on with it: {command}"
            )
        raise MissingStep(f"Fold {fold} of {name} has not been trained to the end. Run: {command}")
    stamp = read_json(folder / "experiment.json", made_by=f"{command} --force")
    try:
        experiment = experiment_from(stamp)
    except (KeyError, TypeError, ValueError, UsageError):
        path = folder / "experiment.json"
        text = f"{path} does not hold an experiment of this version. Train again: {command} --force"
        raise DamagedStore(text) from None
    recall_run(folder, experiment, f"{command} --force")
    generator = build_generator(experiment, pretrained=False)
    path = folder / "model.safetensors"
    try:
        written = read_json(folder / "run.json", made_by=f"{command} --force").get("weights")
        if written is not None and written != digest_file(path):
            raise ValueError("its digest is not that of what was written")
        generator.load_state_dict(load_file(path))
    except KitError:
        raise
    except Exception as error:  # safetensors and torch each have their own family for damaged or foreign files
        reason = str(error).splitlines()[0][:120]
        raise DamagedStore(f"{path} cannot be loaded ({reason}). Train again: {command} --force") from None
    generator.requires_grad_(False)
    generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return experiment, generator
