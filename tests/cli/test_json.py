"""`--json`: every command that prints a result prints it as one document too, and nothing else on standard output."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from support.command import kit, ok
from support.small import Small
from support.toy import Toy, write_toy_source

from kit.cli import MODULES, app
from kit.core.storage import read_json

WITHOUT = {
    "new model": "writes a file to be opened in an editor; the file is the result",
    "new competition": "the same",
    "demo": "shows the chain to a person, step by step; what it makes, kit sources and kit grade say as JSON",
}
"""Commands without --json, and why."""

pytestmark = pytest.mark.toy(photos=24, test=3, size=64, k=3)


ELSEWHERE = {
    "leaderboard": "asks Kaggle",
    "push": "asks Kaggle",
    "bundle": "packs a training of some size: tests/bundling",
    "sd run": "needs a pipeline of diffusers",
    "sd status": "the same",
    "sd curve": "the same",
    "clip classes": "needs a CLIP with its text encoder",
    "clip prompts": "the same",
}
"""Commands whose document is not asked for here, and why."""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that can be typed, `sd run` and its like as two words."""
    import importlib

    for module in MODULES:
        importlib.import_module(f"kit.cli.{module}")
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        verbs = getattr(command, "commands", None)
        yield from [(f"{name} {verb}", one) for verb, one in verbs.items()] if verbs else [(name, command)]


def test_every_command_that_prints_a_result_knows_json() -> None:
    lacking = {name for name, command in commands() if not any("--json" in one.opts for one in command.params)}
    assert lacking == set(WITHOUT)


def document(line: str, *more: object, code: int = 0) -> Any:
    """What a command prints with --json, which must be one document of strict JSON and no more."""
    done = kit(line, *more)
    assert done.code == code, done.err

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(done.out, parse_constant=refuse)


@pytest.fixture
def ready(toy: Toy) -> Path:
    write_toy_source(toy, "good", 0.02, 1)
    write_toy_source(toy, "unet", 0.05, 3, by_fold=True)
    ok(f"-w {toy.workspace.root} blend good unet --name first --plots none")
    return toy.workspace.root


LINES = {
    "folds --k 2 --force": ("made", "sizes"),
    "fill mean harmonic": (0, "name"),
    "train --list": ("experiments", "settings"),
    "train regress --print-config": ("name", "size"),
    "sources": (0, "score"),
    "blend good unet --plots none": ("members",),
    "blends": (0, "members"),
    "compare good unet": ("better", "scores"),
    "explore --no-page": ("verdicts",),
    "status": ("following",),
    "watch": (),
    "submissions": (),
    "upload --dry-run": ("check", "sent"),
    "upload good --dry-run --zip": ("path", "cv"),
    "figure good": ("path",),
    "report --photos 2": ("path",),
    "rm good --yes": (0, "paths"),
    "verify": ("files", "problems"),
    "doctor --offline": (0, "state"),
    "weights list": (0, "model"),
    "clip embed": ("folder", "train"),
    "clip neighbours --k 3": ("name", "made"),
}


@pytest.mark.parametrize("line", LINES)
def test_a_command_prints_one_document(ready: Path, line: str) -> None:
    found, keys = document(f"-w {ready} {line} --json"), LINES[line]
    for key in keys:
        found = found[key] if key == 0 else found
        assert key == 0 or key in found


def test_every_document_is_asked_for() -> None:
    """Here, by a line of `LINES` or `document(...)`, or elsewhere for a reason."""
    source = Path(__file__).read_text(encoding="utf-8")
    asked = [*LINES, *re.findall(r'(?:document|kit)\(f?"(?:-w \{[^}]*\} )?([a-z][^"]*)', source)]
    named = {name for name, _ in commands() if any(f"{line} ".startswith(f"{name} ") for line in asked)}
    assert {name for name, _ in commands()} - named == {*WITHOUT, *ELSEWHERE} - named == {*WITHOUT, *ELSEWHERE}


