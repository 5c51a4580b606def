"""The folder of a workspace, opened: what all methods begin with. Reads nothing by itself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from kit.core import speech
from kit.errors import UsageError

if TYPE_CHECKING:
    from kit.core.workspace import Workspace
    from kit.data.project import Project as Opened

Names = str | Iterable[str]
FilePath = str | Path


class Folder:
    """The folder of a workspace."""

    def __init__(self, folder: Path, competition: str | None = None) -> None:
        from kit.data.index import checked_folder

        self.folder = checked_folder(folder).absolute()  # another folder may be the current one later
        self._slug = competition
        _ = self.workspace  # several competitions are told of at once

    @property
    def workspace(self) -> Workspace:
        """Return the paths of the workspace."""
        from kit.data.index import open_workspace

        return open_workspace(self.folder, self._slug)

    @property
    def competition(self) -> str:
        """Return the competition's slug."""
        return self.workspace.slug

    @property
    def opened(self) -> Opened:
        """Open index, pack, folds and predictions of the workspace, as kit's own functions take them."""
        from kit.data.project import Project as Opened

        return Opened(self.workspace)

    def __repr__(self) -> str:
        """Return how it is opened."""
        return f"<kit project {self.competition} in {self.folder}>"


def listed(names: Names) -> list[str]:
    """Return names as a list: one may be given alone. Raises `UsageError` for what is neither."""
    several = [names] if isinstance(names, str) else [*names] if isinstance(names, Iterable) else [names]
    if wrong := [one for one in several if not isinstance(one, str)]:
        raise UsageError(f"{wrong[0]!r} is no name. Give a text, or several.")
    return several


def path_of(path: FilePath | None) -> Path | None:
    """Return a path that may be given as text, or not at all. Raises `UsageError` for what is none."""
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"{path!r} is no path. Give a text or a pathlib.Path.")
    return Path(path).expanduser()


def say(line: str) -> None:
    """Print a line where progress is shown: in a notebook below the cell. Not where KIT_VERBOSITY is quiet."""
    speech.say(line)
