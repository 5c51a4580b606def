"""What is said of a failure: one line and an exit code. What kit did not expect goes to a file, for whoever mends it.

Every line for people about a failure passes through `shown`, so none holds a secret.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import shlex
import sys
import tempfile
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kit import __version__
from kit.cli.options import COMMANDS, typed_again, with_workspace_flags
from kit.core.extras import explain_missing_module
from kit.core.secrets import without_secrets
from kit.errors import FAILED, UNEXPECTED, WRONG_USAGE, KitError, NoPermission

_PACKAGES = ("numpy", "pandas", "pyarrow", "opencv-python-headless", "opencv-python", "scipy", "numba", "pillow")
_MORE = ("torch", "timm", "diffusers", "transformers", "kaggle", "kagglesdk", "requests", "filelock", "typer")
_WRITES = {"report": ".html", "explore": ".html", "show": ".png", "figure": ".png"}  # commands with --out FILE
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)


def shown(message: str) -> str:
    """Return a message as it is shown: its commands for this workspace, and no secret in it."""
    return without_secrets(with_workspace_flags(message))


def described(error: Exception) -> tuple[str, int]:
    """Return the line about a failure, and the exit code. What nobody expected is written to a file first."""
    if isinstance(error, KitError):
        return str(error) + (_elsewhere() if isinstance(error, NoPermission) else ""), error.exit_code
    if isinstance(error, ModuleNotFoundError):
        missing = explain_missing_module(error, next((word for word in sys.argv[1:] if word in COMMANDS), None))
        if missing is not None:
            return str(missing), missing.exit_code
    known = _of_a_library(error) or _of_the_system(error)
    return (known, FAILED) if known else (_unexpected(error), UNEXPECTED)


def _elsewhere() -> str:
    """Return what to type where a page or picture cannot be written in the workspace."""
    typed = typed_again()
    _, command, *words = [*shlex.split(typed), ""]
    if command not in _WRITES or "--out" in words:
        return ""
    return f" Such as: {typed} --out {command}{_WRITES[command]}"


def _of_a_library(error: Exception) -> str | None:
    text = " ".join(str(error).split())
    if isinstance(error, ImportError) and re.search(r"lib(GL|gthread|SM|Xext|Xrender)\b", text):
        return (
            f"OpenCV cannot be loaded here ({text}). Run: pip uninstall -y opencv-python && pip install "
            "--force-reinstall opencv-python-headless"
        )
    if isinstance(error, MemoryError):
        return "The memory is full. Close other programs, or take smaller steps, then run the same command again."
    if isinstance(error, RuntimeError) and "home directory" in text:
        return "A path that begins with ~ names no home folder of this machine. Write the whole path."
    return None


def _of_the_system(error: Exception) -> str | None:
    """Return what to say where the system refused; None where it did not."""
    if not isinstance(error, OSError) or (error.filename is None and error.errno is None):
        return None
    reason = error.strerror or str(error)
    if "temporary directory" in reason:
        return "No folder for temporary files can be written. Set TMPDIR to one that can, then run again."
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in _TOO_MANY:
        return (
            f"{where}{reason}. This command opens more files at once than are allowed here. Name fewer sources, or "
            "raise the limit in a new shell (ulimit -n 4096), then run again."
        )
    if error.errno in _FULL:
        return f"{where}{reason}. Free some space, then run the same command again."
    return f"{where}{reason}. Check the path, the permissions and the room on the disk, then run again."


def _unexpected(error: Exception) -> str:
    """Write down what happened and return the line that says where."""
    what = f"Kit did not expect this: {type(error).__name__}: {' '.join(str(error).split())}"
    what = what if len(what) <= 300 else f"{what[:300]}..."
    path = _write_report(without_secrets(_report(error)))
    if path is None:
        return f"{without_secrets(what)}. No report of it could be written: set TMPDIR to a folder that can be written."
    return (
        f"{without_secrets(what)}. Please report it to whoever gave you kit, with the file {path} (it holds the "
        "command and the versions, no token and no picture)."
    )


def _report(error: Exception) -> str:
    lines = [
        f"kit {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"{time.strftime('%Y-%m-%d %H:%M:%S %z')}, in {_here()}",
        f"command: {shlex.join(['kit', *sys.argv[1:]])}",
        f"packages: {', '.join(_versions())}",
        f"output: {getattr(sys.stdout, 'encoding', None)}, files: {sys.getfilesystemencoding()}",
        "",
        *traceback.format_exception(error),
    ]
    return "\n".join(line.rstrip("\n") for line in lines) + "\n"


def _here() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was deleted
        return "a folder that is gone"


def _versions() -> list[str]:
    found = []
    for name in (*_PACKAGES, *_MORE):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return found


def _write_report(text: str) -> Path | None:
    """Write it where temporary files go, or else here, for this user's eyes only."""
    with contextlib.suppress(OSError):
        descriptor, name = tempfile.mkstemp(prefix=f"kit-report-{time.strftime('%Y%m%d-%H%M%S')}-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return Path(name)
    return None


def of_usage(error: Exception) -> tuple[str, int]:
    """Return the line about a command line that cannot be, and the exit code."""
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    return f"{message} See: {context.command_path if context else 'kit'} --help", WRONG_USAGE
