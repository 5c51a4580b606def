"""Files written whole, digests and manifests. Knows nothing of what the files mean.

The rule everywhere: write under a temporary name in the same folder, flush to disk, rename. A reader sees the old file
or the new one, never half of one. A manifest is written last, so its presence means that the rest is complete.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import inspect
import json
import math
import os
import shutil
import socket
import tempfile
import threading
import time
import tokenize
import uuid
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout

from kit.core.speech import detail, detail_once
from kit.errors import Busy, DamagedStore, KitError, MissingStep, NoPermission

_TEMPORARY = ".partial-"
_ABANDONED = 7 * 86400.0  # seconds since another machine touched a temporary file of its own


def temporary_sibling(path: Path) -> Path:
    """Return a name in the same folder that no reader looks at and `sweep` may delete."""
    return path.with_name(f"{_TEMPORARY}{os.getpid()}-{_machine()}-{uuid.uuid4().hex[:8]}-{path.name}"[:200])


def is_temporary_name(name: str) -> bool:
    """Return whether a file or folder has a name of `temporary_sibling`."""
    return name.startswith(_TEMPORARY)


@functools.cache
def _machine() -> str:
    """Return a short name of this machine: in a shared folder a number alone names no process."""
    return digest_bytes(socket.gethostname().encode())[:6]


def sweep(folder: Path) -> None:
    """Delete what killed writers left in `folder`; files of live processes are kept, and those of other machines until
    they are old: whether their processes live cannot be seen from here."""
    if not folder.is_dir():
        return
    for leftover in folder.glob(f"{_TEMPORARY}*"):
        pid, _, rest = leftover.name[len(_TEMPORARY) :].partition("-")
        if pid.isdigit() and (_is_left_here(int(pid)) if rest.startswith(f"{_machine()}-") else _is_old(leftover)):
            shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)


def _is_left_here(pid: int) -> bool:
    return pid != os.getpid() and not _is_running(pid)


def _is_old(path: Path) -> bool:
    with contextlib.suppress(OSError):  # it has become what it was to be
        return time.time() - path.stat().st_mtime > _ABANDONED
    return False


@functools.lru_cache(maxsize=1024)
def _sweep_once(folder: str) -> None:
    """Sweep a folder before this process first writes there."""
    sweep(Path(folder))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk."""
    # a rename is durable only once its folder is; some file systems cannot open folders
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def can_write(path: Path) -> bool:
    """Return whether `path` can be written: whether the nearest folder that is there, itself or above, may be."""
    folder = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    return folder.is_dir() and os.access(folder, os.W_OK)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a folder without permission into one `KitError` line that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise KitError(
                f"No room left on the disk while writing {path}. Nothing was damaged: free some space and run the same "
                "command again."
            ) from error
        if error.errno == errno.EFBIG:
            raise KitError(
                f"{path} would be larger than this shell or disk allows one file to be (see: ulimit -f). Nothing was "
                "damaged: raise the limit and run the same command again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise NoPermission(f"No permission to write {path}. Choose a place that you may write to.") from error
        if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
            raise KitError(f"Cannot write {path}: {error.strerror}. Move what is in the way, run again.") from error
        if _TEMPORARY in str(error.filename or ""):
            error.filename = str(path)  # nobody knows the other name
        raise


# newer versions of filelock would write another kind of lock where the system has none: a file that outlives a kill
_HARD: dict[str, Any] = (
    {"fallback_to_soft": False} if "fallback_to_soft" in inspect.signature(FileLock.__init__).parameters else {}
)


@contextlib.contextmanager
def only_one(folder: Path, what: str) -> Iterator[None]:
    """Keep a second process on this machine from doing `what` in the same folder. The lock dies with the process.

    The lock file lies with the system's temporary files: a refused or interrupted command leaves nothing in `folder`.

    Raises:
        Busy: another process is at it.
    """
    with locked(folder) as is_ours:
        if not is_ours:
            raise Busy(f"Another `{what}` is running in {folder}. Wait for it, then run: {what}")
        yield


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold the lock that belongs to `path`, and note who does, for the others. Both end with the process.

    Args:
        what: begins the message to the others: "Fold 0 of regress is being trained".

    Raises:
        Busy: another process of this machine holds it; says which one and since when.
    """
    note = _lock_file(path).with_suffix(".by")
    with locked(path) as is_ours:
        if not is_ours:
            raise Busy(f"{what} by another process{_holder(note)}.")
        with contextlib.suppress(OSError):  # as the lock itself: better unguarded than unusable
            note.write_text(f"{os.getpid()}, since {time.strftime('%H:%M')}", encoding="utf-8")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                note.unlink()


def holder(path: Path) -> str | None:
    """Return who holds the lock that belongs to `path`, as `1234, since 14:02`, or None if nobody does."""
    file = _lock_file(path)
    if not file.exists():
        return None
    with locked(path, wait=0) as is_ours:
        return None if is_ours else _holder(file.with_suffix(".by")).strip(" ()") or "another process"


def _holder(note: Path) -> str:
    try:
        return f" ({note.read_text(encoding='utf-8')[:100]})"
    except (OSError, UnicodeDecodeError):  # it has locked, and not written yet
        return ""


def _lock_file(path: Path) -> Path:
    return Path(tempfile.gettempdir()) / f"kit-{digest_bytes(str(path.resolve()).encode())}.lock"


@contextlib.contextmanager
def locked(path: Path, *, wait: float = 0.2) -> Iterator[bool]:
    """Hold the lock that belongs to `path` among the processes of this machine; give False if another one holds it.

    The lock file lies with the system's temporary files, and goes when the block ends.

    Args:
        wait: seconds to wait for the other one.
    """
    file = _lock_file(path)
    lock = FileLock(file, timeout=wait, **_HARD)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError):  # no room, another user's lock, no locks: better unguarded than unusable
        yield True
        return
    try:
        yield True
    finally:
        if not _release_removes():
            with contextlib.suppress(OSError):
                file.unlink()  # while it is held: whoever has opened it sees that it is gone, and opens the next one
        lock.release()


@functools.cache
def _release_removes() -> bool:
    """Return whether the installed filelock removes a lock's file as it releases it, as it does from 3.24 to 3.29.

    Removed twice, the second time takes the file of whoever has locked the next one, and a third process locks too.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "probe.lock"
            with FileLock(file, timeout=0.2, **_HARD):
                pass
            return not file.exists()
    except (OSError, NotImplementedError):
        return False


@contextlib.contextmanager
def writing(
    path: Path, mode: str = "wb", *, encoding: str | None = None, newline: str | None = None
) -> Iterator[IO[Any]]:
    """Open a temporary file that becomes `path` when the block ends without an error.

    Raises:
        KitError: no room, or no permission. `path` is then what it was before.
    """
    temporary = temporary_sibling(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(str(path.parent))
        try:
            with temporary.open(mode, encoding=encoding, newline=newline) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            detail(f"Written: {path}")
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that replaces `path` when the block ends without an error."""
    temporary = temporary_sibling(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        try:
            temporary.mkdir()
            yield temporary
            _swap(temporary, path)
            detail(f"Written: {path}")
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(path.parent)


def _swap(temporary: Path, path: Path) -> None:
    """Put a folder in another's place. A kill between the two renames leaves the old one beside it, not lost."""
    old = path.with_name(f"{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    temporary.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` whole."""
    with writing(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def to_json(value: object) -> str:
    """Return the one JSON form of `value`: sorted keys, so that equal values give equal bytes."""
    return json.dumps(value, indent=2, sort_keys=True, default=_plain, ensure_ascii=False) + "\n"


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def write_json(path: Path, value: object) -> None:
    """Write `value` whole, in its one JSON form."""
    write_text(path, to_json(value))


def read_json(path: Path, *, made_by: str) -> dict[str, Any]:
    """Read a JSON object that `made_by` (a command) writes.

    Raises:
        MissingStep: the file is not there.
        DamagedStore: it holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise MissingStep(f"{path} is missing. Run: {made_by}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedStore(f"{path} is not JSON ({error}). Delete it, then run: {made_by}") from None
    if not isinstance(value, dict):
        raise DamagedStore(f"{path} holds no JSON object. Delete it, then run: {made_by}")
    detail_once(f"Read: {path}")
    return value


def digest_bytes(data: bytes | memoryview) -> str:
    """Return SHA-256 in hexadecimal, shortened to 16 digits: names versions, guards no secret."""
    return hashlib.sha256(data).hexdigest()[:16]


def digest_file(path: Path) -> str:
    """Return `digest_bytes` of a file's content, in bounded memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def digest_of(value: object) -> str:
    """Return `digest_bytes` of the one JSON form of `value`."""
    return digest_bytes(to_json(value).encode())


class ArrayWriter:
    """Writes rows of a new `.npy`, in any order and from several threads.

    By positional writes and not through a map: a map costs a page fault for every 4 KiB, which takes longer than
    decoding the photos, and a full disk kills the process instead of raising `OSError`.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type) -> None:
        self.dtype, self._row_shape = np.dtype(dtype), shape[1:]
        self._row_bytes = self.dtype.itemsize * math.prod(shape[1:])
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        self._file = path.open("xb", buffering=0)
        self._lock = threading.Lock()
        np.lib.format.write_array_header_1_0(self._file, header)
        self._offset = self._file.tell()
        self._file.truncate(self._offset + shape[0] * self._row_bytes)

    def write(self, row: int, values: np.ndarray) -> None:
        """Write one row: an array of the shape and the type that the file was made for."""
        self._write(row, values, values.shape)

    def write_many(self, row: int, values: np.ndarray) -> None:
        """Write several rows from this one on, `(n, ...)`."""
        self._write(row, values, values.shape[1:])

    def _write(self, row: int, values: np.ndarray, shape: tuple[int, ...]) -> None:
        if shape != self._row_shape or values.dtype != self.dtype:
            raise ValueError(f"a row of {self.dtype} {self._row_shape} is needed, not of {values.dtype} {shape}")
        left, position = memoryview(values.tobytes()), self._offset + row * self._row_bytes
        while left:
            written = self._write_some(left, position)
            left, position = left[written:], position + written

    def _write_some(self, data: memoryview, position: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._file.fileno(), data, position)
        with self._lock:  # systems without positional writes
            self._file.seek(position)
            return self._file.write(data) or 0

    def close(self) -> None:
        """Flush the file to disk and close it."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


def map_array(path: Path, *, made_by: str) -> np.ndarray:
    """Memory-map one `.npy` read-only.

    Raises:
        MissingStep: the file is not there.
        DamagedStore: it is not a whole `.npy`.
    """
    try:
        found = np.lib.format.open_memmap(path, mode="r")  # np.load would also take a zip or a pickle
    except FileNotFoundError:
        raise MissingStep(f"{path} is missing. Run: {made_by}") from None
    except (ValueError, EOFError, OverflowError, SyntaxError, tokenize.TokenError) as error:  # a header can be anything
        raise DamagedStore(f"{path} is not a whole .npy file ({error}). Delete it, then run: {made_by}") from None
    detail_once(f"Read: {path}")
    return found
