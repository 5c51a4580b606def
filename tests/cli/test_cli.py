"""The command line: help at once, and for every mistake one line that says what to do, with nothing damaged."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.broken_archives import BROKEN, Broken
from support.command import Done, kit, ok
from support.mistakes import (
    MISTAKES,
    Mistake,
    broken_blend,
    broken_index,
    changed_index,
    cut_pack,
    edited_folds,
    manifest_without_keys,
    no_folds,
    no_index,
    truncated_values,
)
from support.small import Small
from support.toy import Toy, make_toy_workspace, write_toy_source

from kit.data.sample_competition import make_demo_archive

COMMANDS = [
    "fetch", "explore", "folds", "fill", "new", "check-model", "check-layout", "train", "tune",
    "weights", "predict", "sources", "blend", "upload", "submissions", "leaderboard", "check", "grade",
    "report", "compare", "show", "figure", "demo", "import", "export", "clip", "sd", "bundle", "verify", "push",
    "status", "watch", "blends", "rm", "doctor",
]  # fmt: skip
HEAVY = ("torch", "pandas", "kaggle", "kagglesdk", "cv2", "scipy", "sklearn", "matplotlib", "pyarrow", "optuna")


# --- help ---------------------------------------------------------------------


def test_help_answers_without_a_heavy_import() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.command import kit
for line in ["", "--help", "--version", "train --list", *(f"{{name}} --help" for name in {COMMANDS!r})]:
    done = kit(line)
    assert done.code == 0 and done.out and not done.err, (line, done)
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    assert not loaded, f"kit {{line}} imports {{', '.join(loaded)}}"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_list_of_commands_here_is_whole() -> None:
    text = ok("--help").split("Commands:")[1]
    assert sorted(line.split()[0] for line in text.splitlines() if line.startswith("  ") and line[2] != " ") == sorted(
        COMMANDS
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples_that_parse(command: str) -> None:
    text = ok(f"{command} --help")
    assert "Examples:" in text
    examples = [line.split("#")[0].strip() for line in text.split("Examples:")[1].splitlines()]
    examples = [line for line in examples if line.startswith("kit ")]
    assert examples, "no example begins with kit"
    for line in examples:
        assert command in line.split()
        done = kit(f"{line.removeprefix('kit ')} --help")  # wrong options would be refused before help is shown
        assert done.code == 0 and "Usage:" in done.out


def test_python_dash_m_kit_is_the_same_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "kit", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout[:4], done.stderr) == (0, "kit ", "")
    done = subprocess.run([sys.executable, "-m", "kit", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("Error: No such command") and done.stderr.count("\n") == 1


# --- mistakes -----------------------------------------------------------------


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A workspace in which everything has been done. Shared: a test that changes it works on a copy."""
    toy = make_toy_workspace(tmp_path_factory.mktemp("ready"), photos=24, test=3, size=64, k=3)
    write_toy_source(toy, "good", 0.02, 1)
    write_toy_source(toy, "other", 0.03, 2)
    write_toy_source(toy, "unet", 0.05, 3, by_fold=True)
    write_toy_source(toy, "part", 0.05, 4, by_fold=True, present=[0, 2])
    root = toy.workspace.root
    ok(f"-w {root} fill mean")
    ok(f"-w {root} blend good other unet mean --name first")
    ok(f"-w {root} upload --dry-run")
    return toy


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_one_line_and_damages_nothing(
    ready: Toy, tmp_path: Path, digests, monkeypatch: pytest.MonkeyPatch, mistake: Mistake
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "w"
    shutil.copytree(ready.workspace.root, root)  # copies times too, so the newest blend stays the newest
    if mistake.prepare is not None:
        mistake.prepare(root)
    before = kept(digests(root))
    done = kit(f"-w {root} " + mistake.line.format(w=root, t=tmp_path))
    assert done.is_one_error_line, done
    assert mistake.said in done.err, done.err
    assert "Traceback" not in done.err and "Error" not in done.out
    after = kept(digests(root))
    new = set(after) - set(before)
    assert {path: after.get(path) for path in before} == before
    assert not [path for path in new if not is_a_result(path)], new
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def kept(files: dict[str, str]) -> dict[str, str]:
    """Without caches, which may come and go."""
    return {path: digest for path, digest in files.items() if "/.cache/" not in path}


def is_a_result(path: str) -> bool:
    """What a command may have finished before it met the mistake: a base fill, a checked submission."""
    return path.startswith(("predictions/fractional/", "submissions/"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive in Kaggle's layout of six training photos and two test photos."""
    return make_demo_archive(tmp_path_factory.mktemp("tiny"), seed=7, train=6, test=2).archive


@pytest.mark.parametrize("how", BROKEN, ids=str)
def test_a_broken_archive_is_one_line(tiny: Path, tmp_path: Path, digests, how: Broken) -> None:
    broken = how.made_from(tiny, tmp_path / "broken.zip")
    done = kit(f"-w {tmp_path / 'w'} fetch --from {broken}")
    assert done.is_one_error_line and how.said in done.err, done
    assert digests(tmp_path / "w") == {}


STATES: dict[str, Callable[[Path], None]] = {
    "not there": shutil.rmtree,
    "a file": lambda root: (shutil.rmtree(root), root.write_text("a file"))[0],
    "empty": lambda root: (shutil.rmtree(root), root.mkdir())[0],
    "not fetched": no_index,
    "index damaged": broken_index,
    "index changed": changed_index,
    "pack cut": cut_pack,
    "no folds": no_folds,
    "folds edited": edited_folds,
    "manifest damaged": manifest_without_keys,
    "values cut": truncated_values,
    "blend damaged": broken_blend,
}
LINES = [
    "fetch --from nowhere.zip",
    "folds --k 3",
    "fill mean",
    "train regress --fold 0 --set epochs=many",
    "predict unet --fold 0",
    "sources",
    "blend",
    "upload --dry-run",
    "submissions",
    "check {w}/submissions/first.csv",
    "grade {w}/submissions/first.csv --truth {w}/truth",
    "figure --count 1",
]


@pytest.mark.slow
@pytest.mark.parametrize("state", list(STATES))
def test_whatever_state_the_workspace_is_in_every_command_works_or_fails_in_one_line(
    ready: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, line in enumerate(LINES):
        root = tmp_path / f"w{number}"
        shutil.copytree(ready.workspace.root, root)
        STATES[state](root)
        done: Done = kit(f"-w {root} " + line.format(w=root))
        assert done.is_one_error_line or (done.code == 0 and done.out and not done.err), (line, done)
        if state in ("not there", "a file", "empty") and line != "submissions":
            assert done.code in (1, 2), line
            assert root.read_text() == "a file" if state == "a file" else not list(root.rglob("*.*"))


@pytest.mark.parametrize("place", ["/sys/kit", "/proc/kit", "/dev/null/kit"])
def test_a_workspace_that_cannot_be_written_is_one_line(tiny: Path, place: str) -> None:
    if not Path(place).parent.exists():
        pytest.skip(f"this system has no {Path(place).parent}")
    done = kit(f"-w {place} fetch --from {tiny}")
    assert done.is_one_error_line and place.rsplit("/", 1)[0] in done.err, done


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user who is not root")
def test_a_workspace_without_permission_is_one_line(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir(mode=0o500)
    done = kit(f"-w {tmp_path / 'w'} fetch --from {tiny}")
    assert done.is_one_error_line and "No permission" in done.err


def test_a_demo_where_a_file_is_in_the_way_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("in the way")
    done = kit(f"-w {tmp_path} demo")
    *steps, error = done.err.splitlines()
    assert done.code == 1 and error.startswith("Error: Cannot write") and all(step.startswith("== ") for step in steps)
    assert (tmp_path / "demo").read_text() == "in the way"


def test_a_full_disk_is_one_line(ready: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digests) -> None:
    root = tmp_path / "w"
    shutil.copytree(ready.workspace.root, root)
    before = kept(digests(root))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for line in ("fill mean --force", "folds --k 3 --force", "blend --name second", "upload --dry-run", "figure"):
        done = kit(f"-w {root} {line}")
        assert done.is_one_error_line and "No room left on the disk" in done.err, (line, done)
    assert kept(digests(root)) == before


# --- interrupted --------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("line", "sign"),
    [
        ("fill fractional", "predictions/fractional/oof/.partial-*"),
        ("train regress --fold 0 --set base=mean --set epochs=500", "runs/regress/fold_0/experiment.json"),
    ],
)
def test_ctrl_c_stops_with_one_line_and_130_and_the_same_command_goes_on(
    small: Small, tmp_path: Path, line: str, sign: str
) -> None:
    root = small.copy(tmp_path / "w").workspace.root
    ok(f"-w {root} folds --k 2")
    command = [sys.executable, "-m", "kit", "-w", str(root), *line.split()]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # a suite that a shell started in the background is deaf to Ctrl-C, and so would its children be
    process = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **pipes)
    deadline = time.monotonic() + 60
    while not list(root.glob(sign)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip().splitlines()[-1].startswith("Stopped. Run the same command again") and "Traceback" not in err
    assert out == "" and not list(root.rglob(".partial-*"))
    if line.startswith("fill"):
        assert "Filled: fractional" in ok(f"-w {root} {line}")


# --- what is printed ----------------------------------------------------------


def test_results_go_to_standard_output_and_json_is_json(ready: Toy) -> None:
    import json

    root = ready.workspace.root
    table = kit(f"-w {root} sources")
    assert table.err == "" and "no folds 1" in table.out and "CV RMSE" in table.out
    listed = json.loads(ok(f"-w {root} sources --json"))
    assert next(row["name"] for row in listed if row["complete"]) == "good"
    assert json.loads(ok(f"-w {root} submissions --json")) == []
    graded = json.loads(ok(f"-w {root} grade {root}/submissions/first.csv --truth {root}/truth --json"))
    assert graded["rows"] == 1800 and 0 < graded["score"]["value"] < 0.2


def test_the_workspace_may_come_from_the_environment(ready: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_WORKSPACE", str(ready.workspace.root))
    assert "There already" in ok("folds --k 3")
