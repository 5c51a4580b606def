"""The trainings of one command: one after the other or in a queue, what is left when they stop, and the mean of seeds.
Trains nothing itself."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.core import deadline
from kit.core.bucket import take_leftovers
from kit.core.jobs import Cargo, Cluster, Job, Slot, first_tried
from kit.core.parallel import is_main_process
from kit.core.queue import Spoken, failed_jobs, global_words, run_queue
from kit.core.speech import say
from kit.errors import Busy, NotFinished, TrainingError, UsageError
from kit.learning.job_files import fold_cargo, settings_words

if TYPE_CHECKING:
    from kit.core.workspace import Fold
    from kit.data.project import Project
    from kit.learning.experiments import Experiment

_NAMED = 6  # trainings that a message names


@dataclass(frozen=True)
class Training:
    """One experiment on one fold."""

    experiment: Experiment
    fold: Fold

    @property
    def key(self) -> str:
        """Return what names it on a command line."""
        return f"{self.experiment.name}:{self.fold}"

    @property
    def title(self) -> str:
        """Return what names it for people."""
        return f"{self.experiment.name}, fold {self.fold}"


def titles_of(trainings: Sequence[Training]) -> str:
    """Return the names of trainings, the first ones of many."""
    shown = "; ".join(one.title for one in trainings[:_NAMED])
    return f"{shown} and {len(trainings) - _NAMED} more" if len(trainings) > _NAMED else shown


@dataclass
class Trainings:
    """All trainings of a command, in their order."""

    project: Project
    all: Sequence[Training]
    forced: bool
    """Whether what is there is replaced (--force)."""
    begun: Collection[str] = ()
    """Keys of those that a stopped command had begun to replace: they go on."""
    going_on: Callable[[Sequence[str]], str | None] = lambda begun: None
    """The command that goes on, given the keys of what was begun to be replaced; None: the same call once more."""
    started: float = 0.0
    """When this command was, in the seconds of files' times."""

    def __post_init__(self) -> None:
        known = {one.key for one in self.all}
        if wrong := [key for key in self.begun if key not in known]:
            raise UsageError(f"--begun {wrong[0]}: that is none of this command's trainings, {titles_of(self.all)}.")
        self.started = (first_tried() or time.time()) - 1.0  # some file systems count whole seconds

    def replaces(self, one: Training) -> bool:
        """Return whether a training begins anew although it is there."""
        if first_tried() is not None and self.has_begun(one):  # by this very job, whose worker was lost
            return False
        return self.forced and one.key not in self.begun

    def done(self, one: Training) -> dict[str, Any] | None:
        """Return what is known of a training whose predictions are there; None where it is still to be made."""
        from kit.learning.experiments import finished_fold

        return None if self.replaces(one) else finished_fold(self.project, one.experiment, one.fold)

    def left(self) -> list[Training]:
        """Return those that are still to be made."""
        return [one for one in self.all if self.done(one) is None]

    def run(self, train: Callable[[Training], None]) -> None:
        """Train one after the other. One that another process trains is passed over, and named at the end.

        Raises:
            NotFinished: the time is over; says what is left and how to go on.
            Busy: others are still at some of them.
        """
        busy: dict[str, Busy] = {}
        for number, one in enumerate(self.all):
            try:
                train(one)
            except Busy as error:
                busy[one.key] = error
                if len(self.all) > 1:
                    self.say(f"{error} Going on with the next.")
                continue
            except NotFinished as error:
                left = [other for other in self.all[number + 1 :] if self.done(other) is None]
                raise self.not_finished(str(error), left) from None
        self.check_others([one for one in self.all if one.key in busy], busy)

    def say(self, line: str) -> None:
        """Print a line on standard error."""
        if is_main_process():
            say(line)

    def check_others(self, elsewhere: Sequence[Training], errors: dict[str, Busy]) -> None:
        """Raise `Busy` for trainings that others had and have not come to their end."""
        from kit.learning.experiments import finished_fold

        still = [one for one in elsewhere if finished_fold(self.project, one.experiment, one.fold) is None]
        if len(self.all) == 1 and still and still[0].key in errors:
            raise errors[still[0].key]
        if still:
            raise Busy(f"All is done but what other processes are still training: {titles_of(still)}.")

    def not_finished(self, reached: str, left: Sequence[Training]) -> NotFinished:
        """Return the error that says what has been reached, what is left, and how to go on."""
        after = f"; not begun: {titles_of(left)}" if left else ""
        return NotFinished(f"{reached}{after}", again=self.again())

    def again(self) -> str | None:
        """Return the command that goes on; --force must not begin anew what it has begun."""
        return self.going_on([one.key for one in self.all if self.forced and self.has_begun(one)])

    def has_begun(self, one: Training) -> bool:
        """Return whether this command, or the one before, has begun to replace a training."""
        path = self.project.workspace.run(one.experiment.name, one.fold) / "experiment.json"
        return one.key in self.begun or (path.is_file() and path.stat().st_mtime >= self.started)

    def run_side_by_side(
        self,
        where: Sequence[Slot] | Cluster,
        options: Mapping[str, Any],
        *,
        there: Callable[[Training, dict[str, Any]], None] = lambda one, done: None,
        spoken: Spoken | None = None,
    ) -> None:
        """Train in child processes, one in each slot at a time, or on a Ray cluster; base fills are made here, once.

        Args:
            where: see `run_queue`.
            options: those of `kit.learning.training.Options`, for all of them.
            there: hears of each training that is there already.
            spoken: see `run_queue`.

        Raises:
            TrainingError: some have failed; their own lines have said why.
            NotFinished, Busy: see `run`.
        """
        take_leftovers(where, [self.cargo_of(one) for one in self.all if not self.replaces(one)])
        self.make_base_fills()
        todo, words = [], _words(options)
        for one in self.all:
            if (done := self.done(one)) is None:
                todo.append(one)
            else:
                there(one, done)
        with tempfile.TemporaryDirectory(prefix="kit-queue-") as folder:
            jobs = [self.job_of(one, Path(folder), words) for one in todo]
            ended = run_queue(jobs, where, spoken=spoken) if jobs else []
        codes = {one.job.name: one.code for one in ended}
        left = [one for one in todo if codes.get(one.title) != 0]
        if failed := failed_jobs(ended):
            rest = [one for one in left if one.title not in failed]
            also = f" Not finished: {titles_of(rest)}." if rest else ""
            raise TrainingError(f"{len(failed)} of {len(jobs)} trainings failed: {'; '.join(failed)}.{also}")
        if left and deadline.is_over():
            raise self.not_finished(
                f"{len(jobs) - len(left)} of {len(jobs)} trainings done; left: {titles_of(left)}", []
            )
        self.check_others(left, {})

    def make_base_fills(self) -> None:
        """Store the fills under the residuals of what is left, once, and not by each child process."""
        from kit.data.fill_sources import fill_processes, make_fill_source

        for base in dict.fromkeys(one.experiment.base for one in self.left()):
            try:
                make_fill_source(self.project, base, processes=fill_processes(self.project))
            except NotFinished as error:
                raise self.not_finished(str(error), self.left()) from None

    def job_of(self, one: Training, folder: Path, words: Sequence[str]) -> Job:
        """Return the job of one training, with its settings in a file of this folder."""
        return Job(one.title, self.words_of(one, folder, words), folder, self.cargo_of(one))

    def cargo_of(self, one: Training) -> Cargo:
        """Return the files that a training has to do with."""
        return fold_cargo(self.project, one.experiment.name, one.fold, one.experiment)

    def words_of(self, one: Training, folder: Path, words: Sequence[str]) -> tuple[str, ...]:
        """Return the command of one training, with its settings in a file of this folder."""
        folds = dict.fromkeys(str(other.fold) for other in self.all if other.experiment == one.experiment)
        force = ["--replacing", ",".join(folds)] if self.forced else []
        force += ["--force"] if self.replaces(one) else []
        train = ["train", *settings_words(folder, one.experiment), "--fold", str(one.fold), *words, *force]
        return (*global_words(self.project.workspace), *train)


