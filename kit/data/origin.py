"""How a competition's data came: from Kaggle, from a zip or a folder, or made here. Knows no photo.

`fetched.json` beside the index says it, and where the files are that are used in place (`Workspace.raw`). It is a file
of its own, because it is asked for when the index is damaged.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from kit.core.storage import read_json, write_json
from kit.core.workspace import Workspace
from kit.errors import MissingStep, StoreError

TRUTH = "truth"
"""Folder of the sample's original test photos: what tells it where there is no record yet."""


@dataclass(frozen=True)
class Origin:
    """Where the data came from; Kaggle, when neither is given."""

    sample: bool = False
    """It is the small built-in competition."""
    source: Path | None = None
    """The zip or folder that was given with `--from`, absolute."""
    in_place: bool = False
    """That folder was not copied: its files are read where they are."""

    @property
    def flags(self) -> str:
        """Return what `kit fetch` needs to get the same data again, "" for Kaggle's."""
        if self.sample:
            return "--sample"
        if self.source is None:
            return ""
        if self.in_place:
            return f"--from {shlex.quote(str(self.source)) if self.source.is_dir() else 'FOLDER'} --in-place"
        return f"--from {shlex.quote(str(self.source))}" if self.source.exists() else "--from ZIP"


def write_origin(workspace: Workspace, origin: Origin) -> None:
    """Note how the data came."""
    source = None if origin.source is None else str(origin.source.expanduser().absolute())
    in_place = {"in_place": True} if origin.in_place else {}
    write_json(workspace.fetched, {"sample": origin.sample, "from": source, **in_place})


def read_origin(workspace: Workspace) -> Origin | None:
    """Return how the data came, or None where nothing tells it: a damaged record is no reason for an error."""
    try:
        noted = read_json(workspace.fetched, made_by="kit fetch")
    except (StoreError, OSError):
        noted = {}
    if not isinstance(noted.get("sample"), bool):
        return Origin(sample=True) if (workspace.data / TRUTH).is_dir() else None
    source = noted.get("from")
    in_place = noted.get("in_place") is True
    return Origin(noted.get("sample") is True, Path(source) if isinstance(source, str) else None, in_place)


def raw_folder(workspace: Workspace) -> Path:
    """Return the folder of the competition's own files.

    Raises:
        MissingStep: they were used in place, and their folder is gone.
    """
    folder = workspace.in_place
    if folder is not None and not folder.is_dir():
        raise MissingStep(
            f"{folder}, whose files kit uses in place, is gone. Attach or mount it again, or say where it is now: kit "
            "fetch --from FOLDER --in-place"
        )
    return workspace.raw
