"""Training on extra photos (`--extra DIR`): what is learnt from, what a stamp says of them, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.command import kit, ok
from support.toy import toy_photo
from support.trainings import (
    EPOCHS,
    FOLDS,
    finish,
    flags,
    photos_of,
    project_at,
    results,
    short,
    start_together,
    tiny,
    train_until,
    weights_of,
)

from kit.core.storage import digest_of, read_json
from kit.core.workspace import FULL, Workspace
from kit.data.extra_photos import extra_digest, extra_photos
from kit.data.project import Project
from kit.errors import Mismatch, UsageError
from kit.imaging.images import save_image
from kit.learning.datasets import TrainingPhotos
from kit.learning.experiments import Experiment, finished_fold, run_stamp, stored_experiment
from kit.learning.training.fit import fit_fold, predict_fold

COUNT = 8


def write_photos(folder: Path, count: int = COUNT, seed: int = 7) -> Path:
    rng = np.random.default_rng(seed)
    for number in range(count):
        save_image(folder / f"{number}.png", toy_photo(rng, 40))
    return folder


def more(folder: Path, *settings: str) -> Experiment:
    return short("regress", f"extra={folder}", *settings, rename="more")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """`more`, on extra photos beside the workspace, and `regress`, both on fold 0; not to be written to."""
    root = tmp_path_factory.mktemp("trained")
    project = project_at(root / "w")
    write_photos(root / "photos")
    fit_fold(project, more(root / "photos"), 0, device="cpu")
    fit_fold(project, short(), 0, device="cpu")
    return project


@pytest.fixture
def mine(trained: Project, tmp_path: Path) -> Iterator[tuple[Project, Path]]:
    """A copy of the project, and its photos, which have their place in a training's settings: put back in the end."""
    folder = trained.workspace.root.parent / "photos"
    shutil.copytree(folder, tmp_path / "kept")
    shutil.copytree(trained.workspace.root, tmp_path / "copy")
    yield Project(Workspace(tmp_path / "copy", trained.workspace.slug)), folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tmp_path / "kept", folder)


# --- what is learnt from


def test_they_are_learnt_from_beside_the_folds_photos_and_change_nothing_of_those(tmp_path: Path) -> None:
    project = project_at(tmp_path / "w")
    extra = extra_photos(project, str(write_photos(tmp_path / "photos")))
    one, seen = tiny(), project.folds.train_positions(0)
    parts = (project.pack.train_target, seen, project.index.train[0].boxes)
    without, with_extra = photos_of(project, one), TrainingPhotos(one, *parts, extra=extra)
    assert with_extra.photos.dtype == torch.uint8 and with_extra.photos.shape == (16 + COUNT, 3, 32, 32)
    assert len(with_extra) == len(without) + COUNT // 4
    torch.testing.assert_close(with_extra.photos[:16], without.photos)
    np.testing.assert_array_equal(with_extra.photos[16:].numpy().transpose(0, 2, 3, 1), extra.photos[extra.taken])
    draws, order = with_extra.begin_epoch(1)
    np.testing.assert_array_equal(draws[:16], without.begin_epoch(1)[0])
    assert sorted(order) == list(range(16 + COUNT)) and len(np.unique(draws, axis=0)) == len(draws)
    batch = with_extra.batch(1, 0, draws, order)
    assert batch.hole.max() == 1 and torch.equal(batch.hole, batch.weight)


def test_what_is_left_out_is_not_learnt_from(tmp_path: Path) -> None:
    project = project_at(tmp_path / "w")
    folder = write_photos(tmp_path / "photos", count=3)
    for position in project.folds.valid_positions(0)[:2]:
        save_image(folder / f"known {position}.png", project.pack.train_target[position])
    extra = extra_photos(project, str(folder))
    parts = (project.pack.train_target, project.folds.train_positions(0), project.index.train[0].boxes)
    held = TrainingPhotos(tiny(), *parts, extra=extra).photos.numpy().transpose(0, 2, 3, 1)
    assert len(held) == 16 + 3
    for position in project.folds.valid_positions(0):
        assert not (held == project.pack.train_target[position]).all((1, 2, 3)).any()


