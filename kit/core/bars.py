"""Bars on a terminal, by rich: one line each, in one style everywhere. Knows no work."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from kit.core.bar_line import Reading, fitted


def new_bars(read: Callable[[Task], Reading]) -> Progress:
    """Return bars that go when they stop; each one's task shows what `read` gives of it."""
    console = Console(stderr=True)
    return Progress(_Line(console, read), console=console, transient=True)


class _Line(ProgressColumn):
    """A whole line in one column, so that what goes first on a narrow terminal is chosen and not cut off."""

    def __init__(self, console: Console, read: Callable[[Task], Reading]) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._console, self._read = console, read
        self._signs = "━━" if "utf" in (console.encoding or "").lower() else "#-"
        if console.no_color or console.color_system is None:  # then the rest of the bar must be seen to be empty
            self._signs = f"{self._signs[0]} "

    def render(self, task: Task) -> Text:
        """Draw one line."""
        reading = self._read(task)
        line = fitted(reading, self._console.width - 1)
        text = Text(line.before, no_wrap=True)
        if line.bar:
            share = min(1.0, reading.done / reading.total) if reading.total else 1.0
            done = int(share * line.bar)
            text.append(" " if line.before else "")
            text.append(self._signs[0] * done, style="bar.complete" if share < 1 else "bar.finished")
            text.append(self._signs[1] * (line.bar - done), style="bar.back")
        return text.append(f"{' ' if line.before else ''}{line.behind}" if line.behind else "")
