"""The notebook of a bundle, cell by cell, in a folder that looks like Kaggle's: no network, input read-only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.command import ok
from support.confined import obeying_permissions, without_network
from support.small import Small

SETTINGS = "--set size=32 --set architecture=plain --set width=8 --epochs 1 --device cpu"


def script_of(notebook: Path, root: Path) -> str:
    """Return the notebook's code as a Python script, its `!` lines as shell commands; Kaggle's folders below a root."""
    lines = ["import subprocess", "def shell(line): subprocess.run(line, shell=True, check=True)"]
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            for line in cell["source"].replace("\\\n", "").splitlines():
                lines.append(f"shell(f{line[1:]!r})" if line.startswith("!") else line)
    text = "\n".join(lines).replace("/kaggle", f"{root}/kaggle")
    return text.replace("pip install", f"{sys.executable} -m pip install --target {root}/site")


@pytest.mark.slow
def test_the_notebook_installs_predicts_and_finds_the_noted_submission(small: Small, tmp_path: Path) -> None:
    here, kaggle = tmp_path / "here", tmp_path / "kaggle"
    ok(f"-w {here} fetch --from {small.archive}")
    ok(f"-w {here} folds --k 2")
    ok(f"-w {here} fill fractional harmonic")
    ok(f"-w {here} train regress --fold all {SETTINGS}")
    ok(f"-w {here} blend regress fractional harmonic --name three --rung mean")
    ok(f"-w {here} bundle three --out {kaggle / 'input' / 'photo-bundle'}")
    with zipfile.ZipFile(small.archive) as file:
        file.extractall(kaggle / "input" / "photo-reconstruction")
    (kaggle / "working").mkdir()
    (tmp_path / "home").mkdir()
    for path in [kaggle / "input", *(kaggle / "input").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    script = tmp_path / "notebook.py"
    script.write_text(script_of(kaggle / "input" / "photo-bundle" / "notebook" / "predict.ipynb", tmp_path))
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "kit").write_text(f'#!/bin/sh\nexec {sys.executable} -m kit "$@"\n')
    (tools / "kit").chmod(0o755)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("KIT_", "KAGGLE_"))},
        "HOME": str(tmp_path / "home"),
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path / "site"),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    command = [*without_network(), *(obeying_permissions() or []), sys.executable, str(script)]
    done = subprocess.run(command, cwd=kaggle / "working", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "all as written" in done.stdout
    assert "submission.csv: the very bytes that were noted" in done.stdout
    assert (tmp_path / "site" / "kit" / "__init__.py").is_file()
    for path in [path for path in [kaggle / "input", *(kaggle / "input").rglob("*")] if path.is_dir()]:
        path.chmod(0o755)  # for whoever cleans up
