"""How a competition's data came: from Kaggle, from a zip or a folder, or made here. Knows no photo.

`fetched.json` beside the index says it. It is a file of its own, because it is asked for when the index is damaged.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from kit.core.storage import read_json, write_json
from kit.core.workspace import Workspace
from kit.errors import StoreError

TRUTH = "truth"
"""Folder of the sample's original test photos: what tells it where there is no record yet."""


@dataclass(frozen=True)
class Origin:
    """Where the data came from; Kaggle, when neither is given."""

    sample: bool = False
    """It is the small built-in competition."""
    source: Path | None = None
    """The zip or folder that was given with `--from`, absolute."""

    @property
    def flags(self) -> str:
        """Return what `kit fetch` needs to get the same data again, "" for Kaggle's."""
        if self.sample:
            return "--sample"
        if self.source is None:
            return ""
        return f"--from {shlex.quote(str(self.source))}" if self.source.exists() else "--from ZIP"


def write_origin(workspace: Workspace, origin: Origin) -> None:
    """Note how the data came."""
    source = None if origin.source is None else str(origin.source.expanduser().absolute())
    write_json(_path(workspace), {"sample": origin.sample, "from": source})


def read_origin(workspace: Workspace) -> Origin | None:
    """Return how the data came, or None where nothing tells it: a damaged record is no reason for an error."""
    try:
        noted = read_json(_path(workspace), made_by="kit fetch")
    except (StoreError, OSError):
        return Origin(sample=True) if (workspace.data / TRUTH).is_dir() else None
    source = noted.get("from")
    return Origin(noted.get("sample") is True, Path(source) if isinstance(source, str) else None)


def _path(workspace: Workspace) -> Path:
    return workspace.data / "fetched.json"
