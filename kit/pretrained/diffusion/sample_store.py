"""The cache: files of checked records that only grow. Knows keys and arrays; no photo and no model.

Each process appends to a file of its own, one `fsync` a batch, so that no process can damage what another wrote. A
record is a header (magic, key, length, seconds, flags, checksums) and its payload. A process killed in the middle of a
write leaves a last record that is too short: readers wait for the rest of it, in vain, and lose nothing else. A record
whose checksum is wrong counts as missing. One record a sample instead of one file a sample: 100,000 samples are a few
files and not 100,000.
"""

from __future__ import annotations

import hashlib
import os
import struct
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from kit.core.storage import disk_errors
from kit.errors import DamagedStore

MAGIC = b"kSD1"
_FIELDS = struct.Struct("<4s16sIfI16s")  # magic, key, payload's length, seconds, flags, the payload's checksum
_HEADER = _FIELDS.size + 4  # and a CRC of all that: a wrong length must not hide the records behind it
_SHAPE = struct.Struct("<II")  # scored pixels, boxes
RETRIED = 1  # flag: made in float32 after half precision gave no picture
PIECE = 1 << 20  # bytes read at once when looking for the next record after damage


@dataclass(frozen=True)
class Record:
    """One sample of one photo."""

    values: np.ndarray
    """`(n, 3)` uint8 RGB, its scored pixels in order, as the model painted them."""
    shifts: np.ndarray
    """`(boxes, 3)` float32: known minus painted, mean over a ring around each box; see `pixels.ring_shifts`."""
    seconds: float = 0.0
    flags: int = 0


@dataclass(frozen=True)
class Entry:
    """The place of a record."""

    path: Path
    start: int
    length: int
    seconds: float
    flags: int
    checksum: bytes


def _checksum(key: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=16, key=key).digest()


def _packed(key: bytes, record: Record) -> bytes:
    values, shifts = np.ascontiguousarray(record.values), np.ascontiguousarray(record.shifts, "<f4")
    assert values.dtype == np.uint8 and values.ndim == shifts.ndim == 2
    payload = _SHAPE.pack(len(values), len(shifts)) + shifts.tobytes() + values.tobytes()
    fields = _FIELDS.pack(MAGIC, key, len(payload), record.seconds, record.flags, _checksum(key, payload))
    return fields + zlib.crc32(fields).to_bytes(4, "little") + payload


def _fields(header: bytes) -> tuple[bytes, int, float, int, bytes] | None:
    """Return the key, length, seconds, flags and checksum of a header, or None when it is damaged or none."""
    fields, crc = header[: _FIELDS.size], header[_FIELDS.size :]
    if len(header) < _HEADER or zlib.crc32(fields) != int.from_bytes(crc, "little"):
        return None
    magic, *found = _FIELDS.unpack(fields)
    return tuple(found) if magic == MAGIC else None


@dataclass
class Cache:
    """The records of one folder, of all processes; `refresh` learns of new ones."""

    folder: Path
    entries: dict[bytes, Entry] = field(default_factory=dict)
    damaged: int = 0
    """Records that were passed over because their checksum or header is wrong."""
    _seen: dict[Path, int] = field(default_factory=dict)
    _spare: dict[bytes, list[Entry]] = field(default_factory=dict)
    """Further records of the same sample: two processes made it, or the first is damaged."""

    def __contains__(self, key: bytes) -> bool:
        return key in self.entries

    def refresh(self) -> Cache:
        """Read the headers of records that were added since; returns itself."""
        for path in sorted(self.folder.glob("*.bin")):
            seen = self._seen.get(path, 0)
            size = path.stat().st_size
            if size > seen:
                with path.open("rb") as file:
                    self._seen[path] = self._scan(file, path, seen, size)
        return self

    def _scan(self, file: IO[bytes], path: Path, position: int, size: int) -> int:
        """Note the records from `position` on; returns the end of the last whole one."""
        while position + _HEADER <= size:
            file.seek(position)
            fields = _fields(file.read(_HEADER))
            if fields is None:
                self.damaged += 1
                position = _next_header(file, position + 1, size)
                continue
            key, length, seconds, flags, checksum = fields
            start = position + _HEADER
            if start + length > size:  # still being written, or cut by a kill
                break
            entry = Entry(path, start, length, seconds, flags, checksum)
            if self.entries.setdefault(key, entry) is not entry:
                self._spare.setdefault(key, []).append(entry)
            position = start + length
        return position

    def read(self, key: bytes) -> Record:
        """Read one record.

        Raises:
            DamagedStore: its checksum is wrong.
        """
        entry = self.entries[key]
        record = self._sound(key)
        if record is None:
            raise DamagedStore(f"{entry.path} holds a sample that is damaged. Make it again: kit sd run")
        return record

    def _sound(self, key: bytes) -> Record | None:
        """Return the first record of this sample whose checksum is right, or None: then it is forgotten."""
        while (entry := self.entries.get(key)) is not None:
            record = _read(key, entry)
            if record is not None:
                return record
            self.damaged += 1
            spare = self._spare.get(key)
            if spare:
                self.entries[key] = spare.pop(0)
            else:
                del self.entries[key]
        return None

    def check(self) -> int:
        """Read everything; forget what is damaged, so that it is made again. Returns how many were."""
        return sum(self._sound(key) is None for key in list(self.entries))


def _read(key: bytes, entry: Entry) -> Record | None:
    with entry.path.open("rb") as file:
        file.seek(entry.start)
        payload = file.read(entry.length)
    if len(payload) != entry.length or _checksum(key, payload) != entry.checksum:
        return None
    pixels, boxes = _SHAPE.unpack_from(payload)
    split = _SHAPE.size + 12 * boxes
    shifts = np.frombuffer(payload[_SHAPE.size : split], "<f4").reshape(boxes, 3)
    values = np.frombuffer(payload[split:], np.uint8).reshape(pixels, 3)
    return Record(values, shifts.astype(np.float32), entry.seconds, entry.flags)


def _next_header(file: IO[bytes], position: int, size: int) -> int:
    """Return where the next sound header is, or the last place where one may yet begin."""
    while position + _HEADER <= size:
        file.seek(position)
        data = file.read(PIECE + _HEADER)
        found = data.find(MAGIC)
        while 0 <= found < PIECE and _fields(data[found : found + _HEADER]) is None:
            found = data.find(MAGIC, found + 1)
        if 0 <= found < PIECE:
            return position + found
        position += PIECE
    return max(size - _HEADER + 1, 0)


class Writer:
    """Appends records to a file of this process; the file begins with the first record."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}-{uuid.uuid4().hex[:12]}.bin"
        self._file: IO[bytes] | None = None

    def append(self, records: Iterable[tuple[bytes, Record]]) -> None:
        """Write these records to the disk, all of them or none.

        Raises:
            KitError: no room, or no permission. What was written before is safe.
        """
        data = b"".join(_packed(key, record) for key, record in records)
        with disk_errors(self._path):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
            before = self._file.tell()
            try:
                self._write(data)
                os.fsync(self._file.fileno())
            except BaseException:
                self._file.truncate(before)
                raise

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        view = memoryview(data)
        while len(view):  # a disk that fills up takes a part before it refuses
            view = view[self._file.write(view) or 0 :]

    def close(self) -> None:
        """Close the file, if there is one; an empty one is removed."""
        if self._file is not None:
            empty = self._file.tell() == 0
            self._file.close()
            self._file = None
            if empty:
                self._path.unlink(missing_ok=True)
