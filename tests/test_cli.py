"""The command line: help at once, and for every mistake one line that says what to do, with nothing damaged."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from broken_archives import BROKEN, Broken, zip_of
from command import Done, kit, ok
from conftest import Small
from toy import SLUG, Toy, make_toy_workspace, write_toy_source

from kit.demo import make_demo_archive
from kit.storage import read_json, save_array, write_json

COMMANDS = [
    "fetch", "folds", "fill", "train", "predict", "sources", "blend", "upload", "submissions", "check", "grade",
    "figure", "demo",
]  # fmt: skip
HEAVY = ("torch", "pandas", "kaggle", "kagglesdk", "cv2", "scipy", "sklearn", "matplotlib", "pyarrow")


# --- help ---------------------------------------------------------------------


def test_help_answers_without_a_heavy_import() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from command import kit
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


Prepare = Callable[[Path], None]


@dataclass(frozen=True)
class Mistake:
    """A command line that cannot work, and what is said about it. `{w}` is the workspace, `{t}` a scratch folder."""

    line: str
    said: str
    prepare: Prepare | None = None

    def __str__(self) -> str:
        return f"{self.line} ({self.prepare.__name__})" if self.prepare else self.line


def no_folds(root: Path) -> None:
    for path in (root / "folds").iterdir():
        path.unlink()


def no_index(root: Path) -> None:
    shutil.rmtree(root / "data")


def no_sources(root: Path) -> None:
    shutil.rmtree(root / "predictions")


def no_blend(root: Path) -> None:
    shutil.rmtree(root / "blends")


def other_folds(root: Path) -> None:
    ok(f"-w {root} folds --k 3 --seed 5 --force")


def edited_folds(root: Path) -> None:
    path = root / "folds" / f"{SLUG}.csv"
    path.write_text(path.read_text().replace(",0,", ",1,", 1))


def plant_nan(root: Path, split: str) -> None:
    path = root / "predictions" / "good" / split / "all.npy"
    values = np.load(path)
    values[150, 1] = np.nan
    save_array(path, values)


def nan_in_oof(root: Path) -> None:
    plant_nan(root, "oof")


def nan_in_test(root: Path) -> None:
    plant_nan(root, "test")


def truncated_values(root: Path) -> None:
    path = root / "predictions" / "good" / "test" / "all.npy"
    path.write_bytes(path.read_bytes()[:-50])


def manifest_without_keys(root: Path) -> None:
    for split in ("oof", "test"):
        path = root / "predictions" / "good" / split / "all.json"
        manifest = read_json(path, made_by="")
        write_json(path, {"source": manifest["source"]})


def manifest_of_fill_without_keys(root: Path) -> None:
    write_json(root / "predictions" / "mean" / "oof" / "all.json", {})


def broken_blend(root: Path) -> None:
    (root / "blends" / "first.json").write_text("{}")


def broken_ledger(root: Path) -> None:
    (root / "submissions" / "ledger.csv").write_text("what,ever\n1,2\n")


def broken_index(root: Path) -> None:
    (root / "data" / SLUG / "index.json").write_text("{")


def changed_index(root: Path) -> None:
    path = root / "data" / SLUG / "index.csv"
    path.write_text(path.read_text().replace("Cat", "Cow", 1))


def cut_pack(root: Path) -> None:
    path = root / "data" / SLUG / "pack" / "train_image.npy"
    path.write_bytes(path.read_bytes()[:-10])


def no_sample(root: Path) -> None:
    (root / "data" / SLUG / "raw" / "sample_submission.csv").unlink()


def two_competitions(root: Path) -> None:
    (root / "data" / "second").mkdir()
    (root / "data" / "second" / "index.json").write_text("{}")


def half_the_truth(root: Path) -> None:
    next((root / "truth").iterdir()).unlink()


def cut_truth(root: Path) -> None:
    path = next((root / "truth").iterdir())
    path.write_bytes(path.read_bytes()[:100])


def submission(change: Callable[[list[str]], list[str]]) -> Prepare:
    """Write `bad.csv`: the good submission with its lines changed."""

    def prepare(root: Path) -> None:
        lines = (root / "submissions" / "first.csv").read_text().splitlines()
        (root / "bad.csv").write_text("\n".join(change(lines)) + "\n")

    return prepare


def with_value(text: str) -> Prepare:
    return submission(lambda lines: [*lines[:5], f"{lines[5].rsplit(',', 1)[0]},{text}", *lines[6:]])


def a_file(name: str, data: bytes) -> Prepare:
    def prepare(root: Path) -> None:
        (root / name).write_bytes(data)

    return prepare


def run_of_another_kind(root: Path) -> None:
    folder = root / "runs" / "regress" / "fold_0"
    folder.mkdir(parents=True)
    write_json(folder / "experiment.json", {"experiment": {"name": "regress"}, "index": "x", "folds": "y"})


FETCH = [
    Mistake("fetch toy --force --from {t}/nowhere.zip", "nowhere.zip is missing"),
    Mistake("fetch toy --force --from {w}/a.zip", "is an empty file", a_file("a.zip", b"")),
    Mistake(
        "fetch toy --force --from {w}/a.zip", "a download that was cut", a_file("a.zip", b"PK\x03\x04" + b"x" * 99)
    ),
    Mistake("fetch toy --force --from {w}/a.zip", "an HTML page", a_file("a.zip", b"<html>log in</html>")),
    Mistake("fetch toy --force --from {w}/a.zip", "unsafe name", a_file("a.zip", zip_of({"../evil.txt": b"x"}))),
    Mistake("fetch toy --force --from {w}/a.zip", "boxes.csv", a_file("a.zip", zip_of({"readme.txt": b"x"}))),
    Mistake("fetch toy --force --from {w}", "lie in one another"),
    Mistake("fetch toy --from x.zip --sample --force", "exclude each other"),
    Mistake("fetch titanic --from x.zip", "no competition layout 'titanic'"),
    Mistake("fetch https://example.com/x", "names no competition"),
    Mistake("fetch 'no such name!'", "names no competition"),
    Mistake("fetch photo-reconstruction --from x.zip", "holds toy already"),
]
FOLDS = [
    Mistake("folds", "kit folds --k 5 --seed 0 --force"),
    Mistake("folds --k 3 --seed 9", "Replace them"),
    Mistake("folds --k 3", "changed after kit wrote it", edited_folds),
    Mistake("folds --k 1 --force", "at least 2 folds"),
    Mistake("folds --k 1000 --force", "Use fewer folds"),
    Mistake("folds --k two", "--k"),
    Mistake("folds --seed -1", "--seed"),
    Mistake("folds --k 3", "Run: kit fetch", no_index),
    Mistake("folds --k 3", "run: kit fetch --force", cut_pack),
]
FILL = [
    Mistake("fill", "Missing argument"),
    Mistake("fill nonsense", "There is no fill 'nonsense'. Known: all, fractional"),
    Mistake("fill mean nonsense --force", "There is no fill 'nonsense'"),
    Mistake("fill mean", "Run: kit fetch", no_index),
    Mistake("fill mean", "kit fetch", broken_index),
    Mistake("fill mean", "Delete it, then run: kit fill mean", manifest_of_fill_without_keys),
]
TRAIN = [
    Mistake("train", "Which fold? Run: kit train pix2pix --fold 0"),
    Mistake("train regress", "Which fold? Run: kit train regress --fold 0"),
    Mistake("train nonsense --fold 0", "There is no experiment 'nonsense'. Known: pix2pix, regress"),
    Mistake("train regress --fold x", "--fold x: a number from 0 to 2, or all"),
    Mistake("train regress --fold -1", "--fold -1"),
    Mistake("train regress --fold 99", "There is no fold 99: the folds are 0 to 2"),
    Mistake("train regress --fold 0 --fold 99", "There is no fold 99"),
    Mistake("train regress --fold ''", "--fold"),
    Mistake("train regress --fold 0 --set size", "field=value"),
    Mistake("train regress --fold 0 --set size=12", "one of 64, 128, 256"),
    Mistake("train regress --fold 0 --set sise=64", "There is no setting 'sise'. Known:"),
    Mistake("train regress --fold 0 --set name=x", "There is no setting 'name'"),
    Mistake("train regress --fold 0 --set epochs=many", "a whole number is needed"),
    Mistake("train regress --fold 0 --set epochs=0", "epochs=0: 1 to"),
    Mistake("train regress --fold 0 --set learning_rate=nan", "a finite number"),
    Mistake("train regress --fold 0 --set flip=perhaps", "true or false"),
    Mistake("train regress --fold 0 --set decoder_channels=a,b", "whole numbers"),
    Mistake("train regress --fold 0 --set base=telea", "one of fractional"),
    Mistake("train regress --fold 0 --set encoder=tu-nonsense", "nonsense"),
    Mistake("train regress --fold 0 --set encoder_weights=nowhere.pth", "there is no such file"),
    Mistake(
        "train regress --fold 0 --set encoder_weights={w}/boxes.pth", "boxes.pth", a_file("boxes.pth", b"no weights")
    ),
    Mistake("train regress pix2pix --fold 0 --as one", "names one source, but 2 experiments"),
    Mistake("train regress --fold 0 --as a/b", "cannot be a file name"),
    Mistake("train regress --fold 0 --as harmonic", "Store this one under another name"),
    Mistake("train regress --fold 0 --as good", "Store this one under another name"),
    Mistake("train regress --fold 0 --as unet", "trained with other settings"),
    Mistake("train regress --fold 0 --device nonsense", "--device nonsense"),
    Mistake("train regress --fold 0 --device cuda:99", "--device cuda:99"),
    *(Mistake(f"train regress --fold 0 --max-minutes {wrong}", "--max-minutes") for wrong in (0, "nan", "inf")),
    Mistake("train regress --fold 0", "Run: kit folds", no_folds),
    Mistake("train regress --fold 0", "Run: kit fetch", no_index),
    Mistake("train regress --fold 0", "holds a training with other", run_of_another_kind),
    Mistake("train regress --fold 0", "changed after kit wrote it", edited_folds),
]
PREDICT = [
    Mistake("predict", "Missing argument"),
    Mistake("predict nonsense", "There is no trained source 'nonsense'. Known: none yet"),
    Mistake("predict regress --fold x", "--fold x"),
    Mistake("predict regress --fold 99", "There is no fold 99"),
    Mistake("predict ../evil", "cannot be a file name"),
    Mistake("predict regress", "Run: kit folds", no_folds),
]
SOURCES = [
    Mistake("sources", "holds values that are not finite", nan_in_oof),
    Mistake("sources", "Run: kit folds", no_folds),
    Mistake("sources", "Run: kit fetch", no_index),
]
BLEND = [
    Mistake("blend", "Run: kit fill all", no_sources),
    Mistake("blend nonsense", "There is no source 'nonsense'. Known: good, mean, other, part, unet"),
    Mistake("blend good good", "good is named twice"),
    Mistake("blend good part", "lacks the oof predictions of folds 1. Run: kit train part --fold 1"),
    Mistake("blend good --name a/b", "cannot be a file name"),
    Mistake("blend good --name mean", "mean is the name of a source"),
    Mistake("blend good other", "kit fill good --force", nan_in_oof),
    Mistake("blend good other", "kit fill good --force", truncated_values),
    Mistake("blend good other", "Delete it, then run: kit fill good", manifest_without_keys),
    Mistake("blend unet", "made with other folds", other_folds),
    Mistake("blend", "Run: kit folds", no_folds),
    Mistake("blend", "changed after kit wrote it", edited_folds),
]
UPLOAD = [
    Mistake("upload --dry-run", "Run: kit blend", no_blend),
    Mistake("upload nonsense --dry-run", "There is no blend, source or file 'nonsense'. Known: first, good"),
    Mistake("upload nowhere.csv --dry-run", "nowhere.csv is not a file"),
    Mistake("upload", "--yes, or only check it with --dry-run"),
    Mistake("upload good", "--yes, or only check it with --dry-run"),
    Mistake("upload good --dry-run", "kit fill good --force", nan_in_test),
    Mistake("upload --dry-run", "kit fill good --force", nan_in_test),
    Mistake("upload part --dry-run", "lacks the test predictions of folds 1"),
    Mistake("upload unet --dry-run", "made with other folds", other_folds),
    Mistake("upload --dry-run", "Run: kit blend", other_folds),
    Mistake("upload --dry-run", "first.json is not a blend", broken_blend),
    Mistake("upload --dry-run", "sample_submission.csv is missing", no_sample),
    *(Mistake(f"upload --wait {wrong}", "--wait") for wrong in (-1, "nan", "inf")),
    Mistake("upload {w}/bad.csv --dry-run", "found the header", submission(lambda lines: ["id,value", *lines[1:]])),
    Mistake("upload --dry-run", "ledger.csv has the columns", broken_ledger),
]
CHECK = [
    Mistake("check", "Missing argument"),
    Mistake("check nowhere.csv", "nowhere.csv is not a file"),
    Mistake("check {w}", "is not a file"),
    Mistake("check {w}/bad.csv", "found the header", submission(lambda lines: ["id,value", *lines[1:]])),
    Mistake("check {w}/bad.csv", "is not in the sample", submission(lambda lines: [lines[0], "x,0.5", *lines[2:]])),
    Mistake(
        "check {w}/bad.csv",
        "not in the sample's order",
        submission(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
    ),
    Mistake("check {w}/bad.csv", "the end of the file after 1799 rows", submission(lambda lines: lines[:-1])),
    Mistake("check {w}/bad.csv", "expected the end after 1800 rows", submission(lambda lines: [*lines, lines[-1]])),
    Mistake("check {w}/bad.csv", "line 6: found the value 'nan', expected a finite number", with_value("nan")),
    Mistake("check {w}/bad.csv", "expected a finite number", with_value("inf")),
    Mistake("check {w}/bad.csv", "expected a number", with_value("grey")),
    Mistake("check {w}/bad.csv", "expected a number", with_value("")),
    Mistake("check {w}/bad.csv", "expected a value in [0, 1]", with_value("1.5")),
    Mistake("check {w}/bad.csv", "expected a value in [0, 1]", with_value("-0.1")),
    Mistake("check {w}/bad.csv", "found 3 columns", with_value("0.5,7")),
    Mistake("check {w}/bad.csv", "header", a_file("bad.csv", b"")),
    Mistake("check {w}/bad.csv", "bad.csv", a_file("bad.csv", bytes(range(256)) * 9)),
    Mistake("check {w}/bad.zip", "is damaged", a_file("bad.zip", b"PK\x03\x04 and no more")),
    Mistake("check {w}/bad.zip", "holds 2 files", a_file("bad.zip", zip_of({"a.csv": b"", "b.csv": b""}))),
    Mistake("check {w}/bad.csv.gz", "is damaged", a_file("bad.csv.gz", b"\x1f\x8b no")),
    Mistake("check {w}/submissions/first.csv", "sample_submission.csv is missing", no_sample),
    Mistake("check {w}/submissions/first.csv", "kit fetch", no_index),
]
GRADE = [
    Mistake("grade {w}/submissions/first.csv", "--truth"),
    Mistake("grade {w}/submissions/first.csv --truth {w}/nowhere", "is not a folder"),
    Mistake("grade {w}/submissions/first.csv --truth {w}/folds", "lacks 3 of the 3 original test photos"),
    Mistake("grade {w}/submissions/first.csv --truth {w}/truth", "lacks 1 of the 3", half_the_truth),
    Mistake("grade {w}/submissions/first.csv --truth {w}/truth", "no whole picture", cut_truth),
    Mistake("grade nowhere.csv --truth {w}/truth", "nowhere.csv is not a file"),
    Mistake("grade {w}/bad.csv --truth {w}/truth", "kit check", submission(lambda lines: lines[:-1])),
    Mistake("grade {w}/bad.csv --truth {w}/truth", "a finite number", with_value("nan")),
]
FIGURE = [
    Mistake("figure --photo nonsense", "nonsense"),
    Mistake("figure --photo 'Cat (24).png'", "Cat (24).png"),  # a test photo
    Mistake("figure nonsense", "nonsense"),
    Mistake("figure", "Run: kit fill all", lambda root: (no_sources(root), no_blend(root))[0]),
    Mistake("figure --count 0", "--count"),
    Mistake("figure --out {w}/a.xyz", "does not end in .png"),
    Mistake("figure --out {w}/folds", "does not end in .png"),
    Mistake("figure --out ''", "does not end in .png"),
    Mistake("figure --truth {w}/nowhere", "nowhere"),
    Mistake("figure good", "not finite", nan_in_oof),
    Mistake("figure", "Run: kit fetch", no_index),
]
OTHER = [
    Mistake("submissions", "ledger.csv has the columns", broken_ledger),
    Mistake("nonsense", "No such command 'nonsense'"),
    Mistake("fill mean --nonsense", "No such option: --nonsense"),
    Mistake("fill --force=maybe mean", "--force"),
    Mistake("folds", "Name one: --competition SLUG", two_competitions),
    Mistake("--competition a/b folds", "cannot be a file name"),
    Mistake("--competition titanic folds", "Run: kit fetch"),
    Mistake("--nonsense folds", "No such option: --nonsense"),
    Mistake("demo --seed x", "--seed"),
    Mistake("sources", "kit fetch", changed_index),
]


@pytest.mark.parametrize(
    "mistake",
    [*FETCH, *FOLDS, *FILL, *TRAIN, *PREDICT, *SOURCES, *BLEND, *UPLOAD, *CHECK, *GRADE, *FIGURE, *OTHER],
    ids=str,
)
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
            assert done.code == 2, line
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
    assert done.code == 2 and error.startswith("Error: Cannot write") and all(step.startswith("== ") for step in steps)
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
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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
