"""Files as parts in a bucket, each an object named by its digest, and lists of files. Knows nothing of jobs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from kit.core.bucket.objects import Bucket
from kit.core.storage import digest_of, disk_errors, is_temporary_name, temporary_sibling, to_json, write_json
from kit.errors import DamagedStore, KitError

PART = 64 << 20  # bytes: a few of them fit into memory, and one is sent whole or not at all
_AT_ONCE = 6  # parts on their way
_ON_THEIR_WAY = threading.BoundedSemaphore(_AT_ONCE)  # of all files: each part is held in memory
_TRIES = 8  # looks at files that change while they are looked at
_HEAD = 1 << 20  # bytes of a part above which to ask whether it is there costs less than to send it

Told = Callable[[int], None]
"""Hears of so many bytes more."""


@dataclass(frozen=True)
class FileEntry:
    """A file of a list."""

    size: int
    modified: float
    """Seconds since the epoch, by the clock of the machine that wrote it."""
    parts: tuple[str, ...]
    """Digests, in order."""

    @property
    def content(self) -> str:
        """Return what names the content."""
        return self.parts[0] if len(self.parts) == 1 else digest_of([self.size, self.parts])


Files = Mapping[str, FileEntry]
"""By path below the workspace."""


def version_of(files: Files) -> str:
    """Return what names the contents of all files."""
    return digest_of({name: [one.size, *one.parts] for name, one in files.items()})


@dataclass(frozen=True)
class Manifest:
    """A list of files in a bucket."""

    files: Files
    origin: str = ""
    """Version of what lay in the workspace when the job was sent."""
    begun: float = 0.0
    """When the job that has written them began; 0 for what its command has sent."""
    owner: str = ""
    """Of what command."""

    @property
    def version(self) -> str:
        """Return what names the contents."""
        return version_of(self.files)

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        told = {"origin": self.origin, "begun": self.begun, "owner": self.owner}
        return to_json({"format": 1, "files": self.files, **told}).encode()


def read_manifest(bucket: Bucket, name: str) -> Manifest | None:
    """Return a list of files; None where it is not there. Raises `KitError` where it is none."""
    data = bucket.read(name)
    if data is None:
        return None
    try:
        found = json.loads(data)
        files = {
            str(path): FileEntry(int(one["size"]), float(one["modified"]), tuple(map(str, one["parts"])))
            for path, one in found["files"].items()
            if _is_inside(path)
        }
        return Manifest(files, str(found["origin"]), float(found["begun"]), str(found["owner"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KitError(
            f"{bucket.url}/{name} is no list of files of kit. Delete that object, then run the same command again."
        ) from None


def _is_inside(path: str) -> bool:
    parts = Path(path).parts
    if Path(path).is_absolute() or ".." in parts or not parts:
        raise ValueError(path)
    return True


def matching(root: Path, patterns: Iterable[str]) -> list[Path]:
    """Return the files below `root` that fit the patterns, without temporary files and locks, in order."""
    found = {path for pattern in patterns for path in root.glob(pattern)}
    return sorted(path for path in found if not _is_passing(path.relative_to(root)) and path.is_file())


def _is_passing(path: Path) -> bool:
    """Return whether a file is temporary, in a temporary folder, or a lock."""
    is_temporary = path.name.startswith(".") or any(is_temporary_name(part) for part in path.parts)
    return is_temporary or path.name == "claims" or path.suffix == ".lock"


@dataclass
class Digests:
    """Digests of files that were read before, by size, time and place on the disk: gigabytes are read once."""

    known: dict[str, tuple[tuple[int, int, int], tuple[str, ...]]] = field(default_factory=dict)

    def of(self, path: Path, file: IO[bytes], size: int) -> tuple[str, ...]:
        """Return the digests of the parts of a file that is open, of its first `size` bytes."""
        status = os.fstat(file.fileno())
        seen = (size, status.st_mtime_ns, status.st_ino)
        before = self.known.get(str(path))
        if before is not None and before[0] == seen:
            return before[1]
        parts = tuple(_digest(data) for data in _parts(file, size))
        self.known[str(path)] = (seen, parts)
        return parts

    def load(self, path: Path) -> None:
        """Take over what an earlier process has noted; a damaged note is none."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            for name, (seen, parts) in json.loads(path.read_text(encoding="utf-8")).items():
                size, modified, place = map(int, seen)
                self.known[name] = ((size, modified, place), tuple(map(str, parts)))

    def save(self, path: Path) -> None:
        """Note those of files that are there yet, for the next process."""
        write_json(path, {name: one for name, one in sorted(self.known.items()) if Path(name).is_file()})


