"""Progress of long work: a bar with an ETA on a terminal, one line that moves in a notebook, a plain line now and then
elsewhere, and nothing where that is wanted (-q). Knows no work.

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
from kit.core.bar_line import Reading, plain_line, rate_text, time_text
from kit.core.notebook import in_kernel, in_notebook
from kit.core.speech import detail, is_quiet, is_verbose, say
from kit.core.terminal import can_move

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
    unit: str
    left: float | None
    speed: str
    note: str


def read_report(line: str) -> Report | None:
    """Return the report that a line of standard error is, or None for a line for people."""
    if not line.startswith(_MARK):
        return None
    try:
        return Report(*json.loads(line[len(_MARK) :]))
    except (ValueError, TypeError):  # cut by a kill
        return None


class Progress:
    """Counts from 0 to `total`; `update` may carry a note such as a loss."""

    def __init__(self, description: str, total: int, unit: str, *, stops: bool = True) -> None:
        """
        Args:
            unit: what is counted, in the plural: photos, steps, files.
            stops: raise `NotFinished` in `update` when the time is over and something is left.
        """
        self.description, self.total, self.unit, self.stops = description, total, unit, stops
        self.done = 0
        self.speed = ""
        """What to show as the speed in place of units a second: a training counts steps, and its speed is photos."""
        self._note = ""
        self._started = self._spoke = time.monotonic()
        self._first = 0
        self._ends: float | None = None
        self._reports = os.environ.get(REPORTS) == "reports"
        self._moves = not self._reports and (in_kernel() or (can_move(sys.stderr) and in_notebook()))
        self._width = 0  # of the line that moves, as it stands there now
        self._bar: Any
        self._task: Any
        self._bar, self._task = (None, None) if self._reports else _rich_bar(self.reading, description, total)

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
            say(text)

    def update(self, advance: int = 1, note: str = "") -> None:
        """Count `advance` more. Raises `NotFinished` when the time is over and something is left."""
        self.done += advance
        self._note = note
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, total=self.total)
        elif time.monotonic() - self._spoke >= self._pause():
            self._say()
        if self.stops and self.done < self.total:
            deadline.check(f"{self.description}: {self.counted}")

    @property
    def counted(self) -> str:
        """Return how far it is: `37 of 102 photos`."""
        return f"{self.done} of {self.total} {self.unit}"

    def reading(self) -> Reading:
        """Return how far it is now, in words and numbers."""
        elapsed, counted = time.monotonic() - self._started, self.done - self._first
        speed = self.speed or (rate_text(counted / elapsed, self.unit) if counted > 0 and elapsed > 0 else "")
        return Reading(self.description, self.done, self.total, self.unit, elapsed, self._left(), speed, self._note)

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

    def _say(self) -> None:
        self._spoke = time.monotonic()
        now = self.reading()
        if self._reports:
            report = Report(now.description, self.done, self.total, now.unit, now.left, now.speed, now.note)
            print(_MARK + json.dumps(report), file=sys.stderr, flush=True)
        elif self._moves and not is_quiet():
            self._move(plain_line(now))
        else:
            say(plain_line(now))

    def _move(self, text: str) -> None:
        print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
        self._width = len(text)

    def close(self) -> None:
        """Stop the bar; a long plain job gets a last line."""
        elapsed = time.monotonic() - self._started
        if self._bar is not None:
            self._bar.stop()
        elif elapsed >= (REPORT_INTERVAL if self._reports else PLAIN_INTERVAL):
            ended = "done in" if self.done >= self.total else "stopped after"
            self._note = ", ".join([*([self._note] if self._note else []), f"{ended} {time_text(elapsed)}"])
            self._say()
            if self._moves and not is_quiet():
                print(file=sys.stderr, flush=True)
            return
        elif self._width:
            self._move("")
            print(end="\r", file=sys.stderr, flush=True)
        if is_verbose() and not self._reports:
            self._tell(elapsed)

    def _tell(self, elapsed: float) -> None:
        """Say how long it took, where that is wanted and nothing else has said it."""
        speed = self.reading().speed
        detail(f"{self.description}: {self.counted} in {elapsed:.1f} s{f', {speed}' if speed else ''}")


def _rich_bar(read: Callable[[], Reading], description: str, total: int) -> tuple[Any, Any]:
    """Return bars and this one's task; nothing where no bar can move, or none is wanted."""
    if not can_move(sys.stderr) or in_notebook() or is_quiet():
        return None, None
    from kit.core.bars import new_bars  # brings rich

    bar = new_bars(lambda task: read())
    bar.start()
    return bar, bar.add_task(description, total=total)


@contextlib.contextmanager
def progress(description: str, total: int, unit: str, *, stops: bool = True) -> Iterator[Progress]:
    """Give a `Progress` that is closed when the block ends."""
    bar = Progress(description, total, unit, stops=stops)
    try:
        yield bar
    finally:
        bar.close()


def track(items: Iterable[T], description: str, total: int, unit: str) -> Iterator[T]:
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
