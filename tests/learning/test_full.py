"""The full model: trained on every training photo, one more in the mean of the test predictions, and nowhere else."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import kit, ok
from support.trainings import (
    FOLDS,
    Stopped,
    finish,
    flags,
    log_of,
    project_at,
    results,
    short,
    start,
    stop_in_step,
    tiny,
    train,
    trained_on_all_folds,
    weights_of,
)

from kit.blending import blend_test_values, make_blend, score_sources
from kit.core.workspace import FULL, Fold, Workspace
from kit.data.mean_source import make_mean_source
from kit.data.project import Project
from kit.data.splitting import make_folds
from kit.errors import Mismatch, MissingStep, UsageError
from kit.learning.conditions import conditions_of
from kit.learning.experiments import finished_fold, run_stamp
from kit.learning.training.fit import fit_fold, predict_fold

KILLED = (
    "just after a checkpoint",
    "in the middle of an epoch",
    "while writing a checkpoint",
    "after the weights, before run.json",
    "while predicting the test photos",
)


@pytest.fixture(scope="module")
def by_fold(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """`regress` and `partialconv` trained on every fold; not to be written to."""
    return trained_on_all_folds(tmp_path_factory.mktemp("folds"), ["regress", "partialconv"])


@pytest.fixture(scope="module")
def trained(by_fold: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same, and a full model of `regress`; not to be written to."""
    root = tmp_path_factory.mktemp("full") / "w"
    shutil.copytree(by_fold.workspace.root, root)
    project = Project(Workspace(root, by_fold.workspace.slug))
    fit_fold(project, short(), FULL, device="cpu")
    return project


def parts_of(project: Project, name: str = "regress") -> list[np.ndarray]:
    """Test predictions of the folds' models and, last, of the full one."""
    folder = project.workspace.source(name, "test")
    return [np.load(folder / f"fold_{part}.npy").astype(np.float64) for part in (*range(FOLDS), FULL)]


# --- what it is


