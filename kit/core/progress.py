"""Progress of long work: a bar with an ETA on a terminal, a plain line now and then elsewhere. Knows no work.

Everything goes to standard error, so that standard output holds results only.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PLAIN_INTERVAL = 10.0  # seconds between two plain lines: a log of an hour stays readable


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
        elif time.monotonic() - self._spoke >= PLAIN_INTERVAL:
            self._say(note)

    def _say(self, note: str) -> None:
        now = time.monotonic()
        self._spoke = now
        elapsed = now - self._started
        rate = (self.done - self._first) / elapsed if elapsed > 0 else 0.0
        left = f", {_seconds((self.total - self.done) / rate)} left" if rate > 0 and self.done < self.total else ""
        unit = f" {self.unit}" if self.unit else ""
        tail = f"  {note}" if note else ""
        print(f"{self.description}: {self.done}/{self.total}{unit}{left}{tail}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Stop the bar; a long plain job gets a last line."""
        if self._bar is not None:
            self._bar.stop()
        elif time.monotonic() - self._started >= PLAIN_INTERVAL:
            self._say(f"done in {_seconds(time.monotonic() - self._started)}")


def _rich_bar(description: str, total: int):  # type: ignore[no-untyped-def]  # rich is imported only for a terminal
    if not sys.stderr.isatty():
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
