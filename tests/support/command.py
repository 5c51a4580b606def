"""`kit ...` as a user types it, without a new process for each: same parser, same exit code, same two streams."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from dataclasses import dataclass
from unittest import mock

from kit.cli import run


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def is_one_error_line(self) -> bool:
        """The exit code of a failure and exactly one line on standard error that begins with `Error:`, as it should."""
        return (
            self.code in (1, 2, 75)
            and self.err.startswith("Error: ")
            and self.err.count("\n") == 1
            and self.err[-1] == "\n"
        )


def kit(line: str, *more: object) -> Done:
    """Run `kit LINE MORE...`. An exception that the command line lets out comes out here too."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["kit", *shlex.split(line), *map(str, more)]
    code: object = 0
    with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int | None)
    return Done(code or 0, _bare(out.getvalue()), _bare(err.getvalue()))


def _bare(text: str) -> str:
    """Suggested commands without the workspace that they repeat; `test_suggested_commands...` looks at that."""
    return re.sub(r"\bkit (?:(?:-w|--competition) (?:'[^']*'|\S+) )+(?=[a-z])", "kit ", text)


def ok(line: str, *more: object) -> str:
    """Run it, demand that it worked, give its standard output."""
    done = kit(line, *more)
    assert done.code == 0, f"kit {line}: {done.err}"
    return done.out
