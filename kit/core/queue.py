"""A queue of commands, shown: a bar for each job that runs on a terminal, elsewhere lines. Knows no command's
meaning."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kit.core.bar_line import Reading
from kit.core.jobs import Cluster, Ended, Job, Slot, Watcher, run_jobs
from kit.core.progress import REPORTS, read_report
from kit.core.speech import is_quiet, warn
from kit.core.terminal import can_move
from kit.errors import TRY_AGAIN

if TYPE_CHECKING:
    from kit.core.workspace import Workspace

_OWN_WORDS = ("Stopped. ", "Not finished in time: ")  # of a child, for what the queue says itself

Spoken = Callable[[str], str]
"""What is made of a child's result before it is printed."""


def global_words(workspace: Workspace) -> tuple[str, ...]:
    """Return the options by which a child works in this workspace."""
    return ("--workspace", str(workspace.root.absolute()), "--competition", workspace.slug)


def run_queue(jobs: Sequence[Job], where: Sequence[Slot] | Cluster, *, spoken: Spoken | None = None) -> list[Ended]:
    """Run the jobs and show their bars side by side on a terminal, elsewhere their lines.

    Args:
        where: slots of this machine, or what a job asks of a Ray cluster.
        spoken: print their results so; None: keep them back.
    """
    if not can_move(sys.stderr) or is_quiet():
        return _run(jobs, where, _Lines(spoken), {})
    with _Bars(len(jobs), spoken) as bars:
        return _run(jobs, where, bars, {REPORTS: "reports"})


def _run(
    jobs: Sequence[Job], where: Sequence[Slot] | Cluster, watcher: Watcher, environment: Mapping[str, str]
) -> list[Ended]:
    if isinstance(where, Cluster):
        from kit.core.ray_jobs import run_on_ray  # brings Ray

        return run_on_ray(jobs, where, watcher, environment)
    slots = [Slot(slot.name, slot.words, {**slot.environment, **environment}) for slot in where[: len(jobs)]]
    return run_jobs(jobs, slots, watcher)


class _Lines:
    """Every line of a child behind its job's name."""

    def __init__(self, spoken: Spoken | None) -> None:
        self._spoken = spoken

    def began(self, job: Job, slot: Slot) -> None:
        """Say what runs where."""
        if not is_quiet():
            self.note(job, slot, f"begins on {slot.name}")

    def moved(self, job: Job, before: Slot, slot: Slot) -> None:
        """Say where a job goes on, and why."""
        self.show(f"[{job.name}] its worker on {before.name} was lost; goes on on {slot.name}")

    def result(self, job: Job, slot: Slot, line: str) -> None:
        """Print a result as it is."""
        if self._spoken is not None:
            print(self._spoken(line), flush=True)

    def note(self, job: Job, slot: Slot, line: str) -> None:
        """Print a line of standard error, but for those about the child itself."""
        if line.strip() and not line.startswith(_OWN_WORDS):
            self.show(f"[{job.name}] {line}")  # a child says no more than this process is to say

    def ended(self, ended: Ended, slot: Slot) -> None:
        """Say it of a child that could not say it itself."""
        if ended.code < 0:
            self.show(f"[{ended.job.name}] ended by signal {-ended.code}")

    def show(self, line: str) -> None:
        """Print a line."""
        warn(line)


class _Bars(_Lines):
    """A bar for each job that runs, and one for all: what waits, runs and has failed."""

    def __init__(self, count: int, spoken: Spoken | None) -> None:
        super().__init__(spoken)
        from kit.core.bars import new_bars

        self._rich = new_bars(lambda task: _with_time(task.fields["reading"], task.fields["began"]))
        self._tasks: dict[str, Any] = {}
        self._done, self._failed, self._count = 0, 0, count
        self._started = time.monotonic()
        self._all = self._rich.add_task("", reading=self._of_all(), began=self._started)
        self._lock = threading.Lock()

    def _of_all(self) -> Reading:
        running = len(self._tasks)
        states = {"running": running, "waiting": self._count - self._done - running, "failed": self._failed}
        note = ", ".join(f"{number} {state}" for state, number in states.items() if number)
        return Reading("all", self._done, self._count, "jobs", note=note)

    def __enter__(self) -> _Bars:
        self._rich.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._rich.stop()

    def began(self, job: Job, slot: Slot) -> None:
        """Give the job a bar, above the one of all."""
        reading = _idle(f"{slot.name}  {job.name}")
        with self._lock:
            self._rich.remove_task(self._all)
            self._tasks[job.name] = self._rich.add_task("", total=None, reading=reading, began=time.monotonic())
            self._all = self._rich.add_task("", reading=self._of_all(), began=self._started)

    def result(self, job: Job, slot: Slot, line: str) -> None:
        """Print a result above the bars, or where standard output goes."""
        with self._lock:
            if self._spoken is not None and sys.stdout.isatty():
                self.show(self._spoken(line))
            else:
                super().result(job, slot, line)

    def note(self, job: Job, slot: Slot, line: str) -> None:
        """Move the job's bar by a report; print other lines."""
        report = read_report(line)
        if report is None:
            super().note(job, slot, line)
            return
        title = f"{slot.name}  {report.description}"
        reading = Reading(title, report.done, report.total, report.unit, 0.0, report.left, report.speed, report.note)
        self._rich.update(self._tasks[job.name], reading=reading)

    def ended(self, ended: Ended, slot: Slot) -> None:
        """Count it, and take its bar away."""
        super().ended(ended, slot)
        with self._lock:
            self._done += 1
            self._failed += ended.code not in (0, TRY_AGAIN)
            self._rich.remove_task(self._tasks.pop(ended.job.name))
            self._rich.update(self._all, reading=self._of_all())

    def show(self, line: str) -> None:
        """Print a line above the bars."""
        self._rich.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _idle(title: str) -> Reading:
    return Reading(title, 0, None, "")


def _with_time(reading: Reading, began: float) -> Reading:
    elapsed = time.monotonic() - began
    if reading.unit != "jobs" or not 0 < reading.done < (reading.total or 0):
        return replace(reading, elapsed=elapsed)
    assert reading.total is not None
    return replace(reading, elapsed=elapsed, left=elapsed / reading.done * (reading.total - reading.done))


def failed_jobs(ended: Sequence[Ended]) -> list[str]:
    """Return the names of jobs that have failed, not of those that go on later."""
    return [one.job.name for one in ended if one.code not in (0, TRY_AGAIN)]
