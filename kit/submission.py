"""A submission: written, checked against the sample, graded against originals, noted. Knows no model and no network.

Everything streams photo by photo or block by block: memory does not grow with the number of photos. What a row looks
like is the layout's business (`kit.competitions`); this module only compares rows.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from kit.competitions import Competition, sample_path, to_score_space
from kit.errors import ImageError, KitError, PredictionsError, SubmissionError, TableError
from kit.holes import scored_pixels
from kit.images import load_image
from kit.index import Index, Sample
from kit.metrics import Estimate, rmse_by_photo, sse
from kit.pack import Pack
from kit.progress import progress, track
from kit.storage import digest_file, sweep, write_text, writing
from kit.workspace import Workspace

_AGAIN = "Write it again: kit upload --dry-run"
_FETCH = "Fetch it again: kit fetch --force"
# bytes of CSV looked at together; of larger blocks the allocator kept ever more (`scripts/bench/submission.py`)
_BLOCK = 1 << 18


@dataclass(frozen=True)
class SubmissionFile:
    """A submission on disk."""

    path: Path
    rows: int
    digest: str


def write_submission(
    workspace: Workspace, index: Index, pack: Pack, layout: Competition, values: Iterable[np.ndarray], name: str
) -> SubmissionFile:
    """Write `submissions/<name>.csv`, whole or not at all.

    Args:
        values: for each test photo in index order `(n, 3)` RGB in [0, 1]; taken to score space here by the extremes
            that were estimated from the known pixels.

    Raises:
        PredictionsError: values that are not finite, or not one `(n, 3)` array for each test photo.
        ArchiveError: the sample, which gives the header, is missing.
    """
    path = workspace.submission(name)
    header = layout.header(workspace.raw)
    sha = hashlib.sha256()
    rows = 0
    sweep(path.parent)
    with writing(path) as file:
        for position, chunk in enumerate(_checked(values, index, name)):
            sample = index.test[position]
            lines = layout.encode(sample.name, sample.boxes, to_score_space(chunk, pack.test_estimated[position]))
            data = header + lines if position == 0 else lines
            sha.update(data)
            file.write(data)
            rows += lines.count(b"\n")
    return SubmissionFile(path, rows, sha.hexdigest()[:16])


def _checked(values: Iterable[np.ndarray], index: Index, name: str) -> Iterator[np.ndarray]:
    count = 0
    with progress("Writing the submission", len(index.test), "photos") as bar:
        for count, chunk in enumerate(values, 1):
            if count > len(index.test):
                raise PredictionsError(f"{name}: values for more than the {len(index.test)} test photos.")
            sample = index.test[count - 1]
            if chunk.shape != (sample.scored, 3):
                raise PredictionsError(
                    f"{name}: {sample.id} needs values of shape {(sample.scored, 3)}, got {tuple(chunk.shape)}."
                )
            if not np.isfinite(chunk).all():
                bad = int((~np.isfinite(chunk)).sum())
                raise PredictionsError(f"{name}: {bad} of the {chunk.size} values of {sample.id} are not finite.")
            yield chunk
            bar.update()
    if count != len(index.test):
        raise PredictionsError(f"{name}: values for {count} photos, but there are {len(index.test)} test photos.")


@dataclass(frozen=True)
class _Blame:
    """Which error a file that cannot be read is, and what to do then."""

    error: type[KitError] = SubmissionError
    again: str = _AGAIN


_SUBMISSION, _SAMPLE = _Blame(), _Blame(TableError, _FETCH)


@contextlib.contextmanager
def _opened(path: Path, blame: _Blame) -> Iterator[IO[bytes]]:
    """The bytes of a `.csv`, a `.csv.gz`, or the one CSV inside a `.zip`."""
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                yield file  # type: ignore[misc]  # a GzipFile reads bytes
        elif path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
                if len(names) != 1:
                    raise blame.error(f"{path} holds {len(names)} files, expected one CSV. Zip the CSV alone.")
                with archive.open(names[0]) as file:
                    yield file
        else:
            with path.open("rb") as file:
                yield file
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise blame.error(f"{path} is not a file. {blame.again}") from None
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise blame.error(f"{path} is damaged ({error}). {blame.again}") from None


class _Rows:
    """The rows of one two-column CSV, as many at a time as one asks for."""

    def __init__(self, path: Path, file: IO[bytes], blame: _Blame) -> None:
        self.path = path
        first = file.readline(1 << 16).decode("utf-8", "replace").rstrip("\r\n")
        self.header: list[str] = next(csv.reader([first]), [])
        self.line = 2
        """Line in the file of the next row; the header is line 1."""
        self._batches = _batches(path, file, blame)
        self._rest: pa.RecordBatch | None = None

    def take(self, count: int) -> tuple[pa.Array, pa.Array]:
        """Ids and values, as text, of the next `count` rows; fewer at the end of the file."""
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
        """The next rows, as many as are at hand; none at the end of the file."""
        if self._rest is None:
            self._rest = next(self._batches, None)
        return self.take(len(self._rest) if self._rest is not None else 0)


@contextlib.contextmanager
def _rows(path: Path, blame: _Blame = _SUBMISSION) -> Iterator[_Rows]:
    with _opened(path, blame) as file:
        yield _Rows(path, file, blame)


def _batches(path: Path, file: IO[bytes], blame: _Blame) -> Iterator[pa.RecordBatch]:
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
        raise _unreadable(path, error, blame) from None


def _unreadable(path: Path, error: Exception, blame: _Blame) -> KitError:
    """Name the first row that has not two columns; Arrow does not always say which it was."""
    with contextlib.suppress(csv.Error), _opened(path, blame) as file:
        reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline=""))
        for row in reader:
            if row and len(row) != 2:
                found = ",".join(row)[:80]
                return blame.error(
                    f"{path}, line {reader.line_num}: found {len(row)} columns ({found!r}), expected 2. {blame.again}"
                )
            if any("\ufffd" in cell for cell in row):
                return blame.error(f"{path}, line {reader.line_num}: found {row[0]!r}, expected UTF-8. {blame.again}")
    return blame.error(f"{path} is not a CSV of two columns ({error}). {blame.again}")


def _numbers(rows: _Rows, values: pa.Array) -> np.ndarray:
    """The values just taken from `rows`, float64. Raises `SubmissionError` with the line of one that is not finite."""
    start = rows.line - len(values)
    try:
        numbers = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        numbers = np.array([_number(rows.path, start + place, text) for place, text in enumerate(values.to_pylist())])
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise _wrong_value(rows.path, start + int(bad[0]), str(values[int(bad[0])]), "a finite number")
    return numbers


def _number(path: Path, line: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _wrong_value(path, line, text, "a number") from None


def _wrong_value(path: Path, line: int, found: str, expected: str) -> SubmissionError:
    return SubmissionError(f"{path}, line {line}: found the value {found[:40]!r}, expected {expected}. {_AGAIN}")


@dataclass(frozen=True)
class Check:
    """A submission that has passed: what is in it."""

    path: Path
    rows: int
    lowest: float
    highest: float
    digest: str


def check_submission(path: Path, sample: Path) -> Check:
    """Compare `path` (also `.csv.gz`, or a `.zip` with one CSV) with the sample submission, row by row.

    Header, ids, their order and number must be the sample's, every value a number in [0, 1].

    Raises:
        SubmissionError: the first thing that is wrong: line, what was found, what was expected.
        TableError: the sample itself cannot be read.
    """
    with _rows(sample, _SAMPLE) as expected, _rows(path) as found, _line_progress(sample) as report:
        if found.header != expected.header:
            raise SubmissionError(
                f"{path}, line 1: found the header {','.join(found.header)[:80]!r}, expected "
                f"{','.join(expected.header)!r} as in {sample}. {_AGAIN}"
            )
        total, lowest, highest = 0, np.inf, -np.inf
        while True:
            expected_ids, _ = expected.take_block()
            if not len(expected_ids):
                break
            ids, texts = found.take(len(expected_ids))
            first = found.line - len(ids)
            wrong = _first_difference(ids, expected_ids)
            if wrong is not None:
                raise _wrong_id(path, sample, first + wrong, str(ids[wrong]), str(expected_ids[wrong]))
            if len(ids) < len(expected_ids):
                raise _too_short(path, sample, total + len(ids), str(expected_ids[len(ids)]))
            numbers = _numbers(found, texts)
            outside = np.flatnonzero((numbers < 0) | (numbers > 1))
            if len(outside):
                place = int(outside[0])
                raise _wrong_value(path, first + place, str(texts[place]), "a value in [0, 1]")
            total += len(ids)
            lowest, highest = min(lowest, float(numbers.min())), max(highest, float(numbers.max()))
            report(total)
        extra, _ = found.take(1)
        if len(extra):
            raise _too_long(path, found.line - 1, str(extra[0]), total)
    if not total:
        raise TableError(f"{sample} has no rows. {_FETCH}")
    return Check(path, total, lowest, highest, digest_file(path))


@contextlib.contextmanager
def _line_progress(sample: Path) -> Iterator[Callable[[int], None]]:
    """Report rows of a file whose number of rows is not known beforehand, against an estimate from its size."""
    rows = max(1, sample.stat().st_size // 38) if sample.is_file() else 1
    with progress("Checking", rows, "rows") as bar:
        yield lambda done: bar.update(min(done, rows) - bar.done)


def _first_difference(ids: pa.Array, expected: pa.Array) -> int | None:
    """Place of the first id that differs, as far as there are ids."""
    same = pc.equal(ids, expected.slice(0, len(ids)))
    place = pc.index(same, pa.scalar(False)).as_py()
    return None if place < 0 else place


def _lines_of(path: Path, wanted: list[str], most: int = 2) -> dict[str, list[int]]:
    """In which lines of a file these ids stand, at most `most` lines each; a second pass, made only for a message."""
    lines: dict[str, list[int]] = {one: [] for one in wanted}
    with contextlib.suppress(KitError), _rows(path) as rows:
        while len(block := rows.take_block()[0]):
            first = rows.line - len(block)
            for one, places in lines.items():
                hits = np.flatnonzero(pc.equal(block, one).to_numpy(zero_copy_only=False))
                places += [first + int(hit) for hit in hits[: most - len(places)]]
    return lines


def _wrong_id(path: Path, sample: Path, line: int, found: str, expected: str) -> SubmissionError:
    here, asked = _lines_of(path, [found, expected]), _lines_of(sample, [found])
    if not asked[found]:
        reason = f"{found!r} is not in the sample"
    elif len(here[found]) > 1:
        reason = f"{found!r} is there twice, in lines {here[found][0]} and {here[found][1]}"
    elif not here[expected]:
        reason = f"{expected!r} is missing"
    else:
        reason = f"the rows are not in the sample's order, which has {found!r} in line {asked[found][0]}"
    return SubmissionError(f"{path}, line {line}: found the id {found!r}, expected {expected!r}: {reason}. {_AGAIN}")


def _too_short(path: Path, sample: Path, rows: int, expected: str) -> SubmissionError:
    with _rows(sample, _SAMPLE) as all_rows:
        wanted = sum(len(block) for block in iter(lambda: all_rows.take_block()[0], pa.array([], pa.string())))
    return SubmissionError(
        f"{path}, line {rows + 2}: found the end of the file after {rows} rows, expected {wanted}: {expected!r} is "
        f"missing. {_AGAIN}"
    )


def _too_long(path: Path, line: int, found: str, total: int) -> SubmissionError:
    lines = _lines_of(path, [found])[found]
    reason = f" (it is there twice, in lines {lines[0]} and {lines[1]})" if len(lines) > 1 else ""
    return SubmissionError(
        f"{path}, line {line}: found the id {found!r}{reason}, expected the end after {total} rows. {_AGAIN}"
    )


@dataclass(frozen=True)
class PhotoGrade:
    """One test photo's part of a grade."""

    name: str
    rmse: float
    rows: int