def _words(options: Mapping[str, Any]) -> list[str]:
    """Return options of a training as `kit train` takes them."""
    words = [] if options["max_minutes"] is None else ["--max-minutes", str(options["max_minutes"])]
    words += ["--compile"] if options["compiled"] else []
    words += ["--log", ",".join(options["trackers"])] if options["trackers"] else []
    return words if options["pictures"] else [*words, "--no-pictures"]


def mean_of(family: Sequence[Experiment]) -> str:
    """Return the name of the mean of sources that differ in their seed alone."""
    return f"{family[0].name}-mean"


def claim_mean(project: Project, family: Sequence[Experiment], *, force: bool) -> None:
    """Raise `UsageError` where the mean's name is another source's; see `claim_mean_name`."""
    from kit.data.mean_source import claim_mean_name

    claim_mean_name(project, mean_of(family), [member.name for member in family], replace=force)


def average(project: Project, family: Sequence[Experiment], command: str, *, force: bool) -> bool | None:
    """Store the mean of a family once all its folds are there.

    Args:
        command: what makes it.

    Returns:
        Whether it was made now; None: folds are still to be trained.
    """
    from kit.data.mean_source import make_mean_source

    members = [member.name for member in family]
    if any(project.predictions.missing_folds(name, "oof") for name in members):
        return None
    return make_mean_source(project, mean_of(family), members, made_by=command, replace=force)
