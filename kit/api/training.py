"""Trainings and their predictions, in this process or in several. Trains nothing itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.api.folder import say
from kit.api.results import Predicted, PredictedFolds, Study, Trained, Trainings, Tried
from kit.errors import UsageError

if TYPE_CHECKING:
    from kit.core.jobs import Cluster, Slot
    from kit.core.workspace import Fold
    from kit.data.project import Project
    from kit.learning.experiments import Experiment
    from kit.learning.trainings import Training
    from kit.learning.trainings import Trainings as Work

MOST_SEEDS = 1000

Folds = int | str | Iterable[int | str]
"""A fold's number, several, `all`, or `full`."""


@dataclass(frozen=True)
class Request:
    """What is to be trained: an experiment, settings over it, and the name of the source."""

    experiment: str | None
    settings: Mapping[str, object]
    name: str | None = None
    config: Path | None = None
    force: bool = False


def fold_texts(folds: Folds) -> list[str]:
    """Return folds as they are typed after `--fold`. Raises `UsageError` where there is none."""
    given = list(folds) if isinstance(folds, Iterable) and not isinstance(folds, str) else [folds]
    if not given:
        raise UsageError("Which fold? Give fold=0, several as fold=[0, 1], fold='all' or fold='full'.")
    return [str(fold) for fold in given]


def setting_texts(settings: Mapping[str, object]) -> list[str]:
    """Return settings as they are typed after `--set`: `True` is `true`, `None` is `none`, `(16, 8)` is `16,8`."""
    from kit.learning.experiments.limits import as_text

    def text(value: object) -> str:
        if value is None:
            return "none"
        return as_text(tuple(value) if isinstance(value, list) else value)

    return [f"{name}={text(value)}" for name, value in settings.items()]


def chosen(project: Project, request: Request) -> Experiment:
    """Return the experiment with its settings, as `kit train` chooses it."""
    from kit.learning.chosen import choose, names_of, read_document
    from kit.learning.experiments import DEFAULT

    document = read_document(request.config)
    names = names_of([request.experiment] if request.experiment else [], document) or [DEFAULT]
    settings = setting_texts(request.settings)
    [one] = choose(project.workspace, names, settings, document, rename=request.name, force=request.force)
    return one


def train(
    project: Project,
    request: Request,
    folds: Folds,
    device: str,
    options: Mapping[str, Any],
    *,
    seeds: int = 1,
    mean: bool = False,
    where: Sequence[Slot] | Cluster = (),
) -> Trainings:
    """Train folds as `kit train` does, one after the other, or in processes of their own where a place is given; what
    is done is skipped."""
    from kit.learning.experiments import check_conflicts, with_seeds
    from kit.learning.trainings import Training, average, claim_mean, mean_of
    from kit.learning.trainings import Trainings as Work

    one, numbers = _begun(project, request), project.folds.chosen(fold_texts(folds))
    if not 1 <= seeds <= MOST_SEEDS or (mean and seeds < 2):
        raise UsageError(f"seeds={seeds}: 1 to {MOST_SEEDS} are needed, and 2 or more for their mean.")
    one = _with_weights(project, one, request)
    family = with_seeds(one, seeds)
    if mean:
        claim_mean(project, family, force=request.force)
    work = Work(project, [Training(member, fold) for fold in numbers for member in family], request.force)
    replacing = numbers if request.force else []
    for each in work.all:  # all of them before torch is imported: a conflict is told at once, not after hours
        check_conflicts(project, each.experiment, each.fold, replacing=replacing)
    trained = _side_by_side(work, where, options) if where else _in_turn(work, device, options, replacing)
    command = f"kit train {one.name} --fold all --seeds {seeds} --mean"
    averaged = mean and average(project, family, command, force=request.force) is not None
    return Trainings(tuple(trained), mean_of(family) if averaged else None)


def try_training(project: Project, request: Request, fold: Fold, device: str, options: Mapping[str, Any]) -> Tried:
    """Train one epoch as `kit train --try` does, and keep nothing but what it took and scored."""
    one, numbers = _begun(project, request), project.folds.chosen([str(fold)])
    one = _with_weights(project, one, request)
    from kit.learning.training import Options
    from kit.learning.training.trial import try_fold

    run = try_fold(project, one, numbers[0], device=device, options=Options(**options))
    return Tried(one.name, numbers[0], run.rmse, run.fill_rmse, run.seconds, one.epochs, project.folds.k)


def _begun(project: Project, request: Request) -> Experiment:
    from kit.core.speech import begin_command

    begin_command()  # what was said in an earlier training is said again
    return chosen(project, request)


