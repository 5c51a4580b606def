"""What the folders of an unknown competition may be: guessed by their names, for somebody to say yes or no to."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.competitions.folder import MASK_NAME
from kit.imaging.images import IMAGE_SUFFIXES

_MASKS = {"mask", "masks", "hole", "holes"}
_TESTS = {"test", "testing", "tests", "eval", "evaluation", "val", "valid", "validation"}
_WHOLES = {"target", "targets", "gt", "groundtruth", "truth", "original", "originals", "unmasked", "whole", "clean"}
_COLUMNS = {
    "name": {"name", "file", "filename", "file_name", "image", "image_id", "id"},
    "row": {"row", "y", "top", "y0", "ymin", "y_min"},
    "col": {"col", "column", "x", "left", "x0", "xmin", "x_min"},
    "height": {"height", "h"},
    "width": {"width", "w"},
}
_CALLED = {
    "images": "training pictures",
    "masks": "their masks",
    "targets": "the whole training pictures",
    "test_images": "test pictures",
    "test_masks": "their masks",
    "boxes": "boxes",
}


@dataclass(frozen=True)
class Guess:
    """Options of the layout `folder`, and what each is taken for."""

    options: dict[str, str]
    lines: tuple[str, ...]


def guess_folders(source: Path) -> Guess | None:
    """Return what the folders of a zip or folder may be; None where they tell nothing.

    Opens no picture: names tell training from test, pictures from masks, and a table's columns where boxes are.
    """
    paths = _paths(source)
    counts = _sets(paths)
    roles: dict[str, str] = {}
    for folder in sorted(counts, key=lambda one: -counts[one]):  # the largest of several
        roles.setdefault(_role_of(folder), folder)
    options = {role: roles[role] for role in _CALLED if role in roles}
    boxes = _table_of_boxes(source, paths)
    if boxes is not None:
        options |= boxes
    beside = any(MASK_NAME.search(path.stem) for path in paths)
    if not {"images", "test_images"} <= options.keys() or not ({"test_masks", "boxes"} & options.keys() or beside):
        return None
    lines = [
        f"{options[role]}: {called}" + (f" ({counts[options[role]]})" if options[role] in counts else "")
        for role, called in _CALLED.items()
        if role in options
    ]
    return Guess(options, tuple(lines))


def _paths(source: Path) -> list[PurePosixPath]:
    if source.is_dir():
        found = [PurePosixPath(path.relative_to(source).as_posix()) for path in source.rglob("*") if path.is_file()]
    else:
        try:
            with zipfile.ZipFile(source) as archive:
                found = [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]
        except (zipfile.BadZipFile, OSError):
            return []
    return [path for path in found if "__MACOSX" not in path.parts and not path.name.startswith(".")]


def _sets(paths: list[PurePosixPath]) -> Counter[str]:
    """Return how many pictures each set has: those of folders that differ in a class alone are one set."""
    pictures = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    counts: Counter[str] = Counter()
    for path in pictures:
        parts = list(path.parent.parts)
        while parts and not _tokens(parts[-1]) & (_MASKS | _TESTS | _WHOLES | {"train", "training", "images", "image"}):
            parts.pop()  # a class
        counts["/".join(parts) or path.parent.as_posix()] += 1
    return counts


def _tokens(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.lower()))


def _role_of(folder: str) -> str:
    tokens = {token for part in folder.split("/") for token in _tokens(part)}
    test = bool(tokens & _TESTS)
    if tokens & _MASKS:
        return "test_masks" if test else "masks"
    if tokens & _WHOLES:
        return "test_targets" if test else "targets"
    return "test_images" if test else "images"


def _table_of_boxes(source: Path, paths: list[PurePosixPath]) -> dict[str, str] | None:
    """Return the table whose columns are those of boxes, and which are which."""
    for path in paths:
        if path.suffix.lower() != ".csv":
            continue
        names = {name.strip().lower(): name for name in _header(source, path)}
        own = {ours: next((names[one] for one in theirs if one in names), "") for ours, theirs in _COLUMNS.items()}
        if all(own.values()):
            return {"boxes": path.as_posix(), "columns": ",".join(f"{ours}={name}" for ours, name in own.items())}
    return None


def _header(source: Path, path: PurePosixPath) -> list[str]:
    try:
        if source.is_dir():
            with (source / path).open("rb") as file:
                line = file.readline(4096)
        else:
            with zipfile.ZipFile(source) as archive, archive.open(str(path)) as file:
                line = file.readline(4096)
    except (OSError, zipfile.BadZipFile, RuntimeError):
        return []
    return next(csv.reader(io.StringIO(line.decode("utf-8-sig", "replace"))), [])