def test_test_photos_come_after_them(tmp_path: Path) -> None:
    project = project_at(tmp_path / "w")
    one = more(write_photos(tmp_path / "photos"), "test_photos=true")
    run = fit_fold(project, one, 0, device="cpu")
    assert read_json(run.folder / "run.json", made_by="")["steps"] == 2 * ((16 + COUNT + 4) // 4)


def test_a_training_on_them_is_another_and_predicts_the_same_photos(trained: Project) -> None:
    assert weights_of(trained, "more") != weights_of(trained)
    run = read_json(trained.workspace.run("more", 0) / "run.json", made_by="")
    assert run["steps"] == 2 * ((16 + COUNT) // 4)
    for split in ("oof", "test"):
        first, second = (trained.predictions.manifest(name, split, 0) for name in ("more", "regress"))  # type: ignore[arg-type]
        assert first is not None and second is not None
        assert (first["photos"], first["values"]) == (second["photos"], second["values"])


def test_a_stopped_training_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos")
    through, cut = project_at(tmp_path / "through"), project_at(tmp_path / "cut")
    one = tiny("regress", f"extra={folder}", rename="more")
    fit_fold(through, one, 0, device="cpu")
    train_until(cut, one, 6 * (EPOCHS - 1) + 2)
    shutil.rmtree(cut.workspace.extra)  # what can be made again
    assert not fit_fold(cut, one, 0, device="cpu").skipped
    assert results(cut.workspace.root, "more") == results(through.workspace.root, "more")


@pytest.mark.slow
def test_two_processes_share_them(tmp_path: Path, forks: Any) -> None:
    project = project_at(tmp_path / "w")
    one = more(write_photos(tmp_path / "photos"), "batch_size=2")
    assert [finish(process) for process in start_together(forks, project.workspace.root, one)] == [0, 0]
    run = read_json(project.workspace.run("more", 0) / "run.json", made_by="")
    assert (run["processes"], run["steps"]) == (2, 2 * ((16 + COUNT) // 4))


def test_all_methods_and_the_full_model_take_them(tmp_path: Path) -> None:
    project, folder = project_at(tmp_path / "w"), write_photos(tmp_path / "photos")
    for name in ("pix2pix", "cyclegan", "dcgan"):
        assert not fit_fold(project, short(name, f"extra={folder}", "epochs=1"), 0, device="cpu").skipped
    run = fit_fold(project, more(folder), FULL, device="cpu")
    assert read_json(run.folder / "run.json", made_by="")["steps"] == 2 * ((24 + COUNT) // 4)


# --- what a stamp says


def test_without_them_a_stamp_is_the_one_that_it_was(trained: Project) -> None:
    assert "extra" not in short().fields and short("regress", "extra=none").fields == short().fields
    found = read_json(trained.workspace.run("regress", 0) / "experiment.json", made_by="")
    assert found.keys() == {"experiment", "index", "folds", "engine", "encoder_weights"}
    assert "extra" not in found["experiment"]


def test_a_stamp_names_the_folder_and_its_contents(mine: tuple[Project, Path]) -> None:
    project, folder = mine
    found = read_json(project.workspace.run("more", 0) / "experiment.json", made_by="")
    assert found["experiment"]["extra"] == str(folder)
    assert found["extra_photos"] == extra_digest(str(folder))
    assert digest_of(found) == digest_of(run_stamp(project, more(folder)))
    assert found.keys() - {"extra_photos"} == run_stamp(project, short()).keys()


def test_a_changed_folder_is_refused(mine: tuple[Project, Path], digests: Callable[[Path], dict[str, str]]) -> None:
    project, folder = mine
    assert finished_fold(project, more(folder), 0) is not None
    save_image(folder / "new.png", toy_photo(np.random.default_rng(1), 40))
    before = digests(project.workspace.root)
    assert finished_fold(project, more(folder), 0) is None
    with pytest.raises(Mismatch, match=r"a training with other extra photos\. Store this one .*--as NAME.*--force"):
        fit_fold(project, more(folder), 0, device="cpu")
    with pytest.raises(Mismatch, match=r"Fold 0 of more was trained with other extra photos\. .*--fold all --force"):
        fit_fold(project, more(folder), 1, device="cpu")
    assert kit(f"-w {project.workspace.root} train more --fold 1").is_one_error_line
    after = digests(project.workspace.root)
    assert {path for path in after if not path.startswith("data/")} == {path for path in before if path[:5] != "data/"}
    (folder / "new.png").rename(folder.parent / "elsewhere.png")
    assert fit_fold(project, more(folder), 0, device="cpu").skipped


def test_a_renamed_photo_is_no_change_and_another_folder_is_another_setting(mine: tuple[Project, Path]) -> None:
    project, folder = mine
    (folder / "0.png").rename(folder / "renamed.png")
    assert fit_fold(project, more(folder), 0, device="cpu").skipped
    shutil.copytree(folder, folder.parent / "other", dirs_exist_ok=True)
    with pytest.raises(Mismatch, match=r"other extra\. Go on with its own: kit train more --fold 0"):
        fit_fold(project, more(folder.parent / "other"), 0, device="cpu")
    with pytest.raises(Mismatch, match=r"other extra\. Go on with its own: kit train more --fold 0"):
        fit_fold(project, short(rename="more"), 0, device="cpu")


def test_they_are_not_missed_where_the_trained_model_is_used(mine: tuple[Project, Path]) -> None:
    project, folder = mine
    path = project.workspace.source("more", "oof") / "fold_0.npy"
    before = path.read_bytes()
    shutil.rmtree(folder)
    shutil.rmtree(project.workspace.extra)
    assert finished_fold(project, more(folder), 0) is not None
    assert fit_fold(project, more(folder), 0, device="cpu").skipped
    assert predict_fold(project, "more", 0, device="cpu", force=True)
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match=r"photos is not there\. .*--extra DIR"):
        fit_fold(project, more(folder), 1, device="cpu")
    assert not (project.workspace.run("more", 1) / "experiment.json").exists()


# --- as it is typed


def test_one_line_says_how_many_and_the_source_finds_them_again(tmp_path: Path, monkeypatch: Any) -> None:
    root = project_at(tmp_path / "w").workspace.root
    folder = write_photos(tmp_path / "photos")
    shutil.copy(folder / "0.png", folder / "again.png")
    monkeypatch.chdir(tmp_path)
    said = f"Extra photos: {COUNT} of {COUNT + 1} in {folder}; left out: 1 like another extra one.\n"
    first = kit(f"-w {root} train regress --fold 0,1 --extra photos --as more {flags('regress')} --epochs 1")
    assert first.code == 0 and first.err.count("Extra photos") == 1 and said in first.err
    monkeypatch.chdir(tmp_path / "w")
    again = kit(f"-w {root} train more --fold all --seeds 2")
    assert again.code == 0 and again.out.count("Trained") == 1 + FOLDS and again.err.count(said) == 1
    done = kit(f"-w {root} train more --fold all")
    assert done.code == 0 and "Extra photos" not in done.err and done.out.count("There already") == FOLDS
    stored = stored_experiment(Workspace(root, "toy"), "more")
    assert stored is not None and stored.extra == str(folder)
    assert f'extra = "{folder}"' in ok(f"-w {root} train more --print-config")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--extra nowhere", "nowhere is not there"),
        ("--extra photos --set extra=other", "contradict each other"),
        ("--extra photos --set clip_model=thumbnail", "extra and clip_model: extra photos have no vectors"),
        ("--extra w", "holds the competition's own photos"),
        ("--extra bad", "bad.png cannot be read as a whole picture"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_trained(
    words: str, said: str, tmp_path: Path, monkeypatch: Any
) -> None:
    root = project_at(tmp_path / "w").workspace.root
    write_photos(tmp_path / "photos", count=2)
    (write_photos(tmp_path / "bad", count=2) / "bad.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    done = kit(f"-w {root} train regress --fold 0 --as more {words} {flags('regress')}")
    assert done.is_one_error_line and said in done.err
    assert not (root / "runs").exists() and not (root / "predictions").exists()
