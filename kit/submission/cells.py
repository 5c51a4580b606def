"""A submission that is a table with a row a photo: run lengths, base64, or whatever its layout puts into the cell.

`encode` writes the line of one photo, its name in the first cell; `decode` reads the second cell back.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from kit.competitions import Competition, to_score_space
from kit.core.progress import track
from kit.core.storage import digest_file, writing
from kit.data.index import Index, PhotoRow
from kit.data.origin import raw_folder
from kit.data.project import Project
from kit.errors import SubmissionError, TableError
from kit.imaging.metrics import Metric
from kit.submission.csv_rows import AGAIN
from kit.submission.originals import Originals
from kit.submission.photo_error import photo_error
from kit.submission.write import Check, SubmissionFile, checked_values, sample_of, target_of

_LARGEST = 1 << 30  # letters of a cell


def write_cells(
    project: Project, values: Iterable[np.ndarray], name: str, folder: Path | None = None
) -> SubmissionFile:
    """Write `<name>.csv` with a row a photo, in the sample's order, whole or not at all.

    Args:
        values: for each test photo in index order `(n, 3)` RGB in [0, 1].
        folder: where, by default the workspace's `submissions/`.

    Raises:
        PredictionsError: values that are not finite, or not one `(n, 3)` array for each test photo.
        SubmissionError: the sample asks for a photo that the index has not.
    """
    layout, index, ranges = project.layout, project.index, project.pack.test_estimated_range
    lines: dict[str, bytes] = {}
    for position, chunk in enumerate(checked_values(values, index, name)):
        row = index.test[position]
        lines[row.name] = layout.encode(row.name, row.boxes, to_score_space(chunk, ranges[position]))
    sample = sample_of(project.workspace, layout)
    asked = [cells[0] for cells in _rows(sample)]
    if absent := [one for one in asked if one not in lines]:
        raise SubmissionError(f"{sample} asks for {absent[0]!r}, which no test photo is called. Is it of these photos?")
    path = target_of(project, name, folder, ".csv")
    sha = hashlib.sha256()
    with writing(path) as file:
        for data in (layout.header(raw_folder(project.workspace)), *(lines[one] for one in asked)):
            sha.update(data)
            file.write(data)
    return SubmissionFile(path, len(asked), sha.hexdigest()[:16])


def check_cells(path: Path, project: Project) -> Check:
    """Compare a table with the sample: names, their order, and what is in the cells.

    Raises:
        SubmissionError: the first thing that is wrong.
    """
    sample = sample_of(project.workspace, project.layout)
    asked, found = [cells[0] for cells in _rows(sample)], [cells[0] for cells in _rows(path)]
    for line, (here, there) in enumerate(zip(found, asked, strict=False), 2):
        if here != there:
            raise SubmissionError(f"{path}, line {line}: found {here!r}, expected {there!r} as in {sample}. {AGAIN}")
    if len(found) != len(asked):
        raise SubmissionError(f"{path} has {len(found)} rows, expected {len(asked)} as in {sample}. {AGAIN}")
    bounds = [(values.min(), values.max()) for _, values in _values(path, project.index, project.layout) if values.size]
    low, high = (float(min(b[0] for b in bounds)), float(max(b[1] for b in bounds))) if bounds else (0.0, 0.0)
    return Check(path, len(found), low, high, digest_file(path))


def graded_cells(
    path: Path, originals: Originals, index: Index, layout: Competition, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Return errors by the metric and hidden values by photo, two of `(M,)`; 0 values where a photo is not asked for.

    Raises:
        SubmissionError: names or cells that are wrong.
        ImageError: an original cannot be read, or is of another size.
    """
    errors, counts = np.zeros(len(index.test)), np.zeros(len(index.test), np.int64)
    places = {row.name: place for place, row in enumerate(index.test)}
    for row, values in track(_values(path, index, layout), "Grading", len(index.test), "photos"):
        whole = originals.load(row)
        errors[places[row.name]] = photo_error(metric, layout, row, whole, values)
        counts[places[row.name]] = values.size
    return errors, counts


def _values(path: Path, index: Index, layout: Competition) -> Iterator[tuple[PhotoRow, np.ndarray]]:
    """Yield each photo of a table with its values `(n, 3)` in score space."""
    rows = {row.name: row for row in index.test}
    for line, (name, cell) in enumerate(_rows(path), 2):
        if name not in rows:
            raise SubmissionError(f"{path}, line {line}: {name!r} is no test photo. {AGAIN}")
        values = np.asarray(layout.decode(cell), np.float64)  # type: ignore[arg-type]  # of such a layout a text
        if values.shape != (rows[name].scored, 3):
            raise SubmissionError(
                f"{path}, line {line}: {name!r} has values of shape {values.shape}, expected {(rows[name].scored, 3)}. "
                f"{AGAIN}"
            )
        if not ((values >= 0) & (values <= 1)).all():
            raise SubmissionError(f"{path}, line {line}: {name!r} has values outside [0, 1]. {AGAIN}")
        yield rows[name], values


def _rows(path: Path) -> list[tuple[str, str]]:
    """Return the first two cells of each row after the header."""
    csv.field_size_limit(_LARGEST)
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SubmissionError(f"{path} cannot be read as a CSV ({error}). {AGAIN}") from None
    short = next((line for line, cells in enumerate(found, 1) if len(cells) != 2), None)
    if not found or short is not None:
        raise TableError(f"{path}, line {short or 1}: two cells are needed, a name and its values. {AGAIN}")
    return [(cells[0], cells[1]) for cells in found[1:]]
