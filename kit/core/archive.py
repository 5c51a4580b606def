"""A competition's archive: verified, and unpacked whole or not at all. Knows nothing of what the files mean.

An archive comes from outside, so nothing in it is believed: every name is checked before a byte is written, and every
byte against its checksum while it is written. The files grow in a temporary folder that takes its place at the end.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import posixpath
import re
import shutil
import stat
import struct
import threading
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

from kit.core.parallel import map_in_order
from kit.core.storage import disk_errors, writing_folder
from kit.errors import ArchiveError

T = TypeVar("T")
Report = Callable[[int, int], None]  # (bytes done, bytes in all)

# Generous for pictures, which hardly compress; a table of zeros may reach a ratio of a few dozen.
MAX_BYTES = 2 << 40
MAX_MEMBERS = 10_000_000
MAX_RATIO = 200
RATIO_COUNTS_ABOVE = 1 << 30  # below this a bomb would hurt nobody

SPARE_BYTES = 64 << 20  # left free on the disk
_CHUNK = 1 << 20
_AGAIN = "Run `kit fetch --force` to get it again, or give another copy with --from."
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, struct.error)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@dataclass(frozen=True)
class _Member:
    """One file or folder to write: where it goes, and how many bytes it holds."""

    path: str
    """Relative, with slashes."""
    size: int
    is_folder: bool
    origin: zipfile.ZipInfo | Path


def extract(source: Path, destination: Path, *, progress: Report | None = None) -> None:
    """Unpack `source`, a zip or a folder, so that it replaces `destination` whole.

    Hidden files and `__MACOSX` are left out; a single top folder is kept, because a layout may count on it. A failed or
    killed extraction leaves `destination` as it was.

    Raises:
        ArchiveError: not a zip, damaged, an unsafe name or link, too large, or no room on the disk.
    """
    _check_apart(source, destination)
    if source.is_dir():
        members = _plan(_listing(source), source)
        _check_room(members, source, destination)
        with writing_folder(destination) as folder:
            _write(members, folder, _open_copy, progress)
        return
    with _open(source) as file:
        members = _members(file, source)
        _check_room(members, source, destination)
        with writing_folder(destination) as folder:
            _write(members, folder, _opener(file, source), progress)


def verify(source: Path, *, progress: Report | None = None) -> None:
    """Read all of the zip `source` and compare it with its checksums, writing nothing.

    Says only whether the bytes are right: what `extract` would refuse for its names or its kind is passed over here.

    Raises:
        ArchiveError: not a zip, or damaged.
    """
    with _open(source) as file:
        _check_count(file, source)
        infos = [info for info in file.infolist() if not (info.filename.endswith("/") or _cannot_read(info))]
        if not _is_bomb(infos, source):
            members = [_Member(info.filename, info.file_size, False, info) for info in infos]
            _write(members, None, _opener(file, source), progress)


def looks_like(path: Path) -> str:
    """Say in a few words what a file that is not a whole zip is, by its first bytes."""
    with path.open("rb") as file:
        return looks_like_bytes(file.read(512))


def looks_like_bytes(head: bytes) -> str:
    """Say in a few words what these first bytes are the beginning of."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "an empty file"
    if start.startswith((b"<!doctype", b"<html", b"<head")):
        return "an HTML page, perhaps one that asks to log in or to accept the rules"
    if start.startswith(b"<?xml"):
        return "an XML page, such as a storage service sends with an error"
    if start.startswith((b"{", b"[")):
        return "JSON, such as the service sends with an error"
    if head.startswith(b"PK\x03\x04"):
        return "the beginning of a zip whose end is missing: a download that was cut"
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    return "not an archive"


