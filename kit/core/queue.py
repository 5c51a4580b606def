"""A queue of commands, shown: a bar for each slot on a terminal, elsewhere lines. Knows no command's meaning."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kit.core.bar_line import Reading
from kit.core.jobs import Ended, Job, Slot, run_jobs
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


def run_queue(jobs: Sequence[Job], slots: Sequence[Slot], *, spoken: Spoken | None = None) -> list[Ended]:
    """Run the jobs and show their bars side by side on a terminal, elsewhere their lines.

    Args:
        spoken: print their results so; None: keep them back.
    """
    slots = slots[: len(jobs)]
    if not can_move(sys.stderr) or is_quiet():
        return run_jobs(jobs, slots, _Lines(spoken))
    slots = [Slot(slot.name, slot.words, {**slot.environment, REPORTS: "reports"}) for slot in slots]
    with _Bars(slots, len(jobs), spoken) as bars:
        return run_jobs(jobs, slots, bars)


class _Lines:
    """Every line of a child behind its job's name."""

    def __init__(self, spoken: Spoken | None) -> None:
        self._spoken = spoken

    def began(self, job: Job, slot: Slot) -> None:
        """Say what runs where."""
        if not is_quiet():
            self.note(job, slot, f"begins on {slot.name}")

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
    """A bar for each slot, and one for all jobs."""

    def __init__(self, slots: Sequence[Slot], count: int, spoken: Spoken | None) -> None:
        super().__init__(spoken)
        from kit.core.bars import new_bars

        self._rich = new_bars(lambda task: _with_time(task.fields["reading"], task.fields["began"]))
        self._tasks: dict[int, Any] = {
            id(slot): self._rich.add_task("", total=None, reading=_idle(slot.name), began=0.0) for slot in slots
        }
        self._done, self._count = 0, count
        self._all = self._rich.add_task("", reading=self._of_all(), began=time.monotonic())
        self._lock = threading.Lock()

    def _of_all(self) -> Reading:
        return Reading("all", self._done, self._count, "jobs")

    def __enter__(self) -> _Bars:
        self._rich.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._rich.stop()

    def began(self, job: Job, slot: Slot) -> None:
        """Give the slot's bar to the job."""
        reading = _idle(f"{slot.name}  {job.name}")
        self._rich.update(self._tasks[id(slot)], reading=reading, began=time.monotonic())

    def result(self, job: Job, slot: Slot, line: str) -> None:
        """Print a result above the bars, or where standard output goes."""
        with self._lock:
            if self._spoken is not None and sys.stdout.isatty():
                self.show(self._spoken(line))
            else:
                super().result(job, slot, line)

    def note(self, job: Job, slot: Slot, line: str) -> None:
        """Move the slot's bar by a report; print other lines."""
        report = read_report(line)
        if report is None:
            super().note(job, slot, line)
            return
        title = f"{slot.name}  {report.description}"
        reading = Reading(title, report.done, report.total, report.unit, 0.0, report.left, report.speed, report.note)
        self._rich.update(self._tasks[id(slot)], reading=reading)

    def ended(self, ended: Ended, slot: Slot) -> None:
        """Count it."""
        super().ended(ended, slot)
        with self._lock:
            self._done += 1
            self._rich.update(self._all, reading=self._of_all())
        self._rich.update(self._tasks[id(slot)], reading=_idle(slot.name))

    def show(self, line: str) -> None:
        """Print a line above the bars."""
        self._rich.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _idle(title: str) -> Reading:
    return Reading(title, 0, None, "")


def _with_time(reading: Reading, began: float) -> Reading:
    return replace(reading, elapsed=time.monotonic() - began)


def failed_jobs(ended: Sequence[Ended]) -> list[str]:
    """Return the names of jobs that have failed, not of those that go on later."""
    return [one.job.name for one in ended if one.code not in (0, TRY_AGAIN)]
