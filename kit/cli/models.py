"""`kit train`, `kit predict`: models, fold by fold."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli import app
from kit.cli.options import DeviceOption, FoldOption, ForceOption, project_of

if TYPE_CHECKING:
    from kit.experiments import Experiment
    from kit.project import Project


@app.command()
def train(
    context: typer.Context,
    experiments: Annotated[list[str] | None, typer.Argument(help="Experiments. Default: pix2pix.")] = None,
    fold: FoldOption = [],  # noqa: B006  # Typer wants a plain list, and no one changes it
    settings: Annotated[list[str], typer.Option("--set", help="field=value, may be repeated.")] = [],  # noqa: B006
    rename: Annotated[str | None, typer.Option("--as", help="Store the source under this name.")] = None,
    device: DeviceOption = "auto",
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", min=0.01, max=1e6, help="Plan for this long a fold, at most.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="As --set epochs=N.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="As --set seed=N.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Run the generator through torch.compile.")] = False,
    board: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events beside log.csv.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List experiments and their settings.")] = False,
    force: ForceOption = False,
) -> None:
    """Train on all folds but one, and predict that one and the test photos.

    Killed at any moment and started again, it goes on where it was. What is done is skipped. A source made with --as
    goes on under its name with the settings it has: kit train NAME --fold 1.

    \b
    Examples:
      kit train --list
      kit train --fold 2                                  # pix2pix
      kit train regress --fold all
      kit train regress --fold all --set size=128 --set epochs=60 --as regress128
      kit train regress bilstm partialconv --fold all     # fold by fold; what is done is skipped
      kit train regress --fold 0 --epochs 60 --seed 1 --as regress-1
      kit train pix2pix --fold 0 --set encoder=tu-resnet34 --set encoder_weights=resnet34.safetensors --as p2p34
      torchrun --nproc-per-node 2 -m kit train pix2pix --fold 0   # two processes share each step
      for k in 0 1 2 3 4; do kit train regress pix2pix --fold $k; done
    """
    from kit.errors import UsageError
    from kit.experiments import describe_experiments

    names = experiments or ["pix2pix"]
    if list_all:
        print(describe_experiments())
        return
    if not fold:
        raise UsageError("Which fold? Run: kit train " + " ".join([*names, "--fold 0"]) + "   (or --fold all)")
    if rename and len(names) > 1:
        raise UsageError(f"--as {rename} names one source, but {len(names)} experiments are given.")
    settings = [*settings, *_as_settings(epochs=epochs, seed=seed)]
    project = project_of(context)
    chosen = [_chosen(project, name, settings, rename) for name in names]
    for number in project.folds.chosen(fold):
        for one in chosen:
            options = {"max_minutes": max_minutes, "compiled": compiled, "board": board}
            _train(project, one, number, device, force, options)


def _as_settings(**flags: int | None) -> list[str]:
    return [f"{name}={value}" for name, value in flags.items() if value is not None]


def _chosen(project: Project, name: str, settings: list[str], rename: str | None) -> Experiment:
    """An experiment by its name, or what `--as` made, by the name it was given."""
    from kit.experiments import EXPERIMENTS, experiment, stored_experiment

    again = None if name in EXPERIMENTS or settings or rename else stored_experiment(project.workspace, name)
    return again or experiment(name, settings, rename=rename)


def _train(project: Project, one: Experiment, fold: int, device: str, force: bool, options: dict[str, Any]) -> None:
    from kit.experiments import finished_fold

    speaks = os.environ.get("RANK", "0") == "0"  # torchrun starts several, of which one speaks
    if not force and (done := finished_fold(project, one, fold)) is not None:
        folder = project.workspace.run(one.name, fold)
        if speaks:
            _say("There already", one.name, fold, done["fold_rmse"], done["epochs"], done["seconds"], folder)
        return
    from kit.fitting import fit_fold
    from kit.training import Options

    if one.test_photos and speaks:
        print("Training also on the known parts of the test photos (test_photos=true).", file=sys.stderr)
    run = fit_fold(project, one, fold, device=device, options=Options(**options), force=force)
    if run.main:
        state = "There already" if run.skipped else "Trained"
        _say(state, one.name, fold, run.rmse, run.epochs, run.seconds, run.folder)


def _say(state: str, name: str, fold: int, rmse: float, epochs: int, seconds: float, folder: Path) -> None:
    count = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    print(f"{state}: {name}, fold {fold}: fold RMSE {rmse:.4f} after {count}, {seconds:.0f} s, in {folder}")


@app.command()
def predict(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A trained source.")],
    fold: FoldOption = ["all"],  # noqa: B006
    device: DeviceOption = "auto",
    force: ForceOption = False,
) -> None:
    """Predict again from stored weights: the fold's photos and the test photos.

    \b
    Examples:
      kit predict regress
      kit predict regress --fold 2 --force
    """
    project = project_of(context)
    from kit.fitting import predict_fold

    for number in project.folds.chosen(fold):
        made = predict_fold(project, source, number, device=device, force=force)
        print(f"{'Predicted' if made else 'There already'}: {source}, fold {number}")
