"""Under which commit and versions something was sent, so that it can be made again. Knows no submission."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kit import __version__

_PACKAGES = ("numpy", "opencv-python-headless", "torch", "timm")
_PATIENCE = 5.0  # seconds for git, which is a courtesy


def commit_of(folder: Path) -> str:
    """Return the git commit of a folder, with a + where something tracked was changed since; "" outside of git."""
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    return f"{commit}+" if commit and _git(folder, "status", "--porcelain", "--untracked-files=no") else commit


def versions() -> str:
    """Return the versions that numbers depend on, in one line."""
    found = [f"kit {__version__}", f"python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):  # no git here, or a slow disk
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
