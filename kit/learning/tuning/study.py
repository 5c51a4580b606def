"""A study: trials of one experiment on one fold, kept in a journal, pruned by the fold's RMSE. Knows Optuna.

    tuning/<name>/study.json     what is tuned: another study under this name is refused
    tuning/<name>/journal.log    Optuna's journal: every trial, its settings and measurements
    tuning/<name>/trial_<n>/     the training in progress, with its checkpoints; gone when the trial is done
    tuning/<name>/best.csv       the best trial's log
    tuning/<name>.toml           the best trial's settings, for `kit train --config`

Killed at any moment and started again, a trial goes on from its checkpoint. The sampler's seed is a function of the
trial's number, so a study that was killed proposes what one that was not would.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from kit.core.jobs import first_tried
from kit.core.storage import digest_of, only_one, read_json, write_json, write_text
from kit.data.prediction_store import SourceKind
from kit.data.project import Project
from kit.errors import DamagedStore, Mismatch, TrainingError, UsageError
from kit.learning.experiments import (
    EXPERIMENTS,
    Experiment,
    check_patience,
    different_settings,
    run_stamp,
    toml_of,
    with_settings,
)
from kit.learning.experiments.arguments import parameters_of, value_of
from kit.learning.training import DistributedContext, Options, Run, check_buildable, processes_on, train_fold
from kit.learning.training.fit import base_fills
from kit.learning.tuning.dimensions import Choice, Dimension
from kit.learning.tuning.space import space_differences
from kit.pretrained.weights.encoders import check_encoder

FIRST = 4  # trials that come to their end before any is pruned
WARM = 4  # and none is in the first 1/WARM of its epochs
_STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Plan:
    """What is tuned."""

    name: str
    """Of the study, and of the source that its best settings become."""
    base: Experiment
    fold: int
    space: tuple[Dimension, ...]

    def settings(self, trial: optuna.trial.Trial) -> list[str]:
        """Return the settings that a trial tries, as they are typed; the first one tries the experiment's own."""
        if trial.number > 0:
            return [f"{one.field}={one.suggested(trial)}" for one in self.space]
        for field in self.own:
            next(one for one in self.space if one.field == field).suggested(trial)
        return []

    @property
    def own(self) -> dict[str, Any]:
        """Return the experiment's own values of what is tuned, as Optuna has them; only those that the space holds."""
        values = {one.field: (one, value_of(self.base, one.field)) for one in self.space}
        return {field: one.stored(value) for field, (one, value) in values.items() if one.holds(value)}


@dataclass(frozen=True)
class TrialRow:
    """One trial as it ended."""

    number: int
    """From 1, as people count."""
    state: str
    """done, pruned or failed."""
    rmse: float | None
    """The fold's; of a pruned one its last measurement, None where there is none."""
    settings: list[str]
    seconds: float
    note: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Tuned:
    """A study as it is now."""

    name: str
    experiment: str
    fold: int
    trials: list[TrialRow]
    default: TrialRow
    """The experiment's own settings."""
    best: TrialRow
    base: str
    """The fill under the experiment's residual."""
    base_rmse: float
    """Of that fill alone."""
    config: Path
    """The best settings as TOML."""
    new: int
    """So many trials were made now."""
    out_of_time: bool


class _Pruned(Exception):
    """The trial is worse than the others were at this point."""


class _OutOfTime(Exception):
    """The trial goes on when the command is typed again."""