def _parts(file: IO[bytes], size: int) -> Iterator[bytes]:
    for start in range(0, size, PART):
        yield _part(file, start, size)


def _part(file: IO[bytes], start: int, size: int) -> bytes:
    return os.pread(file.fileno(), min(PART, size - start), start)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


@dataclass
class Pinned:
    """Files as they were at one moment: open, so that nothing that happens to their names changes them."""

    files: dict[str, FileEntry]
    opened: dict[str, IO[bytes]]


@contextlib.contextmanager
def pinned(root: Path, patterns: Iterable[str], digests: Digests, without: Iterable[str] = ()) -> Iterator[Pinned]:
    """Open all files that fit the patterns, as they are at one moment.

    Files that grow are read as far as they went then; files that are replaced by others are looked for again.

    Args:
        without: names of files that are left out.
    """
    left_out = set(without)
    for _ in range(_TRIES):
        with contextlib.ExitStack() as stack:
            found = _open_all(root, [p for p in matching(root, patterns) if _name(root, p) not in left_out], stack)
            if found is None:
                continue
            files = {}
            for name, (file, status) in found.items():
                parts = digests.of(root / name, file, status.st_size)
                files[name] = FileEntry(status.st_size, status.st_mtime, parts)
            yield Pinned(files, {name: file for name, (file, _) in found.items()})
            return
    raise KitError(f"Files in {root} change faster than they can be sent. Run the same command again.")


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _open_all(
    root: Path, paths: Sequence[Path], stack: contextlib.ExitStack
) -> dict[str, tuple[IO[bytes], os.stat_result]] | None:
    """Return all files, open; None where one was replaced meanwhile."""
    found: dict[str, tuple[IO[bytes], os.stat_result]] = {}
    try:
        for path in paths:
            file = stack.enter_context(path.open("rb"))
            found[_name(root, path)] = (file, os.fstat(file.fileno()))
        if any((root / name).stat().st_ino != status.st_ino for name, (_, status) in found.items()):
            return None
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise KitError(
                f"{len(paths)} files are more than may be open at once here. Raise that: ulimit -n"
            ) from None
        raise
    return found


def send_parts(
    bucket: Bucket, folder: str, files: Pinned, told: Told = lambda size: None, *, there: Iterable[str] = ()
) -> None:
    """Send the parts that are not there yet.

    Args:
        folder: of the objects.
        told: hears of each part's bytes.
        there: digests of those that are known to be there.
    """
    known = set(there)

    def send(job: tuple[str, int, str]) -> None:
        name, number, digest = job
        with _ON_THEIR_WAY:
            data = _part(files.opened[name], number * PART, files.files[name].size)
            if _digest(data) != digest:
                raise KitError(f"{name} has changed while it was sent. Run the same command again.")
            if not (len(data) > _HEAD and bucket.has(f"{folder}/{digest}")):
                bucket.write(f"{folder}/{digest}", data)
            told(len(data))

    jobs = [
        (name, number, digest)
        for name, one in files.files.items()
        for number, digest in enumerate(one.parts)
        if digest not in known and not known.add(digest)  # type: ignore[func-returns-value]
    ]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="send") as threads:
        for _ in threads.map(send, jobs):
            pass


def fetch_files(fetch: Callable[[str, FileEntry], object], files: Files) -> None:
    """Call `fetch` with each file of a list, several at a time."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="files") as threads:
        for _ in threads.map(lambda item: fetch(*item), files.items()):
            pass


def fetch_file(bucket: Bucket, folder: str, entry: FileEntry, path: Path, told: Told = lambda size: None) -> None:
    """Fetch a file whole: `path` is then what the list says, or what it was.

    Raises:
        DamagedStore: a part is missing, or is not what its name says.
    """
    temporary = temporary_sibling(path)

    def fetch(job: tuple[int, str]) -> None:
        number, digest = job
        with _ON_THEIR_WAY:
            data = bucket.read(f"{folder}/{digest}")
            if data is None or _digest(data) != digest:
                what = f"{bucket.url}/{folder}/{digest} is {'missing' if data is None else 'damaged'}"
                raise DamagedStore(f"{what}. Run the same command again, which sends it anew.")
            os.pwrite(descriptor, data, number * PART)
            told(len(data))

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o666)
            try:
                with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch") as threads:
                    for _ in threads.map(fetch, enumerate(entry.parts)):
                        pass
                os.ftruncate(descriptor, entry.size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.utime(temporary, (entry.modified, entry.modified))
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
