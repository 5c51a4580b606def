"""Imports of whole pictures: known pixels tell wrong photos and exchanged channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.imports import (
    READY,
    SPLITS,
    painted,
    pictures_of,
    project_of,
    stored,
    values_of,
)
from support.toy import Toy

from kit.core.workspace import PredictionSplit
from kit.errors import PredictionsError
from kit.exchange import import_part
from kit.exchange.values import Photos
from kit.imaging.holes import scored_pixels
from kit.imaging.images import load_image, resize, to_uint8

pytestmark = pytest.mark.toy(**READY)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("suffix", ["", ".bmp", ".webp", ".png.png"])
def test_a_folder_of_pictures_gives_their_hidden_pixels(
    toy: Toy, tmp_path: Path, split: PredictionSplit, suffix: str
) -> None:
    folder = painted(toy, tmp_path / "painted", split, suffix)
    import_part(project_of(toy), "mate", split, folder)
    photos = Photos.of(project_of(toy), split)
    names = [f"{Path(photo_row.name).stem}{suffix}" if suffix else photo_row.name for photo_row in photos.photo_rows]
    expected = [
        load_image(folder / name)[scored_pixels(photo_row.boxes)] / 255.0
        for name, photo_row in zip(names, photos.photo_rows, strict=True)
    ]
    assert np.array_equal(stored(toy, "mate", split), np.concatenate(expected).astype(np.float16))


def test_pictures_of_another_size_are_resized_and_cropped_ones_refused(toy: Toy, tmp_path: Path) -> None:
    small = np.stack([resize(picture, 16, 16) for picture in pictures_of(toy, "good", "oof")])
    np.save(tmp_path / "small.npy", to_uint8(small))
    done = import_part(project_of(toy), "mate", "oof", tmp_path / "small.npy")
    assert any("30 pictures of 16x16 resized" in note for note in done.notes)
    expected = resize(to_uint8(small[3]) / 255.0, 32, 32)[scored_pixels(toy.index.train[3].boxes)]
    assert np.allclose(values_of(toy, "mate", "oof")[3], np.clip(expected, 0, 1), atol=1e-3)
    np.save(tmp_path / "cropped.npy", small[:, :12])
    with pytest.raises(PredictionsError, match=r"16x12, but train/.* is 32x32: another shape"):
        import_part(project_of(toy), "cropped", "oof", tmp_path / "cropped.npy")


def test_channels_the_other_way_round_are_noticed(toy: Toy, tmp_path: Path) -> None:
    folder = painted(toy, tmp_path / "bgr", swap=True)
    with pytest.raises(PredictionsError, match=r"red and blue exchanged\. Import it with: --channels bgr"):
        import_part(project_of(toy), "mate", "oof", folder)
    import_part(project_of(toy), "mate", "oof", folder, channels="bgr")
    with pytest.raises(PredictionsError, match="--channels rgb"):
        import_part(project_of(toy), "right", "oof", painted(toy, tmp_path / "rgb"), channels="bgr")


def test_pictures_of_other_photos_are_refused_and_one_of_them_is_said(toy: Toy, tmp_path: Path) -> None:
    pictures = pictures_of(toy, "good", "oof")
    np.save(tmp_path / "rolled.npy", np.stack(pictures[1:] + pictures[:1]))
    with pytest.raises(PredictionsError, match=r"differ from the photo by 0\.\d+ .* another order"):
        import_part(project_of(toy), "mate", "oof", tmp_path / "rolled.npy")
    pictures[4] = 1 - pictures[4]
    np.save(tmp_path / "one.npy", np.stack(pictures))
    done = import_part(project_of(toy), "mate", "oof", tmp_path / "one.npy")
    assert any("1 of 30 pictures are like that" in warning for warning in done.warnings)


def test_boxes_painted_on_black_are_taken_and_said(toy: Toy, tmp_path: Path) -> None:
    pictures = pictures_of(toy, "good", "test")
    for picture, photo_row in zip(pictures, toy.index.test, strict=True):
        picture[~photo_row.hole] = 0
    np.save(tmp_path / "boxes.npy", np.stack(pictures))
    done = import_part(project_of(toy), "mate", "test", tmp_path / "boxes.npy")
    assert any("6 pictures are blank outside the boxes" in note for note in done.notes)
    assert np.array_equal(stored(toy, "mate", "test"), stored(toy, "good", "test"))