@dataclass(frozen=True)
class Grade:
    """The competition's score of a submission, computed from the original photos."""

    score: Estimate
    """Over all rows, a pixel inside both boxes twice; the interval is by photo."""
    photos: tuple[PhotoGrade, ...]
    rows: int


def grade_submission(path: Path, truth: Path, index: Index, layout: Competition) -> Grade:
    """Score `path` against the originals of the test photos.

    The truth is put into rows by the layout itself, true extremes and all, and those rows are compared with the file's.
    So it carries the layout's rounding: a submission of the truth grades exactly 0, and rounding (below 5e-7 a value
    here) is no part of anybody's error.

    Args:
        path: as for `check_submission`.
        truth: folder of the original photos, under the names that a submission uses.

    Raises:
        ImageError: an original is missing, truncated or of another size.
        SubmissionError: ids that are not those of the index, or values that are not finite.
    """
    if not truth.is_dir():
        raise ImageError(f"{truth} is not a folder. Give that of the original test photos: --truth DIR")
    absent = [sample.name for sample in index.test if not (truth / sample.name).is_file()]
    if absent:
        raise ImageError(
            f"{truth} lacks {len(absent)} of the {len(index.test)} original test photos (first: {absent[0]!r}). "
            "Give the folder that holds them all: --truth DIR"
        )
    errors, counts = np.zeros(len(index.test)), np.zeros(len(index.test), np.int64)
    with _rows(path) as rows:
        for position, sample in enumerate(track(index.test, "Grading", len(index.test), "photos")):
            expected, target = _truth_rows(truth, sample, layout)
            ids, texts = rows.take(len(expected))
            wrong = _first_difference(ids, expected)
            if wrong is None and len(ids) < len(expected):
                raise SubmissionError(
                    f"{path} ends at line {rows.line - 1}, expected {str(expected[len(ids)])!r}. "
                    f"See what is wrong with it: kit check {path}"
                )
            if wrong is not None:
                raise SubmissionError(
                    f"{path}, line {rows.line - len(ids) + wrong}: found the id {str(ids[wrong])!r}, expected "
                    f"{str(expected[wrong])!r}. See what is wrong with it: kit check {path}"
                )
            errors[position], counts[position] = sse(_numbers(rows, texts), target), len(target)
        if len(rows.take(1)[0]):
            raise SubmissionError(
                f"{path} has more than {counts.sum()} rows. See what is wrong with it: kit check {path}"
            )
    photos = tuple(
        PhotoGrade(sample.name, float(np.sqrt(error / count)), int(count))
        for sample, error, count in zip(index.test, errors, counts, strict=True)
    )
    return Grade(rmse_by_photo(errors, counts, np.arange(len(counts))), photos, int(counts.sum()))


