"""Index and pack: hidden pixels gone for good, one size for all, and a bad photo named before anything is replaced."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from support.small import Small
from support.toy import SLUG, TOY, make_toy_files

from kit.competitions import competition
from kit.core.storage import read_json, write_json
from kit.core.workspace import Workspace
from kit.data.index import read_index
from kit.data.likeness import perceptual_hash
from kit.data.pack import build_pack, read_pack
from kit.errors import DamagedStore, ImageError, KitError, Mismatch, MissingStep, TableError
from kit.imaging.holes import Box, boxes_to_text, hole_of
from kit.imaging.images import load_image, save_image


@pytest.fixture
def files(tmp_path: Path) -> Workspace:
    """A toy competition's own files."""
    return make_toy_files(tmp_path, photos=9, test=3)


def table(workspace: Workspace) -> pd.DataFrame:
    return pd.read_csv(workspace.raw / "boxes.csv", dtype=str, keep_default_na=False)


def test_every_photo_is_packed_in_index_order_with_its_hidden_pixels_zero(small: Small) -> None:
    project = small.project
    pack, raw = project.pack, project.workspace.raw
    assert (len(project.index.train), len(project.index.test)) == (20, 4)
    for split in ("train", "test"):
        for position, photo_row in enumerate(project.index.split(split)):
            photo = load_image(raw / photo_row.image)
            photo[photo_row.hole] = 0
            np.testing.assert_array_equal(pack.image(split)[position], photo)
            np.testing.assert_array_equal(pack.estimated_range(split)[position], TOY.value_range(photo, photo_row.hole))
            if split == "train":
                target = load_image(raw / photo_row.target)
                np.testing.assert_array_equal(pack.train_target[position], target)
                np.testing.assert_array_equal(pack.train_value_range[position], TOY.value_range(target, None))


def test_what_is_under_the_hole_does_not_reach_the_pack(files: Workspace) -> None:
    build_pack(files, TOY)
    before = {path.name: path.read_bytes() for path in files.pack.glob("*.npy")}
    rng = np.random.default_rng(0)
    for row in table(files).to_dict("records"):
        photo = load_image(files.raw / row["image"])
        boxes = [Box(*map(int, part.split(":"))) for part in row["boxes"].split()]
        hole = hole_of(boxes, *photo.shape[:2])
        photo[hole] = rng.integers(0, 256, (int(hole.sum()), 3))
        save_image(files.raw / row["image"], photo)
    build_pack(files, TOY)
    assert {path.name: path.read_bytes() for path in files.pack.glob("*.npy")} == before


def test_the_same_files_give_the_same_index(files: Workspace) -> None:
    first, _ = build_pack(files, TOY)
    second, _ = build_pack(files, TOY)
    assert first == second == read_index(files) and first.digest == second.digest
    assert first.classes == ["Cat", "Dog"] and first.positions[first.train[4].id] == 4
    assert read_json(files.index.with_suffix(".json"), made_by="")["train"] == 9


def test_another_photo_is_another_index(files: Workspace) -> None:
    first, _ = build_pack(files, TOY)
    target = files.raw / first.train[0].target
    save_image(target, load_image(target) ^ 1)
    assert build_pack(files, TOY)[0].digest != first.digest


def test_grey_and_alpha_photos_are_packed_like_any_other(files: Workspace) -> None:
    index, _ = build_pack(files, TOY)
    path = files.raw / index.train[0].target
    photo = load_image(path)
    cv2.imwrite(str(path), np.dstack([photo[..., ::-1], np.full(photo.shape[:2], 9, np.uint8)]))
    other = files.raw / index.train[1].target
    grey = load_image(other)[..., 0]
    cv2.imwrite(str(other), grey)
    cv2.imwrite(str(files.raw / index.train[1].image), np.where(index.train[1].hole, np.uint8(0), grey))
    index, _ = build_pack(files, TOY)
    pack = read_pack(files, index)
    np.testing.assert_array_equal(pack.train_target[0], photo)
    np.testing.assert_array_equal(pack.train_target[1], np.repeat(grey[..., None], 3, 2))


def spoil_truncated(workspace: Workspace) -> str:
    path = workspace.raw / table(workspace)["image"][5]
    path.write_bytes(path.read_bytes()[:-40])
    return "truncated"


def spoil_size(workspace: Workspace) -> str:
    save_image(workspace.raw / table(workspace)["image"][5], np.zeros((32, 31, 3), np.uint8))
    return "31x32, but the first photo is 32x32"


