"""One small competition in Kaggle's layout that many tests read."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from kit.core.workspace import Workspace
from kit.data.project import Project


@dataclass(frozen=True)
class Small:
    """A small competition in Kaggle's layout, fetched. Shared by all tests: read it, or work on `copy`."""

    archive: Path
    truth: Path
    """Folder of the whole test photos."""
    root: Path
    """A workspace after `kit fetch`."""

    @property
    def project(self) -> Project:
        """The fetched workspace, opened."""
        return Project(Workspace(self.root))

    def copy(self, folder: Path) -> Project:
        """The fetched workspace once more, to be written to."""
        shutil.copytree(self.root, folder)
        return Project(Workspace(folder))
