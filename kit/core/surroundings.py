"""What a process may lack: a home, enough open files, an output that holds every letter. Knows no command.

Libraries take all of these for granted, and fail in the middle of work where one is missing.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence

from kit.errors import UsageError

_OPEN_FILES = 1 << 16  # more than any command opens; some systems call an unlimited number an error
_NO_HOME = "KIT_NO_HOME"  # tells children that HOME is a makeshift


def adapt(words: Sequence[str]) -> None:
    """Make up for what is missing, as far as that can be done.

    Args:
        words: the command line.

    Raises:
        UsageError: it names a path in a home that is not there.
    """
    _tolerate_letters()
    _raise_open_files()
    _give_home(words)


def has_home() -> bool:
    """Return whether this user has a home folder that outlives the process."""
    return _NO_HOME not in os.environ and os.path.expanduser("~") != "~"  # noqa: PTH111


def _tolerate_letters() -> None:
    """Escape what an output cannot show, such as a class's name on a pipe of Windows, instead of failing."""
    if sys.stdout is None:  # closed by the caller, or a program without a console
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # open as long as the process
    if sys.stderr is None:
        sys.stderr = sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _raise_open_files() -> None:
    """Open as many files as the system allows: macOS begins with 256, and a blend opens one for each source and
    fold."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _give_home(words: Sequence[str]) -> None:
    """Give libraries a folder for their caches where the user has no home: they would make one called ~ right here."""
    if os.path.expanduser("~") != "~":  # noqa: PTH111
        return
    for word in words:
        if word.startswith("~") or "=~" in word:
            raise UsageError(f"{word}: this user has no home folder (HOME is not set). Write the whole path.")
    with contextlib.suppress(OSError):  # nowhere to write at all
        folder = tempfile.mkdtemp(prefix="kit-home-")
        os.environ["HOME"], os.environ[_NO_HOME] = folder, "1"
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
