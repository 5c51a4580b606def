"""A user's own file, as a layout or a model: run once, and told where it failed in one way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kit.core.user_code import errors_of_user_code, load_file, run_code
from kit.errors import DataError, KitError, MissingPackage, NotFinished, UsageError
from kit.learning.experiments.code import load, reference_of

WRONG = {
    "syntax": (b"x = 1\ndef f(:\n", "mine.py:2: not Python: "),
    "place": (b"x = 1\nreturn x\n", "mine.py:2: not Python: 'return' outside function"),
    "bytes": (b"x = '\xff'\n", "mine.py"),
    "nothing": (b"x = 1\0\n", "mine.py"),
    "brackets": (b"(" * 10_000, "mine.py"),
    "raises": (
        b"def f():\n    return 1 / 0\nf()\n",
        "mine.py:2: running the file fails: ZeroDivisionError: division by",
    ),
    "exits": (b"import sys\nsys.exit(3)\n", "mine.py:2: running the file fails: SystemExit: 3"),
    "package": (b"import no_such_package\n", "mine.py:1: running the file fails: ModuleNotFoundError"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_layout_and_a_model_that_cannot_run_are_told_alike(wrong: str, tmp_path: Path) -> None:
    mine, (data, said) = tmp_path / "mine.py", WRONG[wrong]
    mine.write_bytes(data)
    before, lines = set(sys.modules), []
    for run in (lambda: load_file(mine, called="--layout"), lambda: load(reference_of(f"{mine}:Net", "model"))):
        with pytest.raises(UsageError) as caught:
            run()
        lines.append(str(caught.value))
    assert lines[0] == lines[1] and said in lines[0], lines
    assert not [name for name in set(sys.modules) - before if name.startswith("kit_")]


def test_a_file_with_a_byte_order_mark_or_an_encoding_of_its_own_is_python(tmp_path: Path) -> None:
    for data in (b"\xef\xbb\xbfx = '\xc3\xa9'\n", b"# coding: latin-1\nx = '\xe9'\n"):
        assert run_code(tmp_path / "mine.py", data, "kit_user_test").x == "é"


def test_the_same_content_is_run_once_and_another_anew(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("x = []\n")
    first = load_file(mine, called="--layout")
    assert load_file(mine, called="--layout") is first
    mine.write_text("x = {}\n")
    assert load_file(mine, called="--layout").x == {}


@pytest.mark.parametrize("name", ["nowhere.py", "a\0b.py", "folder.py", "text.txt"])
def test_what_is_no_file_of_python_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "text.txt").write_text("x = 1\n")
    with pytest.raises(UsageError, match="--layout "):
        load_file(tmp_path / name, called="--layout")


def test_kits_own_errors_pass_and_an_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (DataError("a.png is cut off. Fetch again."), NotFinished("3 photos are left.")):
        with pytest.raises((KitError, NotFinished)) as caught, errors_of_user_code(tmp_path / "mine.py", "index()"):
            raise error
        assert caught.value is error
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackage, match=r"hole-kit\[tune\]"):
        run_code(tmp_path / "mine.py", b"import optuna\n", "kit_user_extra")
