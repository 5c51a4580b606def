"""Locks of samples: two processes of this machine never make the same one. Knows keys alone.

The lock of a sample is a lock on one byte of a file, at a place made from the sample's key. Locks die with their
process: a kill leaves none behind. Where a file system has no locks, two processes may make the same sample; the store
takes both. Not filelock: it locks whole files, so that each of 57,600 samples would leave a file of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from kit.core.storage import disk_errors

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


class SampleLocks:
    """The samples that this process has locked; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "claims"  # as workspaces of before have it
        self._file: int | None = None

    def __enter__(self) -> SampleLocks:
        if fcntl is not None:
            with disk_errors(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)  # releases all locks
            self._file = None

    def acquire(self, key: bytes) -> bool:
        """Lock a sample; False when another process holds it."""
        if self._file is None or fcntl is None:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(key))
        except (BlockingIOError, PermissionError):  # POSIX allows either for a lock that is taken
            return False
        except OSError:  # a file system without locks
            return True
        return True

    def release(self, key: bytes) -> None:
        """Unlock a sample, once it is in the cache."""
        if self._file is not None and fcntl is not None:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _place(key))
            except OSError:  # a file system without locks
                return


def _place(key: bytes) -> int:
    return int.from_bytes(key[:7], "big")