def test_lines_go_to_standard_error_and_nowhere_for_the_quiet(ready: Path) -> None:
    done = kit(f"-w {ready} fill mean --json")
    assert done.err.startswith("Filled: mean\nCV RMSE: mean 0.") and done.err.count("\n") == 3
    assert json.loads(done.out) == [{"made": True, "name": "mean"}]
    done = kit(f"-w {ready} fill mean --json -q")
    assert done.err == "" and json.loads(done.out) == [{"made": False, "name": "mean"}]


def test_a_failure_prints_no_document(ready: Path) -> None:
    done = kit(f"-w {ready} fill nothing --json")
    assert done.is_one_error_line and done.out == ""


def test_what_is_damaged_is_a_document_and_an_exit_code(ready: Path) -> None:
    file = ready / "predictions" / "good" / "test" / "all.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    found = document(f"-w {ready} verify --json", code=1)
    assert len(found["problems"]) == 1 and "good" in found["problems"][0]


def test_export_import_check_and_grade(ready: Path, toy: Toy, tmp_path: Path) -> None:
    exported = document(f"-w {ready} export good --json --out", tmp_path / "good.npz")
    assert exported["photos"] == {"oof": 24, "test": 3}
    parts = f"--oof {tmp_path}/good.npz --test {tmp_path}/good.npz"
    imported = document(f"-w {ready} import theirs {parts} --json")
    assert [part["photos"] for part in imported["parts"]] == [24, 3] and imported["score"]["photos"] == 24
    sent = document(f"-w {ready} upload good --dry-run --json")
    assert document(f"-w {ready} check {sent['path']} --json")["rows"] == sent["check"]["rows"]
    assert document(f"-w {ready} grade {sent['path']} --truth {toy.workspace.root}/truth --json")["score"]
    photo = toy.index.train[0].id
    assert document(f"-w {ready} show '{photo}' --json")["sources"]


def test_fetch_says_what_there_is(small: Small, tmp_path: Path) -> None:
    found = document(f"-w {tmp_path / 'w'} fetch --from {small.archive} --json")
    assert (found["train"], found["test"], found["already"]) == (20, 4, False)
    assert document(f"-w {tmp_path / 'w'} fetch --json")["already"] is True


def test_checks_of_files_of_ones_own(tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ok("new competition cat")
    done = kit("check-layout photo-reconstruction --json --from", small.archive)
    assert done.code == 0 and json.loads(done.out)["passed"]


@pytest.mark.slow
def test_models_and_weights_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ok("new model mine")
    assert len(document("check-model mine.py:Net --set size=32 --json")["passed"]) > 3
    got = document("weights get tf_efficientnet_lite0 --json --out", tmp_path / "lite0.safetensors")
    found = document(f"weights check {got['path']} --json")
    assert found["digest"] == got["digest"] and found["fits"][0]["model"] == got["model"]


@pytest.mark.slow
def test_training_says_what_it_has_reached(small: Small, tmp_path: Path) -> None:
    root = small.copy(tmp_path / "w").workspace.root
    ok(f"-w {root} folds --k 2")
    ok(f"-w {root} fill mean")
    quick = "--set architecture=plain --set base=mean --set size=32 --epochs 1"
    tried = document(f"-w {root} train regress --try {quick} --json")
    assert tried[0]["source"] == "regress" and tried[0]["seconds_of_all_folds"] > 0
    first = document(f"-w {root} train regress --fold 0 {quick} --json")
    side_by_side = kit(f"-w {root} train regress --fold all --jobs 2 {quick} --json --quiet")
    both = json.loads(side_by_side.out)
    assert all("Warning: " in line for line in side_by_side.err.splitlines())  # processes of a quiet command are quiet
    assert [one["made"] for one in (*first, *both)] == [True, False, True]
    run = read_json(root / "runs" / "regress" / "fold_0" / "run.json", made_by="kit train")
    assert both[0]["fold_rmse"] == run["fold_rmse"] and both[0]["fold"] == 0
    tuned = document(f"-w {root} tune regress --trials 1 {quick.replace('--epochs 1', '--set epochs=1')} --json")
    assert tuned["trials"][0]["state"] == "done"
    again = document(f"-w {root} predict regress --json --force")
    assert [one["made"] for one in again] == [True, True]
