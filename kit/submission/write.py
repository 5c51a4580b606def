"""A submission: written, zipped, and checked against the sample. Knows no model and no network.

Everything streams photo by photo or block by block: memory does not grow with the number of photos. What a row looks
like is the layout's business (`kit.competitions`); this module only compares rows.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.competitions import Competition, sample_path, to_score_space
from kit.core.progress import byte_progress, progress
from kit.core.storage import digest_file, sweep, writing
from kit.core.tables import Shown
from kit.core.workspace import Workspace
from kit.data.index import Index, fetched_sample
from kit.data.origin import raw_folder
from kit.data.project import Project
from kit.errors import DamagedStore, KitError, PredictionsError, SubmissionError, TableError, UsageError
from kit.submission.csv_rows import AGAIN, FETCH, SAMPLE, first_difference, numbers, open_rows, read_all, wrong_value

_LEVEL = 6  # of deflate


@dataclass(frozen=True)
class SubmissionFile:
    """A submission on disk."""

    path: Path
    rows: int
    digest: str


def write_submission(
    project: Project,
    values: Iterable[np.ndarray],
    name: str,
    header: bytes | None = None,
    folder: Path | None = None,
) -> SubmissionFile:
    """Write `<name>.csv`, whole or not at all.

    Args:
        values: for each test photo in index order `(n, 3)` RGB in [0, 1]; taken to score space here by the value
            range that was estimated from the known pixels.
        header: the first line, by default the sample's.
        folder: where, by default the workspace's `submissions/`.

    Raises:
        PredictionsError: values that are not finite, or not one `(n, 3)` array for each test photo.
        ArchiveError: the sample, which gives the header, is missing.
    """
    layout, index, value_range = project.layout, project.index, project.pack.test_estimated_range
    path = target_of(project, name, folder, ".csv")
    header = layout.header(raw_folder(project.workspace)) if header is None else header
    sha = hashlib.sha256()
    rows = 0
    with writing(path) as file:
        for position, chunk in enumerate(checked_values(values, index, name)):
            photo_row = index.test[position]
            lines = layout.encode(photo_row.name, photo_row.boxes, to_score_space(chunk, value_range[position]))
            data = header + lines if position == 0 else lines
            sha.update(data)
            file.write(data)
            rows += lines.count(b"\n")
    return SubmissionFile(path, rows, sha.hexdigest()[:16])


def target_of(project: Project, name: str, folder: Path | None, suffix: str) -> Path:
    """Return where a submission goes, and take away what a killed writer left there.

    Args:
        folder: None: the workspace's `submissions/`.
    """
    path = project.workspace.submission(name).with_suffix(suffix)
    path = path if folder is None else folder / path.name
    sweep(path.parent)
    return path


def checked_values(values: Iterable[np.ndarray], index: Index, name: str) -> Iterator[np.ndarray]:
    """Yield the values of each test photo if they are as many as the index asks for, and finite.

    Raises:
        PredictionsError: they are not.
    """
    count = 0
    with progress("Writing the submission", len(index.test), "photos") as bar:
        for count, chunk in enumerate(values, 1):
            if count > len(index.test):
                raise PredictionsError(f"{name}: values for more than the {len(index.test)} test photos.")
            photo_row = index.test[count - 1]
            if chunk.shape != (photo_row.scored, 3):
                raise PredictionsError(
                    f"{name}: {photo_row.id} needs values of shape {(photo_row.scored, 3)}, got {tuple(chunk.shape)}."
                )
            if not np.isfinite(chunk).all():
                bad = int((~np.isfinite(chunk)).sum())
                raise PredictionsError(f"{name}: {bad} of the {chunk.size} values of {photo_row.id} are not finite.")
            yield chunk
            bar.update()
    if count != len(index.test):
        raise PredictionsError(f"{name}: values for {count} photos, but there are {len(index.test)} test photos.")


def check_copy(target: Path, layout: Competition | None = None) -> None:
    """Raise `UsageError` for a file to which no submission can be copied: said before anything is computed.

    Args:
        layout: what it asks for is written; by default anything is.
    """
    alone = {"pictures": ".zip", "npy": ".npy"}.get(layout.submission if layout else "")
    if alone and target.suffix.lower() != alone and target.name:
        what = "a zip of pictures" if alone == ".zip" else "an array"
        raise UsageError(f"--out {target}: a submission is {what} here. Write: --out {target.with_suffix(alone)}")
    if target.suffix.lower() not in (".csv", ".zip", ".npy"):
        better = target.with_suffix(".csv") if target.name else "submission.csv"
        raise UsageError(f"--out {target}: a submission is a .csv or a .zip. Write: --out {better}")
    if target.is_dir():
        raise UsageError(f"--out {target} is a folder. Name a file in it: --out {target / 'submission.csv'}")


def copy_submission(path: Path, target: Path) -> None:
    """Copy a checked submission to `target`, whole or not at all; a `.zip` holds it as a CSV of its own name.

    Raises:
        UsageError: `target` is neither `.csv` nor `.zip`, or it is a folder.
        KitError: no room, or no permission.
    """
    check_copy(target)
    if target.exists() and target.samefile(path):
        return
    packed = path.suffix.lower() in (".zip", ".gz", ".npy")
    if target.suffix.lower() == ".zip" and not packed:
        zip_submission(path, target)
        return
    if packed and path.suffix.lower() != target.suffix.lower():
        raise UsageError(f"{path} is packed and is copied as it is: --out {target.with_suffix(path.suffix)}")
    with writing(target) as file, path.open("rb") as source:
        shutil.copyfileobj(source, file, 1 << 20)


def zip_submission(path: Path, target: Path | None = None) -> Path:
    """Write a zip with this one CSV in it, by default `<path>.zip`; the same bytes give the same bytes.

    For competitions that cap the size of an upload: Kaggle takes a zip that holds one CSV.
    """
    name = path.name if target is None else f"{target.stem}.csv"
    target = target or path.with_name(f"{path.name}.zip")
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    with (
        writing(target) as file,
        zipfile.ZipFile(file, "w", compresslevel=_LEVEL) as archive,
        archive.open(info, "w", force_zip64=True) as member,
        path.open("rb") as source,
        byte_progress("Zipping") as report,
    ):
        while block := source.read(1 << 20):
            member.write(block)
            report(source.tell(), path.stat().st_size)
    return target


def zip_gain(path: Path) -> tuple[float, float]:
    """Return what a zip of this file would be, as a share of its size, and the bytes a second of a connection below
    which zipping and sending that is faster than sending the file as it is. Measured on its first MB."""
    with path.open("rb") as file:
        sample = file.read(1 << 20)
    started = time.perf_counter()
    packed = len(zlib.compress(sample, _LEVEL))
    speed = len(sample) / max(time.perf_counter() - started, 1e-6)
    share = packed / max(len(sample), 1)
    return share, max(1.0 - share, 0.0) * speed


@dataclass(frozen=True)
class Check(Shown):
    """A submission that has passed: what is in it."""

    path: Path
    rows: int
    lowest: float
    highest: float
    digest: str
    pictures: bool = False
    """It is a zip of pictures, and rows are those."""


def check_submission(path: Path, sample: Path) -> Check:
    """Compare `path` (also `.csv.gz`, or a `.zip` with one CSV) with the sample submission, row by row.

    Header, ids, their order and number must be the sample's, every value a number in [0, 1].

    Raises:
        SubmissionError: the first thing that is wrong: line, what was found, what was expected.
        TableError: the sample itself cannot be read.
    """
    with open_rows(sample, SAMPLE) as expected, open_rows(path) as found, _line_progress(sample) as report:
        if found.header != expected.header:
            raise SubmissionError(
                f"{path}, line 1: found the header {','.join(found.header)[:80]!r}, expected "
                f"{','.join(expected.header)!r} as in {sample}. {AGAIN}"
            )
        total, lowest, highest = 0, np.inf, -np.inf
        while True:
            expected_ids, _ = expected.take_block()
            if not len(expected_ids):
                break
            ids, texts = found.take(len(expected_ids))
            first = found.line - len(ids)
            wrong = first_difference(ids, expected_ids)
            if wrong is not None:
                raise _wrong_id(path, sample, first + wrong, str(ids[wrong]), str(expected_ids[wrong]))
            if len(ids) < len(expected_ids):
                raise _too_short(path, sample, total + len(ids), str(expected_ids[len(ids)]))
            values = numbers(found, texts)
            outside = np.flatnonzero((values < 0) | (values > 1))
            if len(outside):
                place = int(outside[0])
                raise wrong_value(path, first + place, str(texts[place]), "a value in [0, 1]")
            total += len(ids)
            lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
            report(total)
        extra, _ = found.take(1)
        if len(extra):
            raise _too_long(path, found.line - 1, str(extra[0]), total)
    if not total:
        raise TableError(f"{sample} has no rows. {FETCH}")
    return Check(path, total, lowest, highest, digest_file(path))


def check_written(written: SubmissionFile, sample: Path) -> tuple[SubmissionFile, Check]:
    """Check a submission that kit has written in the order of the index; bring it to the sample's where that differs.

    Raises:
        SubmissionError: the sample asks for rows of which there are no values.
        TableError: as `check_submission`.
    """
    try:
        return written, check_submission(written.path, sample)
    except SubmissionError:
        ordered = _in_sample_order(written, sample)
        return ordered, check_submission(ordered.path, sample)


def _in_sample_order(written: SubmissionFile, sample: Path) -> SubmissionFile:
    """Write the rows that a sample asks for, in its order. All ids are in memory: a sample in another order is rare."""
    ids, texts = read_all(written.path)
    asked, _ = read_all(sample, SAMPLE)
    places = pc.index_in(asked, value_set=ids)
    if places.null_count:
        absent = pc.filter(asked, pc.is_null(places))
        raise SubmissionError(
            f"{sample} asks for {len(absent)} rows that no photo of the index has, first {str(absent[0])!r}. Does it "
            f"belong to these photos? {FETCH}"
        )
    with written.path.open("rb") as old:
        header = old.readline()
    sha = hashlib.sha256()
    with writing(written.path) as file:
        for start in range(0, len(asked), _ROWS):
            rows = asked.slice(start, _ROWS), texts.take(places.slice(start, _ROWS))
            lines = pc.binary_join_element_wise(_cells(rows[0]), rows[1], ",").to_pylist()
            data = (header if start == 0 else b"") + "".join(f"{line}\n" for line in lines).encode()
            sha.update(data)
            file.write(data)
    return SubmissionFile(written.path, len(asked), sha.hexdigest()[:16])


def _cells(ids: pa.Array) -> pa.Array:
    """Return ids as cells of a CSV: some letters put one in quotes."""
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(ids, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(ids, '[,"\r\n]'), quoted, ids)


_ROWS = 1 << 18


@contextlib.contextmanager
def _line_progress(sample: Path) -> Iterator[Callable[[int], None]]:
    """Report rows of a file whose number of rows is not known beforehand, against an estimate from its size."""
    rows = max(1, sample.stat().st_size // 38) if sample.is_file() else 1
    with progress("Checking", rows, "rows") as bar:
        yield lambda done: bar.update(min(done, rows) - bar.done)


def _lines_of(path: Path, wanted: list[str], most: int = 2) -> dict[str, list[int]]:
    """Find the lines of a file with these ids, at most `most` lines each; a second pass, made only for a message."""
    lines: dict[str, list[int]] = {one: [] for one in wanted}
    with contextlib.suppress(KitError), open_rows(path) as rows:
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
    return SubmissionError(f"{path}, line {line}: found the id {found!r}, expected {expected!r}: {reason}. {AGAIN}")


def _too_short(path: Path, sample: Path, rows: int, expected: str) -> SubmissionError:
    with open_rows(sample, SAMPLE) as all_rows:
        wanted = sum(len(block) for block in iter(lambda: all_rows.take_block()[0], pa.array([], pa.string())))
    return SubmissionError(
        f"{path}, line {rows + 2}: found the end of the file after {rows} rows, expected {wanted}: {expected!r} is "
        f"missing. {AGAIN}"
    )


def _too_long(path: Path, line: int, found: str, total: int) -> SubmissionError:
    lines = _lines_of(path, [found])[found]
    reason = f" (it is there twice, in lines {lines[0]} and {lines[1]})" if len(lines) > 1 else ""
    return SubmissionError(
        f"{path}, line {line}: found the id {found!r}{reason}, expected the end after {total} rows. {AGAIN}"
    )


def sample_of(workspace: Workspace, layout: Competition) -> Path:
    """Return the competition's sample submission.

    Raises:
        ArchiveError: it has not been fetched.
        DamagedStore: it is not the one that was fetched: what is checked against it would be refused.
    """
    path = sample_path(raw_folder(workspace), layout.sample)
    noted = fetched_sample(workspace)
    if noted and digest_file(path) != noted:
        raise DamagedStore(f"{path} was changed after it was fetched. Fetch it again: kit fetch --force")
    return path
