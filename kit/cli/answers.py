"""`--json` of commands that print lines as they go: what they return is the one JSON document on standard output."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec

import typer

from kit.core.parallel import is_main_process
from kit.core.speech import is_quiet

P = ParamSpec("P")


@dataclass(frozen=True)
class Failure:
    """What a command says that has found something wrong: a result, and an exit code."""

    value: object
    code: int


def answers(command: Callable[P, object]) -> Callable[P, None]:
    """Print what a command returns as JSON where its `as_json` is set; the lines that it prints go to standard error
    then, where they tell how far it is. A command that fails prints no document.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.get("as_json"))
        elsewhere = io.StringIO() if is_quiet() else sys.stderr
        with contextlib.redirect_stdout(elsewhere) if as_json else contextlib.nullcontext():
            value = command(*args, **kwargs)
        failure = value if isinstance(value, Failure) else None
        if as_json and is_main_process():
            from kit.cli.results import print_json

            print_json(failure.value if failure else value)
        if failure is not None:
            raise typer.Exit(failure.code)

    return run
