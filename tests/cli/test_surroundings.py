"""What users' machines lack: the work is done without it, or one line says so. And what kit did not expect."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import kit, ok
from support.toy import Toy

pytestmark = pytest.mark.toy(
    photos=12, test=2, shared=True, sources=[{"name": "good", "noise": 0.05}, {"name": "other", "noise": 0.06}]
)
RAN_BY_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def alone(line: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run `kit LINE` in a process of its own; None takes a variable away."""
    variables = {**os.environ, **{name: value for name, value in environment.items() if value is not None}}
    for name in [name for name, value in environment.items() if value is None]:
        variables.pop(name, None)
    command = [sys.executable, "-m", "kit", *line.split()]
    return subprocess.run(command, capture_output=True, env=variables, encoding="latin-1", check=False)


def test_without_a_place_for_compiled_code_it_is_compiled_anew(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    import numba.core.caching

    from kit.core.compiled import compiled

    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])

    def twice(value: float) -> float:
        return 2 * value

    assert compiled()(twice)(3.0) == 6.0


def test_an_output_without_the_letters_gets_escapes(toy: Toy) -> None:
    (toy.workspace.root / "Кот").mkdir(exist_ok=True)
    done = alone(f"-w {toy.workspace.root / 'Кот'} submissions", PYTHONIOENCODING="cp1252")
    assert done.returncode == 0 and "\\u041a\\u043e\\u0442" in done.stdout, done


def test_a_reader_who_has_gone_is_no_failure(toy: Toy) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "kit", "train", "--list"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_no_home_makes_no_folder_of_that_name(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kit.core import surroundings

    monkeypatch.setattr("atexit.register", lambda *_, **__: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "before")
    monkeypatch.setenv("KIT_NO_HOME", "before")
    real = os.path.expanduser
    monkeypatch.setattr(os.path, "expanduser", lambda path: path if os.environ["HOME"] == "before" else real(path))
    done = kit("-w ~/elsewhere sources")
    assert done.is_one_error_line and "~/elsewhere: this user has no home folder" in done.err
    surroundings.adapt(["sources"])
    assert Path(os.environ["HOME"]).parent == tmp_path and not surroundings.has_home()


def test_a_home_of_nobody_is_one_line() -> None:
    done = kit("-w ~nobody-of-this-name/w sources")
    assert done.is_one_error_line and "names no home folder" in done.err


def test_open_files_are_raised_as_far_as_they_may_be() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        ok("--version")
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(24, "Too many open files", "predictions/a/oof/all.npy"), "all.npy: Too many open files. .*ulimit -n"),
        (OSError(28, "No space left on device"), "No space left on device. Free some space"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), "Set TMPDIR"),
        (ImportError("libGL.so.1: cannot open shared object file"), "pip install .*opencv-python-headless"),
        (MemoryError(), "The memory is full"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_machine_refuses_is_one_line(toy: Toy, monkeypatch, error: Exception, said: str) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("kit.blending.score_sources", refuse)
    done = kit(f"-w {toy.workspace.root} sources")
    assert done.is_one_error_line and re.search(said, done.err), done.err


def test_what_kit_did_not_expect_is_written_down_without_a_secret(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise ArithmeticError("with KGAT_0123456789abcdef\nand my-own-secret")

    monkeypatch.setattr("kit.blending.score_sources", break_down)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "my-own-secret\n")
    done = kit(f"-w {toy.workspace.root} sources")
    assert done.code == 70 and done.err.count("\n") == 1
    assert done.err.startswith("Error: Kit did not expect this: ArithmeticError: with *** and ***. Please report it")
    (report,) = tmp_path.glob("kit-report-*.txt")
    assert str(report) in done.err and report.stat().st_mode & 0o777 == 0o600
    text = report.read_text()
    assert "Traceback" in text and "break_down" in text and "numpy" in text and "command: kit -w" in text
    assert "KGAT_" not in text and "my-own-secret" not in text


def test_where_no_report_can_be_written_the_line_says_so(toy: Toy, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("kit.blending.score_sources", lambda *_: 1 / 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    done = kit(f"-w {toy.workspace.root} sources")
    assert done.code == 70 and "No report of it could be written: set TMPDIR" in done.err


def test_no_traceback_leaves_a_process_of_its_own(tmp_path: Path) -> None:
    code = "import sys; sys.modules['kit.cli.blend'] = None; from kit.cli import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "sources"],
        capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.returncode == 70 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
