"""Trainings that are not those asked for now: refused by their stamp, or replaced, and never lost in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.trainings import FOLDS, Stopped, short, stop_in_step, train_until, trained_on_all_folds

import kit.learning.training.engine
import kit.learning.training.fit
from kit.data.project import Project
from kit.errors import DamagedStore, KitError, Mismatch, MissingStep
from kit.learning.experiments import Experiment, finished_fold
from kit.learning.training.fit import fit_fold, predict_fold


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """`regress` trained on every fold; not to be written to."""
    return trained_on_all_folds(tmp_path_factory.mktemp("trained"), ["regress"])


# --- the stamp of a training


@pytest.fixture
def weighted(copied: Project, tmp_path: Path) -> tuple[Project, Experiment, Path]:
    """A project in which fold 0 was trained from a file of encoder weights."""
    path = tmp_path / "weights.pth"
    write_weights(path, seed=1)
    one = short("regress", f"encoder_weights={path}", "epochs=1", rename="weighted")
    fit_fold(copied, one, 0, device="cpu")
    return copied, one, path


def write_weights(path: Path, seed: int) -> None:
    import timm

    torch.manual_seed(seed)
    torch.save(timm.create_model("test_efficientnet").state_dict(), path)


def test_other_encoder_weights_under_the_same_path_are_refused(weighted: tuple[Project, Experiment, Path]) -> None:
    project, one, path = weighted
    assert finished_fold(project, one, 0) is not None
    write_weights(path, seed=2)
    assert finished_fold(project, one, 0) is None
    with pytest.raises(Mismatch, match=r"with other encoder weights\. .*--as NAME.*--force"):
        fit_fold(project, one, 0, device="cpu")
    with pytest.raises(Mismatch, match=r"Fold 0 of weighted was trained with other encoder weights\. .*--as NAME"):
        fit_fold(project, one, 1, device="cpu")
    write_weights(path, seed=1)
    assert fit_fold(project, one, 0, device="cpu").skipped
    assert not fit_fold(project, one, 1, device="cpu").skipped


@pytest.mark.parametrize("fate", ["deleted", "replaced"])
def test_encoder_weights_are_not_missed_where_the_trained_ones_are_used(
    fate: str, weighted: tuple[Project, Experiment, Path]
) -> None:
    project, one, path = weighted
    before = (project.workspace.source("weighted", "oof") / "fold_0.npy").read_bytes()
    path.unlink()
    if fate == "deleted":
        assert finished_fold(project, one, 0) is not None
        assert fit_fold(project, one, 0, device="cpu").skipped
    else:
        write_weights(path, seed=2)
    assert predict_fold(project, "weighted", 0, device="cpu", force=True)
    assert (project.workspace.source("weighted", "oof") / "fold_0.npy").read_bytes() == before


def test_a_resumed_training_from_other_encoder_weights_is_refused(copied: Project, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    write_weights(path, seed=1)
    one = short("regress", f"encoder_weights={path}", rename="weighted")
    train_until(copied, one, 5)
    write_weights(path, seed=2)
    with pytest.raises(Mismatch, match="other encoder weights"):
        fit_fold(copied, one, 0, device="cpu")


def test_a_training_that_another_version_of_kit_began_is_refused_and_one_that_it_finished_is_used(
    copied: Project,
) -> None:
    one = short(rename="begun")
    train_until(copied, one, 5)
    for name in ("begun", "regress"):
        path = copied.workspace.run(name, 0) / "experiment.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"engine": 1}))
    with pytest.raises(Mismatch, match=r"other version of kit\. Store this one under another name.*--force"):
        fit_fold(copied, one, 0, device="cpu")
    assert finished_fold(copied, short(), 0) is not None
    assert predict_fold(copied, "regress", 0, device="cpu", force=True)


@pytest.mark.parametrize("change", [{"more": 1}, {"index": "x"}])
def test_a_training_of_something_else_is_refused(change: dict[str, int | str], copied: Project) -> None:
    path = copied.workspace.run("regress", 0) / "experiment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert finished_fold(copied, short(), 0) is None
    with pytest.raises(Mismatch, match=r"holds a training with other .*--force"):
        fit_fold(copied, short(), 0, device="cpu")
    with pytest.raises(Mismatch, match=r"Fold 0 of regress was trained with other .*\. Run: kit train"):
        predict_fold(copied, "regress", 0, device="cpu", force=True)


def test_a_training_whose_settings_are_gone_is_not_taken_for_another(copied: Project) -> None:
    (copied.workspace.run("regress", 0) / "experiment.json").unlink()
    with pytest.raises(DamagedStore, match=r"is gone.*Train that fold anew: kit train regress --fold 0 --force"):
        fit_fold(copied, short(), 0, device="cpu")
    assert not fit_fold(copied, short(), 0, device="cpu", force=True).skipped
    assert finished_fold(copied, short(), 0) is not None


def test_weights_that_are_not_those_that_were_written_are_noticed(copied: Project) -> None:
    path = copied.workspace.run("regress", 0) / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert finished_fold(copied, short(), 0) is None
    with pytest.raises(DamagedStore, match=r"model\.safetensors cannot be loaded.*kit train regress --fold 0 --force"):
        fit_fold(copied, short(), 0, device="cpu")


# --- replacements


def kept(project: Project, name: str = "regress", fold: int = 0) -> dict[str, bytes]:
    """A fold's run and predictions."""
    paths = [*project.workspace.run(name, fold).iterdir()]
    paths += [
        path for split in ("oof", "test") for path in project.workspace.source(name, split).glob(f"fold_{fold}.*")
    ]
    return {path.relative_to(project.workspace.root).as_posix(): path.read_bytes() for path in paths}


