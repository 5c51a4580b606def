"""The pages that `scripts/docs` writes: no warning, every method on them, no link into nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kit

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_pages_are_whole(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", ROOT / "scripts" / "docs", tmp_path], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and not done.stderr, done.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text("utf-8") for path in tmp_path.rglob("*.html")}
    ids = {path: set(re.findall(r'\bid="([^"]+)"', page)) for path, page in pages.items()}
    found = {name.partition(".")[2] for path, names in ids.items() if path.startswith("api/kit/api/") for name in names}
    assert {name for name in dir(kit.Project) if not name.startswith("_")} <= found
    for path, page in pages.items():
        for target, anchor in re.findall(r'href="([^":#]*)#([^"]+)"', page):
            other = (tmp_path / path).parent / target if target else tmp_path / path
            assert anchor in ids[Path(os.path.normpath(other)).relative_to(tmp_path).as_posix()], (path, target, anchor)