def load_original(folder: Path, sample: Sample) -> np.ndarray:
    """The original of one test photo, uint8 RGB. Raises `ImageError` when missing, cut or of another size."""
    path = folder / sample.name
    try:
        photo = load_image(path)
    except ImageError:
        found = f"{path.stat().st_size} bytes that are no whole picture" if path.is_file() else "nothing"
        raise ImageError(f"{path}: found {found}. Give the folder of the original test photos: --truth DIR") from None
    if photo.shape[:2] != (sample.height, sample.width):
        raise ImageError(
            f"{path} is {photo.shape[1]}x{photo.shape[0]}, expected {sample.width}x{sample.height}. "
            "Give the folder of the original test photos: --truth DIR"
        )
    return photo


def _truth_rows(truth: Path, sample: Sample, layout: Competition) -> tuple[pa.Array, np.ndarray]:
    """Ids and values of a photo's rows, as the layout writes the truth."""
    photo = load_original(truth, sample)
    rows, columns = scored_pixels(sample.boxes)
    values = to_score_space(photo[rows, columns] / 255.0, layout.extremes(photo, None))
    batches = list(
        _batches(truth / sample.name, io.BytesIO(layout.encode(sample.name, sample.boxes, values)), _SUBMISSION)
    )
    texts = pa.concat_arrays([batch.column(1) for batch in batches])
    return pa.concat_arrays([batch.column(0) for batch in batches]), pc.cast(texts, pa.float64()).to_numpy()


