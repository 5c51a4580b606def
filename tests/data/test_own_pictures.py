"""Folders of one's own pictures and masks: what is paired, passed over, lost."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from kit.data.own_pictures import match_masks


def test_what_is_passed_over_and_what_is_lost_is_said(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    (images / "more").mkdir(parents=True)
    masks.mkdir()
    photo = np.full((8, 8, 4), 100, np.uint8)
    for name, channels in (("clear", 4), ("plain", 3)):
        cv2.imwrite(str(images / f"{name}.png"), photo[..., :channels])
        cv2.imwrite(str(masks / f"{name}.png"), np.eye(8, dtype=np.uint8) * 255)
    (images / "film.gif").write_bytes(b"GIF89a")
    found, notes = match_masks(images, masks)
    assert [one.path.name for one in found] == ["clear.png", "plain.png"]
    assert f"2 of {images} passed over: no pictures that kit reads (first: film.gif)" in notes
    assert f"transparency is lost, and pictures come out opaque: 1 of them (first: {images / 'clear.png'})" in notes
