"""`kit train NAME --seeds N --mean`: members that differ in their seed, and one source as their mean."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.command import kit, ok
from support.trainings import FOLDS, flags, project_at

from kit.core.storage import read_json, write_json
from kit.data.mean_source import make_mean_source
from kit.data.prediction_store import SPLITS, SourceKind
from kit.data.project import Project
from kit.errors import MissingStep, UsageError
from kit.learning.experiments import stored_experiment

MEMBERS = ["regress", "regress-s1"]
FLAGS = f"{flags('regress')} --epochs 1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two seeds on all folds, and their mean; not to be written to."""
    project = project_at(tmp_path_factory.mktemp("trained") / "w")
    root = project.workspace.root
    first = ok(f"-w {root} train regress --fold 0 {FLAGS} --seeds 2 --mean")
    assert first.count("Trained: ") == 2
    assert first.splitlines()[-1].startswith("regress-mean is made when all folds are there: kit ")
    assert first.splitlines()[-1].endswith(" train regress --fold all --seeds 2 --mean")
    assert not project.workspace.source("regress-mean", "oof").exists()
    said = ok(f"-w {root} train regress --fold all --seeds 2 --mean")
    assert said.count("There already: regress, fold 0") == said.count("There already: regress-s1, fold 0") == 1
    assert said.count("Trained: ") == 4
    assert said.splitlines()[-2:] == ["Averaged: regress-mean, the mean of regress, regress-s1", "Next: kit blend"]
    return project


def test_members_differ_in_their_seed_alone(trained: Project) -> None:
    first, second = (stored_experiment(trained.workspace, name) for name in MEMBERS)
    assert first is not None and second is not None
    assert (first.seed, second.seed) == (0, 1)
    assert {**first.fields, "name": "", "seed": 0} == {**second.fields, "name": "", "seed": 0}


@pytest.mark.parametrize("split", SPLITS)
def test_each_part_is_the_mean_of_the_members_parts(split: str, trained: Project) -> None:
    for fold in range(FOLDS):
        parts = [np.load(trained.workspace.source(name, split) / f"fold_{fold}.npy") for name in MEMBERS]  # type: ignore[arg-type]
        mean = np.load(trained.workspace.source("regress-mean", split) / f"fold_{fold}.npy")  # type: ignore[arg-type]
        assert not np.array_equal(*parts)
        np.testing.assert_array_equal(mean, np.mean([part.astype(np.float64) for part in parts], 0).astype(np.float16))


def test_its_recipe_names_what_it_was_made_from_and_its_seconds_are_theirs(trained: Project) -> None:
    store = trained.predictions
    assert store.kind_of("regress-mean") is SourceKind.MEAN
    manifest = store.manifest("regress-mean", "oof", 1)
    assert manifest is not None
    assert manifest["recipe"]["members"] == MEMBERS
    assert manifest["recipe"]["digests"]["test"] == [store.read(name, "test").digest for name in MEMBERS]
    assert store.read("regress-mean", "oof").seconds > store.read("regress", "oof").seconds


def test_it_is_there_already_when_typed_again(trained: Project, digests: Callable[[Path], dict[str, str]]) -> None:
    before = digests(trained.workspace.root)
    said = ok(f"-w {trained.workspace.root} train regress --fold all --seeds 2 --mean")
    assert said.count("There already") == 2 * FOLDS + 1
    assert digests(trained.workspace.root) == before


def test_what_takes_sources_takes_it(copied: Project) -> None:
    root = copied.workspace.root
    assert "regress-mean" in ok(f"-w {root} sources")
    assert "regress-mean" in ok(f"-w {root} blend regress-mean regress --plots none")
    ok(f"-w {root} export regress-mean --out {root / 'mean.npz'}")
    ok(f"-w {root} upload regress-mean --dry-run")


