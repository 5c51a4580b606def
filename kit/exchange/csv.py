"""Predictions as rows of the competition's CSV, for its test photos or for training photos. Memory is bounded.

Photos may come in any order, and the rows of one photo too; between them no other photo's. What comes before its turn
waits in a file beside the source. What a row looks like is the layout's business.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.core.progress import track
from kit.core.storage import disk_errors, temporary_sibling
from kit.errors import PredictionsError, TableError
from kit.exchange.values import Photos, ReaderLog, ValueFormat, few, to_pixels
from kit.submission.csv_rows import CsvRows, ErrorContext, batches, open_rows, read_all

CONTEXT = ErrorContext(TableError, "Copy it again, or write two columns in UTF-8 as in the sample submission: id,value")
_NONE = pa.array([], pa.string())


def csv_values(
    path: Path, photos: Photos, value_format: ValueFormat, log: ReaderLog, waiting: Path
) -> Iterator[np.ndarray]:
    """Yield for each photo `(n, 3)` RGB in pixel space.

    Args:
        waiting: a temporary file beside this path holds photos that come before their turn.

    Raises:
        TableError: not a CSV of two columns, or a value that is not a finite number.
        PredictionsError: ids that are not those of the photos, photos missing or there twice.
    """
    log.how = f"a submission's rows, {value_format.space} space"
    if _is_shuffled(path, photos):
        log.how += ", sorted by id"
        yield from _sorted_values(path, photos, value_format)
        return
    with open_rows(path, CONTEXT) as rows, _Waiting(waiting, photos) as held:
        _check_header(path, rows)
        reader = _Reader(path, rows, photos, value_format, log)
        due = 0
        for position, values in track(reader.photos(), f"Importing {path.name}", len(photos.photo_rows), "photos"):
            if position != due:
                held.put(position, values)
                continue
            yield values
            due += 1
            while due in held:
                yield held.get(due)
                due += 1
        reader.check_whole()
        while due < len(photos.photo_rows):
            yield held.get(due)
            due += 1


def _is_shuffled(path: Path, photos: Photos) -> bool:
    """Return whether rows of several photos stand among the first: what has been sorted by nothing."""
    with open_rows(path, CONTEXT) as rows:
        _check_header(path, rows)
        first = rows.take(min(50, 3 * int(photos.counts.min())))[0].to_pylist()
    names = {_name_of(one or "", photos.named) for one in first}
    return len(names) > 1 and None not in names


def _sorted_values(path: Path, photos: Photos, value_format: ValueFormat) -> Iterator[np.ndarray]:
    """Yield the values of each photo from rows in any order; all of them are in memory.

    Raises:
        PredictionsError: a row is missing or there twice; photos of one name, which only their order tells apart.
    """
    twins = [name for name, positions in photos.named.items() if len(positions) > 1]
    if twins:
        raise PredictionsError(
            f"{path}: rows in any order cannot tell photos of one name apart: {few(twins)}. Write the rows of each "
            "photo together, in the order of index.csv."
        )
    ids, texts = read_all(path, CONTEXT)
    if pc.count_distinct(ids).as_py() < len(ids):
        twice = next(one["values"] for one in pc.value_counts(ids).to_pylist() if one["counts"] > 1)
        raise PredictionsError(f"{path}: the id {twice!r} is there twice.")
    values, expected = _numbers(path, 2, texts), [expected_ids(path, photos, one) for one in range(len(photos.counts))]
    places = pc.index_in(pa.concat_arrays(expected), value_set=ids).fill_null(-1).to_numpy()
    ends = np.cumsum([len(one) for one in expected])
    for position, (asked, here) in enumerate(zip(expected, np.split(places, ends[:-1]), strict=True)):
        if (here < 0).any():
            absent = str(asked[int(np.argmax(here < 0))])
            raise PredictionsError(f"{path} lacks rows of {photos.photo_rows[position].id}, first {absent!r}.")
        yield to_pixels(photos.layout.decode(values[here]), photos, position, value_format, str(path))


def values_in_file_order(path: Path, photos: Photos) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the position and values, `(n, 3)` RGB in pixel space, of each photo of a submission, in the file's order.

    Raises:
        TableError, PredictionsError: as `csv_values`.
    """
    with open_rows(path, CONTEXT) as rows:
        yield from _Reader(path, rows, photos, ValueFormat("score"), ReaderLog()).photos()


