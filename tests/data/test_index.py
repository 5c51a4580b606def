"""One row a photo, and which competition a workspace holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.small import Small
from support.toy import make_toy_files

from kit.core.workspace import DEFAULT_SLUG, Workspace
from kit.data.index import COLUMNS, open_workspace
from kit.data.project import Project
from kit.errors import UsageError
from kit.imaging.holes import scored_pixels


def test_the_index_tells_holes_and_scored_pixels(small: Small) -> None:
    index = small.project.index
    for photo_row in (*index.train, *index.test):
        rows, cols = scored_pixels(photo_row.boxes)
        assert photo_row.scored == len(rows) == 2 * 75 * 75
        assert photo_row.hole[rows, cols].all() and photo_row.hole.sum() <= photo_row.scored
    assert any(photo_row.hole.sum() < photo_row.scored for photo_row in index.train)  # boxes that overlap


def test_ids_are_unique_and_the_table_is_readable(small: Small) -> None:
    project = small.project
    ids = [photo_row.id for photo_row in (*project.index.train, *project.index.test)]
    assert len(set(ids)) == len(ids)
    assert project.workspace.index.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert all(photo_row.target and photo_row.klass for photo_row in project.index.train)
    assert all(not photo_row.target and not photo_row.phash for photo_row in project.index.test)


def test_paths_in_the_index_lead_below_raw(small: Small) -> None:
    project = small.project
    for photo_row in project.index.train:
        assert (project.workspace.raw / photo_row.image).is_file() and (
            project.workspace.raw / photo_row.target
        ).is_file()


def test_a_workspace_knows_its_competition_by_itself(small: Small, tmp_path: Path) -> None:
    assert open_workspace(small.root, None).slug == DEFAULT_SLUG
    assert open_workspace(tmp_path, None).slug == DEFAULT_SLUG
    assert open_workspace(tmp_path, "other").slug == "other"
    for slug in ("a", "b"):
        (tmp_path / "data" / slug).mkdir(parents=True)
        (tmp_path / "data" / slug / "index.json").write_text("{}")
        if slug == "a":
            assert open_workspace(tmp_path, None).slug == "a"
    with pytest.raises(UsageError, match=r"several competitions \(a, b\). Name one: --competition SLUG"):
        open_workspace(tmp_path, None)
    assert open_workspace(tmp_path, "b").slug == "b"


def test_a_home_folder_may_be_written_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_workspace(Path("~/work"), None).root == tmp_path / "work"


def test_a_project_reads_each_part_once_and_when_asked(tmp_path: Path) -> None:
    project = Project(make_toy_files(tmp_path))
    assert project.layout.slug == "toy" and project.layout is project.layout
    assert Project(Workspace(tmp_path, "toy")).workspace.raw.is_dir()
