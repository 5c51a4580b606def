"""Trackers for real, offline, each where its package is installed: numbers, pictures, and one record after a kill."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.command import kit
from support.trainings import STEPS, flags, log_of, project_at, tiny, train, train_until

from kit.core.trackers import TRACKERS, chosen_trackers
from kit.data.project import Project
from kit.errors import MissingPackage, TrainingError, UnknownName
from kit.learning.training import trackers
from kit.report.training import TrainingPictures

Points = dict[str, dict[int, float]]
"""By name and step."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A toy competition; whatever a tracker keeps lies beside it, and none has a key or asks a network."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("kit.report.training.SHARE", 1e9)
    return project_at(tmp_path / "w")


def from_mlflow(project: Project, folder: Path) -> tuple[Points, int, int]:
    """What MLflow's own client reads: numbers, how many runs, how many pictures."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(project.workspace.root.resolve() / "mlruns").as_uri())
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    found: Points = {}
    for name in runs[0].data.metrics:
        history = client.get_metric_history(runs[0].info.run_id, name)
        assert len({one.step for one in history}) == len(history), "a step is there twice"
        found[name] = {one.step: one.value for one in history}
    assert runs[0].info.status == "FINISHED" and runs[0].data.params["batch_size"] == "4"
    pictures = [one for one in client.list_artifacts(runs[0].info.run_id, "images") if one.path.endswith(".png")]
    return found, len(runs), len(pictures)


def from_trackio(project: Project, folder: Path) -> tuple[Points, int, int]:
    """What lies in Trackio's database."""
    from trackio.utils import TRACKIO_DIR

    (path,) = Path(TRACKIO_DIR).glob("toy*.db")
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id").fetchall()
    own = json.loads((folder / "trackers.json").read_text())["trackio"]["id"]
    found: Points = {}
    pictures = 0
    for name, step, text in rows:
        for key, value in json.loads(text).items() if name == own else []:
            if isinstance(value, dict):
                pictures += 1
            else:
                assert step not in found.setdefault(key, {}), "a step is there twice"
                found[key][step] = value
    return found, len({name for name, *_ in rows if name == own}), pictures


Reader = Callable[[Project, Path], tuple[Points, int, int]]
READERS: dict[str, Reader] = {"mlflow": from_mlflow, "trackio": from_trackio}


@pytest.mark.parametrize("name", READERS)
def test_a_tracker_has_the_numbers_of_the_log_in_one_record_also_after_a_kill(
    name: str, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(TRACKERS[name][0], reason=f"pip install {TRACKERS[name][1]}")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported first
    one = tiny("regress", "validations=2")
    options: dict[str, Any] = {"trackers": (name,), "pictures": TrainingPictures}
    train_until(project, one, 2 * STEPS + 1, **options)
    run = train(project, one, **options)
    found, records, pictures = READERS[name](project, run.folder)
    log = log_of(run.folder)
    for key in set().union(*log) - {"epoch"}:
        expected = {int(row["epoch"]) * STEPS: row[key] for row in log if key in row}
        assert found[key] == pytest.approx(expected, rel=1e-6), key
    assert records == 1 and pictures >= 2
    assert capsys.readouterr().out == ""


def test_wandb_offline_keeps_one_id_and_no_key(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb", reason="pip install wandb")
    one = tiny("regress", "validations=2")
    options: dict[str, Any] = {"trackers": ("wandb",), "pictures": TrainingPictures}
    train_until(project, one, 2 * STEPS + 1, **options)
    run = train(project, one, **options)
    identity = json.loads((run.folder / "trackers.json").read_text())["wandb"]
    parts = sorted((run.folder / "wandb").glob("offline-run-*"))
    assert parts and all(part.name.endswith(identity["id"]) for part in parts)
    assert identity["step"] == 4 * STEPS and list((run.folder / "wandb").rglob("*.png"))
    said = capsys.readouterr()
    assert said.out == "" and "wandb sync" in said.err and "0123456789abcdef" not in said.err
    for path in (run.folder / "wandb").rglob("*"):
        assert not path.is_file() or b"0123456789abcdef0123456789abcdef" not in path.read_bytes(), path


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_leaves_the_random_numbers_alone(
    name: str, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(TRACKERS[name][0], reason=f"pip install {TRACKERS[name][1]}")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    folder = project.workspace.run("net", 0)
    folder.mkdir(parents=True)
    about = trackers.Tracked(folder, project.workspace.root, "toy", "net", "0", {"seed": 0}, start=0)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    (opened,) = trackers.open_trackers((name,), about)
    opened.scalars(4, {"epoch": 1.0, "mse": 0.5})
    opened.picture(4, np.zeros((20, 30, 3), np.uint8))
    opened.close()
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_names_are_checked_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.core.trackers.is_installed", lambda module: module != "mlflow")
    assert chosen_trackers(["tensorboard,WandB", " trackio ", "wandb"]) == ("tensorboard", "wandb", "trackio")
    with pytest.raises(MissingPackage, match=r"--log mlflow needs a package\. Run: pip install mlflow-skinny"):
        chosen_trackers(["mlflow"])
    with pytest.raises(UnknownName, match=r"'tensorbord'\. Did you mean tensorboard"):
        chosen_trackers(["tensorbord"])
    assert chosen_trackers([]) == ()


def test_every_tracker_can_be_opened() -> None:
    assert trackers._OPEN.keys() == TRACKERS.keys()


def test_a_tracker_that_cannot_begin_is_one_line_without_secrets(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> trackers.Tracker:
        raise RuntimeError("HTTP 401 for 0123456789abcdef0123456789abcdef01234567")

    monkeypatch.setitem(trackers._OPEN, "mlflow", refuse)
    with pytest.raises(TrainingError, match=r"--log mlflow cannot begin \(HTTP 401 for \*\*\*\)"):
        train(project, tiny("regress", "epochs=1"), trackers=("mlflow",))
    assert not (project.workspace.run("regress", 0) / "experiment.json").exists()
    assert train(project, tiny("pix2pix", "epochs=1")).epochs == 1


def test_an_unknown_tracker_is_refused_on_the_command_line(project: Project) -> None:
    done = kit(f"-w {project.workspace.root} train regress --fold 0 {flags('regress')} --log nothing")
    assert done.is_one_error_line and "There is no tracker 'nothing'" in done.err and done.code == 2
    tried = kit(f"-w {project.workspace.root} train regress --try --log tensorboard")
    assert tried.is_one_error_line and "leave out --log" in tried.err
    assert not project.workspace.runs.exists()
