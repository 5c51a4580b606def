"""Trainings that are watched: the same bytes as without, in one piece after a kill, and never stopped by a watcher."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.trainings import STEPS, events_of, log_of, project_at, results, tiny, train, train_until

import kit.learning.training.watching
import kit.report.training
from kit.core.moments import Moment
from kit.core.workspace import FULL
from kit.data.project import Project
from kit.learning.training import Options
from kit.learning.training.fit import fit_fold
from kit.report.training import TrainingPictures
from kit.upkeep.verify import verify_workspace

WATCHED: dict[str, Any] = {"pictures": TrainingPictures, "trackers": ("tensorboard",)}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return project_at(tmp_path / "w")


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw and note after every epoch, whatever it takes."""
    monkeypatch.setattr(kit.report.training, "SHARE", 1e9)
    monkeypatch.setattr(kit.learning.training.watching, "NOTE_SECONDS", 0.0)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(("name", "fold"), [("regress", 0), ("pix2pix", 1), ("dcgan", 0), ("regress", FULL)])
def test_pictures_and_trackers_change_no_byte_of_what_is_trained(name: str, fold: Any, tmp_path: Path) -> None:
    one, found = tiny(name, "epochs=2"), []
    for folder, options in (("plain", {}), ("watched", WATCHED)):
        project = project_at(tmp_path / folder)
        fit_fold(project, one, fold, device="cpu", options=Options(**options))
        found.append(results(project.workspace.root, name, fold))
        stamp = json.loads((project.workspace.run(name, fold) / "experiment.json").read_text())
        assert "pictures" not in json.dumps(stamp)
    assert found[0] == found[1]
    folder = project.workspace.run(name, fold)
    assert (folder / "progress.png").is_file() and (folder / "strip.png").is_file() == (fold != FULL)
    assert not (folder / "progress.json").exists()
    assert verify_workspace(project).problems == ()


@pytest.mark.usefixtures("always")
def test_a_killed_training_goes_on_in_the_same_pictures_and_record(tmp_path: Path) -> None:
    one, seen = tiny("regress", "validations=4"), []

    class Seen(TrainingPictures):
        def draw(self, moment: Moment) -> np.ndarray | None:
            seen.append(moment)
            return super().draw(moment)

    whole, cut = project_at(tmp_path / "whole"), project_at(tmp_path / "cut")
    train(whole, one, **WATCHED)
    train_until(cut, one, 2 * STEPS + 1, **{**WATCHED, "pictures": Seen})
    note = json.loads((cut.workspace.run("regress", 0) / "progress.json").read_text())
    assert note["steps"] == 4 * STEPS and note["speeds"].keys() == {"1", "2"} and note["fill_rmse"] > 0
    seen.clear()
    time.sleep(1.0)  # files of events are named by the second, and read in their names' order
    run = train(cut, one, **{**WATCHED, "pictures": Seen})
    assert [len(moment.rows) for moment in seen] == [3, 4, 4] and seen[-1].is_last
    assert seen[0].speeds.keys() == {1, 2, 3} and seen[0].speeds[1] == note["speeds"]["1"]
    assert seen[-1].measured == 4 and seen[-1].fill_rmse == pytest.approx(run.fill_rmse)
    for file in ("strip.png", "log.csv", "model.safetensors"):
        paths = [project.workspace.run("regress", 0) / file for project in (whole, cut)]
        assert paths[0].read_bytes() == paths[1].read_bytes(), file
    assert events_of(run.folder)["mse"] == events_of(whole.workspace.run("regress", 0))["mse"]


@pytest.mark.usefixtures("always")
def test_the_pictures_see_what_is_scored_and_no_photo_of_the_training(project: Project) -> None:
    seen: list[Moment] = []

    class Seen(TrainingPictures):
        def draw(self, moment: Moment) -> np.ndarray | None:
            seen.append(moment)
            return None

    one = tiny("regress", "epochs=1")
    run = fit_fold(project, one, 1, device="cpu", options=Options(pictures=Seen))
    stored = project.predictions.read("regress", "oof", partial=True)
    own = set(project.folds.valid_positions(1).tolist())
    assert seen[-1].values and set(seen[-1].values) <= own
    for position, values in seen[-1].values.items():
        assert np.allclose(values, stored.values(position), atol=1e-3)  # they are stored in float16
    assert log_of(run.folder)[-1]["fold_rmse"] == pytest.approx(run.rmse)


@pytest.mark.usefixtures("always")
def test_a_watcher_that_fails_is_a_warning_and_stops_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(TrainingPictures):
        def draw(self, moment: Moment) -> np.ndarray | None:
            raise OSError("no ink")

    monkeypatch.setenv("SOME_API_KEY", "abcdef123456abcdef")
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", _fails)
    assert train(project, tiny("regress", "epochs=2"), pictures=Broken, trackers=("tensorboard",)).epochs == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Warning: ")]
    assert lines == [
        "Warning: The tracker tensorboard failed (refused key ***); the training goes on without it.",
        "Warning: Drawing the training failed (no ink); the training goes on without it.",
    ]


def _fails(*_: Any, **__: Any) -> None:
    raise RuntimeError("refused key abcdef123456abcdef")


@pytest.mark.usefixtures("always")
def test_strips_are_pictures_of_tensorboard(project: Project) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(project, tiny("regress", "epochs=2", "validations=2"), **WATCHED)
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    assert events.Tags()["images"] == ["validation_photos"]
    assert [event.step for event in events.Images("validation_photos")] == [STEPS, 2 * STEPS]
    assert events.Images("validation_photos")[0].width == 900
