"""One trial: its training, what it measures, and how it ends. Knows Optuna's pruner, and no other trial than by it.

tuning/<study>/trial_<n>/reported.json   what a trial elsewhere has measured, by epoch
tuning/<study>/trial_<n>/outcome.json    how it has ended; then the study notes it
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import optuna

from kit.core.storage import held, read_json, write_json
from kit.data.project import Project
from kit.errors import DamagedStore, NotFinished, TrainingError, UsageError
from kit.learning.experiments import Experiment, check_patience, with_settings
from kit.learning.training import DistributedContext, Options, Run, check_buildable, processes_on, train_fold
from kit.learning.training.fit import base_fills
from kit.learning.tuning.journal import open_journal
from kit.learning.tuning.plan import Plan

Report = Callable[[int, float], None]
"""Notes an epoch's RMSE."""


class Pruned(Exception):
    """The trial is worse than the others were at this point."""


class OutOfTime(Exception):
    """The trial goes on when the command is typed again."""


@dataclass(frozen=True)
class Outcome:
    """How a trial has ended."""

    state: str
    """done, pruned or failed."""
    seconds: float
    rmse: float | None = None
    """Of one that is done."""
    base_rmse: float | None = None
    """Of its base fill alone."""
    note: str = ""
    """Why it failed."""
    reports: dict[int, float] = field(default_factory=dict)
    """RMSE by epoch, where nobody else has noted it."""


def outcome_of(folder: Path) -> Outcome | None:
    """Return how a trial elsewhere has ended; None: not yet."""
    path = folder / "outcome.json"
    if not path.is_file():
        return None
    found = read_json(path, made_by="kit tune")
    try:
        reports = {int(epoch): float(rmse) for epoch, rmse in found.pop("reports").items()}
        return Outcome(**found, reports=reports)
    except (TypeError, ValueError, KeyError, AttributeError):
        raise DamagedStore(f"{path} is no outcome of a trial. Delete it, then run the same command again.") from None


Place = tuple[Project, int, DistributedContext]
"""Where trials run: the project, the fold that measures, and the processes."""


def run_trial_here(
    place: Place, plan: Plan, trial: optuna.trial.Trial, folder: Path, deadline: float | None
) -> Outcome:
    """Run a trial, or go on with it, in this process and in the study itself.

    Raises:
        OutOfTime: the deadline is over.
        TrainingError, UsageError: the experiment itself, which is the first trial, cannot be trained.
    """

    def experiment() -> Experiment:
        return with_settings(plan.trial_experiment(trial.number), trial.user_attrs["settings"])

    noted = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
    for epoch, rmse in _reported(folder).items():  # measured in a batch
        if epoch not in noted:
            trial.report(rmse, epoch)
            noted.add(epoch)

    def report(epoch: int, rmse: float) -> None:
        if epoch not in noted:  # measured again after a kill: the same value
            trial.report(rmse, epoch)

    return _run(place, experiment, trial, folder, deadline, report)


def run_trial_elsewhere(
    project: Project, study: str, number: int, one: Experiment, fold: int, *, device: str, max_minutes: float | None
) -> None:
    """Run a trial of a study whose command runs in another process or on another machine, by a copy of its journal.

    Args:
        number: from 0.
        one: the experiment with the trial's settings.

    Raises:
        NotFinished: the time is over.
        Busy: another process is at it.
    """
    home = project.workspace.study(study)
    folder = home / f"trial_{number}"
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    with held(folder, f"Trial {number + 1} of {study} is being trained"), tempfile.TemporaryDirectory() as copies:
        journal = Path(shutil.copyfile(home / "journal.log", Path(copies, "journal.log")))
        epochs = int(read_json(home / "study.json", made_by="kit tune")["experiment"]["epochs"])
        copy = open_journal(journal, study, epochs)
        trial = optuna.trial.Trial(copy, copy.get_trials(deepcopy=False)[number]._trial_id)
        reports = _reported(folder)
        for epoch, rmse in reports.items():
            trial.report(rmse, epoch)

        def report(epoch: int, rmse: float) -> None:
            if epoch not in reports:
                trial.report(rmse, epoch)
                reports[epoch] = rmse
                write_json(folder / "reported.json", {str(epoch): rmse for epoch, rmse in reports.items()})

        try:
            outcome = _run((project, fold, processes_on(device)), lambda: one, trial, folder, deadline, report)
        except OutOfTime:
            raise NotFinished(f"trial {number + 1} of {study}") from None
        write_json(folder / "outcome.json", {**asdict(outcome), "reports": reports})


def _reported(folder: Path) -> dict[int, float]:
    path = folder / "reported.json"
    if not path.is_file():
        return {}
    return {int(epoch): float(rmse) for epoch, rmse in sorted(read_json(path, made_by="kit tune").items(), key=_epoch)}


def _epoch(item: tuple[str, object]) -> int:
    return int(item[0])


def _run(
    place: Place,
    experiment: Callable[[], Experiment],
    trial: optuna.trial.Trial,
    folder: Path,
    deadline: float | None,
    report: Report,
) -> Outcome:
    """Train until the end, the pruner or the deadline."""
    started = time.monotonic()
    try:
        one = experiment()

        def watch(epoch: int, rmse: float) -> None:
            report(epoch, rmse)
            if trial.number == 0 or epoch >= one.epochs:  # the experiment's own settings: all is compared with them
                return
            if trial.should_prune():
                raise Pruned
            if is_over(deadline):
                raise OutOfTime

        run = _train(place, one, folder, watch)
    except Pruned:
        return Outcome("pruned", time.monotonic() - started)
    except (TrainingError, UsageError) as error:
        if trial.number == 0:
            raise
        return Outcome("failed", time.monotonic() - started, note=str(error))
    return Outcome("done", run.seconds, run.rmse, run.fill_rmse)


def _train(place: Place, one: Experiment, folder: Path, watch: Report) -> Run:
    project, fold, processes = place
    check_patience(one)
    if not folder.is_dir():
        check_buildable(one, len(project.folds.train_positions(fold)), processes.device)
    fill = base_fills(project, one)["oof"]
    return train_fold(
        project, one, fold, fill, processes=processes, options=Options(on_validation=watch), folder=folder
    )


def is_over(deadline: float | None) -> bool:
    """Return whether a moment of `time.monotonic` has passed."""
    return deadline is not None and time.monotonic() >= deadline
