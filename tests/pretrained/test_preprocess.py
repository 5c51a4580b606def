"""Pixels of `kit sd`: pictures and masks for a pipeline, hidden pixels from its output."""

from __future__ import annotations

import numpy as np
import pytest
from support.toy import Toy

from kit.imaging.holes import Box, boxes_of, hole_of, scored_pixels
from kit.pretrained.diffusion.preprocess import (
    hidden_values,
    is_picture,
    model_mask,
    model_picture,
    ring_shifts,
    shifted,
)

pytestmark = pytest.mark.toy(shared=True, photos=12, test=4)


# --- pixels -------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 64, 48, 512])
@pytest.mark.parametrize("cell", [1, 8])
def test_the_mask_covers_every_hidden_pixel_in_whole_cells_and_little_more(size: int, cell: int) -> None:
    rng = np.random.default_rng(size)
    for _ in range(5):
        boxes = [Box(int(rng.integers(0, 23)), int(rng.integers(0, 23)), 10, 10) for _ in range(2)]
        mask = model_mask(boxes, 32, 32, size, cell)
        rows, columns = (np.arange(size) + 0.5) * 32 / size, (np.arange(size) + 0.5) * 32 / size
        hidden = hole_of(boxes, 32, 32)[rows.astype(int)[:, None], columns.astype(int)]
        assert mask[hidden].all()
        cells = mask.reshape(size // cell, cell, size // cell, cell)
        assert (cells.min((1, 3)) == cells.max((1, 3))).all()
        reach = int(np.ceil(2 * cell * 32 / size)) + 1
        far = hole_of(boxes, 32, 32)
        near = np.zeros_like(far)
        for box in boxes:
            near[
                max(box.row - reach, 0) : box.row + box.height + reach,
                max(box.col - reach, 0) : box.col + box.width + reach,
            ] = True
        assert not mask[~near[rows.astype(int)[:, None], columns.astype(int)]].any()


def test_what_is_under_the_hole_has_no_influence(toy: Toy) -> None:
    rng = np.random.default_rng(0)
    photo = toy.index.train[0]
    image = np.array(toy.pack.train_image[0])
    other = np.where(photo.hole[..., None], rng.integers(0, 256, image.shape).astype(np.uint8), image)
    pictures = [model_picture(one, photo.boxes, 64, "harmonic") for one in (image, other)]
    assert np.array_equal(*pictures) and pictures[0].shape == (64, 64, 3)
    painted = rng.random((32, 32, 3)).astype(np.float32)
    assert np.array_equal(ring_shifts(painted, image, photo.boxes), ring_shifts(painted, other, photo.boxes))


def test_hidden_values_are_means_of_the_painted_blocks(toy: Toy) -> None:
    painted = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    photo = toy.index.train[0]
    values, whole = hidden_values(painted, photo.boxes, 32, 32)
    blocks = painted.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(whole - blocks).max() < 1e-6
    rows, columns = scored_pixels(photo.boxes)
    assert np.abs(values / 255 - blocks[rows, columns]).max() <= 0.5001 / 255


def test_a_constant_shift_of_colours_is_undone_exactly(toy: Toy) -> None:
    photo, truth = toy.index.train[1], np.array(toy.pack.train_target[1])
    shift = np.array([10, -6, 4]) / 255
    painted = np.clip(truth / 255 + shift, 0, 1).astype(np.float32)
    values, whole = hidden_values(painted, photo.boxes, 32, 32)
    shifts = ring_shifts(whole, np.array(toy.pack.train_image[1]), photo.boxes)
    rows, columns = scored_pixels(photo.boxes)
    inside = (truth[rows, columns] > 10) & (truth[rows, columns] < 245)  # what was not cut off
    error = np.abs(shifted(values, shifts, photo.boxes) - truth[rows, columns] / 255)[inside]
    assert error.max() < 4 / 255 and np.abs(shifts + shift).max() < 3 / 255


def test_a_box_without_known_surroundings_is_not_shifted() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    assert (ring_shifts(np.ones((8, 8, 3), np.float32), image, [Box(0, 0, 8, 8)]) == 0).all()


def test_black_and_not_finite_outputs_are_no_pictures_but_a_dark_photo_may_be_dark() -> None:
    bright, dark = np.full((4, 4, 3), 200, np.uint8), np.zeros((4, 4, 3), np.uint8)
    black = np.zeros((8, 8, 3), np.float32)
    assert not is_picture(black, bright) and is_picture(black, dark) and is_picture(black + 0.5, bright)
    broken = black + 0.5
    broken[0, 0, 0] = np.nan
    assert not is_picture(broken, bright) and not is_picture(broken, dark)


def test_the_tiles_of_a_free_form_hole_are_shifted_as_one_shape() -> None:
    hole = np.zeros((40, 40), bool)
    for place in range(8, 30):
        hole[place, place : place + 6] = True
    boxes = boxes_of(hole)
    assert len(boxes) > 4
    image, painted = np.full((40, 40, 3), 100, np.uint8), np.full((40, 40, 3), 0.5, np.float32)
    image[hole] = 0
    shifts = ring_shifts(painted, image, boxes)
    assert shifts.shape == (len(boxes), 3) and np.allclose(shifts, 100 / 255 - 0.5, atol=1e-6)
    other = image.copy()
    other[hole] = 255
    assert np.array_equal(ring_shifts(painted, other, boxes), shifts)
