"""What the API trains beside one fold: seeds and their mean, a queue, a trial, a study; samples and vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.toy import Toy
from support.trainings import SMALL

import kit

pytestmark = pytest.mark.toy(photos=12, test=4)
TINY: dict[str, Any] = dict(setting.split("=") for setting in SMALL[:6]) | {"batch_size": 4, "epochs": 1}


@pytest.fixture
def project(toy: Toy) -> kit.Project:
    return kit.open(toy.workspace.root)


def test_seeds_and_their_mean(project: kit.Project) -> None:
    some = project.train("regress", 0, seeds=2, mean=True, **TINY)
    assert [one.name for one in some] == ["regress", "regress-s1"] and some.mean is None
    done = project.train("regress", "all", seeds=2, mean=True, **TINY)
    assert [one.already for one in done] == [True, True, False, False, False, False]
    assert done.mean == "regress-mean" and "regress-mean" in repr(done) and "regress-mean" in done._repr_html_()
    assert project.sources()["regress-mean"].complete
    with pytest.raises(kit.UsageError, match="seeds=1"):
        project.train("regress", 0, mean=True, **TINY)


@pytest.mark.slow
def test_trainings_run_side_by_side(project: kit.Project, capfd: pytest.CaptureFixture[str]) -> None:
    done = project.train("regress", [0, 1], jobs=2, **TINY)
    assert [(one.fold, one.already) for one in done] == [(0, False), (1, False)] and 0 < done[1].rmse < 1
    said = capfd.readouterr()
    assert "begins on job 1" in said.err and said.out == ""  # results are returned, and not printed
    assert all(one.already for one in project.train("regress", [0, 1], jobs=2, **TINY))
    with pytest.raises(kit.UsageError, match="numbers of GPUs"):
        project.train("regress", 0, gpus=[99], **TINY)


def test_an_epoch_is_tried_and_leaves_nothing(project: kit.Project) -> None:
    tried = project.try_("regress", **{**TINY, "epochs": 3})
    assert (tried.epochs, tried.folds) == (3, 3) and 0 < tried.rmse < 1
    assert tried.seconds_of_all_folds == pytest.approx(9 * tried.seconds)
    assert "regress" not in project.predictions.names() and "<table>" in tried._repr_html_()


@pytest.mark.slow
def test_settings_are_tuned(project: kit.Project) -> None:
    pytest.importorskip("optuna")
    space = {"learning_rate": (1e-4, 1e-2)}
    study = project.tune("regress", trials=2, space=space, **TINY)
    assert len(study) == 2 and study.default == study[0] and study.best in study.records
    assert study.config.is_file() and "trial" in study._repr_html_()
    assert len(project.tune("regress", trials=2, space=space, **TINY)) == 2
    with pytest.raises(kit.UsageError, match="name of what is tuned"):
        project.tune("regress", name="regress")
    with pytest.raises(kit.UsageError, match="Which experiment"):
        project.tune()


def test_vectors_and_neighbours(project: kit.Project) -> None:
    project.fill("fractional")
    vectors = project.clip.embed()
    assert len(vectors.train) == 12 and "thumbnail" in vectors._repr_html_()
    made = project.clip.neighbours(k=2)
    assert (made.name, made.already) == ("clip-neighbours", False) and project.clip.neighbours(k=2).already
    with pytest.raises(kit.KitError):
        project.clip.classes("thumbnail", ["cat", "dog"])


def test_weights_are_listed_and_checked(project: kit.Project, tmp_path: Path) -> None:
    assert "tf_efficientnet_lite0" in [one.model for one in project.weights.list()]
    with pytest.raises(kit.KitError):
        project.weights.check(tmp_path / "nothing.safetensors")


def test_samples_are_drawn_counted_and_measured(project: kit.Project, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from support.tiny_diffusion import save_tiny

    model = save_tiny(tmp_path / "model")
    settings: dict[str, Any] = {"steps": 2, "size": 32, "dtype": "float32"}
    done = project.sd.run(str(model), "a {animal}", 2, **settings)
    assert done.made == 32 and {"sd", "sd-mean"} <= set(done.sources)
    counts = project.sd.status()
    assert (counts.there, counts.missing) == (32, 0) and counts.recipes[0].chosen and "a {animal}" in repr(counts)
    curve = project.sd.curve()
    assert [one.samples for one in curve if one.measured] == [1, 2] and "The limit" in curve._repr_html_()
    with pytest.raises(kit.UnknownName, match="setting"):
        project.sd.run(str(model), colour=3)


def test_a_call_stops_in_time_and_goes_on(project: kit.Project) -> None:
    with pytest.raises(kit.UsageError, match="no time to stop"):
        kit.stop_after("soon")
    kit.stop_after("0.001s")
    try:
        with pytest.raises(kit.NotFinished, match="regress"):
            project.train("regress", [0, 1], **TINY)
    finally:
        kit.stop_after(None)
    assert len(project.train("regress", [0, 1], **TINY)) == 2
