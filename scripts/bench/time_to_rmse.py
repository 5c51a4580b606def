"""RMSE on photos of the fold against minutes of training: one experiment after the other, on the same machine.

    python scripts/bench/time_to_rmse.py --workspace ws --minutes 10
    python scripts/bench/time_to_rmse.py --workspace ws --run "regress epochs=8" --run "pix2pix-paper" --below 0.16

Minutes are processor time of the training alone, measurements not counted: other work on the machine does not change
them. The learning rate follows the plan of the experiment as it is, or of the epochs that are set.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.learning.datasets import TrainingPhotos
from kit.learning.experiments import Experiment, experiment
from kit.learning.inference import fold_rmse, prepare_inputs
from kit.learning.training import new_state, processes_on
from kit.learning.training.fit import base_fills
from kit.learning.training.trainer import Trainer


def curve(
    project: Project, one: Experiment, fold: int, minutes: float, points: int, photos: int
) -> list[tuple[float, float]]:
    """(minutes, RMSE) after equal shares of the time."""
    processes = processes_on("cpu")
    trainer = Trainer(one, new_state(one, processes.device), processes)
    index, pack, folds = project.index, project.pack, project.folds
    batches = TrainingPhotos(one, pack.train_target, folds.train_positions(fold), index.train[0].boxes)
    shown = np.random.default_rng(0).permutation(folds.valid_positions(fold))[:photos]
    inputs = prepare_inputs(one, pack.train_image, index.train, np.sort(shown), base_fills(project, one)["oof"])
    found: list[tuple[float, float]] = []
    used, steps = 0.0, one.epochs * len(batches)
    draws = [batches.begin_epoch(0)]
    while used < minutes * 60 and trainer.state.step < steps:
        started = time.process_time()
        trainer.step(batches, draws, steps)
        if trainer.state.step % len(batches) == 0:
            trainer.state.epoch += 1
            draws = [batches.begin_epoch(trainer.state.epoch)]
        used += time.process_time() - started
        if used >= minutes * 60 * (len(found) + 1) / points or trainer.state.step == steps:
            # without a memory the average is brought up to date once an epoch
            network = trainer.state.average if one.ema else trainer.state.model
            rmse = fold_rmse(network, one, inputs, pack, processes.device)
            found.append((used / 60, rmse))
            print(f"{one.name:16} {used / 60:6.2f} min {trainer.state.step:6} steps  RMSE {rmse:.4f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--run", action="append", help="an experiment and its settings, blanks between")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--photos", type=int, default=100, help="of the fold, to measure on")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--points", type=int, default=5)
    parser.add_argument("--below", type=float, help="say when this RMSE is first reached")
    arguments = parser.parse_args()
    project = Project(Workspace(arguments.workspace))
    print(f"{arguments.photos} photos of fold {arguments.fold}, {torch.get_num_threads()} threads")
    for text in arguments.run or ["regress", "pix2pix-paper"]:
        name, *settings = text.split()
        one = experiment(name, settings)
        found = curve(project, one, arguments.fold, arguments.minutes, arguments.points, arguments.photos)
        reached = [used for used, rmse in found if arguments.below and rmse <= arguments.below]
        if arguments.below:
            print(f"{name}: {arguments.below} {f'after {reached[0]:.2f} min' if reached else 'not reached'}")


if __name__ == "__main__":
    main()
