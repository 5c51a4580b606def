"""A user's own Python file as a module. What is wrong with it is one line that names the file and the line in it."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from kit.core.storage import digest_bytes
from kit.errors import KitError, UsageError


def load_file(path: Path, *, called: str) -> ModuleType:
    """Run a Python file and return it as a module; the same content is run once in a process.

    Args:
        called: what names it in messages, such as `--layout`.

    Raises:
        UsageError: there is no such file, or running it fails; names the line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{called} {path}: {error.strerror or error}. Give a Python file.") from None
    name = f"kit_user_{digest_bytes(str(path.resolve()).encode() + data)}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{called} {path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses of the file look themselves up there
    try:
        with errors_of_user_code(path, "it"):
            exec(compile(data, str(path), "exec"), module.__dict__)  # never a stale `.pyc`
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def errors_of_user_code(path: Path, what: str) -> Iterator[None]:
    """Turn what a user's code raises into one line with the place in their file. kit's own errors pass.

    Args:
        what: was run, such as the name of a function.

    Raises:
        UsageError: the code raised.
    """
    try:
        yield
    except KitError:
        raise
    except SyntaxError as error:
        raise UsageError(
            f"{path}, line {error.lineno}: {error.msg}. Mend it, then run the same command again."
        ) from error
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f", line {lines[-1]}" if lines else ""
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UsageError(
            f"{path}{place}: {what} fails with {said}. Mend it, then run the same command again."
        ) from error
