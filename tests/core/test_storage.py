"""Files are written whole or not at all, whatever happens to the writer."""

from __future__ import annotations

import ast
import contextlib
import errno
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout
from hypothesis import given
from hypothesis import strategies as st

import kit
from kit.core import storage
from kit.core.storage import (
    ArrayWriter,
    digest_bytes,
    digest_file,
    digest_of,
    locked,
    map_array,
    read_json,
    sweep,
    temporary_sibling,
    to_json,
    write_json,
    write_text,
    writing,
    writing_folder,
)
from kit.errors import DamagedStore, KitError, MissingStep


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- one file -----------------------------------------------------------------


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "old")
    write_text(tmp_path / "deep" / "a.txt", "new\r\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == b"new\r\n"
    assert names(tmp_path / "deep") == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(type(error)), writing(path) as file:
        file.write(b"half of the new")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def killed(folder: Path, code: str) -> None:
    """Run `code` with `folder` as its argument until it says that it is ready, then kill it."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_writers_leave_the_old_file_and_what_they_began_is_swept(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    killed(
        tmp_path,
        """
        import sys, time
        from pathlib import Path
        from kit.core.storage import writing, writing_folder
        folder = Path(sys.argv[1])
        with writing(folder / "a.txt") as file, writing_folder(folder / "folder") as new:
            file.write(b"half")
            file.flush()
            (new / "new").touch()
            print("ready", flush=True)
            time.sleep(60)
        """,
    )
    assert (tmp_path / "a.txt").read_text() == "old" and names(tmp_path / "folder") == ["old"]
    assert len(names(tmp_path)) == 4
    sweep(tmp_path)
    assert names(tmp_path) == ["a.txt", "folder"]


def test_what_a_live_process_is_writing_is_not_swept(tmp_path: Path) -> None:
    mine = temporary_sibling(tmp_path / "a.txt")
    mine.touch()
    other = tmp_path / mine.name.replace(str(os.getpid()), str(os.getppid()))
    other.touch()
    odd = tmp_path / ".partial-what"
    odd.touch()
    sweep(tmp_path)
    assert mine.exists() and other.exists() and odd.exists()
    sweep(tmp_path / "nowhere")  # no folder, nothing to do


def test_what_another_machine_writes_in_a_shared_folder_is_swept_only_when_it_is_old(tmp_path: Path) -> None:
    parts = temporary_sibling(tmp_path / "a.txt").name.split("-")
    dead = 4_000_000  # no process of this machine
    there = tmp_path / "-".join([parts[0], str(dead), "other0", *parts[3:]])
    old = tmp_path / "-".join([parts[0], str(dead), "other1", *parts[3:]])
    for path in (there, old):
        path.touch()
    os.utime(old, (0, 0))
    sweep(tmp_path)
    assert there.exists() and not old.exists()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No room left on the disk"),
        (errno.EDQUOT, "No room left on the disk"),
        (errno.EACCES, "No permission"),
        (errno.EROFS, "No permission"),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_or_forbidden_disk_is_one_line_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str, call: str
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(KitError, match=said) as caught, writing(path) as file:
        if call == "write":
            fail()
        monkeypatch.setattr(os, "fsync", fail) if call == "fsync" else monkeypatch.setattr(Path, "replace", fail)
        file.write(b"new")
    monkeypatch.undo()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert "--" not in str(caught.value)  # some commands write elsewhere than into the workspace
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_really_full_is_one_line() -> None:
    with (
        pytest.raises(KitError, match="No room left"),
        storage.disk_errors(Path("x")),
        Path("/dev/full").open("wb") as f,
    ):
        f.write(b"x")
        f.flush()


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(KitError, match="Cannot write"):
        write_text(tmp_path / "a" / "b", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(KitError, match="Cannot write"):
        write_text(tmp_path / "folder", "x")
    assert (tmp_path / "a").read_text() == "a file" and names(tmp_path) == ["a", "folder"]


def test_other_errors_of_the_system_are_passed_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), storage.disk_errors(tmp_path):
        (tmp_path / "nowhere").read_bytes()


# --- folders ------------------------------------------------------------------


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with writing_folder(tmp_path / "f") as folder:
            (folder / name).touch()
            assert not (tmp_path / "f" / name).exists()
    assert names(tmp_path / "f") == ["two"] and names(tmp_path) == ["f"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    with writing_folder(tmp_path / "f") as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), writing_folder(tmp_path / "f") as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert names(tmp_path / "f") == ["old"] and names(tmp_path) == ["f"]


def test_what_a_kill_between_the_two_renames_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "f.old").mkdir()
    (tmp_path / "f.old" / "old").touch()
    with writing_folder(tmp_path / "f") as folder:
        (folder / "new").touch()
    assert names(tmp_path / "f") == ["new"] and names(tmp_path) == ["f"]


# --- json and digests ---------------------------------------------------------


@dataclass
class Point:
    x: int
    y: float


def test_equal_values_have_one_json_form() -> None:
    first = {"b": np.float64(0.5), "a": np.arange(3), "p": Point(1, 2.0), "path": Path("x/y"), "n": np.int64(3)}
    second = {"n": 3, "p": {"y": 2.0, "x": 1}, "a": [0, 1, 2], "path": "x/y", "b": 0.5}
    assert to_json(first) == to_json(second) and digest_of(first) == digest_of(second)
    with pytest.raises(TypeError, match="set has no JSON form"):
        to_json({1, 2})


def test_digests_are_what_they_were_in_the_first_release() -> None:
    assert digest_bytes(b"kit") == "cbc8a597a67c4654"
    assert digest_of({"a": 1, "b": [True, None, "é"]}) == "c24149bb4a911d75"


@given(st.binary(max_size=200))
def test_a_file_s_digest_is_that_of_its_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "digested"
    path.write_bytes(data)
    assert digest_file(path) == digest_bytes(data) == digest_bytes(memoryview(data))
    assert digest_bytes(data + b"x") != digest_bytes(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_json_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, value: dict) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    try:
        write_json(path, value)
    except UnicodeEncodeError:  # lone surrogates are no text
        return
    assert read_json(path, made_by="") == value


@pytest.mark.parametrize("text", [b"{", b"", b"[1]", b"3", b"\xff\xfe", b'{"a": 1} and more'])
def test_a_damaged_json_is_named_with_the_way_out(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(DamagedStore, match=r"a\.json .*Delete it, then run: kit folds$"):
        read_json(tmp_path / "a.json", made_by="kit folds")


def test_a_missing_json_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "a.json", tmp_path / "file" / "a.json"):
        with pytest.raises(MissingStep, match="Run: kit folds"):
            read_json(path, made_by="kit folds")


# --- locks ---------------------------------------------------------------------


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with locked(tmp_path / "a") as first, locked(tmp_path / "b") as other, locked(tmp_path / "a", wait=0) as second:
        assert (first, other, second) == (True, True, False)
    with locked(tmp_path / "a") as again:
        assert again
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = f"""
        import os, signal
        from pathlib import Path
        from kit.core.storage import locked
        with locked(Path({str(tmp_path)!r})) as is_ours:
            print(is_ours, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "True\n")
    with locked(tmp_path) as is_ours:
        assert is_ours


def test_without_room_for_a_lock_the_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "nowhere" / "at all"))
    with locked(tmp_path) as is_ours:
        assert is_ours


