"""What a notebook does to a command: its drawing backend, its terminal that nobody answers at, its file to leave."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.command import kit, ok
from support.small import Small
from support.toy import Toy

from kit.core.notebook import in_notebook

pytestmark = pytest.mark.toy(
    test=3, sources=[{"name": "a", "noise": 0.05, "seed": 1}, {"name": "b", "noise": 0.05, "seed": 2}]
)
JUPYTER = {"JPY_PARENT_PID": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}


def as_process(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """`kit WORDS` in a process of its own, as a notebook starts it."""
    command = [sys.executable, "-m", "kit", *map(str, words)]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def filled(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two fills and folds, for processes that know no toy competition."""
    root = tmp_path_factory.mktemp("filled") / "w"
    small.copy(root)
    for line in ("folds --k 2", "fill mean harmonic"):
        ok(line, "-w", root)
    return root


@pytest.mark.slow
def test_a_notebooks_backend_breaks_no_picture(filled: Path) -> None:
    root = filled
    done = as_process("blend", "--name", "both", "--plots", "svg", "-w", root, **JUPYTER)
    assert done.returncode == 0, done.stderr
    assert list((root / "report").glob("*.svg"))
    done = as_process("figure", "mean", "-w", root, **JUPYTER)
    assert done.returncode == 0 and (root / "report" / "figure.png").stat().st_size > 1000


def on_a_terminal(root: Path, **env: str) -> str:
    """Type `kit upload mean` at a terminal, answer nothing, return what it says."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kit", "upload", "mean", "-w", str(root)],
        env={**os.environ, **env},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    try:
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
        os.close(ours)
    assert process.returncode == 2
    return err


@pytest.mark.slow
@pytest.mark.parametrize("env", [{"JPY_PARENT_PID": "1"}, {"KAGGLE_KERNEL_RUN_TYPE": "Batch"}, {"COLAB_GPU": "1"}])
def test_a_notebook_is_not_asked_though_it_has_a_terminal(filled: Path, env: dict[str, str]) -> None:
    err = on_a_terminal(filled, **env)
    assert err == "Error: A notebook cannot be asked. Send it with --yes, or only check it with --dry-run.\n"


def test_a_plain_process_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("JPY_", "KAGGLE_KERNEL", "COLAB_"))]:
        monkeypatch.delenv(name)
    assert not in_notebook()


def test_the_submission_is_left_where_the_notebook_wants_it(toy: Toy, tmp_path: Path) -> None:
    root, written = toy.workspace.root, toy.workspace.submission("a")
    out = tmp_path / "working" / "submission.csv"
    assert f"Written: {out}" in ok("upload a --dry-run --out", out, "-w", root)
    assert out.read_bytes() == written.read_bytes()
    zipped = out.with_suffix(".zip")
    ok("upload a --dry-run --out", zipped, "-w", root)
    with zipfile.ZipFile(zipped) as file:
        assert file.namelist() == ["submission.csv"] and file.read("submission.csv") == written.read_bytes()
    ok(f"upload {written} --dry-run --out", written, "-w", root)  # onto itself
    assert sorted(path.name for path in out.parent.iterdir()) == ["submission.csv", "submission.zip"]


@pytest.mark.parametrize(
    ("out", "said"),
    [("{w}", "a submission is a .csv or a .zip"), ("x.parquet", "Write: --out x.csv"), ("{w}/d.csv", "is a folder")],
)
def test_a_file_that_cannot_be_left_is_told_before_anything_is_written(toy: Toy, out: str, said: str) -> None:
    root = toy.workspace.root
    (root / "d.csv").mkdir()
    done = kit("upload a --dry-run --out " + out.format(w=root), "-w", root)
    assert done.is_one_error_line and said in done.err
    assert not toy.workspace.submission("a").exists()
