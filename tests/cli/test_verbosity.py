"""`-q` and `-v`, before and after a command: results always, the rest as wanted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import kit
from support.small import Small

from kit.core import speech


@pytest.fixture
def root(small: Small, tmp_path: Path) -> Path:
    return small.copy(tmp_path / "w").workspace.root


@pytest.mark.parametrize("line", ["-q explore --no-page", "explore --no-page --quiet"])
def test_a_quiet_command_prints_results_alone(root: Path, line: str) -> None:
    usual, quiet = kit(f"-w {root} explore --no-page"), kit(f"{line} -w {root}")
    assert quiet.code == 0 and quiet.err == "" and "Next: " not in quiet.out
    assert usual.out == f"{quiet.out}Next: kit folds\n"


def test_errors_are_said_to_the_quiet_too(root: Path) -> None:
    assert kit(f"-w {root} fill nothing -q").is_one_error_line


def test_a_verbose_command_names_files_and_times(root: Path) -> None:
    done = kit(f"-w {root} folds --k 2 -v")
    assert done.code == 0 and f"Written: {root / 'folds'}" in done.err and "kit took " in done.err
    done = kit(f"-w {root} fill mean --verbose")
    assert "Filling mean (oof): " in done.err and "Read: " in done.err and "Written: " in done.err
    assert "Filling mean" not in done.out
    assert kit(f"-w {root} fill mean").err == ""


def test_both_at_once_are_wrong_usage() -> None:
    done = kit("-q status -v")
    assert done.is_one_error_line and done.code == 2


def test_what_nobody_expected_shows_its_traceback_to_the_verbose_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("not expected")

    monkeypatch.setattr("kit.upkeep.status.read_status", broken)
    assert kit(f"-w {root} status").err.count("\n") == 1
    done = kit(f"-w {root} status -v")
    assert done.code == 70 and "Traceback" in done.err and done.err.splitlines()[-1].startswith("Error: Kit did not")


def test_children_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kit("-q status")
    assert speech.speech_environment() == {speech.VARIABLE: "quiet"}
    kit("--version")
    assert speech.speech_environment() == {}


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
@pytest.mark.parametrize(("variables", "escapes"), [({"TERM": "dumb"}, False), ({"TERM": "xterm"}, True)])
def test_a_terminal_that_knows_only_lines_gets_only_lines(root: Path, variables: dict[str, str], escapes: bool) -> None:
    own, other = pty.openpty()
    unset = ("NO_COLOR", "FORCE_COLOR", "JPY_PARENT_PID", "KAGGLE_KERNEL_RUN_TYPE", speech.VARIABLE)
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    command = [sys.executable, "-m", "kit", "-w", str(root), "fill", "mean"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=other, stdin=other, env={**environment, **variables}, check=True
    )
    os.close(other)
    said = b""
    while chunk := _read(own):
        said += chunk
    assert (b"\x1b" in said) == escapes and done.stdout.startswith(b"Filled: mean\nNext: kit ")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # all is read, and nobody writes any more
        return b""
