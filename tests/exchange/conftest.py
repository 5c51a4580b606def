"""A toy project with sources, for the tests of this room."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.imports import faded
from support.toy import Toy, make_toy_workspace, write_toy_source

from kit.data.project import Project


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """30 training and 6 test photos with a source `good`. Shared: imports go into `toy`, a copy."""
    toy = make_toy_workspace(tmp_path_factory.mktemp("base"), photos=30)
    write_toy_source(toy, "good", predict=faded(0.3))
    write_toy_source(toy, "other", 0.2, 2)
    write_toy_source(toy, "unet", 0.05, 3, by_fold=True)
    return toy


@pytest.fixture
def toy(base: Toy, tmp_path: Path) -> Toy:
    """A workspace to be written to."""
    root = tmp_path / "w"
    shutil.copytree(base.workspace.root, root)
    project = Project(type(base.workspace)(root, base.workspace.slug))
    return Toy(project.workspace, base.layout, project.index, project.pack, project.folds, base.truth)