def test_a_replacement_that_fails_leaves_the_old_one(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept(copied)
    assert len(before) == 8

    def full(*_: object) -> None:
        raise KitError("No room left on the disk")

    monkeypatch.setattr(kit.learning.training.engine, "save_checkpoint", full)
    with pytest.raises(KitError, match="No room"):
        fit_fold(copied, short(), 0, device="cpu", force=True)
    assert kept(copied) == before
    assert finished_fold(copied, short(), 0) is not None
    assert sorted(path.name for path in copied.workspace.run("regress", 0).parent.iterdir()) == [
        "fold_0",
        "fold_1",
        "fold_2",
    ]


def test_a_replacement_that_is_stopped_goes_on_and_takes_the_old_ones_place_at_its_end(copied: Project) -> None:
    before, one = kept(copied), short("regress", "learning_rate=0.002")
    every = range(FOLDS)
    with pytest.MonkeyPatch.context() as patch:
        stop_in_step(patch, 6)
        with pytest.raises(Stopped):
            fit_fold(copied, one, 0, device="cpu", force=True, replacing=every)
    predictions = {name: data for name, data in before.items() if name.startswith("predictions")}
    assert predictions.items() <= kept(copied).items()  # the old one's, until the new training is done
    with pytest.raises(MissingStep, match=r"is being replaced .* Go on with it: kit train regress --fold 0"):
        predict_fold(copied, "regress", 0, device="cpu")
    run = fit_fold(copied, one, 0, device="cpu", replacing=every)
    assert (
        not run.skipped
        and not predictions.items()
        & {name: data for name, data in kept(copied).items() if name.endswith(".npy")}.items()
    )
    assert not list(run.folder.parent.glob(".*"))
    assert finished_fold(copied, one, 0) is not None


def test_a_replacement_that_is_killed_before_it_predicts_does_not_keep_the_old_predictions(
    copied: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = kept(copied)["predictions/regress/oof/fold_0.npy"]
    weights = copied.workspace.run("regress", 0) / "model.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(kit.learning.training.fit, "_predict", lambda *_: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            fit_fold(copied, short("regress", "seed=9"), 0, device="cpu", force=True, replacing=range(FOLDS))
    assert weights.is_file() and finished_fold(copied, short("regress", "seed=9"), 0) is None
    fit_fold(copied, short("regress", "seed=9"), 0, device="cpu", replacing=range(FOLDS))
    assert kept(copied)["predictions/regress/oof/fold_0.npy"] != old