@dataclass(frozen=True)
class LedgerRow:
    """One submission in `submissions/ledger.csv`."""

    when: str
    """UTC, ISO 8601; see `now`."""
    competition: str
    file: str
    """Name in `submissions/`, or the path that was given."""
    digest: str
    what: str
    """blend, source or csv."""
    cv: float | None = None
    """RMSE over the OOF predictions, None when not known; `cv_low` and `cv_high` are its 95 % interval."""
    cv_low: float | None = None
    cv_high: float | None = None
    ref: str = ""
    """The service's number of the submission."""
    status: str = ""
    public_score: float | None = None
    message: str = ""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, str):  # one line a submission, so that git shows which one changed
                object.__setattr__(self, name, re.sub(r"[\r\n]+", " ", value))


_LEDGER = [field.name for field in fields(LedgerRow)]
_LEDGER_NUMBERS = {"cv", "cv_low", "cv_high", "public_score"}


def now() -> str:
    """The current time as the ledger writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_ledger(workspace: Workspace) -> list[LedgerRow]:
    """All submissions noted so far, oldest first; none when there is no ledger.

    Raises:
        TableError: columns or numbers that `append_ledger` would not have written.
    """
    path = workspace.ledger
    mend = "Mend it, or move it away to start a new one."
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not UTF-8 ({error}). {mend}") from None
    table = csv.DictReader(io.StringIO(text, newline=""))
    if table.fieldnames != _LEDGER:
        found = ",".join(table.fieldnames or [])
        raise TableError(f"{path} has the columns {found!r}, expected {','.join(_LEDGER)!r}. {mend}")
    rows = []
    for cells in table:
        if None in cells or None in cells.values():
            raise TableError(f"{path}, line {table.line_num}: expected {len(_LEDGER)} cells. {mend}")
        rows.append(LedgerRow(**{name: _cell(path, table.line_num, name, text) for name, text in cells.items()}))
    return rows


def _cell(path: Path, line: int, name: str, text: str):  # type: ignore[no-untyped-def]  # a str, a float or None
    if name not in _LEDGER_NUMBERS:
        return text
    try:
        return float(text) if text else None
    except ValueError:
        raise TableError(f"{path}, line {line}: {name} is {text!r}, not a number. Mend it.") from None


def append_ledger(workspace: Workspace, row: LedgerRow) -> None:
    """Add one row; the file is written whole, so a kill leaves the old one or the new one."""
    _write_ledger(workspace, [*read_ledger(workspace), row])


def update_ledger(workspace: Workspace, row: LedgerRow) -> None:
    """Replace the row of the same time, file and digest, as when its score arrives.

    Raises:
        KitError: there is no such row.
    """
    rows = read_ledger(workspace)
    key = (row.when, row.file, row.digest)
    places = [place for place, old in enumerate(rows) if (old.when, old.file, old.digest) == key]
    if not places:
        raise KitError(
            f"{workspace.ledger} has no row of {row.file} at {row.when}. Was it changed by hand? See git diff."
        )
    rows[places[-1]] = row
    _write_ledger(workspace, rows)


def _write_ledger(workspace: Workspace, rows: list[LedgerRow]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _LEDGER, lineterminator="\n")
    table.writeheader()
    for row in rows:
        # repr keeps every digit of a float, so that reading gives the same row
        table.writerow({name: "" if value is None else value for name, value in asdict(row).items()})
    sweep(workspace.submissions)
    write_text(workspace.ledger, text.getvalue())


def sample_of(workspace: Workspace, layout: Competition) -> Path:
    """The competition's sample submission. Raises `ArchiveError` when it has not been fetched."""
    return sample_path(workspace.raw, layout.sample)
