"""Options that several commands share, and how a command gets its project."""

from __future__ import annotations

import contextlib
import math
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import candidates
from kit.core.speech import is_quiet
from kit.errors import NotFinished

COMMANDS = (
    # the chain, in its order
    *("fetch", "explore", "folds", "fill", "new", "check-model", "check-layout", "train", "tune", "predict", "weights"),
    *("sd", "clip", "sources", "blend"),
    *("upload", "submissions", "leaderboard", "status", "watch", "blends", "check", "grade"),
    *("report", "compare", "show", "figure"),
    *("export", "import"),
    *("bundle", "push", "verify", "rm", "doctor", "demo"),
)
"""Every command, as `kit --help` lists them."""

_TYPED = re.compile(rf"\bkit ({'|'.join(name for name in COMMANDS if name != 'demo')})\b")
_FETCH = re.compile(r"\bkit fetch(?: --force)?(?! --|` is)")
"""A suggested `kit fetch` that does not say where from."""
_GLOBAL = ("-w", "--workspace", "--competition", "--stop-after")  # global options, each with a value
_GLOBAL_FLAGS = ("-q", "--quiet", "-v", "--verbose")

if TYPE_CHECKING:
    from kit.core.workspace import Workspace
    from kit.data.project import Project

ForceOption = Annotated[bool, typer.Option("--force", help="Do it again although it is there.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else on standard output.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of everything random.")]
FoldOption = Annotated[
    list[str],
    typer.Option("--fold", autocompletion=candidates.folds, help="A fold's number, several as 0,1, all, or full."),
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Take settings from this TOML file.")]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", autocompletion=candidates.among("auto", "cpu", "cuda"), help="auto, cpu, cuda, cuda:1 ..."
    ),
]


def finite(value: float | None) -> float | None:
    """Refuse `nan` as a callback of an option: it passes every limit where Typer is older than 0.26."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number.")
    return value


def hoist_global_options(words: list[str]) -> list[str]:
    """Return the command line with the global options first, wherever they were typed: `kit fetch -w DIR` works too."""
    first, rest = split_global_options(words)
    return [*first, *rest]


def expects_value(word: str) -> bool:
    """Return whether a word is a global option whose value comes next."""
    return word in _GLOBAL


def split_global_options(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the global options with their values, and all other words."""
    first, rest = [], []
    end = words.index("--") if "--" in words else len(words)
    position = 0
    while position < end:
        word = words[position]
        if word in _GLOBAL and position + 1 < end:
            first += [word, words[position + 1]]
            position += 1
        elif word in _GLOBAL_FLAGS or word.startswith(tuple(f"{name}=" for name in _GLOBAL[1:])):
            first.append(word)
        else:
            rest.append(word)
        position += 1
    return first, [*rest, *words[end:]]


def split_commas(names: list[str]) -> list[str]:
    """Return names that were typed apart or with commas between them: `a,b c` gives a, b, c."""
    return [name.strip() for typed_together in names for name in typed_together.split(",") if name.strip()]


_typed: list[str] = []  # the command of this process, without its global options
_stop_after: str | None = None


def remember_typed(words: list[str], stop_after: str | None) -> None:
    """Note what was typed after the global options, so that it can be said once more."""
    global _typed, _stop_after
    _typed, _stop_after = list(words), stop_after


def typed_again(*, without: Sequence[str] = (), without_values: Sequence[str] = (), stop: bool = True) -> str:
    """Return the command that was typed, with its --stop-after where that is a duration.

    Args:
        without: flags to leave out.
        without_values: options to leave out with their values.
        stop: say --stop-after too.
    """
    words = typed_words(without=without, without_values=without_values)
    is_duration = stop and _stop_after is not None and not set(_stop_after) & set(":-")
    return shlex.join(["kit", *words, *(["--stop-after", str(_stop_after)] if is_duration else [])])


def typed_words(*, without: Sequence[str] = (), without_values: Sequence[str] = ()) -> list[str]:
    """Return the words of the command that was typed, but for these flags, and these options with their values."""
    words, rest = [], list(_typed)
    while rest:
        word = rest.pop(0)
        if word in without_values:
            rest = rest[1:]
        elif word not in without and word.partition("=")[0] not in without_values:
            words.append(word)
    return words


def typed_flags(command: str) -> str:
    """Return what was typed after this command, without --force, as it can be typed again."""
    words = [word for word in _typed if word != "--force"]
    return shlex.join(words[words.index(command) + 1 :]) if command in words else ""


@contextlib.contextmanager
def going_on_without_force() -> Iterator[None]:
    """Say, where the time is over, that the command goes on without --force: with it, it would begin anew."""
    try:
        yield
    except NotFinished as error:
        raise NotFinished(str(error), again=typed_again(without=("--force",))) from None


_prefix = ""  # what a suggested command needs to reach the same workspace: set once, by the global options
_workspace: tuple[Path, str | None] = (Path(), None)
_fetch_flags: str | None = None  # what a suggested `kit fetch` needs to get the same data; None: ask the workspace


def remember_workspace(root: Path, competition: str | None, by_environment: bool) -> None:
    """Note the global options, so that suggested commands can repeat them."""
    global _prefix, _workspace, _fetch_flags
    words = [] if root == Path() or by_environment else ["-w", shlex.quote(str(root))]
    words += ["--competition", shlex.quote(competition)] if competition else []
    _prefix = "".join(f"{word} " for word in words)
    _workspace, _fetch_flags = (root, competition), None


def remember_fetch(flags: str) -> None:
    """Note what was typed after `kit fetch`, which a suggested one repeats instead of how the data had come before."""
    global _fetch_flags
    _fetch_flags = flags


def with_workspace_flags(message: str) -> str:
    """Return the message with its commands as they must be typed for this workspace."""
    if _FETCH.search(message) and (flags := _flags_of_fetch()):
        message = _FETCH.sub(lambda _: f"kit fetch {flags} --force", message)
    return _TYPED.sub(lambda found: f"kit {_prefix}{found.group(1)}", message) if _prefix else message


def say_next(command: str) -> None:
    """Print what to type next, with the results; who wants results alone (-q) has no use for it."""
    if not is_quiet():
        print(with_workspace_flags(f"Next: {command}"))


def _flags_of_fetch() -> str:
    if _fetch_flags is not None:
        return _fetch_flags
    from kit.data.index import open_workspace
    from kit.data.origin import read_origin
    from kit.errors import UsageError

    try:
        origin = read_origin(open_workspace(*_workspace))
    except UsageError:  # the message is about that very workspace
        return ""
    return origin.flags if origin else ""


def workspace_of(context: typer.Context, slug: str | None = None) -> Workspace:
    """Return the workspace that the global options name."""
    from kit.data.index import open_workspace

    root, competition = context.obj
    return open_workspace(root, slug or competition)


def project_of(context: typer.Context) -> Project:
    """Return the project in that workspace."""
    from kit.data.project import Project

    return Project(workspace_of(context))
