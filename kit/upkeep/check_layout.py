"""`kit check-layout`: whether a layout's functions fit the files, and each other. Keeps nothing."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.competitions import Competition
from kit.competitions.loading import LayoutChoice, layout_choice, load_layout
from kit.core.workspace import Workspace
from kit.data.fetch import fetch
from kit.data.index import PhotoRow, evenly_spread
from kit.data.project import Project
from kit.errors import ArchiveError, KitError, TableError, UsageError
from kit.submission.csv_rows import SUBMISSION, batches
from kit.submission.formats import write_checked

LOOKED_AT = 50  # photos of a split, evenly spread
CLOSE = {"csv": 1e-4, "cells": 0.5 / 255 + 1e-6}  # of values that were written and read again: cells may hold bytes


@dataclass(frozen=True)
class Passed:
    """One thing that is as it should be."""

    what: str
    said: str


def check_given_layout(layout: str, source: Path) -> Iterator[Passed]:
    """Check a layout, `FILE.py` or a name, in a temporary folder; see `check_layout`.

    Raises:
        ArchiveError: the competition's zip or folder is not there.
    """
    choice = layout_choice(layout)
    if not source.exists():
        raise ArchiveError(f"{source} is missing. Give the competition's zip or folder: --from DATA")
    with tempfile.TemporaryDirectory(prefix="kit-layout-") as folder:
        yield from check_layout(choice, "checked", source, Path(folder))


def check_layout(choice: LayoutChoice, slug: str, source: Path, folder: Path) -> Iterator[Passed]:
    """Fetch the data into a folder of its own and check one thing after the other.

    Args:
        source: the competition's zip or folder.
        folder: empty, for what is made on the way.

    Raises:
        TableError: what is wrong, with the name of the function.
        KitError: the layout or the data cannot be read.
    """
    try:
        yield from _checked(choice, slug, source, folder)
    except KitError as error:
        text = str(error).replace(str(Workspace(folder, slug).data / "layout.py"), str(choice.path))  # a copy of it
        if isinstance(error, UsageError):  # of what is checked, not of the command line
            raise TableError(text) from None
        if text != str(error):
            raise type(error)(text) from None
        raise


def _checked(choice: LayoutChoice, slug: str, source: Path, folder: Path) -> Iterator[Passed]:
    layout = load_layout(choice, slug)
    yield Passed("functions", f"{layout.title}, {layout.metric}, a submission is {_sent(layout)}")
    workspace = Workspace(folder, slug)
    in_place = source.is_dir()
    fetched = fetch(workspace, source=source, in_place=in_place, choice=choice)
    project = Project(workspace)
    train, test = len(fetched.index.train), len(fetched.index.test)
    yield Passed("index", f"{train:,} training and {test:,} test photos, all read" + _noted(fetched.notes))
    yield Passed("ids", _ids(project))
    yield Passed("holes", _holes(project))
    yield Passed("value_range", _value_range(project))
    if layout.submission in ("csv", "cells"):
        yield Passed("encode, decode", _inverse(project))
        yield Passed("header, sample", _sample(project))
    else:
        yield Passed("pictures", _sample(project))


def _sent(layout: Competition) -> str:
    kinds = {"pictures": "a zip of pictures", "npy": "an array of pictures"}
    return kinds.get(layout.submission, f"a table like {layout.sample}")


def _noted(notes: tuple[str, ...]) -> str:
    return f"; to be noted: {' | '.join(notes)}" if notes else ""


def _some(rows: tuple[PhotoRow, ...]) -> list[int]:
    return evenly_spread(len(rows), LOOKED_AT)


def _ids(project: Project) -> str:
    """Compare ids and names with each other, and the files of both splits."""
    index = project.index
    for what, values in (
        ("ids", [row.id for row in (*index.train, *index.test)]),
        ("names of test photos", [row.name for row in index.test]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1}) if len(set(values)) < len(values) else []
        if twice:
            raise TableError(f"index(): {what} are there twice, first {twice[0]!r}.")
    wholes = {row.target for row in index.train}
    if both := sorted({row.image for row in index.test} & (wholes | {row.image for row in index.train})):
        raise TableError(f"index(): {both[0]} is a training photo and a test photo.")
    return "unique; no file is in both splits"


def _holes(project: Project) -> str:
    rows = (*project.index.train, *project.index.test)
    shares = [row.scored / (row.height * row.width) for row in rows]
    if not any(shares):
        raise TableError("index(): no photo hides anything: is `boxes` filled?")
    empty = sum(not share for share in shares)
    sizes = {(row.height, row.width) for row in rows}
    of = f"{len(sizes)} sizes" if len(sizes) > 1 else f"{rows[0].width}x{rows[0].height}"
    return f"{100 * float(np.mean(shares)):.1f} % hidden on average, {empty} photos hide nothing, {of}"


def _value_range(project: Project) -> str:
    """Ask for the range of some photos: shape, order, and that hidden pixels change nothing."""
    layout, pack, rows = project.layout, project.pack, project.index.train
    rng = np.random.default_rng(0)
    for place in _some(rows):
        image, hole = np.asarray(pack.train_image[place]), rows[place].hole
        other = image.copy()
        other[hole] = rng.integers(0, 256, (int(hole.sum()), 3))
        found = [np.asarray(layout.value_range(one, hole)) for one in (image, other)]
        whole = np.asarray(layout.value_range(np.asarray(pack.train_target[place]), None))
        for one in (*found, whole):
            if one.shape != (2, 3) or not np.isfinite(one).all() or (one < 0).any() or (one > 1).any():
                raise TableError(f"value_range() of {rows[place].id} gives {one.tolist()}, not (2, 3) in [0, 1].")
            if (one[0] > one[1]).any():
                raise TableError(f"value_range() of {rows[place].id}: low {one[0].tolist()} is above high.")
        if not np.array_equal(found[0], found[1]):
            raise TableError(f"value_range() of {rows[place].id} depends on hidden pixels, which a test photo has not.")
    return "(2, 3) in [0, 1], whatever is under the holes"


def _inverse(project: Project) -> str:
    """Write values and read them again: of colours, or where those are not given back, of greys."""
    try:
        _read_again(project)
    except TableError:
        _read_again(project, grey=True)
        return "one gives back what the other wrote of grey pictures; colours are lost"
    return "one gives back what the other wrote: the truth scores as such"


def _read_again(project: Project, *, grey: bool = False) -> None:
    layout, rng = project.layout, np.random.default_rng(0)
    for place in _some(project.index.test):
        row = project.index.test[place]
        values = rng.uniform(0, 1, (row.scored, 3))
        if not len(values):
            continue
        if grey:
            values[:] = values[:, :1]
        text = layout.encode(row.name, row.boxes, values)
        if not isinstance(text, bytes):
            raise TableError(f"encode() gives {type(text).__name__}, not bytes.")
        again = np.asarray(layout.decode(_cell(text, row) if layout.submission == "cells" else _numbers(text, row)))
        if again.shape != values.shape:
            raise TableError(f"decode() of {row.name} gives {again.shape}, not {values.shape}.")
        worst = float(np.abs(again - values).max())
        if worst > CLOSE[layout.submission]:
            raise TableError(f"decode() does not give back what encode() wrote of {row.name}: off by {worst:.3g}.")


def _numbers(text: bytes, row: PhotoRow) -> np.ndarray:
    """Return the values in the lines of one photo."""
    parts = list(batches(Path(row.name), io.BytesIO(text), SUBMISSION))
    numbers: np.ndarray = pc.cast(pa.concat_arrays([part.column(1) for part in parts]), pa.float64()).to_numpy()
    if len(numbers) != 3 * row.scored:
        raise TableError(f"encode() of {row.name} gives {len(numbers)} lines for {3 * row.scored} values.")
    return numbers


def _cell(text: bytes, row: PhotoRow) -> Any:
    """Return the second cell of the one line of a photo."""
    csv.field_size_limit(1 << 30)
    lines = list(csv.reader(io.StringIO(text.decode(), newline="")))
    if len(lines) != 1 or len(lines[0]) != 2 or lines[0][0] != row.name:
        raise TableError(f"encode() of {row.name} gives no line with its name and one more cell.")
    return lines[0][1]


def _sample(project: Project) -> str:
    """Write a whole submission of one grey and compare it with the sample, row by row."""
    grey: Callable[[PhotoRow], np.ndarray] = lambda row: np.full((row.scored, 3), 0.5)  # noqa: E731
    try:
        _, check = write_checked(project, (grey(row) for row in project.index.test), "grey")
    except (ArchiveError, KitError) as error:
        raise TableError(f"A submission written by this layout is not the sample's: {error}") from None
    return f"{check.rows:,} {'pictures' if check.pictures else 'rows'}, as the competition asks for them"
