"""The example for Kaggle's notebooks, as a script in a folder that looks like theirs: no network, input read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.command import ok
from support.confined import obeying_permissions, without_network
from support.percent import EXAMPLE, notebook_of
from support.small import Small

SLUG = "photo-reconstruction"
TRAINING = "regress --epochs 1 --set size=32 --set architecture=plain --set width=8 --set base=harmonic --device cpu"


@pytest.mark.long
@pytest.mark.slow
def test_from_the_attached_competition_to_the_submission_and_again_for_hidden_photos(
    small: Small, tmp_path: Path
) -> None:
    source, working = tmp_path / "input", tmp_path / "working"
    with zipfile.ZipFile(small.archive) as file:
        file.extractall(source / SLUG)
    for path in [source / SLUG, *(source / SLUG).rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    first = _run(tmp_path)
    submission = (working / "submission.csv").read_bytes()
    assert f"In place: the photos stay in {source / SLUG}" in first and "ids as in the sample" in first
    assert not list(working.rglob("Masked_Train"))

    # the next notebook: the first one's output attached, the test photos of a rerun, no training photos
    (source / "kit-trained").mkdir()
    attached = source / "kit-trained" / "workspace"
    (working / "workspace").rename(attached)
    for path in [attached, *attached.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    shutil.rmtree(working)
    for path in [source / SLUG, *(path for path in (source / SLUG).rglob("*") if path.is_dir())]:
        path.chmod(0o755)
    shutil.rmtree(source / SLUG / "Dataset" / "Training_Data")
    second = _run(tmp_path)
    assert "blend notebook on 4 test photos" in second and "Trained" not in second
    assert (working / "submission.csv").read_bytes() == submission
    ok("check", working / "submission.csv", "-w", attached)
    for path in [path for path in [source, *source.rglob("*")] if path.is_dir()]:
        path.chmod(0o755)  # for whoever cleans up


def _run(root: Path) -> str:
    """Run the script as a notebook's kernel would, and return what it printed."""
    (root / "working").mkdir()
    (root / "home").mkdir(exist_ok=True)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("KIT_")},
        "HOME": str(root / "home"),
        "KIT_INPUT": str(root / "input"),
        "KIT_WORKING": str(root / "working"),
        "KIT_TRAINING": TRAINING,
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "JPY_PARENT_PID": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONPATH": str(EXAMPLE.parents[1]),
        **{f"{name}_proxy": "http://127.0.0.1:9" for name in ("http", "https", "HTTP", "HTTPS")},
    }
    command = [*without_network(), *(obeying_permissions() or []), sys.executable, str(EXAMPLE)]
    done = subprocess.run(command, env=env, cwd=root / "working", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_notebook_is_the_script() -> None:
    assert EXAMPLE.with_suffix(".ipynb").read_text() == notebook_of(EXAMPLE.read_text())
