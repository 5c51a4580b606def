"""Folds: duplicates together, classes even, the same every time, and never replaced by accident."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command import ok
from support.small import Small
from support.toy import TOY, Toy, make_toy_files, toy_photo

from kit.core.storage import read_json, write_json
from kit.core.workspace import Fold
from kit.data.cropped import grey_picture
from kit.data.folds import Folds, describe_folds, read_folds
from kit.data.leaks import note_test_copies
from kit.data.likeness import perceptual_hash
from kit.data.pack import build_pack
from kit.data.project import Project
from kit.data.splitting import duplicate_groups, ensure_folds, make_folds
from kit.errors import DamagedStore, Mismatch, MissingStep, UsageError
from kit.imaging.holes import boxes_from_text, hole_of
from kit.imaging.images import load_image, save_image

pytestmark = pytest.mark.toy(test=2)


def reencoded(photo: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


MIRRORS = {
    "as it is": lambda photo: photo,
    "left and right": lambda photo: photo[:, ::-1],
    "up and down": lambda photo: photo[::-1],
    "turned by half": lambda photo: photo[::-1, ::-1],
    "turned by a quarter": lambda photo: np.rot90(photo),
    "transposed": lambda photo: photo.transpose(1, 0, 2),
    "inverted": lambda photo: 255 - photo,
    "channels exchanged": lambda photo: photo[..., ::-1],
    "shifted": lambda photo: cv2.warpAffine(photo, np.array([[1, 0, 20], [0, 1, -12]], np.float32), (256, 256)),
}


def groups_of(photos: list[np.ndarray]) -> np.ndarray:
    hashes = np.array([int(perceptual_hash(np.ascontiguousarray(photo)), 16) for photo in photos], np.uint64)
    grey = [
        cv2.resize(cv2.cvtColor(np.ascontiguousarray(p), cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
        for p in photos
    ]
    greys = np.stack([grey_picture(np.ascontiguousarray(photo)) for photo in photos])
    return duplicate_groups(hashes, np.stack(grey).astype(np.float32), greys)


@pytest.mark.parametrize("mirror", list(MIRRORS))
def test_mirrored_and_slightly_reencoded_copies_are_one_group(small: Small, mirror: str) -> None:
    photos = [np.array(photo) for photo in small.project.pack.train_target[:12]]
    copies = [reencoded(np.ascontiguousarray(MIRRORS[mirror](photo)), 60) for photo in photos[:6]]
    bright = [np.clip(photo * 1.05 + 4, 0, 255).astype(np.uint8) for photo in copies]
    groups = groups_of([*photos, *copies, *bright])
    assert len(set(groups[:12].tolist())) == 12, "different photos were taken for one"
    for number in range(6):
        assert groups[number] == groups[12 + number] == groups[18 + number]


def test_most_crops_are_in_the_group_of_their_photo_and_no_other_photo_is(small: Small) -> None:
    photos = [np.array(photo) for photo in small.project.pack.train_target[:12]]
    crops = [cv2.resize(photo[20:248, 5:233], (256, 256)) for photo in photos]
    turned = [np.ascontiguousarray(np.rot90(crop)) for crop in crops]
    groups = groups_of([*photos, *crops, *turned])
    assert len(set(groups[:12].tolist())) == 12, "different photos were taken for one"
    assert (groups[:12] == groups[12:24]).sum() >= 9 and (groups[:12] == groups[24:]).sum() >= 9


def test_copies_of_test_photos_among_the_training_photos_are_said(tmp_path: Path) -> None:
    files = make_toy_files(tmp_path, photos=12, test=4)
    build_pack(files, TOY)
    assert note_test_copies(Project(files)) == ()
    rows = list(csv.DictReader((files.raw / "boxes.csv").open(encoding="utf-8")))
    first = next(row for row in rows if row["split"] == "train")
    test = next(row for row in rows if row["split"] == "test")
    copy = load_image(tmp_path / "truth" / test["name"])[:, ::-1].transpose(1, 0, 2)
    hidden = np.where(hole_of(boxes_from_text(first["boxes"]), 32, 32)[..., None], np.uint8(0), copy)
    for column, photo in (("target", copy), ("image", hidden)):
        save_image(files.raw / first[column], np.ascontiguousarray(photo))
    build_pack(files, TOY)
    (note,) = note_test_copies(Project(files))
    assert note.startswith("1 training photos are near duplicates of 1 test photos") and test["name"] in note


def test_many_random_photos_are_many_groups() -> None:
    rng = np.random.default_rng(0)
    assert len(set(groups_of([toy_photo(rng, 64) for _ in range(300)]).tolist())) == 300


def test_copies_of_copies_are_one_group_and_blank_photos_too() -> None:
    photo = toy_photo(np.random.default_rng(1), 64)
    blank = np.zeros((64, 64, 3), np.uint8)
    groups = groups_of([photo, photo[:, ::-1], photo[::-1], photo[::-1, ::-1], blank, blank])
    assert len(set(groups[:4].tolist())) == 1 and groups[4] == groups[5] != groups[0]


@settings(max_examples=5)
@given(k=st.integers(2, 5), seed=st.integers(0, 100))
def test_folds_never_split_a_duplicate_group(tmp_path_factory: pytest.TempPathFactory, k: int, seed: int) -> None:
    workspace = make_toy_files(tmp_path_factory.mktemp("folds"), photos=20, test=1, seed=seed, duplicates=8)
    rows = sorted((workspace.raw / "train" / "truth").iterdir())
    for path in rows[:4]:
        save_image(path, reencoded(load_image(path), 97))
    build_pack(workspace, TOY)
    folds = make_folds(Project(workspace), k=k, seed=seed)
    for group in np.unique(folds.group):
        assert len(set(folds.fold[folds.group == group].tolist())) == 1
    assert len(np.unique(folds.group)) == 12
    assert set(folds.fold.tolist()) == set(range(k))


def test_classes_are_spread_evenly(toy: Toy) -> None:
    classes = np.array([photo_row.klass for photo_row in toy.index.train])
    for fold in range(3):
        members = classes[toy.folds.fold == fold]
        assert len(members) == 8 and (members == "Cat").sum() == 4


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(toy: Toy) -> None:
    text = toy.workspace.folds.read_bytes()
    again = make_folds(toy.project, k=3, seed=0)
    assert toy.workspace.folds.read_bytes() == text and again.digest == toy.folds.digest
    other = make_folds(toy.project, k=3, seed=1)
    assert other.digest != toy.folds.digest


def test_reading_gives_what_was_made(toy: Toy) -> None:
    read = read_folds(toy.workspace, toy.index)
    np.testing.assert_array_equal(read.fold, toy.folds.fold)
    np.testing.assert_array_equal(read.group, toy.folds.group)
    assert (read.k, read.digest) == (toy.folds.k, toy.folds.digest)
    lines = toy.workspace.folds.read_text().splitlines()
    assert lines[0] == "id,fold,group" and len(lines) == 25


def test_a_model_never_sees_the_photos_that_it_predicts(toy: Toy) -> None:
    seen = []
    for fold in range(3):
        train, valid = toy.folds.train_positions(fold), toy.folds.valid_positions(fold)
        assert not set(train) & set(valid) and len(train) + len(valid) == 24
        seen += valid.tolist()
    assert sorted(seen) == list(range(24))


@pytest.mark.parametrize("fold", [-1, 3, 99])
def test_a_fold_that_is_not_there_is_refused(toy: Toy, fold: int) -> None:
    with pytest.raises(UsageError, match=f"There is no fold {fold}: the folds are 0 to 2"):
        toy.folds.valid_positions(fold)


@pytest.mark.parametrize(
    ("texts", "folds"),
    [
        (["0"], [0]),
        (["2", "0"], [2, 0]),
        (["1", "1", "01", "2"], [1, 2]),
        (["2,0"], [2, 0]),
        (["0,1", "2"], [0, 1, 2]),
        (["1,all"], [0, 1, 2]),
        (["all"], [0, 1, 2]),
        (["2", "all", "7"], [0, 1, 2]),
        ([], []),
        (["full"], ["full"]),
        (["0,full", "full"], [0, "full"]),
        (["full", "all"], [0, 1, 2, "full"]),
    ],
)
def test_folds_are_chosen_in_the_order_given_and_once(texts: list[str], folds: list[Fold]) -> None:
    assert Folds(np.zeros(3, int), np.zeros(3, int), 3, "").chosen(texts) == folds


@pytest.mark.parametrize("text", ["", "-1", "1.0", "one", "ALL", "Full", " 1", "0,", "\u00b2", "3", "99"])
def test_a_choice_that_is_no_fold_is_refused_and_says_which_there_are(text: str) -> None:
    with pytest.raises(UsageError, match=r"from 0 to 2, or all|the folds are 0 to 2") as caught:
        Folds(np.zeros(3, int), np.zeros(3, int), 3, "").chosen(["0", text])
    assert text.strip() in str(caught.value)


@pytest.mark.parametrize("k", [-1, 0, 1])
def test_fewer_than_two_folds_are_refused(toy: Toy, k: int) -> None:
    with pytest.raises(UsageError, match="at least 2 folds"):
        make_folds(toy.project, k=k)


def test_more_folds_than_groups_are_refused_and_the_old_ones_stay(toy: Toy) -> None:
    before = toy.workspace.folds.read_bytes()
    with pytest.raises(UsageError, match="only 24 groups"):
        make_folds(toy.project, k=25)
    assert toy.workspace.folds.read_bytes() == before


def test_classes_smaller_than_the_number_of_folds_are_no_obstacle(small: Small, tmp_path: Path) -> None:
    project = small.copy(tmp_path / "w")  # 20 photos in six classes
    folds = make_folds(project, k=5)
    counts = np.bincount(folds.fold, minlength=5)
    assert counts.sum() == 20 and counts.min() >= 2 and counts.max() <= 6


# --- what is there ------------------------------------------------------------


def test_folds_that_are_there_are_kept(toy: Toy) -> None:
    before = toy.workspace.folds.stat().st_mtime_ns
    made, folds = ensure_folds(toy.project, k=3, seed=0)
    assert not made and folds.digest == toy.folds.digest
    assert toy.workspace.folds.stat().st_mtime_ns == before


def test_folds_of_earlier_versions_stay_and_say_what_split_them(toy: Toy) -> None:
    recipe = toy.workspace.folds.with_suffix(".json")
    write_json(recipe, {key: value for key, value in read_json(recipe, made_by="").items() if key != "method"})
    before = toy.workspace.folds.read_bytes()
    said = ok(f"-w {toy.workspace.root} folds --k 3")
    assert said.startswith(f"There already: {toy.workspace.folds} (by scikit-learn's StratifiedGroupKFold)")
    assert toy.workspace.folds.read_bytes() == before and "method" not in read_json(recipe, made_by="")
    assert "(by stratified-groups-1)" in ok(f"-w {toy.workspace.root} folds --k 3 --force")


@pytest.mark.parametrize(("k", "seed"), [(4, 0), (3, 1)])
def test_other_folds_are_refused_without_force(toy: Toy, k: int, seed: int) -> None:
    before = toy.workspace.folds.read_bytes()
    with pytest.raises(Mismatch, match=f"kit folds --k {k} --seed {seed} --force"):
        ensure_folds(toy.project, k=k, seed=seed)
    assert toy.workspace.folds.read_bytes() == before
    made, folds = ensure_folds(toy.project, k=k, seed=seed, force=True)
    assert made and folds.k == k and toy.workspace.folds.read_bytes() != before


def test_folds_of_another_index_are_made_again(toy: Toy) -> None:
    recipe = toy.workspace.folds.with_suffix(".json")
    write_json(recipe, {**read_json(recipe, made_by=""), "index": "0" * 16})
    with pytest.raises(Mismatch, match="made for another index"):
        read_folds(toy.workspace, toy.index)
    made, folds = ensure_folds(toy.project, k=3, seed=0)
    assert made and folds.digest == toy.folds.digest


@pytest.mark.parametrize("edit", [("0", "1"), ("fold", "Fold"), ("Cat", "Cow")])
def test_a_table_that_was_edited_by_hand_is_refused(toy: Toy, edit: tuple[str, str]) -> None:
    toy.workspace.folds.write_text(toy.workspace.folds.read_text().replace(*edit))
    with pytest.raises(Mismatch, match=r"changed after .* make it again: kit folds --k 3 --seed 0 --force"):
        read_folds(toy.workspace, toy.index)
    with pytest.raises(Mismatch):
        ensure_folds(toy.project, k=3, seed=0)


@pytest.mark.parametrize("k", [None, "3", 2, 7])
def test_a_recipe_that_was_edited_by_hand_is_refused(toy: Toy, k: object) -> None:
    path = toy.workspace.folds.with_suffix(".json")
    recipe = read_json(path, made_by="")
    write_json(path, {key: value for key, value in {**recipe, "k": k}.items() if value is not None})
    with pytest.raises(Mismatch, match="kit folds --k 3 --seed 0 --force"):
        read_folds(toy.workspace, toy.index)


def test_missing_and_damaged_folds_say_what_to_run(toy: Toy) -> None:
    recipe = toy.workspace.folds.with_suffix(".json")
    recipe.write_text("{")
    with pytest.raises(DamagedStore, match="kit folds"):
        read_folds(toy.workspace, toy.index)
    recipe.unlink()
    with pytest.raises(MissingStep, match="Run: kit folds"):
        read_folds(toy.workspace, toy.index)
    toy.workspace.folds.unlink()
    with pytest.raises(MissingStep, match="Run: kit folds"):
        read_folds(toy.workspace, toy.index)


def test_the_description_counts_photos_classes_and_duplicates(toy: Toy) -> None:
    text = describe_folds(toy.folds, toy.index).splitlines()
    assert text[0] == "fold 0: 8 photos (Cat 4, Dog 4)" and text[-1].startswith("0 near duplicates")
    twins = Folds(toy.folds.fold, np.repeat(np.arange(12), 2), 3, "")
    assert describe_folds(twins, toy.index).splitlines()[-1] == "12 near duplicates kept with the original"


def test_line_ends_that_git_has_changed_are_no_other_folds(toy: Toy, tmp_path: Path) -> None:
    path = toy.workspace.folds
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    recipe = path.with_suffix(".json")
    recipe.write_bytes(recipe.read_bytes().replace(b"\n", b"\r\n"))
    found = read_folds(toy.workspace, toy.index)
    assert (found.fold.tolist(), found.digest) == (toy.folds.fold.tolist(), toy.folds.digest)
