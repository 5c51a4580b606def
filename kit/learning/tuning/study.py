"""A study: trials of one experiment on one fold, kept in a journal, pruned by the fold's RMSE. Knows Optuna.

    tuning/<name>/study.json     what is tuned: another study under this name is refused
    tuning/<name>/journal.log    Optuna's journal: every trial, its settings and measurements
    tuning/<name>/trial_<n>/     the training in progress, with its checkpoints; gone when the trial is noted
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
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kit.core.jobs import Cluster, Slot, first_tried
from kit.core.storage import digest_of, only_one, read_json, write_json, write_text
from kit.data.prediction_store import SourceKind
from kit.data.project import Project
from kit.errors import Mismatch, TrainingError, UsageError
from kit.learning.experiments import EXPERIMENTS, different_settings, run_stamp, toml_of, with_settings
from kit.learning.experiments.arguments import parameters_of
from kit.learning.training import DistributedContext, check_buildable, processes_on
from kit.learning.tuning.batches import Batches
from kit.learning.tuning.dimensions import Choice, Dimension
from kit.learning.tuning.journal import STATES, open_journal, sampler_of
from kit.learning.tuning.plan import Plan, TrialRow, Tuned
from kit.learning.tuning.space import space_differences
from kit.learning.tuning.trials import Outcome, OutOfTime, is_over, outcome_of, run_trial_here
from kit.pretrained.weights.encoders import check_encoder


def tune(
    project: Project,
    plan: Plan,
    *,
    trials: int,
    max_minutes: float | None = None,
    device: str = "auto",
    where: Sequence[Slot] | Cluster = (),
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Make trials until the study has `trials` of them, going on where it stopped, and write the best settings.

    Args:
        max_minutes: no trial begins or goes on after that, but for the first one or batch, which comes to its end.
        where: trials run side by side, as many as there are slots or `Cluster.jobs` says; (): one by one, here. Those
            of a batch are proposed together, so another number of them is another search.
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
        study = open_journal(folder / "journal.log", plan.name, plan.base.epochs)
        batches = Batches(project, plan, folder, where) if where else None
        return _Work(project, plan, folder, processes, study, say, batches).run(trials, max_minutes)


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


@dataclass
class _Work:
    """A study that is open, and everything that a trial needs."""

    project: Project
    plan: Plan
    folder: Path
    processes: DistributedContext
    study: optuna.Study
    say: Callable[[str], None]
    batches: Batches | None = None

    def run(self, trials: int, max_minutes: float | None) -> Tuned:
        """Make trials until there are enough of them or time is over."""
        deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        before, out_of_time = len(self.ended()), False
        self.tidy()
        while len(self.ended()) < trials:
            if self.ended() and is_over(deadline):
                out_of_time = True
                break
            try:
                self.some_trials(trials, deadline)
            except OutOfTime:
                out_of_time = True
                break
        return self.result(len(self.ended()) - before, out_of_time)

    def ended(self) -> list[FrozenTrial]:
        """Return the trials that have ended, by number."""
        return self.study.get_trials(deepcopy=False, states=tuple(STATES))

    def best(self) -> FrozenTrial | None:
        """Return the trial with the lowest RMSE of those that came to their end; the earlier of two equal ones."""
        done = [trial for trial in self.ended() if trial.state is TrialState.COMPLETE]
        return min(done, key=lambda trial: (trial.value, trial.number), default=None)

    def some_trials(self, trials: int, deadline: float | None) -> None:
        """Make one trial here, or a batch of them elsewhere, or go on with those that were stopped, and note how they
        ended: those of a batch once all have, by their numbers."""
        asked = self.asked(trials, self.batches.size if self.batches else 1)
        outcomes = self.batches.run(asked, deadline) if self.batches else self.run_here(asked, deadline)
        for trial in asked:
            outcome = outcomes[trial.number]
            if outcome.state == "failed" and trial.number == 0:
                raise TrainingError(outcome.note)  # the experiment itself: there is nothing to compare with
            self.tell(trial, outcome)
            self.tidy()
            self.say(self.line(trials, deadline))

    def asked(self, trials: int, count: int) -> list[optuna.trial.Trial]:
        """Return the trials of the batch that was stopped, filled up to `count` unless some of it have been noted, of
        which the others' proposals knew nothing; or a new batch."""
        stopped = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        batch = _batch_of(stopped[0]) if stopped else len(self.ended())
        asked = [optuna.trial.Trial(self.study, one._trial_id) for one in stopped if _batch_of(one) == batch]
        for trial in asked:
            self.propose(trial, batch)  # it was killed before it was proposed whole
        if not any(_batch_of(one) == batch for one in self.ended()):
            for _ in range(len(self.ended()) + len(stopped), trials):
                if len(asked) >= count:
                    break
                if not self.study.get_trials(deepcopy=False):
                    self.study.enqueue_trial(self.plan.own)
                asked.append(self.study.ask())
                self.propose(asked[-1], batch)
        return asked[:count]

    def propose(self, trial: optuna.trial.Trial, batch: int) -> None:
        """Give a trial its settings: by its number and by what is noted of others."""
        if trial.user_attrs.get("batch") is None:
            trial.set_user_attr("batch", batch)
        settings = self.plan.settings(trial, sampler_of)
        if trial.user_attrs.get("settings") != settings:
            trial.set_user_attr("settings", settings)

    def run_here(self, asked: Sequence[optuna.trial.Trial], deadline: float | None) -> dict[int, Outcome]:
        """Run trials in this process, one by one; measurements are noted as they come."""
        place = (self.project, self.plan.fold, self.processes)
        found = {}
        for trial in asked:
            folder = self.trial_folder(trial.number)
            outcome = outcome_of(folder)  # it has ended in a batch
            found[trial.number] = outcome or run_trial_here(place, self.plan, trial, folder, deadline)
        return found

    def tell(self, trial: optuna.trial.Trial, outcome: Outcome) -> None:
        """Note how a trial has ended."""
        noted = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        for epoch, rmse in sorted(outcome.reports.items()):
            if epoch not in noted:
                trial.report(rmse, epoch)
        trial.set_user_attr("seconds", outcome.seconds)
        if outcome.note:
            trial.set_user_attr("note", outcome.note.split(". ")[0])
        if outcome.base_rmse is not None:
            trial.set_user_attr("base_rmse", outcome.base_rmse)
        state = next(state for state, name in STATES.items() if name == outcome.state)
        self.study.tell(trial, outcome.rmse, state=state)

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


def _batch_of(trial: FrozenTrial) -> int:
    """Return the number of the first trial of its batch; studies of before know none."""
    return int(trial.user_attrs.get("batch", trial.number))


def _row(trial: FrozenTrial) -> TrialRow:
    attributes = trial.user_attrs
    last = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None
    rmse = trial.value if trial.state is TrialState.COMPLETE else last
    seconds, note = float(attributes.get("seconds", 0.0)), str(attributes.get("note", ""))
    return TrialRow(trial.number + 1, STATES[trial.state], rmse, list(attributes.get("settings", [])), seconds, note)