def tune(
    project: Project,
    plan: Plan,
    *,
    trials: int,
    max_minutes: float | None = None,
    device: str = "auto",
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Make trials until the study has `trials` of them, going on where it stopped, and write the best settings.

    Args:
        max_minutes: no trial begins or goes on after that, but for the first one, which comes to its end.
        force: begin the study anew.
        say: takes a line a trial.

    Raises:
        UsageError: the name is another thing's, or there is more than one process.
        Mismatch: another study has this name.
        StoreError: another process is at it, or the journal is damaged.
        KitError: the experiment cannot be trained with its own settings.
    """
    processes = processes_on(device)
    if processes.count > 1:
        raise UsageError("kit tune runs in one process. Start it without torchrun.")
    check_name(project, plan)
    check_values(plan.space)
    check_ends(plan)
    folder = project.workspace.study(plan.name)
    with only_one(folder, f"kit tune {plan.base.name}"):
        if force and not _has_begun(folder):
            shutil.rmtree(folder, ignore_errors=True)
        _reserve(project, plan, folder)
        work = _Work(project, plan, folder, processes, _open(folder, plan), say)
        return work.run(trials, max_minutes)


def _has_begun(folder: Path) -> bool:
    """Return whether this very job, whose worker was lost, has begun the study anew already (--force)."""
    since, path = first_tried(), folder / "study.json"
    return since is not None and path.is_file() and path.stat().st_mtime >= since - 1.0


def check_name(project: Project, plan: Plan) -> None:
    """Raise `UsageError` unless the best settings may become a source of this name."""
    hint = "Store this one under another name: --as NAME"
    project.predictions.claim_name(plan.name, SourceKind.EXPERIMENT, hint=hint)


def check_values(space: Sequence[Dimension]) -> None:
    """Raise `UsageError` for encoders and weights files that are not there: each trial with one would fail."""
    for one in space:
        for text in one.texts if isinstance(one, Choice) else ():
            if one.field == "encoder":
                check_encoder(text)
            if one.field == "encoder_weights" and text not in ("none", "imagenet") and not Path(text).is_file():
                raise UsageError(f"--space encoder_weights: {text}: there is no such file.")


def check_ends(plan: Plan) -> None:
    """Raise `UsageError` where a model of the user's own cannot be built with an end of a range of its arguments, or
    with a value to choose from: every trial there would fail, and only the model knows how deep it may be."""
    if plan.base.model == "none":
        return
    taken = parameters_of(plan.base.model)
    for dimension in plan.space:
        for text in dimension.ends if dimension.field in taken else ():
            one = with_settings(plan.base, [f"{dimension.field}={text}"])
            try:
                check_buildable(one, one.batch_size)
            except UsageError as error:
                raise UsageError(f"--space {dimension}: with {dimension.field}={text} {error}") from None


def _reserve(project: Project, plan: Plan, folder: Path) -> None:
    """Reserve the folder for this study. Raises `Mismatch` when it is another's."""
    space = [dataclasses.asdict(one) for one in plan.space]
    stamp = {**run_stamp(project, plan.base), "fold": plan.fold, "space": space}
    path = folder / "study.json"
    if not path.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        write_json(path, stamp)
        return
    found = read_json(path, made_by=f"kit tune {plan.base.name} --force")
    if digest_of(found) == digest_of(stamp):
        return
    raise Mismatch(
        f"{folder} holds a study with {_what_differs(found, stamp, plan)}. Go on with the command that began it,"
        f" store this one under another name with --as NAME, or begin anew: the same command with --force"
    )


def _what_differs(found: dict[str, Any], stamp: dict[str, Any], plan: Plan) -> str:
    """Say what of a stored study's stamp is not as in this one."""
    names = [name for name in stamp if digest_of(found.get(name)) != digest_of(stamp[name])]
    settings = different_settings(found.get("experiment"), plan.base) if "experiment" in names else []
    others = [*settings, *(name.replace("_", " ") for name in names if name not in ("experiment", "space"))]
    said = [f"other {', '.join(others)}"] if others else []
    if "space" in names:
        said.append(f"other values to try: {'; '.join(space_differences(found.get('space', []), plan.space))}")
    return " and ".join(said)


class _NoLock(JournalFileOpenLock):
    """No lock of Optuna's own: kit holds the folder's, which dies with the process and never fails to go away."""

    def acquire(self) -> bool:
        """Do nothing."""
        return True

    def release(self) -> None:
        """Do nothing."""


def _open(folder: Path, plan: Plan) -> optuna.Study:
    """Open the journal, or make it. Nobody else has it open: the caller holds the lock of the folder."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / "journal.log"
    if path.is_file():
        whole = path.read_bytes()
        if not whole.endswith(b"\n"):  # killed while it appended: Optuna would write on in the middle of the line
            write_text(path, whole[: whole.rfind(b"\n") + 1].decode(errors="replace"))
    epochs = plan.base.epochs
    pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST, n_warmup_steps=epochs // WARM)
    try:
        storage = JournalStorage(JournalFileBackend(str(path), _NoLock(str(path))))
        return optuna.create_study(storage=storage, study_name=plan.name, pruner=pruner, load_if_exists=True)
    except OSError:
        raise
    except Exception as error:  # whatever a damaged line makes Optuna raise
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise DamagedStore(
            f"{path} is not the journal that kit wrote ({reason}). Begin anew: the same command with --force"
        ) from None


@dataclass
class _Work:
    """A study that is open, and everything that a trial needs."""

    project: Project
    plan: Plan
    folder: Path
    processes: DistributedContext
    study: optuna.Study
    say: Callable[[str], None]

    def run(self, trials: int, max_minutes: float | None) -> Tuned:
        """Make trials until there are enough of them or time is over."""
        deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        before, out_of_time = len(self.ended()), False
        self.tidy()
        while len(self.ended()) < trials:
            if self.ended() and _is_over(deadline):
                out_of_time = True
                break
            try:
                self.one_trial(deadline)
            except _OutOfTime:
                out_of_time = True
                break
            self.tidy()
            self.say(self.line(trials, deadline))
        return self.result(len(self.ended()) - before, out_of_time)

    def ended(self) -> list[FrozenTrial]:
        """Return the trials that have ended, by number."""
        return self.study.get_trials(deepcopy=False, states=tuple(_STATES))

    def best(self) -> FrozenTrial | None:
        """Return the trial with the lowest RMSE of those that came to their end; the earlier of two equal ones."""
        done = [trial for trial in self.ended() if trial.state is TrialState.COMPLETE]
        return min(done, key=lambda trial: (trial.value, trial.number), default=None)

    def one_trial(self, deadline: float | None) -> None:
        """Make one trial, or go on with the one that was stopped, and note how it ended."""
        trial = self.next_trial()
        settings = self.plan.settings(trial)
        trial.set_user_attr("settings", settings)
        started = time.monotonic()
        try:
            run = self.train(trial, settings, deadline)
        except _Pruned:
            trial.set_user_attr("seconds", time.monotonic() - started)
            self.study.tell(trial, state=TrialState.PRUNED)
        except (TrainingError, UsageError) as error:
            if trial.number == 0:
                raise  # the experiment itself: there is nothing to compare with
            trial.set_user_attr("seconds", time.monotonic() - started)
            trial.set_user_attr("note", str(error).split(". ")[0])
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            trial.set_user_attr("seconds", run.seconds)
            trial.set_user_attr("base_rmse", run.fill_rmse)
            self.study.tell(trial, run.rmse)

    def next_trial(self) -> optuna.trial.Trial:
        """Return the trial that was stopped, or the next one."""
        stopped = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        number = stopped[0].number if stopped else len(self.ended())
        self.study.sampler = optuna.samplers.TPESampler(seed=number)
        if stopped:
            return optuna.trial.Trial(self.study, stopped[0]._trial_id)
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(self.plan.own)
        return self.study.ask()

    def train(self, trial: optuna.trial.Trial, settings: list[str], deadline: float | None) -> Run:
        """Train it in a folder of its own."""
        folder = self.trial_folder(trial.number)
        one = with_settings(dataclasses.replace(self.plan.base, name=f"{self.plan.name}-{trial.number}"), settings)
        check_patience(one)
        if not folder.is_dir():
            check_buildable(one, len(self.project.folds.train_positions(self.plan.fold)), self.processes.device)
        reported = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        watch = partial(_watch, trial, one.epochs, frozenset(reported), deadline)
        return train_fold(
            self.project,
            one,
            self.plan.fold,
            base_fills(self.project, one)["oof"],
            processes=self.processes,
            options=Options(on_validation=watch),
            folder=folder,
        )

    def trial_folder(self, number: int) -> Path:
        """Return where a trial trains."""
        return self.folder / f"trial_{number}"

    def tidy(self) -> None:
        """Write the best settings and their log, and delete what trials that have ended left behind."""
        best = self.best()
        if best is not None:
            log = self.trial_folder(best.number) / "log.csv"
            if log.is_file():
                write_text(self.folder / "best.csv", log.read_text())
            self.write_settings(best)
        for trial in self.ended():
            shutil.rmtree(self.trial_folder(trial.number), ignore_errors=True)

    def write_settings(self, best: FrozenTrial) -> None:
        """Write the best settings as TOML, where they are not there already."""
        base, fold, path = self.plan.base, self.plan.fold, self.project.workspace.tuned(self.plan.name)
        one = with_settings(dataclasses.replace(base, name=self.plan.name), best.user_attrs["settings"])
        begins = base.name if base.name in EXPERIMENTS else None
        text = (
            f"# Trial {best.number + 1} of kit tune {base.name}: RMSE {best.value:.5f} on fold {fold}, which chose\n"
            f"# these settings, so it is a little too good.\n{toml_of(one, begins=begins)}"
        )
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)

    def line(self, trials: int, deadline: float | None) -> str:
        """Return what is said of the trial that has just ended."""
        ended = self.ended()
        row, best = _row(ended[-1]), self.best()
        how = f"{row.state} at {row.rmse:.4f}" if row.rmse is not None and row.state != "done" else row.state
        if row.state == "done":
            how = f"fold RMSE {row.rmse:.4f}"
        if row.note:
            how += f" ({row.note})"
        beside = f" (best {best.value:.4f}, trial {best.number + 1})" if best is not None else ""
        tried = " ".join(row.settings) or "the experiment's own settings"
        return f"Trial {row.number} of {trials}: {how}{beside}; {tried}; {self.left(trials, deadline)}"

    def left(self, trials: int, deadline: float | None) -> str:
        """Return how long the rest may take."""
        ended = self.ended()
        seconds = sum(trial.user_attrs.get("seconds", 0.0) for trial in ended) / len(ended)
        left = seconds * max(0, trials - len(ended))
        if deadline is not None:
            left = min(left, max(0.0, deadline - time.monotonic()))
        return f"about {left / 60:.0f} min left" if left >= 60 else f"about {left:.0f} s left"

    def result(self, new: int, out_of_time: bool) -> Tuned:
        """Return the study as it is now."""
        ended, best = self.ended(), self.best()
        assert best is not None, "the first trial comes to its end or raises"
        return Tuned(
            name=self.plan.name,
            experiment=self.plan.base.name,
            fold=self.plan.fold,
            trials=[_row(trial) for trial in ended],
            default=_row(ended[0]),
            best=_row(best),
            base=self.plan.base.base,
            base_rmse=float(ended[0].user_attrs["base_rmse"]),
            config=self.project.workspace.tuned(self.plan.name),
            new=new,
            out_of_time=out_of_time,
        )


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _watch(
    trial: optuna.trial.Trial, epochs: int, reported: frozenset[int], deadline: float | None, epoch: int, rmse: float
) -> None:
    """Note a measurement; leave the training where it is worse than others were, or where time is over."""
    if epoch not in reported:  # measured again after a kill: the same value
        trial.report(rmse, epoch)
    if trial.number == 0 or epoch >= epochs:  # the experiment's own settings are what all is compared with
        return
    if trial.should_prune():
        raise _Pruned
    if _is_over(deadline):
        raise _OutOfTime


def _row(trial: FrozenTrial) -> TrialRow:
    attributes = trial.user_attrs
    last = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None
    rmse = trial.value if trial.state is TrialState.COMPLETE else last
    seconds, note = float(attributes.get("seconds", 0.0)), str(attributes.get("note", ""))
    return TrialRow(trial.number + 1, _STATES[trial.state], rmse, list(attributes.get("settings", [])), seconds, note)
