"""Files that contradict each other: found in any photo, named, left out where they are few, refused where they are
many; and sound ones, compressed hard, raise nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from support.small import Small
from support.toy import TOY, make_toy_files

from kit.core.workspace import Workspace
from kit.data.index import read_index
from kit.data.pack import build_pack, read_pack
from kit.data.soundness import Doubt, doubt_about, misfit, turned
from kit.errors import ImageError
from kit.imaging.holes import Box, hole_of
from kit.imaging.images import load_image, save_image

BOXES = (Box(10, 30), Box(120, 150))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A photo of the sample competition would do; this one has structure everywhere."""
    rng = np.random.default_rng(3)
    coarse = [cv2.resize(rng.normal(size=(n, n, 3)), (256, 256), interpolation=cv2.INTER_CUBIC) / n for n in (4, 9, 40)]
    mixed = sum(coarse[1:], coarse[0])
    return np.clip(128 + 300 * mixed, 40, 255).astype(np.uint8)


def masked(photo: np.ndarray, boxes: tuple[Box, ...] = BOXES, quality: int = 0) -> np.ndarray:
    shown = photo.copy()
    shown[hole_of(boxes, *photo.shape[:2])] = 0
    if not quality:
        return shown
    return cv2.imdecode(cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def doubt(shown: np.ndarray, whole: np.ndarray | None, boxes: tuple[Box, ...] = BOXES) -> Doubt | None:
    return doubt_about(shown, boxes, hole_of(boxes, *shown.shape[:2]), whole)


@pytest.mark.parametrize("quality", [0, 20, 50, 75, 95])
def test_compression_is_no_contradiction(photo: np.ndarray, quality: int) -> None:
    assert doubt(masked(photo, quality=quality), photo) is None
    assert doubt(masked(photo, quality=quality), None) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda photo: photo[:, ::-1],
        lambda photo: np.rot90(photo),
        lambda photo: np.rot90(photo, 2),
        lambda photo: photo[..., ::-1],
        lambda photo: np.vstack([photo[:-32], np.full((32, 256, 3), 128, np.uint8)]),
        lambda photo: np.roll(photo, 20, axis=0),
        lambda photo: 255 - photo,
    ],
    ids=["mirrored", "turned", "upside down", "channels", "cut off", "shifted", "inverted"],
)
def test_a_whole_photo_that_does_not_fit_its_masked_copy_is_found(photo: np.ndarray, damage: Callable) -> None:
    assert doubt(masked(photo, quality=75), np.ascontiguousarray(damage(photo))) is Doubt.PAIR


def test_how_it_would_fit_is_found_too(photo: np.ndarray) -> None:
    hole = hole_of(BOXES, 256, 256)
    assert "by 90 degrees" in turned(masked(photo), np.ascontiguousarray(np.rot90(photo, 3)), hole)
    assert turned(masked(photo), np.ascontiguousarray(photo[:, ::-1]), hole) == "mirrored"
    assert turned(masked(photo), 255 - photo, hole) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        tuple(Box(box.col, box.row) for box in BOXES),
        tuple(Box(box.row + 2, box.col + 2) for box in BOXES),
        (BOXES[0], Box(60, 170)),
    ],
    ids=["rows and columns", "shifted", "one of two"],
)
def test_boxes_that_are_not_where_the_photo_is_black_are_found(photo: np.ndarray, wrong: tuple[Box, ...]) -> None:
    for quality in (0, 75):
        assert doubt(masked(photo, quality=quality), photo, wrong) is Doubt.BOXES
        assert doubt(masked(photo, quality=quality), None, wrong) is Doubt.BOXES


def test_what_is_painted_in_another_way_is_no_contradiction(photo: np.ndarray) -> None:
    """Hidden pixels must not decide anything: a hole may hold whatever it likes."""
    assert doubt(photo, photo) is Doubt.UNPAINTED and doubt(photo, None) is Doubt.UNPAINTED
    dark = photo.copy()
    dark[90:200, 20:120] = 3  # a night of a box's size, in the photo itself
    assert doubt(dark, dark) is Doubt.UNPAINTED


def test_a_tiny_photo_and_a_hidden_one_are_compared_as_far_as_can_be() -> None:
    whole = np.full((8, 8, 3), 200, np.uint8)
    nothing, all_hidden = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    assert misfit(whole, whole - 100, nothing) == 100 and misfit(whole, whole - 100, all_hidden) == 0


def spoil(files: Workspace, count: int) -> list[str]:
    """Give the first training photos the whole photo of another one."""
    rows = pd.read_csv(files.raw / "boxes.csv", dtype=str, keep_default_na=False)
    rows = rows[rows["split"] == "train"].iloc[:count]
    for target in rows["target"]:
        save_image(files.raw / target, 255 - load_image(files.raw / target))
    return rows["id"].tolist()


def test_one_bad_pair_is_left_out_and_named(tmp_path: Path) -> None:
    files = make_toy_files(tmp_path, photos=12, test=3)
    sound, _ = build_pack(files, TOY)
    targets = np.array(read_pack(files, sound).train_target)
    (bad,) = spoil(files, 1)
    index, notes = build_pack(files, TOY)
    assert [row.id for row in index.train] == [row.id for row in sound.train[1:]] and index.test == sound.test
    np.testing.assert_array_equal(read_pack(files, index).train_target, targets[1:])
    assert notes == (
        "1 of 12 training photos contradict themselves and are left out: 1 whose whole photo does not fit the masked "
        f"one (first: {bad!r})",
    )


def test_many_bad_pairs_are_refused_and_the_old_pack_stays(tmp_path: Path, digests: Callable) -> None:
    files = make_toy_files(tmp_path, photos=12, test=3)
    build_pack(files, TOY)
    before = digests(files.pack), read_index(files).digest
    bad = spoil(files, 5)
    with pytest.raises(ImageError, match=r"^5 of 12 training photos contradict themselves: 5 whose whole") as error:
        build_pack(files, TOY)
    assert bad[0] in str(error.value) and "kit fetch --from FOLDER" in str(error.value)
    assert (digests(files.pack), read_index(files).digest) == before


def move_test_boxes(files: Workspace, count: int) -> None:
    """Paint the first test photos elsewhere than where the table says."""
    rows = pd.read_csv(files.raw / "boxes.csv", dtype=str, keep_default_na=False)
    for image in rows[rows["split"] == "test"]["image"].iloc[:count]:
        shown = np.full((32, 32, 3), 180, np.uint8)
        shown[11:21, 11:21] = 0
        save_image(files.raw / image, shown)


def test_a_test_photo_with_wrong_boxes_is_named_and_many_are_refused(tmp_path: Path) -> None:
    files = make_toy_files(tmp_path, photos=12, test=4)
    move_test_boxes(files, 1)
    index, notes = build_pack(files, TOY)
    assert len(index.test) == 4 and notes[0].startswith("1 of 4 test photos contradict themselves and are kept")
    move_test_boxes(files, 4)
    with pytest.raises(ImageError, match=r"4 of 4 test photos contradict themselves: 4 black elsewhere"):
        build_pack(files, TOY)


def test_the_sample_is_sound(small: Small) -> None:
    project = small.project
    for row, whole in zip(project.index.train, project.pack.train_target, strict=True):
        shown = load_image(project.workspace.raw / row.image)
        assert doubt_about(shown, row.boxes, row.hole, np.asarray(whole)) is None
