"""Extra photos: what is like a photo of the competition never comes in, and what comes in does not depend on names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.small import Small
from support.toy import Toy, toy_photo

from kit.data.extra_photos import ExtraPhotos, extra_digest, extra_photos, fitted
from kit.data.project import Project
from kit.errors import ImageError, KitError, UsageError
from kit.imaging.images import load_image, resize, save_image

pytestmark = pytest.mark.toy(photos=12, test=4)

MIRRORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda photo: photo,
    "left and right": lambda photo: photo[:, ::-1],
    "up and down": lambda photo: photo[::-1],
    "turned by half": lambda photo: photo[::-1, ::-1],
}


def new_photos(folder: Path, count: int = 3, size: tuple[int, int] = (48, 64), seed: int = 7) -> Path:
    """Write photos that the competition has not seen, JPEG and PNG, some in sub-folders."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        name = Path("sub", f"{number}.PNG") if number % 2 else Path(f"{number}.jpg")
        save_image(folder / name, resize(toy_photo(rng, 64), *size))
    return folder


def read(project: Project, folder: Path) -> ExtraPhotos:
    return extra_photos(project, str(folder))


def changed(photo: np.ndarray, quality: int = 70) -> np.ndarray:
    """The photo a little brighter, and as a JPEG."""
    bright = np.clip(photo * 1.05 + 4, 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", bright, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


# --- what comes in


def test_photos_of_any_size_come_in_at_the_competitions(toy: Toy, tmp_path: Path) -> None:
    found = read(toy.project, new_photos(tmp_path / "new"))
    assert found.photos.shape == (3, 32, 32, 3) and found.photos.dtype == np.uint8
    assert found.taken.tolist() == [0, 1, 2] and not any(found.left_out.values())
    expected = {fitted(load_image(path), 32, 32).tobytes() for path in (tmp_path / "new").rglob("*.*")}
    assert {photo.tobytes() for photo in found.photos} == expected


def test_the_short_side_is_fitted_and_the_centre_taken() -> None:
    photo = np.zeros((40, 120, 3), np.uint8)
    photo[:, 40:80] = 200
    np.testing.assert_array_equal(fitted(photo, 20, 20), np.full((20, 20, 3), 200))
    np.testing.assert_array_equal(fitted(photo.transpose(1, 0, 2), 20, 20), np.full((20, 20, 3), 200))
    assert fitted(photo, 20, 60).shape == (20, 60, 3) and fitted(photo, 64, 48).shape == (64, 48, 3)
    rows = np.repeat(np.arange(8, dtype=np.uint8) * 30, 8).reshape(8, 8, 1).repeat(3, 2)
    np.testing.assert_array_equal(fitted(rows, 4, 4), rows.reshape(4, 2, 4, 2, 3).mean((1, 3)))  # by area


def test_names_and_sub_folders_do_not_matter_and_contents_do(toy: Toy, tmp_path: Path) -> None:
    first = new_photos(tmp_path / "first")
    second = tmp_path / "second"
    for number, path in enumerate(sorted(first.rglob("*.*"), reverse=True)):
        (second / f"{number}").mkdir(parents=True)
        shutil.copy(path, second / f"{number}" / f"photo{path.suffix}")
    assert extra_digest(str(first)) == extra_digest(str(second))
    np.testing.assert_array_equal(read(toy.project, first).photos, read(toy.project, second).photos)
    save_image(second / "one more.png", toy_photo(np.random.default_rng(9), 40))
    assert extra_digest(str(first)) != extra_digest(str(second))
    assert extra_digest(str(tmp_path / "gone")) is None


def test_they_are_prepared_once_and_made_again_when_deleted(
    toy: Toy, tmp_path: Path, digests: Callable[[Path], dict[str, str]]
) -> None:
    folder = new_photos(tmp_path / "new")
    read(toy.project, folder)
    before = digests(toy.workspace.extra)
    assert len(before) == 2
    times = [path.stat().st_mtime_ns for path in toy.workspace.extra.rglob("*.*")]
    read(toy.project, folder)
    assert [path.stat().st_mtime_ns for path in toy.workspace.extra.rglob("*.*")] == times
    shutil.rmtree(toy.workspace.extra)
    read(toy.project, folder)
    assert digests(toy.workspace.extra) == before


# --- what is left out


@pytest.mark.parametrize("mirror", MIRRORS)
def test_near_duplicates_of_every_photo_of_the_competition_are_left_out(
    mirror: str, small: Small, tmp_path: Path
) -> None:
    """Real photos of 256x256: training and test ones, changed a little, larger, and mirrored."""
    project = small.copy(tmp_path / "w")
    truth = [load_image(path) for path in sorted(small.truth.rglob("*.*")) if path.suffix in (".png", ".jpg", ".jpeg")]
    assert len(truth) == len(project.index.test) == 4
    for number, photo in enumerate([*truth, *np.array(project.pack.train_target)]):
        copy = changed(np.ascontiguousarray(MIRRORS[mirror](photo)))
        save_image(tmp_path / "extra" / f"copy {number}.jpg", resize(copy, 300, 300))
    new_photos(tmp_path / "extra", count=30, size=(270, 256))
    found = read(project, tmp_path / "extra")
    assert found.left_out == {
        "like a test photo": 4,
        "like a training photo": 20,
        "like another extra one": 0,
        "not JPEG or PNG": 0,
    }
    assert len(found.taken) == 30


def test_most_crops_of_training_photos_are_left_out_and_no_new_photo_is(small: Small, tmp_path: Path) -> None:
    project = small.copy(tmp_path / "w")
    photos = np.array(project.pack.train_target)
    for number, photo in enumerate(photos):
        crop = np.ascontiguousarray(np.rot90(resize(photo[20:248, 5:233], 300, 300), number % 4))
        save_image(tmp_path / "extra" / f"crop {number}.jpg", crop)
    new_photos(tmp_path / "extra", count=30, size=(270, 256))
    found = read(project, tmp_path / "extra")
    assert found.left_out["like a training photo"] >= 0.85 * len(photos)
    assert found.left_out["like another extra one"] == found.left_out["like a test photo"] == 0
    assert len(found.taken) + found.left_out["like a training photo"] == 30 + len(photos)


def test_the_uncropped_photo_of_a_squeezed_one_is_left_out(toy: Toy, tmp_path: Path) -> None:
    folder = new_photos(tmp_path / "new", count=1)
    save_image(folder / "train.png", resize(toy.pack.train_target[2], 64, 96))
    save_image(folder / "test.png", resize(toy.truth[1], 96, 64))
    assert list(read(toy.project, folder).left_out.values()) == [1, 1, 0, 0]


def test_a_test_photo_as_given_is_left_out(toy: Toy, tmp_path: Path) -> None:
    folder = new_photos(tmp_path / "new", count=1)
    save_image(folder / "masked.png", np.array(toy.pack.test_image[0]))
    assert list(read(toy.project, folder).left_out.values()) == [1, 0, 0, 0]


def test_one_of_several_alike_comes_in_and_others_are_counted_by_their_reason(toy: Toy, tmp_path: Path) -> None:
    folder = new_photos(tmp_path / "new")
    photo = load_image(folder / "0.jpg")
    save_image(folder / "again.png", np.ascontiguousarray(photo[:, ::-1]))
    shutil.copy(folder / "0.jpg", folder / "sub" / "copy.jpg")
    save_image(folder / "known.png", toy.pack.train_target[3])
    (folder / "readme.txt").write_text("photos")
    (folder / "._0.jpg").write_text("what a system left")
    found = read(toy.project, folder)
    assert len(found.taken) == 3
    assert found.describe("photos") == (
        "Extra photos: 3 of 6 in photos; left out: 1 like a training photo, 2 like another extra one, "
        "1 not JPEG or PNG."
    )


# --- what cannot be


def broken(folder: Path, what: str) -> Path:
    """A folder with one thing wrong; where it is."""
    path = folder / "bad.jpg"
    if what == "not there":
        return folder / "nowhere"
    new_photos(folder)
    if what == "a file":
        return folder / "0.jpg"
    if what == "no photo":
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "notes.txt").write_text("none yet")
    elif what == "no picture":
        path.write_text("not a picture")
    elif what == "empty":
        path.touch()
    elif what == "cut":
        path.write_bytes((folder / "0.jpg").read_bytes()[:-40])
    elif what == "tiny":
        save_image(path, np.zeros((7, 60, 3), np.uint8))
    return folder


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("not there", UsageError, r"nowhere is not there\. .*--extra DIR"),
        ("a file", UsageError, r"0\.jpg is a file\. .*--extra DIR"),
        ("no photo", UsageError, r"new holds no photo \(\.jpg, \.jpeg, \.png\)\. .*--extra DIR"),
        ("no picture", ImageError, r"bad\.jpg cannot be read as a whole picture\. .*: rm .*bad\.jpg"),
        ("empty", ImageError, r"bad\.jpg cannot be read as a whole picture\. .*: rm .*bad\.jpg"),
        ("cut", ImageError, r"bad\.jpg cannot be read as a whole picture\. .*: rm .*bad\.jpg"),
        ("tiny", ImageError, r"bad\.jpg is 60x7: 8x8 is the least\. .*: rm .*bad\.jpg"),
    ],
)
def test_what_cannot_be_taken_is_named_and_nothing_is_written(
    what: str, error: type[KitError], said: str, toy: Toy, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        read(toy.project, broken(tmp_path / "new", what))
    assert not list(toy.workspace.extra.rglob("*.*"))


@pytest.mark.parametrize("where", ["raw", "."])
def test_the_competitions_own_folders_are_refused(where: str, toy: Toy) -> None:
    folder = toy.workspace.raw if where == "raw" else toy.workspace.root
    with pytest.raises(UsageError, match="holds the competition's own photos"):
        read(toy.project, folder)


def test_a_folder_without_anything_new_is_refused(toy: Toy, tmp_path: Path) -> None:
    save_image(tmp_path / "new" / "known.png", toy.pack.train_target[0])
    with pytest.raises(UsageError, match=r"0 of 1 in .*left out: 1 like a training photo\. None is new"):
        read(toy.project, tmp_path / "new")
