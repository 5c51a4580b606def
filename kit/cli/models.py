"""`kit train`, `kit predict`: models, fold by fold."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli import app
from kit.cli.options import DeviceOption, FoldOption, ForceOption, project_of


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
      kit train pix2pix --fold 0 --set encoder=tu-resnet34 --set encoder_weights=resnet34.safetensors --as p2p34
      for k in 0 1 2 3 4; do kit train regress pix2pix --fold $k; done
    """
    from kit.errors import UsageError
    from kit.experiments import EXPERIMENTS, Experiment, describe_experiments, experiment, stored_experiment

    names = experiments or ["pix2pix"]
    if list_all:
        print(describe_experiments())
        return
    if not fold:
        raise UsageError("Which fold? Run: kit train " + " ".join([*names, "--fold 0"]) + "   (or --fold all)")
    if rename and len(names) > 1:
        raise UsageError(f"--as {rename} names one source, but {len(names)} experiments are given.")
    project = project_of(context)

    def chosen_by(name: str) -> Experiment:
        again = None if name in EXPERIMENTS or settings or rename else stored_experiment(project.workspace, name)
        return again or experiment(name, settings, rename=rename)

    chosen = [chosen_by(name) for name in names]
    from kit.fitting import chosen_folds, fit_fold

    for number in chosen_folds(project, fold):
        for one in chosen:
            done = fit_fold(project, one, number, device=device, max_minutes=max_minutes, force=force)
            state = "There already" if done.skipped else "Trained"
            print(
                f"{state}: {one.name}, fold {number}: fold RMSE {done.rmse:.4f} after {done.epochs} epochs, "
                f"{done.seconds:.0f} s, in {done.folder}"
            )


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
    from kit.fitting import chosen_folds, predict_fold

    for number in chosen_folds(project, fold):
        made = predict_fold(project, source, number, device=device, force=force)
        print(f"{'Predicted' if made else 'There already'}: {source}, fold {number}")