def test_it_sees_every_photo_and_validates_on_none(trained: Project) -> None:
    count = len(trained.index.train)
    np.testing.assert_array_equal(trained.folds.train_positions(FULL), np.arange(count))
    assert len(trained.folds.valid_positions(FULL)) == 0
    run = json.loads((trained.workspace.run("regress", FULL) / "run.json").read_text())
    assert run["steps"] == 2 * (count // 4)
    assert "fold_rmse" not in run and "fill_rmse" not in run
    assert [set(row) for row in log_of(trained.workspace.run("regress", FULL))] == [
        {"epoch", "learning_rate", "mse"}
    ] * 2


def test_it_predicts_the_test_photos_alone(trained: Project) -> None:
    assert (trained.workspace.source("regress", "test") / "fold_full.npy").is_file()
    assert not list(trained.workspace.source("regress", "oof").glob("*full*"))


def test_it_is_one_more_in_the_mean_over_the_folds(trained: Project) -> None:
    test, parts = trained.predictions.read("regress", "test"), parts_of(trained)
    assert [part.name for part in test.parts] == ["fold_0", "fold_1", "fold_2", "fold_full"]
    values = np.concatenate([test.values(photo) for photo in range(len(trained.index.test))])
    np.testing.assert_allclose(values, np.mean(parts, axis=0), atol=1e-6)
    assert not np.allclose(values, np.mean(parts[:-1], axis=0), atol=1e-6)


def test_folds_and_their_predictions_are_those_without_it(by_fold: Project, trained: Project) -> None:
    """Stamps, weights, manifests and OOF digests, byte for byte."""
    for path in sorted(by_fold.workspace.root.rglob("*")):
        if path.is_file():
            other = trained.workspace.root / path.relative_to(by_fold.workspace.root)
            assert other.read_bytes() == path.read_bytes()
    assert trained.predictions.read("regress", "oof").digest == by_fold.predictions.read("regress", "oof").digest


def test_its_time_is_counted_once(trained: Project) -> None:
    manifest = trained.predictions.manifest("regress", "test", FULL)
    run = json.loads((trained.workspace.run("regress", FULL) / "run.json").read_text())
    assert manifest is not None and run["seconds"] <= manifest["seconds"]
    assert manifest["made_by"] == "kit predict regress --fold full"


# --- killed, done, replaced


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_bytes_of_one_never_killed(tmp_path: Path, forks: Any) -> None:
    for folder in ("once", "killed"):
        project_at(tmp_path / folder)
    assert finish(start(forks, tmp_path / "once", tiny(), fold=FULL)) == 0
    for moment in KILLED:
        assert finish(start(forks, tmp_path / "killed", tiny(), moment, fold=FULL)) == -signal.SIGKILL, moment
    assert finish(start(forks, tmp_path / "killed", tiny(), fold=FULL)) == 0
    assert results(tmp_path / "killed", "regress", FULL) == results(tmp_path / "once", "regress", FULL)


def test_what_is_done_is_skipped(trained: Project, digests: Callable[[Path], dict[str, str]]) -> None:
    before = digests(trained.workspace.root)
    assert finished_fold(trained, short(), FULL) is not None
    assert fit_fold(trained, short(), FULL, device="cpu").skipped
    said = ok(f"-w {trained.workspace.root} train regress --fold all,full {flags('regress')} --epochs 2")
    assert said.count("There already") == FOLDS + 1
    *_, last, following = said.splitlines()
    assert following == "Next: kit blend"
    assert last.startswith("There already: regress, fold full: after 2 epochs, ") and "RMSE" not in last
    assert digests(trained.workspace.root) == before


def test_lost_predictions_are_made_again(copied: Project) -> None:
    path = copied.workspace.source("regress", "test") / "fold_full.npy"
    before = path.read_bytes()
    path.unlink()
    assert finished_fold(copied, short(), FULL) is None
    assert ok(f"-w {copied.workspace.root} predict regress --fold full") == "Predicted: regress, fold full\n"
    assert path.read_bytes() == before
    assert predict_fold(copied, "regress", FULL, device="cpu") is False


def test_it_is_replaced_when_the_new_one_is_done(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before, weights = parts_of(copied)[-1], weights_of(copied, fold=FULL)
    with monkeypatch.context() as patch:
        stop_in_step(patch, 8)
        with pytest.raises(Stopped):
            fit_fold(copied, short(), FULL, device="cpu", force=True)
    np.testing.assert_array_equal(parts_of(copied)[-1], before)
    assert not fit_fold(copied, short(), FULL, device="cpu").skipped
    assert weights_of(copied, fold=FULL) == weights
    assert not list(copied.workspace.runs.rglob("*.replaced"))


# --- mismatches


def test_its_settings_are_those_of_the_folds(copied: Project) -> None:
    with pytest.raises(Mismatch, match=r"Fold 0 of regress was trained with other seed\. .*--fold all,full --force"):
        fit_fold(copied, short("regress", "seed=3"), FULL, device="cpu", force=True)
    with pytest.raises(Mismatch, match=r"Fold full of regress was trained with other seed\."):
        fit_fold(copied, short("regress", "seed=3"), 0, device="cpu", force=True, replacing=range(FOLDS))
    everyone: list[Fold] = [*range(FOLDS), FULL]
    for fold in everyone[:-1]:
        fit_fold(copied, short("regress", "seed=3"), fold, device="cpu", force=True, replacing=everyone)
    with pytest.raises(Mismatch, match=r"different settings.*kit train regress --fold all,full --force"):
        copied.predictions.read("regress", "test")
    fit_fold(copied, short("regress", "seed=3"), FULL, device="cpu", force=True, replacing=everyone)
    assert len(copied.predictions.read("regress", "test").parts) == FOLDS + 1


def test_it_does_not_depend_on_how_photos_are_split(copied: Project) -> None:
    stamp = run_stamp(copied, short(), FULL)
    assert stamp["folds"] is None and {**stamp, "folds": copied.folds.digest} == run_stamp(copied, short(), 0)
    make_folds(copied, k=FOLDS, seed=5)
    again = Project(copied.workspace)
    assert finished_fold(again, short(), FULL) is not None
    assert finished_fold(again, short(), 0) is None
    for fold in range(FOLDS):
        fit_fold(again, short(), fold, device="cpu", force=True)
    assert len(again.predictions.read("regress", "test").parts) == FOLDS + 1


def test_a_training_that_stops_early_is_refused_before_anything_is_written(
    by_fold: Project, digests: Callable[[Path], dict[str, str]]
) -> None:
    before = digests(by_fold.workspace.root)
    with pytest.raises(UsageError, match=r"patience=2 .*--fold all,full --set patience=0 --as NAME"):
        fit_fold(by_fold, short("regress", "patience=2", rename="early"), FULL, device="cpu")
    line = f"-w {by_fold.workspace.root} train regress --fold full --as early --set patience=2"
    assert kit(line).is_one_error_line
    assert digests(by_fold.workspace.root) == before


# --- what reads sources


def test_the_weights_of_a_blend_come_from_the_folds_alone(by_fold: Project, copied: Project) -> None:
    without, with_full = (make_blend(one, ["regress", "partialconv", "mean"]) for one in (by_fold, copied))
    assert with_full.recipe == without.recipe and with_full.cv == without.cv
    assert [row.oof for row in with_full.members] == [row.oof for row in without.members]
    changed = [
        row.name for row, other in zip(with_full.members, without.members, strict=True) if row.test != other.test
    ]
    assert changed == ["regress"]


def test_a_blend_made_before_it_is_to_be_made_again(copied: Project) -> None:
    blend = make_blend(copied, ["regress", "partialconv"], rung="mean")
    fit_fold(copied, short("partialconv"), FULL, device="cpu")
    with pytest.raises(Mismatch, match=r"test predictions of partialconv have changed .*Run: kit blend"):
        blend_test_values(copied, blend)
    again = make_blend(copied, ["regress", "partialconv"], rung="mean")
    assert len(list(blend_test_values(copied, again))) == len(copied.index.test)


def test_sources_say_that_it_is_there(copied: Project) -> None:
    rows = {line.split()[0]: line for line in ok(f"-w {copied.workspace.root} sources").splitlines()[1:]}
    assert " all+full " in rows["regress"] and "full" not in rows["partialconv"]
    scores = {score.name: score for score in score_sources(copied)}
    assert scores["regress"].full and scores["regress"].complete and not scores["partialconv"].full
    (copied.workspace.source("regress", "oof") / "fold_1.json").unlink()
    (copied.workspace.source("regress", "test") / "fold_1.json").unlink()
    assert "no folds 1+full" in ok(f"-w {copied.workspace.root} sources")


def test_a_source_is_not_made_whole_by_it(tmp_path: Path) -> None:
    project = project_at(tmp_path / "w")
    root = project.workspace.root
    said = ok(f"-w {root} train regress --fold full {flags('regress')} --epochs 1")
    assert said.startswith("Trained: regress, fold full: after 1 epoch, ")
    with pytest.raises(MissingStep, match=r"folds 0, 1, 2. Run: kit train regress --fold 0 --fold 1 --fold 2"):
        project.predictions.read("regress", "test")
    assert "no folds+full" in ok(f"-w {root} sources")
    assert kit(f"-w {root} blend regress --plots none").is_one_error_line
    assert kit(f"-w {root} upload regress --dry-run").is_one_error_line
    # it goes on with the settings that the full model has
    assert "Trained: regress, fold 0: fold RMSE" in ok(f"-w {root} train regress --fold 0,full")


def test_it_goes_out_with_the_source(copied: Project, tmp_path: Path) -> None:
    root = copied.workspace.root
    ok(f"-w {root} export regress --out {tmp_path / 'regress.npz'}")
    with np.load(tmp_path / "regress.npz") as arrays:
        values = np.concatenate([arrays[photo_row.id] for photo_row in copied.index.test])
    np.testing.assert_allclose(values, np.mean(parts_of(copied), axis=0), atol=1e-3)
    ok(f"-w {root} upload regress --dry-run")


def test_a_mean_of_seeds_has_one_where_all_its_members_have(copied: Project) -> None:
    for fold in range(FOLDS):
        fit_fold(copied, short("regress", "seed=1", rename="second"), fold, device="cpu")
    with pytest.raises(MissingStep, match=r"second: no full model .*Run: kit train second --fold full"):
        make_mean_source(copied, "both", ["regress", "second"], made_by="kit train")
    fit_fold(copied, short("regress", "seed=1", rename="second"), FULL, device="cpu")
    assert make_mean_source(copied, "both", ["regress", "second"], made_by="kit train") is True
    assert make_mean_source(copied, "both", ["regress", "second"], made_by="kit train") is False
    mean = np.mean([parts_of(copied, name)[-1] for name in ("regress", "second")], axis=0)
    np.testing.assert_array_equal(parts_of(copied, "both")[-1], mean.astype(np.float16))
    for name in ("regress", "second"):
        copied.predictions.delete(name, FULL)
    assert make_mean_source(copied, "both", ["regress", "second"], made_by="kit train") is True
    assert len(copied.predictions.read("both", "test").parts) == FOLDS


def test_its_conditions_are_fitted_on_all_photos(tmp_path: Path) -> None:
    project = project_at(tmp_path)
    one = short("regress", "clip_model=thumbnail", rename="conditioned")
    full, first = (conditions_of(project, one, fold) for fold in (FULL, 0))
    assert full is not None and first is not None
    assert abs(full.train.mean(0)).max() < 1e-4 < abs(first.train.mean(0)).max()
    fit_fold(project, one, FULL, device="cpu")
    before = (project.workspace.source("conditioned", "test") / "fold_full.npy").read_bytes()
    assert predict_fold(project, "conditioned", FULL, device="cpu", force=True)
    assert (project.workspace.source("conditioned", "test") / "fold_full.npy").read_bytes() == before


def test_all_methods_and_a_limited_time_take_it(tmp_path: Path) -> None:
    project = project_at(tmp_path)
    for name in ("pix2pix", "cyclegan", "dcgan"):
        assert not fit_fold(project, short(name, "epochs=1"), FULL, device="cpu").skipped
        assert project.predictions.manifest(name, "test", FULL) is not None
    assert train(project, short("regress", "epochs=500", rename="quick"), FULL, max_minutes=0.01).epochs < 500
