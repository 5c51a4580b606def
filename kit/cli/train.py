"""`kit train`, `kit predict`: models, fold by fold, and of all photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from kit.cli import app, candidates
from kit.cli.answers import answers
from kit.cli.options import (
    ConfigOption,
    DeviceOption,
    FoldOption,
    ForceOption,
    JsonOption,
    finite,
    project_of,
    say_next,
    split_commas,
    typed_again,
    with_workspace_flags,
    workspace_of,
)
from kit.cli.queue import BucketOption, CpusOption, GpusOption, JobsOption, OnOption, say_idle_gpus
from kit.cli.trial import try_all
from kit.cli.watched import LogOption, PicturesOption, watching
from kit.core.jobs import is_child
from kit.core.parallel import is_main_process
from kit.core.speech import say, say_once, warn_once
from kit.learning.chosen import choose, names_of, read_document, with_weights_at_hand
from kit.learning.trainings import Training, Trainings, average, claim_mean, mean_of
from kit.pretrained.slots import place_for

if TYPE_CHECKING:
    from kit.core.jobs import Cluster, Slot
    from kit.core.workspace import Fold
    from kit.data.project import Project
    from kit.learning.experiments import Experiment


_SeedsOption = Annotated[
    int, typer.Option("--seeds", min=1, max=1000, help="So many sources, with the seeds after NAME's: NAME-s1 ...")
]
_MinutesOption = Annotated[
    float | None,
    typer.Option(
        "--max-minutes", min=0.01, max=1e6, callback=finite, help="Plan each fold for this long; an epoch at least."
    ),
]


class _TrainCommand(TyperCommand):
    """Says how a setting is given to who types it as an option: `--lr 1e-3`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; say of an unknown option how the setting of that name is given."""
        words = list(args)  # parsing consumes them
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # Typer may carry its own copy of click, and with it another NoSuchOption
            option = getattr(error, "option_name", None)
            if type(error).__name__ != "NoSuchOption" or option is None:
                raise
            raise _no_such_option(option, words) from None


def _no_such_option(option: str, words: list[str]) -> Exception:
    from kit.errors import UsageError
    from kit.learning.experiments import suggested_setting

    following = next((after for word, after in pairwise(words) if word == option), "VALUE")
    given = next((word.partition("=")[2] for word in words if word.startswith(f"{option}=")), following)
    setting = suggested_setting(option)
    meant = f"{option} is a setting: --set {setting}={given}" if setting else "Settings are given by --set field=value"
    return UsageError(f"There is no option {option}. {meant} (kit train --list shows all). See: kit train --help")


@app.command(cls=_TrainCommand, short_help="Train networks fold by fold, and predict.")
@answers
def train(
    context: typer.Context,
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            autocompletion=candidates.experiments, help="Experiments, or FILE.py:NAME. Default: regress-imagenet."
        ),
    ] = None,
    fold: FoldOption = [],  # noqa: B006  # Typer wants a plain list, and no one changes it
    settings: Annotated[
        list[str], typer.Option("--set", autocompletion=candidates.settings, help="field=value, may be repeated.")
    ] = [],  # noqa: B006
    config: ConfigOption = None,
    rename: Annotated[str | None, typer.Option("--as", help="Store the source under this name.")] = None,
    seeds: _SeedsOption = 1,
    mean: Annotated[bool, typer.Option("--mean", help="With --seeds: store their mean too, as NAME-mean.")] = False,
    device: DeviceOption = "auto",
    gpus: GpusOption = None,
    jobs: JobsOption = None,
    on: OnOption = None,
    cpus: CpusOption = None,
    bucket: BucketOption = None,
    max_minutes: _MinutesOption = None,
    extra: Annotated[str | None, typer.Option("--extra", help="A folder of more photos to train on.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="As --set epochs=N.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="As --set seed=N.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Run the generator through torch.compile.")] = False,
    board: Annotated[bool, typer.Option("--tensorboard", help="As --log tensorboard.")] = False,
    log: LogOption = [],  # noqa: B006
    pictures: PicturesOption = True,
    list_all: Annotated[bool, typer.Option("--list", help="List experiments and their settings.")] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings as TOML, for --config, and train nothing.")
    ] = False,
    trial: Annotated[
        bool, typer.Option("--try", help="Train one epoch, say what it takes and scores, and store nothing.")
    ] = False,
    force: ForceOption = False,
    begun: Annotated[
        str | None,
        typer.Option("--begun", help="With --force: NAME:FOLD,... that a stopped command began: they go on."),
    ] = None,
    replacing: Annotated[str | None, typer.Option("--replacing", hidden=True)] = None,
    as_json: JsonOption = False,
) -> object:
    """Train on all folds but one, and predict that one and the test photos. --fold full trains on all photos, predicts
    the test photos alone, and is one model more in the mean over the folds' models.

    Killed at any moment and started again, it goes on where it was. What is done is skipped. A source goes on under its
    name with the settings it has, also one made with --as: kit train NAME --fold 1.

    \b
    Examples:
      kit train --list
      kit train --fold 2                                  # regress-imagenet, the best one
      kit train regress --fold all
      kit train regress --fold full                       # on all photos; one more in the folds' mean
      kit train regress --fold all --set size=128 --set epochs=60 --as regress128
      kit train regress bilstm partialconv --fold all     # fold by fold; what is done is skipped
      kit train regress --fold 0 --epochs 60 --seed 1 --as regress-1
      kit train regress --fold all --extra photos --as more   # whole photos from a folder, to learn from besides
      kit train regress --set size=128 --print-config > mine.toml
      kit train --config mine.toml --fold all --as mine   # --set on the command line wins over the file
      kit train regress --fold all --seeds 3 --mean       # regress, regress-s1, regress-s2; regress-mean is their mean
      kit train pix2pix --fold 0 --set encoder=tu-resnet34 --set encoder_weights=resnet34.safetensors --as p2p34
      kit train mine.py:Net --fold 0 --set width=48       # a network of your own; begin one: kit new model mine
      kit train net --fold 1                              # goes on with the copy of mine.py that its run keeps
      kit train mine.py:experiment --fold all --set loss=mine.py:loss   # settings and loss of your own
      kit train regress --try                             # one epoch: does it run, how long would it take?
      kit train regress --fold all --gpus all             # one training at a time on each GPU
      kit train regress bilstm --fold all --jobs 4        # four at a time, which share the cores
      kit train regress bilstm --fold all --on ray        # each fold a task of the cluster that RAY_ADDRESS names
      kit train regress --fold all --on ray --bucket s3://mine/work   # machines that share no folder
      kit train --fold all --stop-after 11h30m            # stop by then; type it again to go on
      kit train regress --fold 0 --log mlflow             # or tensorboard, wandb, trackio; see it live: kit watch
      torchrun --nproc-per-node 2 -m kit train pix2pix --fold 0   # two processes share each step
      for k in 0 1 2 3 4; do kit train regress pix2pix --fold $k; done
    """
    from kit.errors import UsageError
    from kit.learning.experiments import DEFAULT, describe_experiments, listed_experiments, with_seeds

    if list_all:
        print(describe_experiments())
        return listed_experiments() if as_json else None
    document = read_document(config)
    names = names_of(split_commas(experiments or []), document) or [DEFAULT]
    if trial:
        _check_trial(
            {"--force": force, "--seeds": seeds > 1, "--gpus": gpus, "--jobs": jobs, "--on": on, "--log": log or board}
        )
        fold = fold or ["0"]
    if not fold and not print_config:
        raise UsageError(f"Which fold of {', '.join(names)}? Run the same command with --fold 0, or --fold all.")
    _check_words(names, fold)
    _check_seeds(seeds, mean)
    shown = watching(log, board=board, pictures=pictures and not trial)
    settings = [*settings, *_as_settings(settings, epochs=epochs, seed=seed, extra=extra)]
    chosen = choose(workspace_of(context), names, settings, document, rename=rename, force=force)
    if print_config:
        return _print_config(chosen)
    project = project_of(context)
    numbers = project.folds.chosen(fold)
    for one in chosen if not settings and document is None else []:
        _say_its_own(one)
    given = [*settings, *(document.settings if document else ())]
    chosen = with_weights_at_hand(project.workspace, chosen, given, force=force)
    options = {"max_minutes": max_minutes, "compiled": compiled, **shown}
    if trial:
        return try_all(project, chosen, numbers[0], device, options)
    replaced = project.folds.chosen([replacing]) if replacing else numbers if force else []
    families = [with_seeds(one, seeds) for one in chosen]
    trained = [Training(one, number) for number in numbers for family in families for one in family]
    work = Trainings(project, trained, force, split_commas([begun or ""]), _going_on)
    where = place_for(on, gpus, jobs, cpus, device, bucket)
    before = {one.key for one in trained if not force and work.done(one)} if as_json else set()
    _train_all(work, families, device, options, replaced, where, mean=mean)
    _say_what_is_left(project, [one.name for family in families for one in family], mean=mean)
    return [_answer(work, one, made=one.key not in before) for one in trained] if as_json else None


def _answer(work: Trainings, one: Training, *, made: bool) -> dict[str, object]:
    """Return what `--json` says of a training that is done."""
    from kit.learning.experiments import finished_fold

    project, name = work.project, one.experiment.name
    answer = {"source": name, "fold": one.fold, "made": made, "folder": project.workspace.run(name, one.fold)}
    return {**answer, **(finished_fold(project, one.experiment, one.fold) or {})}


def _say_what_is_left(project: Project, names: Sequence[str], *, mean: bool) -> None:
    """Say what to type next: the first folds that are not trained, or a blend.

    Args:
        mean: a mean of seeds is asked for, which says itself what it waits for.
    """
    if not is_main_process() or is_child():
        return
    for name in names:
        if left := project.predictions.missing_folds(name, "oof"):
            if not mean:
                say_next(f"kit train {name} --fold {','.join(map(str, left))}")
            return
    say_next("kit blend")


def _check_trial(given: dict[str, object]) -> None:
    from kit.errors import UsageError

    if wrong := [name for name, value in given.items() if value]:
        raise UsageError(f"--try stores nothing and trains one epoch here: leave out {', '.join(wrong)}.")


def _check_seeds(seeds: int, mean: bool) -> None:
    from kit.errors import UsageError

    if mean and seeds < 2:
        raise UsageError("--mean is that of several seeds: give --seeds 2 or more.")


def _print_config(chosen: Sequence[Experiment]) -> dict[str, object]:
    from kit.errors import UsageError
    from kit.learning.experiments import setting_fields, toml_of

    if len(chosen) > 1:
        raise UsageError(f"--print-config prints one experiment, but {len(chosen)} are given.")
    print(toml_of(chosen[0]), end="")
    return {"name": chosen[0].name, **{name: getattr(chosen[0], name) for name in setting_fields()}}


def _train_all(
    work: Trainings,
    families: Sequence[Sequence[Experiment]],
    device: str,
    options: dict[str, Any],
    replacing: list[Fold],
    where: Sequence[Slot] | Cluster,
    *,
    mean: bool,
) -> None:
    """Train every fold of every experiment, then average those that differ in their seed alone.

    Args:
        replacing: folds that are trained anew, one after the other: what is there of them may differ.
        where: trainings run side by side; []: in this process.
    """
    from kit.learning.experiments import check_conflicts

    project = work.project
    for family in families if mean else []:
        claim_mean(project, family, force=bool(replacing))
    for one in work.all:  # all of them before torch is imported: a conflict is told at once, not after hours
        check_conflicts(project, one.experiment, one.fold, replacing=replacing)
    if is_main_process():
        _say_extra(work)
    if where:
        there = partial(_say_there, work)
        work.run_side_by_side(where, options, there=there, spoken=with_workspace_flags)
    else:
        count = len(work.all)
        numbers = {one.key: f"{number} of {count}" if count > 1 else "" for number, one in enumerate(work.all, 1)}
        work.run(lambda one: _train(work, one, device, replacing, {**options, "place": numbers[one.key]}))
    for family in families if mean and is_main_process() else []:
        _average(project, family, bool(replacing))


def _going_on(begun: Sequence[str]) -> str:
    """Return the command that goes on with what this one has begun to replace."""
    return f"{typed_again(without_values=('--begun',))} --begun {','.join(begun)}" if begun else typed_again()


def _average(project: Project, family: Sequence[Experiment], force: bool) -> None:
    name, members = mean_of(family), ", ".join(member.name for member in family)
    command = f"kit train {family[0].name} --fold all --seeds {len(family)} --mean"
    made = average(project, family, command, force=force)
    if made is None:
        print(f"{name} is made when all folds are there: {command}")
    else:
        print(f"{'Averaged' if made else 'There already'}: {name}, the mean of {members}")


def _as_settings(settings: list[str], **flags: int | str | None) -> list[str]:
    from kit.errors import UsageError

    given = [f"{name}={value}" for name, value in flags.items() if value is not None]
    for flag in given:
        name = flag.partition("=")[0]
        others = [setting for setting in settings if setting.partition("=")[0] == name and setting != flag]
        if others:
            raise UsageError(f"--{flag.replace('=', ' ')} and --set {others[0]} contradict each other. Give one.")
    return given


def _check_words(names: list[str], folds: list[str]) -> None:
    """Raise `UsageError` for numbers among the experiments: `--fold 0 1 2` gives --fold the first alone."""
    from kit.errors import UsageError

    if numbers := [name for name in names if name.isdecimal()]:
        given = ",".join(dict.fromkeys([*folds, *numbers]))
        raise UsageError(f"{' '.join(numbers)}: no experiment is named by a number. Several folds: --fold {given}")


def _say_its_own(one: Experiment) -> None:
    """Say that a source whose settings are not those of the catalog goes on with what it has."""
    from kit.learning.experiments import EXPERIMENTS, settings_of

    if one.name not in EXPERIMENTS or not is_main_process():
        return
    usual = settings_of(EXPERIMENTS[one.name]())
    if own := [setting for setting in settings_of(one) if setting not in usual]:
        say(f"{one.name} goes on with the settings it has: {' '.join(own)}")


def _say_extra(work: Trainings) -> None:
    """Say how many extra photos are taken where something is left to train; what is wrong with them is told at once."""
    from kit.learning.experiments import finished_fold

    with_extra = [one for one in work.all if one.experiment.extra != "none"]
    left = [one for one in with_extra if work.forced or finished_fold(work.project, one.experiment, one.fold) is None]
    for folder in dict.fromkeys(one.experiment.extra for one in left):
        from kit.data.extra_photos import extra_photos  # of no use to other trainings

        say(extra_photos(work.project, folder).describe(folder))


def _train(work: Trainings, training: Training, device: str, replacing: list[Fold], options: dict[str, Any]) -> None:
    from kit.learning.experiments import finished_fold

    project, one, fold = work.project, training.experiment, training.fold
    speaks, force = is_main_process(), work.replaces(training)
    if not force and (done := finished_fold(project, one, fold)) is not None:
        if speaks:
            _say_there(work, training, done)
        return
    from kit.learning.training import Options
    from kit.learning.training.fit import fit_fold

    if one.test_photos and speaks:
        say_once("Training also on the known parts of the test photos (test_photos=true).")
    if training == work.all[0]:
        say_idle_gpus(device)
    run = fit_fold(project, one, fold, device=device, options=Options(**options), force=force, replacing=replacing)
    if run.is_main_process:
        state = "There already" if run.skipped else "Trained"
        numbers = {"fold_rmse": run.rmse, "fill_rmse": run.fill_rmse, "epochs": run.epochs, "seconds": run.seconds}
        _say(state, one, fold, numbers, run.folder)
        if not run.skipped and run.rmse > run.fill_rmse and not one.adversarial_weight:
            _warn_if_worse(work.project, one, fold)


def _say_there(work: Trainings, training: Training, done: dict[str, Any]) -> None:
    one, fold = training.experiment, training.fold
    _say("There already", one, fold, done, work.project.workspace.run(one.name, fold))


def _say(state: str, one: Experiment, fold: Fold, run: dict[str, Any], folder: Path) -> None:
    rmse, alone = run.get("fold_rmse", math.nan), run.get("fill_rmse", math.nan)
    count = "1 epoch" if run["epochs"] == 1 else f"{run['epochs']} epochs"
    beside = f" ({one.base} alone {alone:.4f})" if alone == alone else ""
    measured = f"fold RMSE {rmse:.4f}{beside} " if rmse == rmse else ""  # of a full model there is none
    print(f"{state}: {one.name}, fold {fold}: {measured}after {count}, {run['seconds']:.0f} s, in {folder}")


def _warn_if_worse(project: Project, one: Experiment, fold: Fold) -> None:
    """Say that a model is worse than the fill that it learns over, where the photos of its fold are enough to tell."""
    from kit.errors import KitError
    from kit.report.compare import fold_gain

    try:
        gain = fold_gain(project, one.base, one.name, int(fold))
    except KitError:  # other folds are about to be trained anew, and are not those of this one
        return
    if gain.high < 0:
        warn_once(
            f"Warning: {one.name} is worse than {one.base} alone, over which it learns: train longer, or with a lower "
            f"--set learning_rate (now {one.learning_rate:g}), under another name: --as NAME",
            about=f"worse: {replace(one, name='any', seed=0).digest}",  # of all folds and seeds
        )
