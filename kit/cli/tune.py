"""`kit tune`: settings that score best on one fold."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app, candidates
from kit.cli.options import (
    ConfigOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    finite,
    going_on_without_force,
    project_of,
    say_next,
    workspace_of,
)
from kit.cli.queue import BucketOption, CpusOption, GpusOption, JobsOption, OnOption
from kit.core.shortening import shortened
from kit.core.speech import say
from kit.core.tables import table
from kit.learning.chosen import choose, names_of, read_document, study_name
from kit.pretrained.slots import place_for

if TYPE_CHECKING:
    from kit.learning.experiments import Experiment
    from kit.learning.tuning.plan import Tuned


@app.command(short_help="Find settings that score best on one fold.")
def tune(
    context: typer.Context,
    experiment: Annotated[
        str | None,
        typer.Argument(autocompletion=candidates.experiments, help="An experiment, a trained source, or FILE.py:NAME."),
    ] = None,
    trials: Annotated[
        int, typer.Option("--trials", min=1, max=100_000, help="Trials in all, the first included.")
    ] = 20,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", min=0.01, max=1e6, callback=finite, help="Stop then; type it again to go on."),
    ] = None,
    fold: Annotated[int, typer.Option("--fold", help="The fold that measures.")] = 0,
    settings: Annotated[
        list[str], typer.Option("--set", autocompletion=candidates.settings, help="field=value: fixed, and not tuned.")
    ] = [],  # noqa: B006
    config: ConfigOption = None,
    space: Annotated[
        list[str],
        typer.Option(
            "--space",
            autocompletion=candidates.settings,
            help="field=low:high or field=a,b: tune this too, or over these.",
        ),
    ] = [],  # noqa: B006
    name: Annotated[str | None, typer.Option("--as", help="The study's name. Default: EXPERIMENT-tuned.")] = None,
    device: DeviceOption = "auto",
    gpus: GpusOption = None,
    jobs: JobsOption = None,
    on: OnOption = None,
    cpus: CpusOption = None,
    bucket: BucketOption = None,
    json: JsonOption = False,
    force: ForceOption = False,
    trial: Annotated[int | None, typer.Option("--trial", hidden=True)] = None,
) -> None:
    """Find settings that score best on one fold: Optuna proposes, each trial trains, the worse half is stopped early.

    The first trial has the experiment's own settings. Killed at any moment and typed again, it goes on where it was;
    more --trials make it longer. The best settings are written as TOML, for kit train --config FILE --fold all.
    With --jobs 4 or --gpus all, so many trials run at a time, here or on a cluster. They are proposed together: the
    search knows a little less, and the same number of them finds the same anywhere.
    A range whose end is ten times its beginning is searched on a logarithmic scale, or add :log or :linear.

    \b
    Examples:
      kit tune regress --trials 20 --max-minutes 120
      kit tune regress --set size=128 --set epochs=6 --as regress128-tuned
      kit tune pix2pix --space l1_weight=10:1000 --space adversary=bce,lsgan,hinge
      kit tune mine.py:Net --space width=16:64 --space depth=1:4
      kit tune regress --trials 40 --gpus all                # a trial at a time on each GPU
      kit tune regress --trials 40 --on ray --jobs 8         # eight at a time, on the cluster that RAY_ADDRESS names
      kit tune regress --space decoder_channels=64,32,16/128,64,32,16 --space epochs=8:24:linear
    """
    from kit.errors import UsageError
    from kit.learning.tuning import space_of

    document = read_document(config)
    names = names_of([experiment] if experiment else [], document)
    if not names:
        raise UsageError("Which experiment? Run: kit tune regress, or see: kit train --list")
    (base,) = choose(workspace_of(context), names, settings, document)
    if trial is not None:
        from kit.learning.tuning.trials import run_trial_elsewhere

        if name is None:
            raise UsageError("--trial is how a study runs its trials elsewhere. Type the study without it.")
        run_trial_elsewhere(project_of(context), name, trial, base, fold, device=device, max_minutes=max_minutes)
        return
    where = place_for(on, gpus, jobs, cpus, device, bucket)
    fields = {setting.partition("=")[0] for setting in settings}
    dimensions = space_of(base, space, fields)
    called = study_name(workspace_of(context), name, base)
    project = project_of(context)
    number = project.folds.checked(fold)
    from kit.learning.tuning import study
    from kit.learning.tuning.plan import Plan

    say(f"Tuning {base.name} on fold {number}: {'; '.join(map(str, dimensions))}")
    with going_on_without_force():  # what there was is gone by then
        tuned = study.tune(
            project,
            Plan(called, base, number, dimensions),
            trials=trials,
            max_minutes=max_minutes,
            device="cpu" if where else device,
            where=where,
            force=force,
            say=say,
        )
    if json:
        from kit.cli.results import print_json

        print_json(tuned)
    else:
        print(_report(tuned, base))
        say_next(f"kit train --config {shlex.quote(str(tuned.config))} --fold all")


def _report(tuned: Tuned, base: Experiment) -> str:
    from kit.learning.experiments.arguments import value_of
    from kit.learning.experiments.limits import as_text

    default, best = tuned.default, tuned.best
    assert default.rmse is not None and best.rmse is not None
    chosen = dict(setting.split("=", 1) for setting in best.settings)
    rows = [[field, as_text(value_of(base, field)), value] for field, value in chosen.items()]
    rows.append([f"fold {tuned.fold} RMSE", f"{default.rmse:.4f}", f"{best.rmse:.4f}"])
    states = [trial.state for trial in tuned.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("done", "pruned", "failed") if state in states)
    minutes = sum(trial.seconds for trial in tuned.trials) / 60
    change = best.rmse - default.rmse
    lines = [
        table(["", f"{shortened(tuned.experiment, 24)} (default)", f"trial {best.number} (best)"], rows),
        f"{change:+.5f} ({change / default.rmse:+.1%}) against the default; {tuned.base} alone {tuned.base_rmse:.4f}.",
        f"{len(states)} trials: {counts}; {minutes:.1f} minutes of training.",
        f"Fold {tuned.fold} chose the best of them, so its RMSE is a little too good there; the other folds tell.",
    ]
    if not best.settings:
        lines.append("No trial was better than the experiment's own settings, which the file holds.")
    if tuned.out_of_time:
        lines.append("Time is over. Run the same command again to go on where it was.")
    lines.append(f"Written: {tuned.config}")
    return "\n".join(lines)
