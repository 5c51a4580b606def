"""What the folders of an unknown competition may be: guessed by their names, for somebody to say yes or no to."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.competitions.folder import MASK_NAME
from kit.competitions.guess_hole import guess_hole
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


_OWN = {"data", "report", "predictions", "runs", "blends", "submissions", "bundles", "tuning", "inputs", "folds", "sd"}
"""Folders of a workspace of kit's, whose pictures are no photos."""


@dataclass(frozen=True)
class Guess:
    """Options of the layout `folder`, and what each is taken for."""

    options: dict[str, str]
    lines: tuple[str, ...]
    hides: bool = True
    """Whether something says what is hidden."""


def guess_folders(source: Path) -> Guess | None:
    """Return what the folders of a zip or folder may be; None where they tell nothing.

    Names tell training from test, pictures from masks, and a table's columns where boxes are. Where none of them says
    what is hidden, some test pictures are looked at.
    """
    paths = _paths(source)
    stems = _sets(paths)
    roles: dict[str, str] = {}
    for folder in sorted(stems, key=lambda one: -len(stems[one])):  # the largest of several
        roles.setdefault(_role_of(folder), folder)
    roles = _by_stems(roles, stems)
    options = {role: roles[role] for role in _CALLED if role in roles}
    if not {"images", "test_images"} <= options.keys():
        return None
    options |= _table_of_boxes(source, paths) or {}
    lines = [
        f"{options[role]}: {called}" + (f" ({len(stems[options[role]])})" if options[role] in stems else "")
        for role, called in _CALLED.items()
        if role in options
    ]
    if "test_targets" in roles:
        lines.append(f"{roles['test_targets']}: the whole test pictures, for kit grade --truth alone")
    hides = bool({"test_masks", "boxes"} & options.keys()) or any(MASK_NAME.search(path.stem) for path in paths)
    if not hides and (hole := guess_hole(source, _pictures_of(paths, options["test_images"]))):
        options["hole"], hides = hole, True
        lines.append(f"hidden: what {'is transparent' if hole == 'alpha' else f'has the colour {hole}'}")
    return Guess(options, tuple(lines), hides)


def _by_stems(roles: dict[str, str], stems: dict[str, list[str]]) -> dict[str, str]:
    """Return the roles with masks and whole pictures given to the pictures whose names they have."""
    found = dict(roles)
    for train, test in (("masks", "test_masks"), ("targets", "test_targets")):
        folder = roles.get(train)
        if folder is None or "images" not in roles:
            continue
        own = {MASK_NAME.sub("", stem) for stem in stems[folder]}
        tests = set(stems.get(roles.get("test_images", ""), []))
        if tests and tests <= own and not set(stems[roles["images"]]) <= own:
            del found[train]
            found.setdefault(test, folder)
    return found


def _pictures_of(paths: list[PurePosixPath], folder: str) -> list[PurePosixPath]:
    inside = PurePosixPath(folder)
    return [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and inside in path.parents]


def _paths(source: Path) -> list[PurePosixPath]:
    if source.is_dir():
        found = [PurePosixPath(path.relative_to(source).as_posix()) for path in source.rglob("*") if path.is_file()]
    else:
        try:
            with zipfile.ZipFile(source) as archive:
                found = [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]
        except (zipfile.BadZipFile, OSError):
            return []
    noted = [path for path in found if path.name == "index.json" and path.parts[-3:-2] == ("data",)]
    workspaces = {path.parents[2] for path in noted}
    return [
        path
        for path in found
        if "__MACOSX" not in path.parts
        and not path.name.startswith(".")
        and not any(folder / own in path.parents for folder in workspaces for own in _OWN)
    ]


def _sets(paths: list[PurePosixPath]) -> dict[str, list[str]]:
    """Return the names of each set's pictures: those of folders that differ in a class alone are one set."""
    pictures = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    stems: dict[str, list[str]] = {}
    for path in pictures:
        parts = list(path.parent.parts)
        while parts and not _tokens(parts[-1]) & (_MASKS | _TESTS | _WHOLES | {"train", "training", "images", "image"}):
            parts.pop()  # a class
        stems.setdefault("/".join(parts) or path.parent.as_posix(), []).append(path.stem)
    return stems


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
