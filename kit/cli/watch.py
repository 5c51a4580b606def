"""`kit watch`: what is being trained, how good it is so far, and when it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli import app, candidates
from kit.cli.options import JsonOption, with_workspace_flags, workspace_of
from kit.core import deadline
from kit.core.bar_line import time_text
from kit.core.speech import say
from kit.core.terminal import can_move

if TYPE_CHECKING:
    from kit.core.workspace import Workspace
    from kit.upkeep.watch import Watched

LOOK = 2.0  # seconds between two looks
PLAIN = 30.0  # seconds between two plain ones at first, later a fifth of the time so far: a night is a page
PLAIN_LONGEST = 600.0
QUIET = 10.0  # seconds without a training after which all is done: between two folds there is a moment without one

_HEADER = ("training", "fold", "epoch", "RMSE", "fill", "better by", "best", "photos/s", "left", "")


@app.command(short_help="Watch trainings: score so far, speed, time left.")
def watch(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(autocompletion=candidates.trained, help="A source. Default: all that are being trained."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    page: Annotated[bool, typer.Option("--page", help="Write report/watch.html too, for a browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is being trained here: epoch, the fold's RMSE against that of the fill alone, the best epoch, photos/s,
    time left, and where the pictures are. Ends when nothing is trained any more, or by Ctrl-C; the trainings go on.

    Reads the runs' folders alone, so it may be typed in another shell, and stopped, at any time.

    \b
    Examples:
      kit watch
      kit watch regress --once
      kit watch --page                 # and open report/watch.html
      kit watch --json                 # one look
    """
    from kit.upkeep.watch import read_watched

    workspace = workspace_of(context)
    found = read_watched(workspace, name)
    if as_json:
        from kit.cli.results import print_json

        print_json(list(found))
        if page:
            _write_page(workspace, found)
        return
    if once or not _is_running(found):
        print(_text(found))
        if page:
            print(f"Page: {_write_page(workspace, found)}")
        return

    def look() -> Sequence[Watched]:
        seen = read_watched(workspace, name)
        if page:
            _write_page(workspace, seen)
        return seen

    if page:
        print(f"Page: {_write_page(workspace, found)}", flush=True)
    _follow(look)


def _is_running(found: Sequence[Watched]) -> bool:
    return any(one.state == "running" for one in found)


def _follow(look: Callable[[], Sequence[Watched]]) -> None:
    """Show what is seen until nothing is trained any more, the time is over, or somebody presses Ctrl-C."""
    found, last = look(), time.monotonic()
    try:
        with _shown() as show:
            while time.monotonic() - last < QUIET and not deadline.is_over():
                show(_text(found))
                time.sleep(LOOK)
                # without a name, what was trained last is shown when nothing is
                found = look()
                last = time.monotonic() if _is_running(found) else last
    except KeyboardInterrupt:
        say("")
        return
    print(_text(found))


@contextmanager
def _shown() -> Iterator[Callable[[str], None]]:
    """Give a function that shows a text: in its place on a terminal, else as lines now and then."""
    if not can_move(sys.stdout):
        began, due = time.monotonic(), 0.0

        def say(text: str) -> None:
            nonlocal due
            if (elapsed := time.monotonic() - began) >= due:
                due = elapsed + min(max(PLAIN, elapsed / 5), PLAIN_LONGEST)
                print(f"{text}\n", flush=True)

        yield say
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(), auto_refresh=False, transient=True) as live:
        yield lambda text: live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)


def _text(found: Sequence[Watched]) -> str:
    from kit.core.tables import table
    from kit.upkeep.watch import summary

    if not found:
        return with_workspace_flags("Nothing has been trained here yet. Run: kit train --fold all")
    lines = [summary(found), "", table(_HEADER, [_row(one) for one in found], drop=("fill", "best", "photos/s"))]
    pictures = [one.pictures[0] for one in found if one.pictures and one.state != "done"]
    pictures = pictures or [one.pictures[0] for one in found if one.pictures]
    lines += ["", *(f"Picture: {path}" for path in pictures)] if pictures else []
    interrupted = [one for one in found if one.state == "interrupted"]
    if interrupted and not _is_running(found):
        folds = ",".join(str(one.fold) for one in interrupted if one.name == interrupted[0].name)
        lines.append(with_workspace_flags(f"Go on: kit train {interrupted[0].name} --fold {folds}"))
    return "\n".join(lines)


def _row(one: Watched) -> list[str]:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    best = "-" if one.best_rmse is None else f"{one.best_rmse:.4f} at {one.best_epoch}"
    return [
        one.name,
        str(one.fold),
        f"{one.epoch:.4g} of {one.epochs}" if one.epochs else f"{one.epoch:.4g}",
        number(one.rmse, ".4f"),
        number(one.fill_rmse, ".4f") + (f" {one.base}" if one.fill_rmse is not None and one.base else ""),
        number(one.gain, "+.4f"),
        best,
        number(one.photos_per_second, ".0f"),
        "-" if one.seconds_left is None else time_text(one.seconds_left),
        one.state + (f" ({one.held_by})" if one.held_by else ""),
    ]


def _write_page(workspace: Workspace, found: Sequence[Watched]) -> Any:
    from kit.report.watch import write_watch_page
    from kit.upkeep.watch import summary

    path = workspace.report / "watch.html"
    chosen = [one for one in found if one.state != "done"] or list(found)
    pictures = [(f"{one.name}, fold {one.fold}: {file.stem}", file) for one in chosen for file in one.pictures]
    note = f"{workspace.slug}, {time.strftime('%Y-%m-%d %H:%M:%S')}"
    rows = [_row(one) for one in found]
    write_watch_page(path, summary(found), note, _HEADER, rows, pictures, refresh=_is_running(found))
    return path
