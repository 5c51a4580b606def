"""Trainings and their predictions, one after the other in this process. Trains nothing itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.api.results import Predicted, PredictedFolds, Trained, Trainings
from kit.errors import UsageError

if TYPE_CHECKING:
    from kit.core.workspace import Fold
    from kit.data.project import Project
    from kit.learning.experiments import Experiment

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


def train(project: Project, request: Request, folds: Folds, device: str, options: Mapping[str, Any]) -> Trainings:
    """Train folds one after the other, as `kit train` does; what is done is skipped."""
    from kit.core.progress import begin_command
    from kit.learning.chosen import read_document, with_weights_at_hand
    from kit.learning.experiments import check_conflicts

    begin_command()  # what was said in an earlier training is said again
    one, numbers = chosen(project, request), project.folds.chosen(fold_texts(folds))
    document = read_document(request.config)
    given = [*setting_texts(request.settings), *(document.settings if document else ())]
    [one] = with_weights_at_hand(project.workspace, [one], given, force=request.force)
    replacing = numbers if request.force else []
    for fold in numbers:  # all of them before torch is imported: a conflict is told at once, not after hours
        check_conflicts(project, one, fold, replacing=replacing)
    count = len(numbers)
    places = [f"{number} of {count}" if count > 1 else "" for number in range(1, count + 1)]
    trained = [
        _train(project, one, fold, device, {**options, "place": place}, replacing)
        for fold, place in zip(numbers, places, strict=True)
    ]
    return Trainings(tuple(trained))


def _train(
    project: Project,
    one: Experiment,
    fold: Fold,
    device: str,
    options: Mapping[str, Any],
    replacing: Sequence[Fold],
) -> Trained:
    from kit.learning.experiments import finished_fold

    folder = project.workspace.run(one.name, fold)
    if not replacing and (done := finished_fold(project, one, fold)) is not None:
        rmse, alone = (float(done.get(key, math.nan)) for key in ("fold_rmse", "fill_rmse"))
        return Trained(one.name, fold, rmse, alone, int(done["epochs"]), float(done["seconds"]), folder, already=True)
    from kit.learning.training import Options
    from kit.learning.training.fit import fit_fold

    run = fit_fold(
        project,
        one,
        fold,
        device=device,
        options=Options(**options),
        force=bool(replacing),
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
