"""`kit demo` keeps out of workspaces that are somebody's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import kit


@pytest.mark.parametrize("folder", ["data", "predictions", "runs"])
def test_the_demo_does_not_begin_in_a_workspace_of_somebody_else(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    done = kit("demo --folder", tmp_path)
    assert done.is_one_error_line and "holds work that kit demo has not made" in done.err and folder in done.err
    assert [path.name for path in tmp_path.iterdir()] == [folder]
