"""The rows of a submission's CSV as a stream: two columns of text, as many at a time as one asks for.

Knows CSV, gzip and zip, and how to say which line is wrong; knows nothing of photos. Memory is bounded.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from kit.errors import KitError, SubmissionError, TableError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

AGAIN = "Write it again: kit upload --dry-run"
FETCH = "Fetch it again: kit fetch --force"
_SUFFIXES = (".csv", ".gz", ".zip")
# bytes of CSV looked at together; of larger blocks the allocator kept ever more (`scripts/bench/submission.py`)
_BLOCK = 1 << 18


@dataclass(frozen=True)
class ErrorContext:
    """The error that a file which cannot be read raises, and what to do then."""

    error: type[KitError] = SubmissionError
    again: str = AGAIN


SUBMISSION, SAMPLE = ErrorContext(), ErrorContext(TableError, FETCH)


@contextlib.contextmanager
def _opened(path: Path, context: ErrorContext) -> Iterator[IO[bytes]]:
    """Give the bytes of a `.csv`, a `.csv.gz`, or the one CSV inside a `.zip`."""
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                yield file  # type: ignore[misc]  # a GzipFile reads bytes
        elif path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                # a Mac packs a shadow of each file
                names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX/" not in name]
                if len(names) != 1:
                    raise context.error(f"{path} holds {len(names)} files, expected one CSV. Zip the CSV alone.")
                with archive.open(names[0]) as file:
                    yield file
        else:
            with path.open("rb") as file:
                yield file
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise context.error(f"{path} is not a file. {context.again}") from None
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise context.error(f"{path} is damaged ({error}). {context.again}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a zip whose directory leads before its beginning
            raise
        raise context.error(f"{path} is damaged ({error}). {context.again}") from None


class _LineFeeds(io.RawIOBase):
    """What is left of a file, with line feeds where it has the carriage returns of a Mac."""

    def __init__(self, begun: bytes, file: IO[bytes]) -> None:
        self._begun, self._file = begun, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self._begun[: len(view)] or self._file.read(len(view))
        self._begun = self._begun[len(view) :]
        view[: len(data)] = data.replace(b"\r", b"\n")
        return len(data)


class CsvRows:
    """The rows of one two-column CSV, as many at a time as one asks for."""

    def __init__(self, path: Path, file: IO[bytes], context: ErrorContext) -> None:
        self.path = path
        line = file.readline(1 << 16)
        if b"\r" in line.rstrip(b"\r\n"):  # no line feed before the second line: a Mac's line ends
            line, _, rest = line.partition(b"\r")
            file = io.BufferedReader(_LineFeeds(rest, file), 1 << 20)
        if b"\x00" in line and path.suffix.lower() not in _SUFFIXES:
            kind = path.suffix or "a file without a suffix"
            raise context.error(f"{path}: {kind} is not a submission: .csv, .csv.gz, or .zip with one CSV is needed.")
        if b"\x00" in line:
            raise context.error(f"{path}, line 1: found zero bytes, as in UTF-16, expected UTF-8. {context.again}")
        first = line.decode("utf-8-sig", "replace").rstrip("\r\n")
        self.header: list[str] = next(csv.reader([first]), [])
        self.line = 2
        """Line in the file of the next row; the header is line 1."""
        self._batches = batches(path, file, context)
        self._rest: pa.RecordBatch | None = None

    def take(self, count: int) -> tuple[pa.Array, pa.Array]:
        """Return ids and values, as text, of the next `count` rows; fewer at the end of the file."""
        parts: list[pa.RecordBatch] = []
        missing = count
        while missing:
            batch = self._rest if self._rest is not None else next(self._batches, None)
            if batch is None:
                break
            parts.append(batch.slice(0, missing))
            self._rest = batch.slice(missing) if len(batch) > missing else None
            missing -= len(parts[-1])
        self.line += count - missing
        empty = pa.array([], pa.string())
        return (
            pa.concat_arrays([part.column(0) for part in parts]) if parts else empty,
            pa.concat_arrays([part.column(1) for part in parts]) if parts else empty,
        )

    def take_block(self) -> tuple[pa.Array, pa.Array]:
        """Return the next rows, as many as are at hand; none at the end of the file."""
        if self._rest is None:
            self._rest = next(self._batches, None)
        return self.take(len(self._rest) if self._rest is not None else 0)


@contextlib.contextmanager
def open_rows(path: Path, context: ErrorContext = SUBMISSION) -> Iterator[CsvRows]:
    """Open a CSV of two columns at its first row. What is wrong with it is raised as `context` words it."""
    with _opened(path, context) as file:
        yield CsvRows(path, file, context)


def read_all(path: Path, context: ErrorContext = SUBMISSION) -> tuple[pa.Array, pa.Array]:
    """Return all ids and values of a CSV of two columns, as text."""
    with open_rows(path, context) as rows:
        blocks = list(iter(rows.take_block, (_NONE, _NONE)))
    return (
        pa.concat_arrays([_NONE, *(ids for ids, _ in blocks)]),
        pa.concat_arrays([_NONE, *(texts for _, texts in blocks)]),
    )


_NONE = pa.array([], pa.string())


def batches(path: Path, file: IO[bytes], context: ErrorContext) -> Iterator[pa.RecordBatch]:
    """Yield the rows block by block as two columns of text, `id` and `value`."""
    try:
        reader = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK, column_names=["id", "value"]),
            convert_options=pyarrow.csv.ConvertOptions(column_types={"id": pa.string(), "value": pa.string()}),
        )
        for batch in reader:
            if len(batch):
                yield batch
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        raise _unreadable(path, error, context) from None


def _unreadable(path: Path, error: Exception, context: ErrorContext) -> KitError:
    """Name the first row that has not two columns; Arrow does not always say which it was."""
    with contextlib.suppress(csv.Error), _opened(path, context) as file:
        reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline=""))
        for row in reader:
            if row and len(row) != 2:
                found = ",".join(row)[:80]
                return context.error(
                    f"{path}, line {reader.line_num}: found {len(row)} columns ({found!r}), expected 2. {context.again}"
                )
            if any("\ufffd" in cell for cell in row):
                return context.error(
                    f"{path}, line {reader.line_num}: found {row[0]!r}, expected UTF-8. {context.again}"
                )
    return context.error(f"{path} is not a CSV of two columns ({error}). {context.again}")


def numbers(rows: CsvRows, values: pa.Array) -> np.ndarray:
    """Return the values just taken from `rows`, float64. Raises `SubmissionError` with the line of one that is not
    finite."""
    start = rows.line - len(values)
    try:
        numbers: np.ndarray = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        numbers = np.array([_number(rows.path, start + place, text) for place, text in enumerate(values.to_pylist())])
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise wrong_value(rows.path, start + int(bad[0]), str(values[int(bad[0])]), "a finite number")
    return numbers


def _number(path: Path, line: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise wrong_value(path, line, text, "a number") from None


def wrong_value(path: Path, line: int, found: str, expected: str) -> SubmissionError:
    """Return the error for one value that is not what is expected there."""
    return SubmissionError(f"{path}, line {line}: found the value {found[:40]!r}, expected {expected}. {AGAIN}")


def first_difference(ids: pa.Array, expected: pa.Array) -> int | None:
    """Return the place of the first id that differs, as far as there are ids."""
    same = pc.equal(ids, expected.slice(0, len(ids)))
    place = pc.index(same, pa.scalar(False)).as_py()
    return None if place < 0 else place
