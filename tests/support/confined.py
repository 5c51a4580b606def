"""Commands before a command that take from it what a notebook has not: root's right to write anywhere, the network."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_BARE = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
_OFFLINE = ["unshare", "--net"]


def _works(words: list[str]) -> bool:
    try:
        return subprocess.run([*words, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


@functools.cache
def obeying_permissions() -> list[str] | None:
    """Return what makes a process obey permissions, also of root; None where nothing does."""
    if os.getuid() != 0:
        return []
    return _BARE if _works(_BARE) else None


@contextlib.contextmanager
def read_only(root: Path) -> Iterator[None]:
    """Let nobody who obeys permissions write below a folder."""
    try:
        for path in [root, *root.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield
    finally:
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


@functools.cache
def without_network() -> list[str]:
    """Return what takes the network from a process; nothing where that is not allowed here."""
    return _OFFLINE if _works(_OFFLINE) else []