def _check_header(path: Path, rows: CsvRows) -> None:
    if len(rows.header) != 2:
        found = ",".join(rows.header)[:80]
        if len(rows.header) == 3 and (rows.header[0] in ("", "index") or rows.header[0].startswith("Unnamed: ")):
            raise TableError(
                f"{path}, line 1: the first of the 3 columns ({found!r}) is a table's index. Write it without: "
                "table.to_csv(path, index=False)"
            )
        raise TableError(f"{path}, line 1: found {len(rows.header)} columns ({found!r}), expected 2. {CONTEXT.again}")
    with contextlib.suppress(ValueError):
        float(rows.header[1])
        raise TableError(f"{path}, line 1: found the row {','.join(rows.header)!r}, expected a header: {CONTEXT.again}")


class _Waiting:
    """Values of photos whose turn has not come, float16 in a file that goes when all is done."""

    def __init__(self, place: Path, photos: Photos) -> None:
        self._path = temporary_sibling(place)
        self._counts = photos.counts
        self._starts = np.concatenate([[0], np.cumsum(photos.counts)])[:-1]
        self._file: IO[bytes] | None = None
        self._there: set[int] = set()

    def __enter__(self) -> _Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)

    def __contains__(self, position: int) -> bool:
        return position in self._there

    def put(self, position: int, values: np.ndarray) -> None:
        with disk_errors(self._path):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("w+b")
            self._file.seek(int(self._starts[position]) * 6)
            self._file.write(values.astype("<f2").tobytes())
        self._there.add(position)

    def get(self, position: int) -> np.ndarray:
        assert self._file is not None
        self._file.seek(int(self._starts[position]) * 6)
        count = int(self._counts[position])
        return np.frombuffer(self._file.read(count * 6), "<f2").reshape(count, 3)