def test_it_is_made_anew_when_a_member_is_another_and_finished_where_it_was_killed(copied: Project) -> None:
    make = [copied, "regress-mean", MEMBERS]
    path = copied.workspace.source("regress", "test") / "fold_1.npy"
    values = np.load(path)
    values[0] = 1.0 - values[0]
    np.save(path, values)
    manifest = path.with_suffix(".json")
    write_json(manifest, {**read_json(manifest, made_by=""), "digest": "0123456789abcdef"})
    assert make_mean_source(*make, made_by="kit train") is True  # type: ignore[arg-type]
    assert make_mean_source(*make, made_by="kit train") is False  # type: ignore[arg-type]
    lost = copied.workspace.source("regress-mean", "oof") / "fold_2.json"
    lost.unlink()
    with pytest.raises(MissingStep, match=r"Run: kit train$"):
        copied.predictions.read("regress-mean", "oof")
    assert make_mean_source(*make, made_by="kit train") is True  # type: ignore[arg-type]


def test_a_mean_of_fewer_seeds_replaces_it_on_purpose_alone(
    copied: Project, digests: Callable[[Path], dict[str, str]]
) -> None:
    root = copied.workspace.root
    ok(f"-w {root} train regress --fold all --seeds 3 --mean")
    before = digests(root)
    done = kit(f"-w {root} train regress --fold all --seeds 2 --mean")
    assert done.code == 2 and "Error: regress-mean is the mean of 3 sources" in done.err and "--seeds 3" in done.err
    assert digests(root) == before
    with pytest.raises(UsageError, match="would be that of 2"):
        make_mean_source(copied, "regress-mean", MEMBERS, made_by="kit train")
    assert make_mean_source(copied, "regress-mean", MEMBERS, made_by="kit train", replace=True)
    ok(f"-w {root} train regress --fold all --seeds 3 --mean")
    subprocess.run(shlex.split(done.err.partition("same command: ")[2]), check=True)
    assert "Averaged: regress-mean" in ok(f"-w {root} train regress --fold all --seeds 2 --mean")


def test_what_holds_for_every_seed_and_fold_is_said_once(copied: Project) -> None:
    odd = "--set learning_rate=0.5 --set test_photos=true --as odd"
    done = kit(f"-w {copied.workspace.root} train regress --fold 0,1 {FLAGS} {odd} --seeds 2")
    assert done.code == 0 and done.out.count("Trained: odd") == 4
    assert done.err.count("worse than mean alone") == done.err.count("Training also on the known parts") == 1
    other = kit(f"-w {copied.workspace.root} train odd --fold 2")  # of another command it is said again
    assert other.err.count("Training also on the known parts") == 1


@pytest.mark.parametrize("command", ["train regress-mean --fold 0", "predict regress-mean", "tune regress-mean"])
def test_what_trains_says_of_a_mean_what_it_is_and_how_it_is_made(command: str, copied: Project) -> None:
    root = copied.workspace.root
    done = kit(f"-w {root} {command}")
    assert done.is_one_error_line and "regress-mean is the mean of regress, regress-s1, and has no training" in done.err
    typed = done.err.rpartition(": kit ")[2]
    assert typed == "train regress --fold all --seeds 2 --mean\n"
    assert "There already: regress-mean" in ok(f"-w {root} {typed}")


def test_names_that_are_taken_are_refused_before_anything_is_trained(copied: Project) -> None:
    with pytest.raises(UsageError, match="a trained experiment"):
        make_mean_source(copied, "regress-s1", ["regress", "regress"], made_by="kit train")
    root = copied.workspace.root
    done = kit(f"-w {root} train regress --fold 0 {FLAGS} --as regress-mean")
    assert done.is_one_error_line and "regress-mean is the name of a mean of sources" in done.err
    done = kit(f"-w {root} train regress --fold 0 --seeds 2 --set seed=4294967295 --as last")
    assert done.is_one_error_line and "seed=4294967296" in done.err
    assert kit(f"-w {root} train regress --fold 0 --mean").is_one_error_line
    assert kit(f"-w {root} train regress bilstm --print-config").is_one_error_line
