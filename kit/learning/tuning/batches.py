"""Trials side by side: a batch is proposed together, runs in slots or on a cluster, and is noted once all of it has
ended. So what is found depends on how many run at a time, and neither on where nor on which of them is faster.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna

from kit.core import deadline as stop
from kit.core.bucket import take_leftovers
from kit.core.jobs import Cargo, Cluster, Job, Slot
from kit.core.queue import failed_jobs, global_words, run_queue
from kit.data.fill_sources import fill_processes, make_fill_source
from kit.data.project import Project
from kit.errors import NotFinished, TrainingError, UsageError
from kit.learning.experiments import Experiment, with_settings
from kit.learning.job_files import settings_words, trial_cargo
from kit.learning.tuning.plan import Plan
from kit.learning.tuning.trials import Outcome, OutOfTime, outcome_of


class Batches:
    """Runs batches of trials as jobs."""

    def __init__(self, project: Project, plan: Plan, folder: Path, where: Sequence[Slot] | Cluster) -> None:
        self._project, self._plan, self._folder, self._where = project, plan, folder, where
        self.size = (where.jobs or 1) if isinstance(where, Cluster) else len(where)
        """So many trials are proposed together."""

    def run(self, asked: Sequence[optuna.trial.Trial], deadline: float | None) -> dict[int, Outcome]:
        """Run trials until all have ended; returns how, by number.

        Args:
            deadline: of `time.monotonic`; no trial goes on after that, but for those of the first batch.

        Raises:
            OutOfTime, NotFinished: some have not; they go on when the command is typed again.
            TrainingError: some could not come to an end; their own lines have said why.
        """
        if any(trial.number == 0 for trial in asked):
            deadline = None
        refused, ones = {}, {}
        for trial in asked:
            try:
                ones[trial.number] = with_settings(
                    self._plan.trial_experiment(trial.number), trial.user_attrs["settings"]
                )
            except UsageError as error:
                refused[trial.number] = Outcome("failed", 0.0, note=str(error))
        for base in dict.fromkeys(one.base for one in ones.values()):
            make_fill_source(self._project, base, processes=fill_processes(self._project))
        take_leftovers(self._where, [self._cargo(one) for one in self._left(ones)])
        with tempfile.TemporaryDirectory(prefix="kit-queue-") as folder:
            jobs = [self._job(one, Path(folder), deadline) for one in self._left(ones)]
            ended = run_queue(jobs, self._where) if jobs else []
        outcomes = {trial.number: refused.get(trial.number) or self._outcome(trial.number) for trial in asked}
        if failed := failed_jobs(ended):
            raise TrainingError(
                f"{len(failed)} of {len(jobs)} trials could not come to an end: {'; '.join(failed)}. What the others "
                "have measured is kept: run the same command again."
            )
        found = {number: outcome for number, outcome in outcomes.items() if outcome is not None}
        if len(found) < len(asked):
            if stop.is_over():
                raise NotFinished(f"{len(found)} of a batch of {len(asked)} trials of {self._plan.name} done")
            raise OutOfTime
        return found

    def _outcome(self, number: int) -> Outcome | None:
        return outcome_of(self._folder / f"trial_{number}")

    def _left(self, ones: Mapping[int, Experiment]) -> list[tuple[int, Experiment]]:
        return [(number, one) for number, one in ones.items() if self._outcome(number) is None]

    def _cargo(self, trial: tuple[int, Experiment]) -> Cargo:
        number, one = trial
        return trial_cargo(self._project, self._plan.name, number, one)

    def _job(self, trial: tuple[int, Experiment], folder: Path, deadline: float | None) -> Job:
        plan, (number, one) = self._plan, trial
        words = ["tune", *settings_words(folder, one), "--as", plan.name, "--fold", str(plan.fold)]
        words += ["--trial", str(number)]
        if deadline is not None:
            words += ["--max-minutes", str(max(0.01, (deadline - time.monotonic()) / 60))]
        command = (*global_words(self._project.workspace), *words)
        return Job(f"{plan.name}, trial {number + 1}", command, folder, self._cargo(trial))