class _Reader:
    """Rows to photos: which photo the next rows are of, and whether they are all there."""

    def __init__(self, path: Path, rows: CsvRows, photos: Photos, value_format: ValueFormat, log: ReaderLog) -> None:
        self.path, self.rows, self.all, self.value_format, self.log = path, rows, photos, value_format, log
        self._ids, self._texts = _NONE, _NONE  # taken from `rows` and not used yet
        self._read: dict[int, int] = {}  # photo's position to the line where its rows began
        self._others = {photo_row.name: photo_row for photo_row in photos.others}
        self._twins: list[str] = []
        self._extra = 0
        self._first_extra = ""

    @property
    def line(self) -> int:
        """Return the line of the next row."""
        return self.rows.line - len(self._ids)

    def photos(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the position and values of each photo, in the order of the file."""
        while self._fill(1):
            first = str(self._ids[0])
            name = _name_of(first, self.all.named)
            if name is None:
                self._pass_over(first)
                continue
            unread = [position for position in self.all.named[name] if position not in self._read]
            if not unread:
                raise self._twice(name)
            yield self._photo(unread)

    def _photo(self, unread: list[int]) -> tuple[int, np.ndarray]:
        line = self.line
        ids, texts = self._take(3 * max(int(self.all.counts[position]) for position in unread))
        fitting = [
            (position, order) for position in unread if (order := _order(ids, self._expected(position))) is not None
        ]
        if not fitting:
            raise self._unfit(ids, line, unread[0])
        position, order = fitting[0]
        if len(fitting) > 1:  # the same name and the same boxes: only their order tells them apart
            self._twins.append(self.all.photo_rows[position].name)
        self._read[position] = line
        values = np.empty(len(ids))
        values[order] = _numbers(self.path, line, texts)
        rgb = self.all.layout.decode(values)
        return position, to_pixels(rgb, self.all, position, self.value_format, str(self.path))

    def _expected(self, position: int) -> pa.Array:
        return expected_ids(self.path, self.all, position)

    def _fill(self, count: int) -> bool:
        missing = count - len(self._ids)
        if missing > 0:
            ids, texts = self.rows.take(missing)
            self._ids, self._texts = pa.concat_arrays([self._ids, ids]), pa.concat_arrays([self._texts, texts])
        return len(self._ids) >= count

    def _take(self, count: int) -> tuple[pa.Array, pa.Array]:
        self._fill(count)
        ids, texts = self._ids.slice(0, count), self._texts.slice(0, count)
        self._ids, self._texts = self._ids.slice(count), self._texts.slice(count)
        return ids, texts

    def _pass_over(self, first: str) -> None:
        """Leave out rows of a photo of the other split whole, others one by one."""
        if not self._read and not self._extra:
            self._check_suffix(first)
        self._first_extra = self._first_extra or first
        other = _name_of(first, self._others)
        ids, _ = self._take(3 * self._others[other].scored if other else 1)
        self._extra += len(ids)

    def _check_suffix(self, first: str) -> None:
        """Raise `PredictionsError` if the very first row names a photo but for its suffix: all will do so."""
        stems = {name.rsplit(".", 1)[0]: name for name in (*self.all.named, *self._others)}
        stem = _name_of(first, stems)
        if stem is not None and _name_of(first, self._others) is None and not first.startswith(f"{stem}."):
            raise PredictionsError(
                f"{self.path}, line 2: the id {first!r} lacks the suffix of {stems[stem]!r}. Write ids as the sample "
                "submission has them."
            )

    def check_whole(self) -> None:
        """Check at the end of the file that every photo has been there. Raises `PredictionsError`."""
        missing = [photo_row.id for place, photo_row in enumerate(self.all.photo_rows) if place not in self._read]
        if missing:
            other = f"; {self._extra} rows are of other photos, first {self._first_extra!r}" if self._extra else ""
            raise PredictionsError(
                f"{self.path} lacks {len(missing)} of the {len(self.all.photo_rows)} {self.all.kind} photos: "
                f"{few(missing)}{other}."
            )
        if self._extra:
            self.log.notes.append(
                f"{self.path}: {self._extra} rows are of no {self.all.kind} photo and were left, first "
                f"{self._first_extra!r}."
            )
        if self._twins:
            self.log.notes.append(
                f"{self.path}: photos of one name with the same boxes were taken in the order of the index: "
                f"{few(sorted(set(self._twins)))}."
            )

    def _twice(self, name: str) -> PredictionsError:
        lines = [str(self._read[position]) for position in self.all.named[name]]
        there = "twice" if len(lines) == 1 else f"more than the {len(lines)} times that the index has it"
        return PredictionsError(
            f"{self.path}, line {self.line}: the photo {name!r} is there {there} (its rows began in line "
            f"{' and '.join(lines)})."
        )

    def _unfit(self, ids: pa.Array, line: int, position: int) -> PredictionsError:
        """Say what is wrong with rows that are not exactly those of a photo."""
        photo_row, expected = self.all.photo_rows[position], self._expected(position)
        if len(ids) < len(expected):
            return PredictionsError(
                f"{self.path} ends at line {line + len(ids) - 1}, after {len(ids)} of the {len(expected)} rows of "
                f"{photo_row.id}."
            )
        strange = pc.index_in(ids, value_set=expected).to_numpy(zero_copy_only=False)
        unknown = np.flatnonzero(np.isnan(strange.astype(np.float64)))
        _, firsts = np.unique(np.where(np.isnan(strange.astype(np.float64)), -1, strange), return_index=True)
        again = np.setdiff1d(np.arange(len(ids)), np.concatenate([firsts, unknown]))
        if len(again) and (not len(unknown) or again[0] < unknown[0]):
            return PredictionsError(
                f"{self.path}, line {line + int(again[0])}: the id {str(ids[int(again[0])])!r} is there twice."
            )
        place = int(unknown[0])
        many = len(self.all.named[photo_row.name])
        which = f"any of the {many} photos called {photo_row.name!r}" if many > 1 else photo_row.id
        return PredictionsError(
            f"{self.path}, line {line + place}: found the id {str(ids[place])!r} among the rows of {photo_row.name!r}, "
            f"but it is none of {which} (one would be {str(expected[min(place, len(expected) - 1)])!r})."
        )


def expected_ids(path: Path, photos: Photos, position: int) -> pa.Array:
    """Return the ids of one photo's rows, as the layout writes them."""
    photo_row = photos.photo_rows[position]
    lines = photos.layout.encode(photo_row.name, photo_row.boxes, np.zeros((photo_row.scored, 3)))
    return pa.concat_arrays([part.column(0) for part in batches(path, io.BytesIO(lines), CONTEXT)])


def _name_of(row: str, names: object) -> str | None:
    """Return the longest of these names that a row's id begins with."""
    return next((row[:end] for end in range(len(row), 0, -1) if row[:end] in names), None)  # type: ignore[operator]


def _order(ids: pa.Array, expected: pa.Array) -> np.ndarray | slice | None:
    """Return where each of these ids stands among the expected ones; None when they are not the same ids, each once."""
    if len(ids) != len(expected):
        return None
    if ids.equals(expected):
        return slice(None)
    places = pc.index_in(ids, value_set=expected)
    if places.null_count:
        return None
    order: np.ndarray = places.to_numpy(zero_copy_only=False)
    return order if np.bincount(order, minlength=len(order)).max() == 1 else None


def _numbers(path: Path, line: int, texts: pa.Array) -> np.ndarray:
    try:
        values: np.ndarray = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        values = np.array([_number(text) for text in texts.to_pylist()])
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        place = int(bad[0])
        raise TableError(
            f"{path}, line {line + place}: found the value {str(texts[place])[:40]!r}, not a finite number."
        )
    return values


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
