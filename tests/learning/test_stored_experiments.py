"""Experiments as they are stored: found by a source's name, and folds that are finished."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.command import kit, ok
from support.toy import Toy

from kit.core.storage import digest_of, read_json, write_json
from kit.data.prediction_store import SPLITS
from kit.data.project import Project
from kit.errors import DamagedStore
from kit.learning.experiments import (
    Experiment,
    chosen_experiment,
    experiment,
    finished_fold,
    recipe_of,
    run_stamp,
    stored_experiment,
)


def regress(*settings: str) -> Experiment:
    return experiment("regress", settings)


pytestmark = pytest.mark.toy(photos=6, test=2)


def test_the_settings_of_a_source_are_found_by_its_name(toy: Toy) -> None:
    one = experiment("regress", ["size=128"], rename="mine")
    assert stored_experiment(toy.workspace, "mine") is None
    write_json(toy.workspace.run("mine", 2) / "experiment.json", {"experiment": dataclasses.asdict(one)})
    assert stored_experiment(toy.workspace, "mine") == one
    assert stored_experiment(toy.workspace, "min") is None


def test_a_trained_source_of_any_name_is_what_another_one_begins_with(toy: Toy) -> None:
    one = experiment("regress", ["size=128"], rename="mine")
    write_json(toy.workspace.run("mine", 2) / "experiment.json", {"experiment": one.fields})
    other = chosen_experiment(toy.workspace, "mine", rename="other")
    assert other == dataclasses.replace(one, name="other")
    changed = chosen_experiment(toy.workspace, "mine", ["epochs=3"], rename="other", config=["seed=4"])
    assert changed == dataclasses.replace(one, name="other", epochs=3, seed=4)
    root = toy.workspace.root
    assert 'name = "other"' in ok(f"-w {root} train mine --as other --print-config")
    for line, said in {
        "train mine --as a/b": "--as 'a/b' cannot be a file name",
        "train mine --as pix2pix": "pix2pix is the name of another experiment",
        "train mime --as other": "There is no experiment 'mime'. Did you mean mine?",
        "train mean --as other": "There is no experiment 'mean'",
    }.items():
        done = kit(f"-w {root} {line} --fold 0")
        assert done.is_one_error_line and said in done.err, done.err


@pytest.mark.parametrize(
    "stamp",
    [
        {},
        {"experiment": 3},
        {"experiment": {"name": "mine"}},
        {"experiment": {**dataclasses.asdict(Experiment("mine")), "layouts": 4}},
        {"experiment": {**dataclasses.asdict(Experiment("mine")), "size": 100}},
        {"experiment": {**dataclasses.asdict(Experiment("mine")), "size": "big"}},
    ],
)
def test_settings_that_this_version_cannot_have_are_damage(stamp: dict[str, object], toy: Toy) -> None:
    write_json(toy.workspace.run("mine", 0) / "experiment.json", stamp)
    with pytest.raises(
        DamagedStore, match=r"of this version.*Give that training up, then train as at first: rm -r .*fold_0"
    ):
        stored_experiment(toy.workspace, "mine")


RUN = {"fold_rmse": 0.125, "epochs": 3, "seconds": 7.5, "steps": 12}


def finish(toy: Toy, one: Experiment, fold: int) -> None:
    """What a training of this fold leaves behind, as far as `finished_fold` looks."""
    for split in SPLITS:
        store = toy.project.predictions
        values = [np.full((photo_row.scored, 3), 0.5) for photo_row in store.photos(split, fold)]
        store.write(one.name, split, values, made_by="kit predict", recipe=recipe_of(one), fold=fold)
    write_json(toy.workspace.run(one.name, fold) / "experiment.json", run_stamp(toy.project, one))
    write_json(toy.workspace.run(one.name, fold) / "run.json", RUN)
    toy.workspace.run(one.name, fold).joinpath("model.safetensors").touch()


def test_a_finished_fold_is_told_by_its_run(toy: Toy) -> None:
    project, one = Project(toy.workspace), regress("seed=3")
    assert finished_fold(project, one, 1) is None
    finish(toy, one, 1)
    assert finished_fold(project, one, 1) == RUN
    assert finished_fold(project, one, 0) is None
    assert finished_fold(project, regress("seed=4"), 1) is None
    assert finished_fold(project, experiment("regress", ["seed=3"], rename="other"), 1) is None


@pytest.mark.parametrize(
    "missing",
    [
        "runs/regress/fold_1/run.json",
        "runs/regress/fold_1/experiment.json",
        "runs/regress/fold_1/model.safetensors",
        *[f"predictions/regress/{split}/fold_1{suffix}" for split in ("oof", "test") for suffix in (".json", ".npy")],
    ],
)
def test_a_fold_of_which_a_file_is_missing_is_not_finished(missing: str, toy: Toy) -> None:
    finish(toy, regress(), 1)
    (toy.workspace.runs.parent / missing).unlink()
    assert finished_fold(Project(toy.workspace), regress(), 1) is None


@pytest.mark.parametrize("wrong", [{"fold_rmse": None}, {"fold_rmse": "low"}, {"epochs": None}, {"seconds": [1]}])
def test_a_run_without_its_numbers_is_not_finished(wrong: dict[str, object], toy: Toy) -> None:
    finish(toy, regress(), 1)
    kept = {key: value for key, value in {**RUN, **wrong}.items() if value is not None}
    write_json(toy.workspace.run("regress", 1) / "run.json", kept)
    assert finished_fold(Project(toy.workspace), regress(), 1) is None


def test_a_fold_of_other_folds_or_of_predictions_that_were_cut_is_not_finished(toy: Toy) -> None:
    finish(toy, regress(), 1)
    path = toy.workspace.source("regress", "test") / "fold_1.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    assert finished_fold(Project(toy.workspace), regress(), 1) is None
    path.write_bytes(whole)
    manifest = path.with_suffix(".json")
    write_json(manifest, {**read_json(manifest, made_by=""), "folds": digest_of("others")})
    assert finished_fold(Project(toy.workspace), regress(), 1) is None


def test_a_fold_whose_run_cannot_be_read_is_not_finished(toy: Toy) -> None:
    finish(toy, regress(), 1)
    (toy.workspace.run("regress", 1) / "run.json").write_text("{")
    assert finished_fold(Project(toy.workspace), regress(), 1) is None
