"""A user's own Python file, run as a module. What is wrong with it is one line with their file and its line."""

from __future__ import annotations

import ast
import linecache
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from kit.core.extras import explain_missing_module
from kit.core.speech import say
from kit.core.storage import digest_bytes
from kit.errors import KitError, NotFinished, UsageError

AGAIN = "Mend it, then run the same command again"


def read_code(path: Path, hint: str, *, called: str = "") -> bytes:
    """Return the bytes of a Python file.

    Args:
        hint: what to give instead, where it cannot be read.
        called: what names it in messages, such as `--layout`.

    Raises:
        UsageError: it is not there or cannot be read.
    """
    name = f"{called} {path}".strip()
    try:
        return path.read_bytes()
    except ValueError:
        raise UsageError(f"{name!r} is no path. {hint}") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror or error}. {hint}") from None


def parse_code(path: Path, data: bytes) -> ast.Module:
    """Return a file's syntax tree. Raises `UsageError` where it is not Python; names the line."""
    with _not_python(path):
        return ast.parse(data, str(path))  # of bytes: they may have a mark of their order, or declare their encoding


@contextmanager
def _not_python(path: Path) -> Iterator[None]:
    try:
        yield
    except SyntaxError as error:
        place = f"{path}:{error.lineno}" if error.lineno else str(path)
        raise UsageError(f"{place}: not Python: {error.msg}. {AGAIN}.") from None
    except (ValueError, RecursionError, MemoryError) as error:  # bytes that are no text, brackets without end
        raise UsageError(f"{path} cannot be read as Python: {shortened(error)}. {AGAIN}.") from None


def run_code(path: Path, data: bytes, name: str) -> ModuleType:
    """Run what was read of a file, and return it as a module of that name.

    Raises:
        UsageError: it is not Python, or running it fails; names the line.
        MissingPackage: it imports a package of one of kit's extras.
    """
    with _not_python(path):
        code = compile(data, str(path), "exec")  # never a stale `.pyc`
    module = ModuleType(name)
    module.__file__ = str(path)
    text = data.decode(errors="replace")
    linecache.cache[str(path)] = (len(text), None, text.splitlines(True), str(path))
    sys.modules[name] = module  # dataclasses and annotations look their module up
    try:
        with errors_of_user_code(path, "running the file"):
            exec(code, module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_file(path: Path, *, called: str) -> ModuleType:
    """Run a Python file and return it as a module; the same content is run once in a process.

    Args:
        called: what names it in messages, such as `--layout`.

    Raises:
        UsageError, MissingPackage: see `read_code` and `run_code`.
    """
    data = read_code(path, "Give a Python file", called=called)
    if path.suffix != ".py":
        raise UsageError(f"{called} {path} is no Python file: its name must end in .py")
    name = f"kit_user_{digest_bytes(str(path.resolve()).encode() + data)}"
    return sys.modules[name] if name in sys.modules else run_code(path, data, name)


LONG = 20.0  # seconds after which somebody may wonder


@contextmanager
def said_when_long(what: str) -> Iterator[None]:
    """Say one line when a piece of a user's code takes long: it may never end, and shows no progress."""
    line = f"{what} is still running after {LONG:.0f} s; Ctrl-C stops it."
    timer = threading.Timer(LONG, lambda: say(line))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def errors_of_user_code(path: Path, doing: str) -> Iterator[None]:
    """Turn what a user's code raises into one line with the place in their file. kit's own errors pass.

    Args:
        doing: what may fail, such as "index()".

    Raises:
        UsageError: the code raised.
        MissingPackage: it imported a package of one of kit's extras.
    """
    try:
        yield
    except (KitError, NotFinished):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and (missing := explain_missing_module(error)) is not None:
            raise missing from None
        raise failed(error, path, doing, AGAIN) from error


def failed(error: BaseException, place: Path | str, doing: str, hint: str = "") -> UsageError:
    """Return the one line about an exception in somebody's code: the last line of theirs, and what was raised.

    Args:
        place: their file, or the name of a package's module.
        doing: what failed, such as "running the file".
        hint: what to do about it.
    """
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(place)]
    where = f"{place}:{lines[-1]}" if lines else str(place)
    return UsageError(f"{where}: {doing} fails: {shortened(error)}{f'. {hint}' if hint else ''}")


def shortened(error: BaseException) -> str:
    """Return an exception's kind and text on one line of a bearable length."""
    text = " ".join(str(error).split())[:200].rstrip(". ")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
