"""Progress of long work: a bar with an ETA on a terminal, one line that moves in a notebook, a plain line now and then
elsewhere. Knows no work.

Everything goes to standard error, so that standard output holds results only. Whoever counts also looks at the clock: a
process that is to stop by itself (`kit.core.deadline`) stops between two units of work.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from kit.core import deadline
from kit.core.notebook import in_kernel, in_notebook

T = TypeVar("T")

PLAIN_INTERVAL = 10.0  # seconds between two plain lines at first, later a fifth of the time so far: a night is a page
PLAIN_LONGEST = 600.0
LINE_INTERVAL = 1.0  # seconds in a notebook, which keeps all that is written; later a sixtieth of the time so far
LINE_LONGEST = 10.0
REPORT_INTERVAL = 0.5  # seconds between two reports to a process that shows the bars of several
REPORTS = "KIT_PROGRESS"
"""The variable that, set to `reports`, makes a process report to the one that started it instead of showing bars."""
_MARK = "\x02"  # begins a report, and no line for people


class Report(NamedTuple):
    """What a bar shows, from one process to another."""

    description: str
    done: int
    total: int
    left: float | None
    note: str


def read_report(line: str) -> Report | None:
    """Return the report that a line of standard error is, or None for a line for people."""
    if not line.startswith(_MARK):
        return None
    try:
        return Report(*json.loads(line[len(_MARK) :]))
    except (ValueError, TypeError):  # cut by a kill
        return None


def time_text(seconds: float) -> str:
    """Return `1:30`, or `2:01:30` from an hour on."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Counts from 0 to `total`; `update` may carry a note such as a loss."""

    def __init__(self, description: str, total: int, unit: str = "", *, stops: bool = True) -> None:
        """
        Args:
            stops: raise `NotFinished` in `update` when the time is over and something is left.
        """
        self.description, self.total, self.unit, self.stops = description, total, unit, stops
        self.done = 0
        self._started = self._spoke = time.monotonic()
        self._first = 0
        self._ends: float | None = None
        self._reports = os.environ.get(REPORTS) == "reports"
        self._moves = not self._reports and (in_kernel() or (sys.stderr.isatty() and in_notebook()))
        self._width = 0  # of the line that moves, as it stands there now
        self._bar: Any
        self._task: Any
        self._bar, self._task = (None, None) if self._reports else _rich_bar(description, total, self._left)

    def start_at(self, done: int) -> None:
        """Say that `done` were there before (a resumed job), so that the ETA counts only what is left."""
        self.done = self._first = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def limit(self, seconds: float | None) -> None:
        """Say that the work ends within this time, whatever the count tells; None takes that back."""
        self._ends = None if seconds is None else time.monotonic() + seconds

    def say(self, text: str) -> None:
        """Print a line; a bar stays below it."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def update(self, advance: int = 1, note: str = "") -> None:
        """Count `advance` more. Raises `NotFinished` when the time is over and something is left."""
        self.done += advance
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, total=self.total, note=note)
        elif time.monotonic() - self._spoke >= self._pause():
            self._say(note)
        if self.stops and self.done < self.total:
            deadline.check(f"{self.description}: {self.counted}")

    @property
    def counted(self) -> str:
        """Return how far it is: `37 of 102 photos`."""
        return f"{self.done} of {self.total}{f' {self.unit}' if self.unit else ''}"

    def _left(self) -> float | None:
        """Return how many seconds the rest may take; None where nothing is known, or nothing is left."""
        if self.done >= self.total:
            return None
        now = time.monotonic()
        elapsed, counted = now - self._started, self.done - self._first
        guesses = [] if counted <= 0 or elapsed <= 0 else [(self.total - self.done) * elapsed / counted]
        guesses += [] if self._ends is None else [max(0.0, self._ends - now)]
        return min(guesses, default=None)

    def _pause(self) -> float:
        if self._reports:
            return REPORT_INTERVAL
        elapsed = time.monotonic() - self._started
        if self._moves:
            return min(max(LINE_INTERVAL, elapsed / 60), LINE_LONGEST)
        return min(max(PLAIN_INTERVAL, elapsed / 5), PLAIN_LONGEST)

    def _say(self, note: str) -> None:
        self._spoke = time.monotonic()
        seconds = self._left()
        if self._reports:
            report = Report(self.description, self.done, self.total, seconds, note)
            print(_MARK + json.dumps(report), file=sys.stderr, flush=True)
            return
        left = "" if seconds is None else f", {time_text(seconds)} left"
        unit = f" {self.unit}" if self.unit else ""
        tail = f"  {note}" if note else ""
        text = f"{self.description}: {self.done}/{self.total}{unit}{left}{tail}"
        if self._moves:
            self._move(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def _move(self, text: str) -> None:
        print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
        self._width = len(text)

    def close(self) -> None:
        """Stop the bar; a long plain job gets a last line."""
        if self._bar is not None:
            self._bar.stop()
        elif time.monotonic() - self._started >= (REPORT_INTERVAL if self._reports else PLAIN_INTERVAL):
            self._say(f"done in {time_text(time.monotonic() - self._started)}")
            if self._moves:
                print(file=sys.stderr, flush=True)
        elif self._width:
            self._move("")
            print(end="\r", file=sys.stderr, flush=True)


def _rich_bar(  # type: ignore[no-untyped-def]  # rich is imported only for a terminal
    description: str, total: int, left: Callable[[], float | None]
):
    if not sys.stderr.isatty() or in_notebook():
        return None, None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Left(ProgressColumn):
        """The time left, as the plain lines say it."""

        def render(self, task: Task) -> Text:
            seconds = left()
            return Text("-:--" if seconds is None else time_text(seconds), style="progress.remaining")

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Left(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )
    bar.start()
    return bar, bar.add_task(description, total=total, note="")


_said: set[str] = set()


def say_once(line: str, *, about: str = "") -> None:
    """Say a line, unless it was said before: a command trains many folds and seeds, and builds each network twice.

    Args:
        about: what it says; a line that says the same of something like it is not said either.
    """
    if (about or line) not in _said:
        _said.add(about or line)
        print(line, file=sys.stderr, flush=True)


def begin_command() -> None:
    """Forget what was said: another command begins."""
    _said.clear()


@contextlib.contextmanager
def progress(description: str, total: int, unit: str = "", *, stops: bool = True) -> Iterator[Progress]:
    """Give a `Progress` that is closed when the block ends."""
    bar = Progress(description, total, unit, stops=stops)
    try:
        yield bar
    finally:
        bar.close()


def track(items: Iterable[T], description: str, total: int, unit: str = "") -> Iterator[T]:
    """Iterate over `items` and count them."""
    with progress(description, total, unit) as bar:
        for item in items:
            yield item
            bar.update()


@contextlib.contextmanager
def byte_progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """Give a `(done, total)` callback in bytes, shown in MiB; the bar starts with the first call."""
    bar: Progress | None = None

    def report(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = Progress(description, max(1, total >> 20), "MiB", stops=False)  # nothing goes on in mid-file
            bar.start_at(done >> 20)
        bar.update((done >> 20) - bar.done)

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()
