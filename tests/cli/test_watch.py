"""`kit watch`: what runs, how good it is, and the page; from the runs' folders alone."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.command import kit, ok
from support.trainings import project_at, short, tiny, train_until

import kit.cli.watch as command
from kit.core.storage import held
from kit.core.workspace import FULL, Workspace
from kit.data.project import Project
from kit.learning.training import Options, watching
from kit.learning.training.fit import fit_fold
from kit.report.training import TrainingPictures
from kit.upkeep.watch import read_watched


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A source with a fold that is done, one that was interrupted in its third epoch, and an older source."""
    project = project_at(tmp_path_factory.mktemp("watched") / "w")
    fit_fold(project, short("pix2pix"), FULL, device="cpu")
    drawn: dict[str, Any] = {"pictures": TrainingPictures}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "NOTE_SECONDS", 0.0)
        patch.setattr("kit.report.training.SHARE", 1e9)
        fit_fold(project, short("regress"), 0, device="cpu", options=Options(**drawn))
        train_until(project, tiny("regress", "epochs=2", "validations=2"), 6, 1, **drawn)
    return project


def test_an_empty_workspace_is_told_what_to_type(tmp_path: Path) -> None:
    assert ok(f"-w {tmp_path} watch") == "Nothing has been trained here yet. Run: kit train --fold all\n"
    assert ok(f"-w {tmp_path} watch --json") == "[]\n"


def test_an_unknown_name_is_one_line_with_those_that_are_there(trained: Project) -> None:
    done = kit(f"-w {trained.workspace.root} watch regres")
    assert done.is_one_error_line and "Did you mean regress?" in done.err


def test_it_shows_what_was_trained_last_when_nothing_runs_and_ends(trained: Project) -> None:
    text = ok(f"-w {trained.workspace.root} watch")
    assert text.startswith("1 done, 1 interrupted; better than their fill alone: ")
    rows = [line.split() for line in text.splitlines() if line.startswith("regress ")]
    assert [(row[1], row[-1]) for row in rows] == [("0", "done"), ("1", "interrupted")]
    assert "runs/regress/fold_1/progress.png" in text and text.endswith("Go on: kit train regress --fold 1\n")


def test_a_full_model_has_no_score(trained: Project) -> None:
    (found,) = read_watched(trained.workspace, "pix2pix")
    assert (found.fold, found.state, found.rmse, found.fill_rmse, found.gain) == (FULL, "done", None, None, None)
    assert " - " in ok(f"-w {trained.workspace.root} watch pix2pix --once")


def test_a_running_training_has_epoch_speed_and_time_left(trained: Project) -> None:
    folder = trained.workspace.run("regress", 1)
    note = json.loads((folder / "progress.json").read_text())
    with held(folder, "training"):
        one = next(one for one in read_watched(trained.workspace) if one.fold == 1)
        assert one.state == "running" and one.held_by and one.epochs == 2
        assert one.epoch == pytest.approx(note["step"] / note["steps"] * 2, abs=0.01) and 1 < one.epoch < 2
        assert one.photos_per_second and one.best_epoch == 1 and one.best_rmse == one.rmse
        assert one.fill_rmse == note["fill_rmse"] and one.base == "mean"
        assert one.seconds_left is not None and 0 <= one.seconds_left <= note["seconds_left"]
        found = json.loads(ok(f"-w {trained.workspace.root} watch --json"))
        assert [(row["fold"], row["state"]) for row in found] == [(0, "done"), (1, "running")]
        assert ok(f"-w {trained.workspace.root} watch --once").startswith("1 running, 1 done; ")


def test_it_ends_when_the_training_does(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOOK": 0.05, "QUIET": 0.3, "PLAIN": 0.1}.items():
        monkeypatch.setattr(command, name, value)
    began, ends = threading.Event(), threading.Event()

    def hold() -> None:
        with held(trained.workspace.run("regress", 1), "training"):
            began.set()
            ends.wait(1.0)

    thread = threading.Thread(target=hold)
    thread.start()
    assert began.wait(10)
    started = time.monotonic()
    text = ok(f"-w {trained.workspace.root} watch")
    thread.join()
    assert time.monotonic() - started > 1.0
    assert text.startswith("1 running") and text.count("running (") >= 2
    assert text.count("1 done, 1 interrupted; better") >= 1 and text.endswith("Go on: kit train regress --fold 1\n")


def test_the_page_needs_nothing_beside_it(trained: Project) -> None:
    text = ok(f"-w {trained.workspace.root} watch --page")
    path = trained.workspace.report / "watch.html"
    assert text.endswith(f"Page: {path}\n")
    page = path.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2 and "refresh" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    with held(trained.workspace.run("regress", 1), "training"):
        ok(f"-w {trained.workspace.root} watch --page --once")
        assert '<meta http-equiv="refresh" content="10">' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"step": "x", "steps": null, "seconds_left": "NaN"}'])
def test_a_damaged_note_or_log_is_passed_over(damage: str, copied: Project) -> None:
    folder = copied.workspace.run("regress", 1)
    (folder / "progress.json").write_text(damage)
    (folder / "log.csv").write_text(f"epoch,fold_rmse\n1,{damage}\n")
    with held(folder, "training"):
        one = next(one for one in read_watched(copied.workspace) if one.fold == 1)
        assert (one.state, one.rmse, one.seconds_left) == ("running", None, None)
        assert kit(f"-w {copied.workspace.root} watch --once").code == 0


def test_watching_writes_nothing(trained: Project, digests: Any) -> None:
    before = digests(trained.workspace.runs)
    ok(f"-w {trained.workspace.root} watch --once")
    assert digests(trained.workspace.runs) == before
    assert Project(Workspace(trained.workspace.root, trained.workspace.slug)).predictions.sources()


def test_pictures_and_trackers_are_passed_on_to_a_queue_and_can_be_left_out(copied: Project) -> None:
    from support.trainings import flags

    line = f"-w {copied.workspace.root} train partialconv --fold 0,1 {flags('partialconv')} --epochs 1 --device cpu"
    ok(f"{line} --jobs 2 --log tensorboard")
    folder = copied.workspace.run("partialconv", 1)
    assert (folder / "progress.png").is_file() and (folder / "tensorboard").is_dir()
    ok(f"{line} --as plain --jobs 2 --no-pictures")
    names = set(os.listdir(copied.workspace.run("plain", 1)))  # noqa: PTH208
    assert names == {"experiment.json", "log.csv", "model.safetensors", "run.json"}
    ok(f"-w {copied.workspace.root} verify")
    ok(f"-w {copied.workspace.root} rm partialconv --yes")
    assert not folder.exists()