def _with_weights(project: Project, one: Experiment, request: Request) -> Experiment:
    from kit.learning.chosen import read_document, with_weights_at_hand

    document = read_document(request.config)
    given = [*setting_texts(request.settings), *(document.settings if document else ())]
    [found] = with_weights_at_hand(project.workspace, [one], given, force=request.force)
    return found


def _side_by_side(work: Work, where: Sequence[Slot] | Cluster, options: Mapping[str, Any]) -> list[Trained]:
    """Train in child processes: `python -m kit train`, as the command line does."""
    there = [one.key for one in work.all if work.done(one) is not None]
    work.run_side_by_side(where, options)
    return [_stored(work, one, already=one.key in there) for one in work.all]


def _in_turn(work: Work, device: str, options: Mapping[str, Any], replacing: Sequence[Fold]) -> list[Trained]:
    count, trained = len(work.all), list[Trained]()
    places = {one.key: f"{number} of {count}" if count > 1 else "" for number, one in enumerate(work.all, 1)}

    def one_of(training: Training) -> None:
        trained.append(_train(work, training, device, {**options, "place": places[training.key]}, replacing))

    work.run(one_of)
    return trained


def _stored(work: Work, training: Training, *, already: bool) -> Trained:
    """Return a training that has come to its end."""
    from kit.learning.experiments import finished_fold

    one, fold = training.experiment, training.fold
    done = finished_fold(work.project, one, fold) or {}
    rmse, alone = (float(done.get(key, math.nan)) for key in ("fold_rmse", "fill_rmse"))
    folder = work.project.workspace.run(one.name, fold)
    return Trained(one.name, fold, rmse, alone, int(done["epochs"]), float(done["seconds"]), folder, already=already)


def _train(
    work: Work, training: Training, device: str, options: Mapping[str, Any], replacing: Sequence[Fold]
) -> Trained:
    if work.done(training) is not None:
        return _stored(work, training, already=True)
    from kit.learning.training import Options
    from kit.learning.training.fit import fit_fold

    one, fold = training.experiment, training.fold
    run = fit_fold(
        work.project,
        one,
        fold,
        device=device,
        options=Options(**options),
        force=work.replaces(training),
        replacing=replacing,
    )
    return Trained(one.name, fold, run.rmse, run.fill_rmse, run.epochs, run.seconds, run.folder, already=run.skipped)


def predict(
    project: Project, source: str, folds: Folds, *, device: str, size: int | None, force: bool
) -> PredictedFolds:
    """Predict folds again from their stored weights, as `kit predict` does."""
    from kit.learning.training.fit import predict_fold

    made = [
        Predicted(source, fold, already=not predict_fold(project, source, fold, device=device, force=force, size=size))
        for fold in project.folds.chosen(fold_texts(folds))
    ]
    return PredictedFolds(tuple(made))


def tune(
    project: Project,
    request: Request,
    fold: int,
    space: Mapping[str, object],
    device: str,
    where: Sequence[Slot] | Cluster,
    *,
    trials: int,
    max_minutes: float | None,
) -> Study:
    """Try settings on one fold, as `kit tune` does; `request.name` is the study's."""
    from kit.core.speech import begin_command
    from kit.learning.chosen import study_name

    begin_command()
    if request.experiment is None and request.config is None:
        raise UsageError("Which experiment? Give one: project.tune('regress')")
    if trials < 1:
        raise UsageError(f"trials={trials}: one or more are needed.")
    base = chosen(project, replace(request, name=None, force=False))
    called = study_name(project.workspace, request.name, base)
    from kit.learning.tuning import space_of, study
    from kit.learning.tuning.plan import Plan

    dimensions = space_of(base, [f"{name}={_values(given)}" for name, given in space.items()], set(request.settings))
    plan = Plan(called, base, project.folds.checked(fold), dimensions)
    found = study.tune(
        project,
        plan,
        trials=trials,
        max_minutes=max_minutes,
        device="cpu" if where else device,
        where=where,
        force=request.force,
        say=say,
    )
    return Study(
        tuple(found.trials),
        name=found.name,
        experiment=found.experiment,
        fold=found.fold,
        best=found.best,
        default=found.default,
        config=found.config,
        out_of_time=found.out_of_time,
    )


def _values(given: object) -> str:
    """Return what a setting may be as it is typed after `--space`: `(1, 9)` is a range, `["a", "b"]` are choices."""
    if isinstance(given, tuple):
        return ":".join(map(str, given))
    return ",".join(map(str, given)) if isinstance(given, list) else str(given)