# --- arrays -------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 3), (4, 3), (2, 2, 2)])
def test_an_array_is_mapped_as_it_was_saved(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float16).reshape(shape)
    np.save(tmp_path / "a.npy", array)
    mapped = map_array(tmp_path / "a.npy", made_by="")
    np.testing.assert_array_equal(mapped, array)
    assert mapped.dtype == array.dtype and not mapped.flags.writeable


def damaged(data: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "cut header": data[:20],
        "cut data": data[:-1],
        "other": b"not an array at all, but long enough for a header" * 4,
        "zip": b"PK\x03\x04" + data,
        "header": data.replace(b"(100, 3)", b"(10(, 3)"),
    }


@pytest.mark.parametrize("how", list(damaged(b"")))
def test_a_damaged_array_is_named_with_the_way_out(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((100, 3), np.float16))
    path.write_bytes(damaged(path.read_bytes())[how])
    with pytest.raises(DamagedStore, match="Delete it, then run: kit fill mean"):
        map_array(path, made_by="kit fill mean")


def test_an_array_that_holds_python_objects_is_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedStore):
        map_array(tmp_path / "a.npy", made_by="x")


def test_a_missing_array_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingStep, match="Run: kit fetch"):
        map_array(tmp_path / "a.npy", made_by="kit fetch")


def test_rows_written_in_any_order_make_the_same_file_as_numpy(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.float64).reshape(5, 4, 3)
    writer = ArrayWriter(tmp_path / "rows.npy", array.shape, np.float64)
    for row in (3, 0, 4, 1, 2):
        writer.write(row, array[row])
    writer.close()
    np.save(tmp_path / "whole.npy", array)
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_row_of_another_shape_or_type_is_not_written(tmp_path: Path) -> None:
    writer = ArrayWriter(tmp_path / "rows.npy", (5, 4), np.uint8)
    for values in (np.zeros(3, np.uint8), np.zeros(4, np.float32)):
        with pytest.raises(ValueError, match=r"a row of uint8 \(4,\) is needed"):
            writer.write(0, values)
    writer.close()


def test_a_lock_that_ends_leaves_the_next_one_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removed twice, by kit and by filelock, the file of who locks in between would go, and a third could lock too."""
    survived = []

    class Contended(FileLock):  # type: ignore[misc]  # in some versions it is a name for another class
        def release(self, force: bool = False) -> None:
            other = FileLock(self.lock_file, timeout=0.05)
            with contextlib.suppress(Timeout):
                other.acquire()
            super().release(force)
            survived.append(not other.is_locked or Path(other.lock_file).exists())
            other.release()

    storage._release_removes()  # asked of the class as it is
    monkeypatch.setattr(storage, "FileLock", Contended)
    with storage.locked(tmp_path) as is_ours:
        assert is_ours
    assert survived and all(survived)


def test_no_file_is_mapped_to_be_written_to() -> None:
    """A full disk kills a process that writes to a map (SIGBUS); a write to a file is an error that can be said."""
    for path in sorted(Path(kit.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
                "memmap",
                "open_memmap",
                "mmap",
            ):
                words = [*node.args, *(keyword.value for keyword in node.keywords)]
                assert any(isinstance(word, ast.Constant) and word.value == "r" for word in words), path
