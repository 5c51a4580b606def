"""A queue of kit's own commands on several GPUs or shares of the cores, and what is shown of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli.options import with_workspace_flags
from kit.core.jobs import Ended, Job, Slot, core_shares, is_child, run_jobs
from kit.core.parallel import is_alone
from kit.core.progress import REPORTS, read_report, time_text
from kit.errors import TRY_AGAIN

if TYPE_CHECKING:
    from kit.core.workspace import Workspace

GpusOption = Annotated[
    str | None, typer.Option("--gpus", metavar="all|0,1", help="One at a time on each of these GPUs.")
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", min=1, max=256, help="So many at a time; they share the cores.")
]
_OWN_WORDS = ("Stopped. ", "Not finished in time: ")  # of a child, for what the queue says itself


def slots_for(gpus: str | None, jobs: int | None, device: str) -> list[Slot]:
    """Return where trainings run side by side; [] for none beside this process's own.

    Args:
        gpus: `all`, or numbers with commas between.
        jobs: so many at a time; by default one a GPU.
        device: what --device says, for slots without a GPU of their own.

    Raises:
        UsageError: there is no such GPU, or two options contradict each other.
    """
    from kit.errors import UsageError

    if gpus is None and jobs is None:
        return []
    if not is_alone():
        raise UsageError("--gpus and --jobs start processes of their own. Start kit without torchrun.")
    if gpus is None:
        words = () if device == "auto" else ("--device", device)
        return [Slot(f"job {number}", words, core_shares(jobs or 1)) for number in range(1, (jobs or 1) + 1)]
    if device != "auto":
        raise UsageError(f"--device {device} and --gpus {gpus} contradict each other. Give one.")
    numbers = _gpu_numbers(gpus)
    count = jobs or len(numbers)
    shares = core_shares(count)
    chosen = [numbers[place % len(numbers)] for place in range(count)]
    return [Slot(f"GPU {number}", ("--device", f"cuda:{number}"), shares) for number in chosen]


def _gpu_numbers(gpus: str) -> list[int]:
    from kit.errors import UsageError
    from kit.pretrained.devices import gpu_count

    count = gpu_count()
    words = list(dict.fromkeys(word.strip() for word in gpus.split(",") if word.strip()))
    there = "there is none here: use --jobs N, on the CPU" if not count else f"there are 0 to {count - 1}"
    if words == ["all"] and count:
        return list(range(count))
    wrong = [word for word in words if not word.isdecimal() or int(word) >= count]
    if wrong or not words:
        raise UsageError(f"--gpus {gpus}: numbers of GPUs, or all, are needed, and {there}.")
    return [int(word) for word in words]


def say_idle_gpus(device: str) -> None:
    """Say which GPUs this process leaves idle; a child of a queue and torchrun's processes know of others."""
    from kit.pretrained.devices import idle_gpus

    if is_alone() and not is_child() and (line := idle_gpus(device, "--gpus all")):
        print(line, file=sys.stderr, flush=True)


def global_words(workspace: Workspace) -> tuple[str, ...]:
    """Return the options by which a child works in this workspace."""
    return ("--workspace", str(workspace.root.absolute()), "--competition", workspace.slug)


def run_queue(jobs: Sequence[Job], slots: Sequence[Slot], *, results: bool = True) -> list[Ended]:
    """Run the jobs and show their bars side by side on a terminal, elsewhere their lines.

    Args:
        results: hand their standard output on.
    """
    slots = slots[: len(jobs)]
    if not sys.stderr.isatty():
        return run_jobs(jobs, slots, _Lines(results))
    slots = [Slot(slot.name, slot.words, {**slot.environment, REPORTS: "reports"}) for slot in slots]
    with _Bars(slots, len(jobs), results) as bars:
        return run_jobs(jobs, slots, bars)


class _Lines:
    """Every line of a child behind its job's name."""

    def __init__(self, results: bool) -> None:
        self._results = results

    def began(self, job: Job, slot: Slot) -> None:
        """Say what runs where."""
        self.note(job, slot, f"begins on {slot.name}")

    def result(self, job: Job, slot: Slot, line: str) -> None:
        """Print a result as it is."""
        if self._results:
            print(with_workspace_flags(line), flush=True)

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

    def __init__(self, slots: Sequence[Slot], count: int, results: bool) -> None:
        super().__init__(results)
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
            if self._results and sys.stdout.isatty():
                self.show(with_workspace_flags(line))
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
