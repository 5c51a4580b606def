"""Progress of long work: a bar with an ETA on a terminal, one line that moves in a notebook, a plain line now and then
elsewhere. Knows no work.

Everything goes to standard error, so that standard output holds results only.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from kit.core.notebook import in_notebook

T = TypeVar("T")

PLAIN_INTERVAL = 10.0  # seconds between two plain lines at first, later a fifth of the time so far: a night is a page
PLAIN_LONGEST = 600.0
LINE_INTERVAL = 1.0  # seconds in a notebook, which keeps all that is written; later a sixtieth of the time so far
LINE_LONGEST = 10.0


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Counts from 0 to `total`; `update` may carry a note such as a loss."""

    def __init__(self, description: str, total: int, unit: str = "") -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done = 0
        self._started = self._spoke = time.monotonic()
        self._first = 0
        self._moves = sys.stderr.isatty() and in_notebook()
        self._width = 0  # of the line that moves, as it stands there now
        self._bar, self._task = _rich_bar(description, total)

    def start_at(self, done: int) -> None:
        """Say that `done` were there before (a resumed job), so that the ETA counts only what is left."""
        self.done = self._first = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def update(self, advance: int = 1, note: str = "") -> None:
        """Count `advance` more."""
        self.done += advance
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, total=self.total, note=note)
        elif time.monotonic() - self._spoke >= self._pause():
            self._say(note)

    def _pause(self) -> float:
        elapsed = time.monotonic() - self._started
        if self._moves:
            return min(max(LINE_INTERVAL, elapsed / 60), LINE_LONGEST)
        return min(max(PLAIN_INTERVAL, elapsed / 5), PLAIN_LONGEST)

    def _say(self, note: str) -> None:
        now = time.monotonic()
        self._spoke = now
        elapsed = now - self._started
        rate = (self.done - self._first) / elapsed if elapsed > 0 else 0.0
        left = f", {_seconds((self.total - self.done) / rate)} left" if rate > 0 and self.done < self.total else ""
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
        elif time.monotonic() - self._started >= PLAIN_INTERVAL:
            self._say(f"done in {_seconds(time.monotonic() - self._started)}")
            if self._moves:
                print(file=sys.stderr, flush=True)
        elif self._width:
            self._move("")
            print(end="\r", file=sys.stderr, flush=True)


def _rich_bar(description: str, total: int):  # type: ignore[no-untyped-def]  # rich is imported only for a terminal
    if not sys.stderr.isatty() or in_notebook():
        return None, None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
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
def progress(description: str, total: int, unit: str = "") -> Iterator[Progress]:
    """Give a `Progress` that is closed when the block ends."""
    bar = Progress(description, total, unit)
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
            bar = Progress(description, max(1, total >> 20), "MiB")
            bar.start_at(done >> 20)
        bar.update((done >> 20) - bar.done)

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()
