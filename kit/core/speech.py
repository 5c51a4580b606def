"""What is said beside results: to standard error, as much as was asked for. Knows no command.

    say(text)      for people who watch: not with -q
    warn(text)     what looks wrong, and failures: always
    detail(text)   with -v alone: how long a step took, which files were read and written

Standard output holds results only, and nothing here writes to it.
"""

from __future__ import annotations

import os
import sys
from enum import IntEnum

VARIABLE = "KIT_VERBOSITY"
"""The variable that says `quiet`, `usual` or `verbose` where no option does; children are told by it."""


class Verbosity(IntEnum):
    """How much is said."""

    QUIET = 0
    USUAL = 1
    VERBOSE = 2


_chosen: Verbosity | None = None  # one a process, as its command line is
_said: set[str] = set()


def set_verbosity(chosen: Verbosity | None) -> None:
    """Choose how much is said from now on; None leaves it to the environment."""
    global _chosen
    _chosen = chosen


def verbosity() -> Verbosity:
    """Return how much is said. What the variable says and nobody knows is passed over: a word must stop no training."""
    if _chosen is not None:
        return _chosen
    name = os.environ.get(VARIABLE, "").strip().upper()
    return Verbosity[name] if name in Verbosity.__members__ else Verbosity.USUAL


def speech_environment() -> dict[str, str]:
    """Return what tells a child process to say as much as this one."""
    return {} if _chosen is None else {VARIABLE: _chosen.name.lower()}


def is_quiet() -> bool:
    """Return whether only results, warnings and errors are wanted."""
    return verbosity() is Verbosity.QUIET


def is_verbose() -> bool:
    """Return whether more than usual is wanted."""
    return verbosity() is Verbosity.VERBOSE


def say(text: str) -> None:
    """Print a line for people who watch."""
    if not is_quiet():
        _print(text)


def warn(text: str) -> None:
    """Print a line that must be seen: what looks wrong, or a failure."""
    _print(text)


def detail(text: str) -> None:
    """Print a line for whoever wants to know exactly."""
    if is_verbose():
        _print(text)


def detail_once(text: str) -> None:
    """Print such a line, unless it was printed before: some files are read many times."""
    if is_verbose() and _is_new(text):
        _print(text)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def say_once(line: str, *, about: str = "") -> None:
    """Say a line, unless it was said before: a command trains many folds and seeds, and builds each network twice.

    Args:
        about: what it says; a line that says the same of something like it is not said either.
    """
    if _is_new(about or line):
        say(line)


def warn_once(line: str, *, about: str = "") -> None:
    """Warn as `say_once` says: once of each thing."""
    if _is_new(about or line):
        warn(line)


def _is_new(what: str) -> bool:
    if what in _said:
        return False
    _said.add(what)
    return True


def begin_command() -> None:
    """Forget what was said: another command begins."""
    _said.clear()