_MAGIC = {
    b"\x1f\x8b": "a gzip file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}


# --- opening ------------------------------------------------------------------


def _open(source: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except FileNotFoundError:
        raise ArchiveError(f"{source} is missing. Run: kit fetch") from None
    except (*_DAMAGE, UnicodeDecodeError, ValueError) as error:
        raise ArchiveError(f"{source} is no zip that can be read: it is {looks_like(source)}. {_AGAIN}") from error
    except OSError as error:
        raise ArchiveError(f"{source} cannot be read: {error.strerror or error}.") from error


def _opener(file: zipfile.ZipFile, source: Path) -> Callable[[_Member], _Readable]:
    lock = threading.Lock()  # `zipfile` lets threads read at once, but counts its open members without a lock

    def open_member(member: _Member) -> _Readable:
        info = member.origin
        assert isinstance(info, zipfile.ZipInfo)
        return _Checked(lambda: file.open(info), f"{source}: {member.path}", lock)

    return open_member


def _open_copy(member: _Member) -> _Readable:
    path = member.origin
    assert isinstance(path, Path)
    return _Checked(lambda: path.open("rb"), str(path))


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def __enter__(self) -> _Readable: ...
    def __exit__(self, *_: object) -> None: ...


class _Checked:
    """A file or a zip member whose damage comes out as `ArchiveError`; a zip's last read compares the checksum."""

    def __init__(
        self, opener: Callable[[], IO[bytes]], name: str, lock: contextlib.AbstractContextManager[object] | None = None
    ) -> None:
        self._name = name
        self._lock = lock or contextlib.nullcontext()
        with self._lock:
            self._stream = self._call(opener)

    def read(self, size: int, /) -> bytes:
        return self._call(lambda: self._stream.read(size))

    def _call(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (*_DAMAGE, OSError) as error:  # bzip2 calls its own damage an OSError
            raise ArchiveError(f"{self._name} is damaged or cannot be read ({error}). {_AGAIN}") from error

    def __enter__(self) -> _Checked:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stream.close()


# --- deciding -----------------------------------------------------------------


def _members(file: zipfile.ZipFile, source: Path) -> list[_Member]:
    infos = file.infolist()
    if len(infos) > MAX_MEMBERS:
        raise ArchiveError(f"{source} lists {len(infos):,} files; more than {MAX_MEMBERS:,} are not unpacked.")
    _check_count(file, source)
    for info in infos:
        _check_entry(info, source)
    _check_bomb(infos, source)
    return _plan(((info.orig_filename, info.file_size, info.filename.endswith("/"), info) for info in infos), source)


def _check_count(file: zipfile.ZipFile, source: Path) -> None:
    # a damaged directory may lose files without a word: `zipfile` reads the count of its entries and ignores it
    tail = 22 + len(file.comment)
    with source.open("rb") as raw:
        raw.seek(-tail, os.SEEK_END)
        end = raw.read(tail)
    (count,) = struct.unpack_from("<H", end, 10)
    found = len(file.infolist())
    if end.startswith(b"PK\x05\x06") and count not in (0xFFFF, found & 0xFFFF):  # 0xFFFF: the true count is elsewhere
        raise ArchiveError(
            f"{source} is damaged: its directory should list {count:,} files and lists {found:,}. {_AGAIN}"
        )


def _check_entry(info: zipfile.ZipInfo, source: Path) -> None:
    name = f"{source}: {info.orig_filename!r}"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"{name} is a link or a device, not a file. Nothing was unpacked. {_AGAIN}")
    if reason := _cannot_read(info):
        raise ArchiveError(f"{name} {reason}. Unpack it yourself, then run: kit fetch --from FOLDER")


def _cannot_read(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 0x41:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return f"is packed in a way that Python cannot read (method {info.compress_type})"
    return ""


def _check_bomb(infos: list[zipfile.ZipInfo], source: Path) -> None:
    if _is_bomb(infos, source):
        packed, total = source.stat().st_size, sum(info.file_size for info in infos)
        raise ArchiveError(
            f"{source} would grow from {packed:,} to {total:,} bytes, as no archive of pictures does. Nothing was "
            "unpacked. If you trust it, unpack it yourself and run: kit fetch --from FOLDER"
        )


def _is_bomb(infos: list[zipfile.ZipInfo], source: Path) -> bool:
    packed, total = source.stat().st_size, sum(info.file_size for info in infos)
    overlap = sum(info.compress_size for info in infos) > packed  # several members made of the same bytes
    return overlap or total > MAX_BYTES or (total > RATIO_COUNTS_ABOVE and total > MAX_RATIO * packed)


def _listing(source: Path) -> Iterator[tuple[str, int, bool, Path]]:
    """Yield every file and folder below `source`, hidden ones left out. Raises `ArchiveError` for links."""
    for folder, folders, files in os.walk(source, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not _is_junk((name,)))
        for name in [*folders, *sorted(name for name in files if not _is_junk((name,)))]:
            path = Path(folder, name)
            status = path.lstat()
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                raise ArchiveError(f"{path} is a link or a device, not a file. Copy what it leads to, then run again.")
            yield path.relative_to(source).as_posix(), status.st_size, stat.S_ISDIR(status.st_mode), path


def _unreadable(error: OSError) -> None:
    raise ArchiveError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _plan(entries: Iterable[tuple[str, int, bool, zipfile.ZipInfo | Path]], source: Path) -> list[_Member]:
    """Return the members to write, in order, once every name among `entries` has been found safe."""
    members: list[_Member] = []
    spelled: dict[str, tuple[str, bool]] = {}  # folded name -> (name, is a folder)
    files: set[str] = set()
    folders: set[str] = set()
    for raw, size, is_folder, origin in entries:
        parts = _safe_parts(raw, source)
        if not parts or _is_junk(parts):
            continue
        path, parent = "/".join(parts), "/".join(parts[:-1])
        if parent not in folders:
            for depth in range(1, len(parts)):
                _check_collision("/".join(parts[:depth]), True, spelled, source)
            folders.add(parent)
        _check_collision(path, is_folder, spelled, source)
        if path in files:
            raise ArchiveError(f"{source} holds {path!r} twice. Nothing was unpacked. {_AGAIN}")
        if not is_folder:
            files.add(path)
        members.append(_Member(path, 0 if is_folder else size, is_folder, origin))
    if not files:
        raise ArchiveError(f"{source} holds no file. Give the competition's archive or its folder with --from.")
    return members


def _safe_parts(raw: str, source: Path) -> tuple[str, ...]:
    """Return the folders and the file of a name, in order. Raises `ArchiveError` for one that could lead elsewhere."""
    parts = tuple(part for part in raw.split("/") if part not in ("", "."))
    # a backslash is a separator on Windows, a NUL ends the name in C, and either may hide a way out
    unsafe = (
        raw.startswith(("/", "\\"))
        or re.match(r"[A-Za-z]:", raw)
        or "\\" in raw
        or ".." in parts
        or (not raw.isprintable() and any(unicodedata.category(letter) in ("Cc", "Cs") for letter in raw))
        or (len(raw) > 63 and any(len(part.encode("utf-8", "replace")) > 255 for part in parts))
    )
    if unsafe:
        raise ArchiveError(f"{source} holds the unsafe name {raw[:200]!r}. Nothing was unpacked. {_AGAIN}")
    return parts


def _is_junk(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _check_collision(name: str, is_folder: bool, spelled: dict[str, tuple[str, bool]], source: Path) -> None:
    """Refuse two names that a case-insensitive file system would confuse, and a file that is also a folder."""
    known, was_folder = spelled.setdefault(_fold(name), (name, is_folder))
    if known != name:
        raise ArchiveError(
            f"{source} holds {known!r} and {name!r}, which are one file on some disks. Nothing was unpacked. "
            "Rename one of them, then run: kit fetch --from FOLDER"
        )
    if was_folder != is_folder:
        raise ArchiveError(f"{source} holds {name!r} both as a file and as a folder. Nothing was unpacked. {_AGAIN}")


def _check_apart(source: Path, destination: Path) -> None:
    here, there = source.resolve(), destination.resolve()
    if here == there or there in here.parents or (here in there.parents and source.is_dir()):
        raise ArchiveError(f"{source} and its destination {destination} lie in one another. Move {source} elsewhere.")


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raise `ArchiveError` unless `needed` bytes for `what` are free where `folder` is or will be."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed + SPARE_BYTES:
        raise ArchiveError(
            f"{what} needs {needed / 1e9:.2f} GB in {folder}, and {free / 1e9:.2f} GB are free. "
            "Free some space, or choose another disk with --workspace DIR."
        )


def _check_room(members: list[_Member], source: Path, destination: Path) -> None:
    # the old content stays until the new one is whole, so what it occupies does not count as free
    check_room(destination.parent, sum(member.size for member in members), f"Unpacking {source}")


# --- writing ------------------------------------------------------------------


def _write(
    members: list[_Member],
    folder: Path | None,
    open_member: Callable[[_Member], _Readable],
    progress: Report | None,
) -> None:
    """Read each member once, to its end; write it below `folder` unless that is `None`.

    Threads, the largest members first: inflating, checksums and writing release the interpreter's lock.
    """
    if folder is not None:
        for path in {member.path if member.is_folder else posixpath.dirname(member.path) for member in members}:
            (folder / path).mkdir(parents=True, exist_ok=True)
    files = sorted((member for member in members if not member.is_folder), key=lambda member: -member.size)
    pouring = _Pouring(folder, open_member, progress, sum(member.size for member in files))
    for _ in map_in_order(pouring.pour, files, stopped=pouring.stopped):
        pass


class _Pouring:
    """Copies of members, several at a time, and how many bytes of all have been copied."""

    def __init__(
        self, folder: Path | None, open_member: Callable[[_Member], _Readable], progress: Report | None, total: int
    ) -> None:
        self._folder, self._open, self._progress, self._total = folder, open_member, progress, total
        self._done, self._lock = 0, threading.Lock()
        self.stopped = threading.Event()  # Ctrl-C must not wait for the end of a large member

    def pour(self, member: _Member) -> None:
        """Copy one member, or only read it where there is no folder."""
        with self._open(member) as stream:
            if self._folder is None:
                while chunk := self._next(stream):
                    self._count(len(chunk))
                return
            target = self._folder / member.path
            with disk_errors(target), target.open("xb") as file:
                while chunk := self._next(stream):
                    self._count(file.write(chunk))

    def _next(self, stream: _Readable) -> bytes:
        return b"" if self.stopped.is_set() else stream.read(_CHUNK)

    def _count(self, size: int) -> None:
        with self._lock:
            self._done += size
            if self._progress is not None:
                self._progress(self._done, self._total)
