"""Competitions that are attached to this machine already, as Kaggle's notebooks have them. Opens no file.

    /kaggle/input/<slug>/                the competition's files, read-only
    /kaggle/input/competitions/<slug>/   where they lie in newer notebooks
    /kaggle/input/<any name>/...         a dataset with the same files

`KIT_INPUT` names another folder than `/kaggle/input`; empty, none is looked at.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from kit.competitions import Competition
from kit.errors import UsageError

INPUT = "/kaggle/input"
_DEPTH = 4  # folders below it in which a dataset may hold the sample submission


def input_folder() -> Path | None:
    """Return the folder below which data sets are attached, or None where there is no such folder.

    Raises:
        UsageError: `KIT_INPUT` names what is no folder.
    """
    named = os.environ.get("KIT_INPUT", INPUT)
    folder = Path(named).expanduser()
    if named and not folder.is_dir() and "KIT_INPUT" in os.environ:
        raise UsageError(f"KIT_INPUT names {named}, which is no folder. Name another one, or unset it.")
    return folder if named and folder.is_dir() else None


def attached_folder(layout: Competition) -> Path | None:
    """Return the folder that holds this competition's files: the one of its name, else one that has them.

    Raises:
        UsageError: several have them, says how to choose; `KIT_INPUT` names a folder where none has.
    """
    root = input_folder()
    if root is None:
        return None
    named = [folder for folder in (root / "competitions" / layout.slug, root / layout.slug) if folder.is_dir()]
    found = _distinct([folder for folder in named if layout.is_in(folder)]) or _distinct(_search(root, layout))
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} folders hold the files of {layout.slug}: {', '.join(map(str, found))}. Choose one: "
            f"kit fetch --from {shlex.quote(str(found[0]))} --in-place"
        )
    if not found and not named and os.environ.get("KIT_INPUT"):
        raise UsageError(
            f"KIT_INPUT names {root}, which holds no files of {layout.slug}. Name another one, or unset it."
        )
    # a folder of that name that lacks something is told of when it is read
    return found[0] if found else named[0] if named else None


def _search(root: Path, layout: Competition) -> list[Path]:
    """Find the folders that hold the sample submission and what else the competition needs, outermost first."""
    found: list[Path] = []
    if not layout.sample:  # nothing tells such a folder but its name
        return found
    for folder in folders_with(root, layout.sample):
        if not any(folder.is_relative_to(outer) for outer in found) and layout.is_in(folder):
            found.append(folder)
    return found


def folders_with(root: Path, sample: str) -> Iterator[Path]:
    """Yield the folders some way below `root` that hold this file, outermost first."""
    for depth in range(1, _DEPTH + 1):
        for path in sorted(root.glob(f"{'*/' * depth}{sample}")):
            yield path.parents[len(Path(sample).parts) - 1]


def _distinct(folders: list[Path]) -> list[Path]:
    """Return folders without those that are links to another one of them."""
    return list({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1]
