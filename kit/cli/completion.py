"""Completion as a shell asks for it: Typer's own protocol, with what it does not see put right before and after.

Typer reads the words of the command line from the environment and answers on standard output. Here global options are
put first, wherever they stand, as `run` does; words that bash has split at `=` are joined; and what bash gets is
escaped, for names of photos hold spaces and brackets.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Callable
from typing import NoReturn

from kit.cli.options import expects_value, hoist_global_options

VARIABLE = "_KIT_COMPLETE"
_SPECIAL = re.compile(r"([^\w\-+=@%:,./…])")


def is_asked() -> bool:
    """Return whether a shell asks, and no person types."""
    return bool(os.environ.get(VARIABLE))


def answer(app: Callable[[], object]) -> NoReturn:
    """Answer the shell and end. Whatever goes wrong is no answer: what is typed is not yet a command."""
    is_bash = os.environ[VARIABLE] == "complete_bash"
    code: object = 0
    said = io.StringIO()
    cut, in_quotes = "", False
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        try:
            cut, in_quotes = _prepare_bash() if is_bash else (_prepare_others(), False)
            app()
        except SystemExit as end:
            code = end.code
        except Exception:
            said, code = io.StringIO(), 1
    lines = [line for line in said.getvalue().splitlines() if line]
    if is_bash:
        lines = [line.removeprefix(cut) for line in lines]
        lines = lines if in_quotes else [_SPECIAL.sub(r"\\\1", line) for line in lines]
    with contextlib.suppress(BrokenPipeError):
        print(*lines, sep="\n", end="\n" if lines else "", flush=True)
    sys.exit(code if isinstance(code, int) else 0)


def _prepare_bash() -> tuple[str, bool]:
    """Rewrite the words as bash gives them; return the part of the last one that bash does not ask about, and whether a
    quote is open before it."""
    words = os.environ.get("COMP_WORDS", "")
    typed = words.split("\n") if "\n" in words else words.split()
    place = int(os.environ.get("COMP_CWORD", len(typed) - 1))
    typed = [*typed[: place + 1], *([""] if place >= len(typed) else [])]
    joined, cut = _joined(typed[1:])
    *before, last = joined or [""]
    in_quotes = last[:1] in ("'", '"')
    last = last[1:] if in_quotes else last
    before = _hoisted(before)
    os.environ["COMP_WORDS"] = "\n".join(["kit", *before, last])
    os.environ["COMP_CWORD"] = str(len(before) + 1)
    return cut, in_quotes


def _joined(words: list[str]) -> tuple[list[str], str]:
    """Join `lr`, `=`, `1` to `lr=1`; return too what of the last word stands before the part that is asked about."""
    joined: list[str] = []
    cut, opened = "", False
    for word in words:
        if joined and (word.startswith("=") or (opened and word)):
            cut = joined[-1] + ("=" if word == "=" else "")
            joined[-1] += word
        else:
            cut = ""
            joined.append(word)
        opened = word == "="
    return joined, cut


def _prepare_others() -> str:
    """Rewrite the words as zsh, fish and PowerShell give them."""
    text = os.environ.get("_TYPER_COMPLETE_ARGS", "")
    head, space, last = text.rpartition(" ")
    with contextlib.suppress(ValueError):  # a quote is open: the words stay as they are
        words = shlex.split(head)
        if space and words:
            os.environ["_TYPER_COMPLETE_ARGS"] = f"{shlex.join(['kit', *_hoisted(words[1:])])} {last}"
    return ""


def _hoisted(words: list[str]) -> list[str]:
    """Put the global options first; alone where the value of the last one is asked about."""
    return [words[-1]] if words and expects_value(words[-1]) else hoist_global_options(words)
