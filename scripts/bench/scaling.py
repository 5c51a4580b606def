"""The fold's RMSE by the number of training photos and by the number of steps, and the curves through them.

    python scripts/bench/scaling.py --workspace ws --epochs 6      # 1/8, 1/4, 1/2 and all photos; 1x, 3x steps
    python scripts/bench/scaling.py --workspace ws --points 8:1 2:1 1:1 1:10 --set size=64
    python scripts/bench/scaling.py --fit 204:0.1595 408:0.1587 816:0.1581 1632:0.1578 --at 7000

A point `8:3` is an eighth of the photos and three times the steps: those of `--epochs` passes over all photos,
whatever the number of photos is. Points that are in the file of `--keep` are not trained again. The curve is
RMSE = a + b n^-c, by least squares on its three parameters; where it is asked for a number far outside of what it saw,
the answer is a guess.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import curve_fit

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.learning.datasets import TrainingPhotos
from kit.learning.experiments import Experiment, experiment
from kit.learning.inference import fold_rmse, prepare_inputs
from kit.learning.training import new_state, processes_on
from kit.learning.training.fit import base_fills
from kit.learning.training.trainer import Trainer

POINTS = ("8:1", "4:1", "2:1", "1:1", "1:3")


def train(project: Project, one: Experiment, fold: int, share: int, times: int, device: str) -> tuple[int, float]:
    """Train on a share of the fold's photos; return their number and the fold's RMSE."""
    processes = processes_on(device)
    trainer = Trainer(one, new_state(one, processes.device), processes)
    index, pack = project.index, project.pack
    all_photos = project.folds.train_positions(fold)
    chosen = np.sort(np.random.default_rng(0).permutation(all_photos)[: len(all_photos) // share])
    batches = TrainingPhotos(one, pack.train_target, chosen, index.train[0].boxes, device=processes.device)
    steps = times * one.epochs * (len(all_photos) // one.batch_size)
    state = trainer.state
    draws = [batches.begin_epoch(0)]
    while state.step < steps:
        trainer.step(batches, draws, steps)
        if state.step % len(batches) == 0:
            state.epoch += 1
            draws = [batches.begin_epoch(state.epoch)]
    positions = project.folds.valid_positions(fold)
    inputs = prepare_inputs(one, pack.train_image, index.train, positions, base_fills(project, one)["oof"])
    return len(chosen), fold_rmse(state.average, one, inputs, pack, processes.device)


def fitted(numbers: Sequence[float], rmse: Sequence[float]) -> tuple[float, float, float]:
    """Return a, b and c of RMSE = a + b n^-c."""
    n = np.asarray(numbers, float)

    def curve(n: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
        return np.asarray(a + b * (n / n.min()) ** -c)

    start = (min(rmse) - 0.002, max(rmse) - min(rmse) + 0.002, 0.5)
    (a, b, c), _ = curve_fit(curve, n, rmse, start, bounds=((0, 0, 0.01), (1, 1, 3)), maxfev=10_000)
    return float(a), float(b * n.min() ** c), float(c)


def say_fit(what: str, points: Sequence[tuple[float, float]], at: Sequence[float]) -> None:
    """Print the curve through points of a number and an RMSE, and what it says of other numbers."""
    if len(points) < 3:
        return
    a, b, c = fitted([number for number, _ in points], [rmse for _, rmse in points])
    told = ", ".join(f"{number:g}: {a + b * number**-c:.4f}" for number in at)
    print(f"by {what}: RMSE = {a:.4f} + {b:.4g} n^-{c:.2f}{f'; at {told}' if told else ''}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--experiment", default="regress-imagenet")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--points", nargs="+", default=POINTS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", type=Path, help="a JSON file to which each point is added, and from which it is read")
    parser.add_argument("--fit", nargs="+", default=[], help="n:RMSE, to fit a curve alone")
    parser.add_argument("--at", type=float, nargs="+", default=[], help="for which numbers to ask the curve")
    options = parser.parse_args()
    if options.fit:
        pairs = [text.split(":") for text in options.fit]
        say_fit("number", [(float(number), float(rmse)) for number, rmse in pairs], options.at)
        return
    project = Project(Workspace(options.workspace))
    one = experiment(options.experiment, [*options.set, f"epochs={options.epochs}"])
    known = json.loads(options.keep.read_text()) if options.keep and options.keep.is_file() else {}
    for point in options.points:
        share, times = map(int, point.split(":"))
        if point not in known:
            known[point] = train(project, one, options.fold, share, times, options.device)
            if options.keep:
                options.keep.write_text(json.dumps(known))
        photos, rmse = known[point]
        print(f"{photos:5} photos (1/{share}), {times}x steps: RMSE {rmse:.4f}", flush=True)
    by_photos = sorted(known[point] for point in options.points if point.endswith(":1"))
    by_steps = sorted((int(point[2:]), known[point][1]) for point in options.points if point.startswith("1:"))
    say_fit("photos", by_photos, options.at)
    say_fit("steps", by_steps, [])


if __name__ == "__main__":
    main()