def spoil_target_size(workspace: Workspace) -> str:
    save_image(workspace.raw / table(workspace)["target"][5], np.zeros((31, 32, 3), np.uint8))
    return "is not of the size of"


def spoil_box(workspace: Workspace) -> str:
    rows = table(workspace)
    rows.loc[5, "boxes"] = boxes_to_text([Box(0, 0, 10, 10), Box(23, 5, 10, 10)])
    rows.to_csv(workspace.raw / "boxes.csv", index=False)
    return "the box 23,5 of 10x10 leaves the photo of 32x32"


def spoil_missing(workspace: Workspace) -> str:
    (workspace.raw / table(workspace)["target"][5]).unlink()
    return "is missing. Fetch again"


def spoil_empty(workspace: Workspace) -> str:
    (workspace.raw / table(workspace)["image"][10]).write_bytes(b"")
    return "is empty"


@pytest.mark.parametrize(
    "spoil", [spoil_truncated, spoil_size, spoil_target_size, spoil_box, spoil_missing, spoil_empty]
)
def test_a_bad_photo_is_named_and_the_old_pack_stays(files: Workspace, digests, spoil) -> None:
    build_pack(files, TOY)
    said = spoil(files)
    before = digests(files.pack), files.index.read_bytes()
    with pytest.raises((ImageError, TableError), match=said):
        build_pack(files, TOY)
    assert (digests(files.pack), files.index.read_bytes()) == before
    assert sorted(path.name for path in files.data.iterdir()) == ["index.csv", "index.json", "pack", "raw"]


def test_mirrored_photos_have_hashes_that_differ_by_a_fixed_pattern() -> None:
    rng = np.random.default_rng(0)
    patterns = set()
    for _ in range(8):
        photo = cv2.resize(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
        first, second = (int(perceptual_hash(np.ascontiguousarray(one)), 16) for one in (photo, photo[:, ::-1]))
        patterns.add((first ^ second) & ~(1 << 63))  # the first sign is that of the mean, which is taken out: noise
    odd_columns = int("01010101" * 8, 2)
    assert all((pattern ^ odd_columns).bit_count() <= 2 for pattern in patterns)


# --- reading ------------------------------------------------------------------


def test_before_a_fetch_everything_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingStep, match="Run: kit fetch"):
        read_index(Workspace(tmp_path))


def test_an_index_that_was_changed_by_hand_is_refused(files: Workspace) -> None:
    build_pack(files, TOY)
    files.index.write_text(files.index.read_text().replace("Cat", "cat", 1))
    with pytest.raises(DamagedStore, match=r"changed after kit wrote it. Make it again: kit fetch --force"):
        read_index(files)


def test_an_index_without_its_table_or_manifest_says_what_to_run(files: Workspace) -> None:
    index, _ = build_pack(files, TOY)
    files.index.unlink()
    with pytest.raises(MissingStep, match="Run: kit fetch"):
        read_index(files)
    files.index.with_suffix(".json").write_text("{}")
    with pytest.raises(KitError, match="kit fetch"):
        read_index(files)
    assert index.train


def test_a_pack_of_another_index_is_refused(files: Workspace) -> None:
    index, _ = build_pack(files, TOY)
    path = files.pack / "manifest.json"
    write_json(path, {**read_json(path, made_by=""), "index": "0" * 16})
    with pytest.raises(Mismatch, match=r"made from another index. Run: kit fetch --force"):
        read_pack(files, index)


@pytest.mark.parametrize("name", ["train_image", "test_image", "train_extremes"])
def test_a_pack_that_lost_bytes_is_refused(files: Workspace, name: str) -> None:
    index, _ = build_pack(files, TOY)
    path = files.pack / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedStore, match="kit fetch --force"):
        read_pack(files, index)
    path.unlink()
    with pytest.raises(MissingStep, match="kit fetch --force"):
        read_pack(files, index)


def test_a_pack_of_another_shape_is_refused(files: Workspace) -> None:
    index, _ = build_pack(files, TOY)
    np.save(files.pack / "train_image.npy", np.zeros((3, 32, 32, 3), np.uint8))
    with pytest.raises(DamagedStore, match="kit fetch --force"):
        read_pack(files, index)


def test_the_toy_s_slug_is_found_by_its_layout() -> None:
    assert competition(SLUG) is TOY
