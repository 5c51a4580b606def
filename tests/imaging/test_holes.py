"""Boxes, and the order in which hidden pixels are scored."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.imaging.holes import (
    Box,
    BoxArray,
    boxes_from_text,
    boxes_of,
    boxes_to_text,
    cut_boxes,
    hole_of,
    random_boxes,
    rings_of,
    scored_count,
    scored_pixels,
)

boxes_ = st.lists(
    st.builds(Box, st.integers(0, 20), st.integers(0, 20), st.integers(1, 10), st.integers(1, 10)), max_size=4
)


@given(boxes_)
def test_the_order_is_box_after_box_each_row_by_row(boxes: list[Box]) -> None:
    plain = [
        (row, col)
        for box in boxes
        for row in range(box.row, box.row + box.height)
        for col in range(box.col, box.col + box.width)
    ]
    rows, cols = scored_pixels(boxes)
    assert list(zip(rows.tolist(), cols.tolist(), strict=True)) == plain
    assert scored_count(boxes) == len(plain)


@given(boxes_)
def test_the_hole_is_the_set_of_scored_pixels(boxes: list[Box]) -> None:
    hole = hole_of(boxes, 32, 32)
    expected = np.zeros((32, 32), bool)
    expected[scored_pixels(boxes)] = True
    np.testing.assert_array_equal(hole, expected)


def test_a_pixel_inside_both_boxes_is_scored_twice_and_hidden_once() -> None:
    boxes = [Box(0, 0, 4, 4), Box(2, 2, 4, 4)]
    rows, cols = scored_pixels(boxes)
    counts = np.zeros((8, 8), int)
    np.add.at(counts, (rows, cols), 1)
    assert (counts == 2).sum() == 4 and counts.sum() == 32
    assert hole_of(boxes, 8, 8).sum() == 28


@given(boxes_)
def test_text_gives_the_boxes_back(boxes: list[Box]) -> None:
    assert boxes_from_text(boxes_to_text(boxes)) == tuple(boxes)


@pytest.mark.parametrize("text", ["1:2:3", "1:2:3:4:5", "a:b:c:d", "1.5:2:3:4", "1 2 3 4"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        boxes_from_text(text)


@pytest.mark.parametrize(
    ("box", "fits"),
    [
        (Box(0, 0, 32, 20), True),
        (Box(12, 0, 20, 20), True),
        (Box(13, 0, 20, 20), False),
        (Box(0, 1, 32, 20), False),
        (Box(-1, 0, 5, 5), False),
        (Box(0, -1, 5, 5), False),
        (Box(0, 0, 0, 5), False),
    ],
)
def test_a_box_fits_when_no_pixel_is_outside(box: Box, fits: bool) -> None:
    assert box.fits(32, 20) is fits


@given(st.integers(0, 2**32 - 1))
def test_random_boxes_have_the_sizes_asked_for_fit_and_follow_from_the_generator(seed: int) -> None:
    like = [Box(0, 0, 75, 75), Box(0, 0, 256, 1)]
    boxes = random_boxes(np.random.default_rng(seed), like, 256, 256)
    assert [(box.height, box.width) for box in boxes] == [(75, 75), (256, 1)]
    assert all(box.fits(256, 256) for box in boxes)
    assert boxes == random_boxes(np.random.default_rng(seed), like, 256, 256)


def test_random_boxes_reach_every_place() -> None:
    rng = np.random.default_rng(0)
    places = {random_boxes(rng, [Box(0, 0, 3, 2)], 4, 4)[0] for _ in range(200)}
    assert {(box.row, box.col) for box in places} == {(row, col) for row in range(2) for col in range(3)}


def test_a_hole_of_any_shape_is_boxes_of_which_none_lies_over_another() -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        hole = rng.random((23, 31)) < share
        boxes = boxes_of(hole)
        assert np.array_equal(hole_of(boxes, *hole.shape), hole)
        assert scored_count(boxes) == hole.sum()
    two = [Box(3, 4, 5, 6), Box(10, 12, 7, 8)]
    assert list(boxes_of(hole_of(two, 30, 40))) == two


# --- many boxes, kept as an array


def _strokes(seed: int) -> np.ndarray:
    """A hole of brush strokes, of which the boxes are many."""
    rng, mask = np.random.default_rng(seed), np.zeros((300, 260), np.uint8)
    for _ in range(3):
        cv2.polylines(mask, [rng.integers(10, 250, (4, 1, 2)).astype(np.int32)], False, 255, int(rng.integers(5, 20)))
    return mask > 0


@pytest.mark.parametrize("seed", range(3))
def test_an_array_of_boxes_says_what_the_boxes_say(seed: int) -> None:
    hole = _strokes(seed)
    boxes = (*boxes_of(hole), Box(0, 0, 20, 20), Box(10, 10, 20, 30))  # two that overlap
    many = boxes_from_text(boxes_to_text(boxes))
    assert isinstance(many, BoxArray) and len(boxes) > 100
    assert many == boxes and hash(many) == hash(boxes) and pickle.loads(pickle.dumps(many)) == many
    assert (many[3], tuple(many[1:4]), many[-1]) == (boxes[3], boxes[1:4], boxes[-1]) and many != boxes[1:]
    assert boxes_to_text(many) == boxes_to_text(boxes) and scored_count(many) == scored_count(boxes)
    np.testing.assert_array_equal(hole_of(many, 300, 260), hole_of(boxes, 300, 260))
    for of_array, of_boxes in zip(scored_pixels(many), scored_pixels(boxes), strict=True):
        np.testing.assert_array_equal(of_array, of_boxes)
        assert of_array.dtype == of_boxes.dtype
    photo = np.random.default_rng(seed).integers(0, 256, (300, 260, 3)).astype(np.uint8)
    np.testing.assert_array_equal(cut_boxes(photo, many), cut_boxes(photo, boxes))
    np.testing.assert_array_equal(rings_of(many, 300, 260), rings_of(boxes, 300, 260))


def test_few_boxes_stay_objects_and_many_that_are_none_are_refused() -> None:
    few = tuple(Box(row, 0, 1, 1) for row in range(64))
    assert isinstance(boxes_from_text(boxes_to_text(few)), tuple)
    text = boxes_to_text(few * 3)
    for wrong in (f"{text} 1:2:3", f"{text} a:1:1:1", f"{text} 1:2:3:4:5", text.replace("5:0", "5,0")):
        with pytest.raises(ValueError):
            boxes_from_text(wrong)
    far = BoxArray(np.array([[40_000, 1, 2, 3], [-1, 0, 1, 1]]))
    assert tuple(far) == (Box(40_000, 1, 2, 3), Box(-1, 0, 1, 1))
