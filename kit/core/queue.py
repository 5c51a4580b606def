"""A queue of commands, shown: a bar for each slot on a terminal, elsewhere lines. Knows no command's meaning."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kit.core.jobs import Ended, Job, Slot, run_jobs
from kit.core.progress import REPORTS, read_report, time_text
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
    if not sys.stderr.isatty():
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
        self.note(job, slot, f"begins on {slot.name}")

    def result(self, job: Job, slot: Slot, line: str) -> None:
        """Print a result as it is."""
        if self._spoken is not None:
            print(self._spoken(line), flush=True)

    def note(self, job: Job, slot: Slot, line: str) -> None:
        """Print a line of standard error, but for those about the child itself."""
        if line.strip() and not line.startswith(_OWN_WORDS):
            self.show(f"[{job.name}] {line}")

    def ended(self, ended: Ended, slot: Slot) -> None:
        """Say it of a child that could not say it itself."""
        if ended.code < 0:
            self.show(f"[{ended.job.name}] ended by signal {-ended.code}")

    def show(self, line: str) -> None:
        """Print a line."""
        print(line, file=sys.stderr, flush=True)


class _Bars(_Lines):
    """A bar for each slot, and one for all jobs."""

    def __init__(self, slots: Sequence[Slot], count: int, spoken: Spoken | None) -> None:
        super().__init__(spoken)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        text = TextColumn("{task.fields[left]:>8}  {task.fields[note]}", markup=False)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        self._rich = Progress(*columns, TimeElapsedColumn(), text, console=Console(stderr=True), transient=True)
        self._tasks: dict[int, Any] = {
            id(slot): self._rich.add_task(slot.name, total=None, left="", note="") for slot in slots
        }
        self._all = self._rich.add_task("all", total=count, left="", note="")
        self._lock = threading.Lock()

    def __enter__(self) -> _Bars:
        self._rich.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._rich.stop()

    def began(self, job: Job, slot: Slot) -> None:
        """Give the slot's bar to the job."""
        self._rich.reset(self._tasks[id(slot)], description=f"{slot.name}  {job.name}", total=None, left="", note="")

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
        left = "" if report.left is None else time_text(report.left)
        shown: dict[str, Any] = {"completed": report.done, "total": report.total, "left": left, "note": report.note}
        self._rich.update(self._tasks[id(slot)], description=f"{slot.name}  {report.description}", **shown)

    def ended(self, ended: Ended, slot: Slot) -> None:
        """Count it."""
        super().ended(ended, slot)
        self._rich.update(self._all, advance=1)
        self._rich.update(self._tasks[id(slot)], description=slot.name, total=None, completed=0, left="", note="")

    def show(self, line: str) -> None:
        """Print a line above the bars."""
        self._rich.console.print(line, markup=False, highlight=False, soft_wrap=True)


def failed_jobs(ended: Sequence[Ended]) -> list[str]:
    """Return the names of jobs that have failed, not of those that go on later."""
    return [one.job.name for one in ended if one.code not in (0, TRY_AGAIN)]
