"""Boxes at the network's size: what share of a pixel they hide, windows that cover them, and chroma beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.imaging.holes import Box, hole_of, random_boxes
from kit.learning.datasets import coverage, coverage_of
from kit.learning.datasets.base_fill import LUMA
from kit.learning.datasets.boxes import BLEED, as_tensor, bleed, windows_of

FULL = (256, 256)
CPU = torch.device("cpu")


def boxes_in(height: int, width: int) -> st.SearchStrategy[Box]:
    """Any box inside a photo."""

    def made(tall: int, wide: int, row: float, col: float) -> Box:
        return Box(round(row * (height - tall)), round(col * (width - wide)), tall, wide)

    share = st.floats(0, 1)
    return st.builds(made, st.integers(1, height), st.integers(1, width), share, share)


def slow_coverage(boxes: list[Box], full: tuple[int, int], size: int, grown: int = 0) -> np.ndarray:
    """The larger share of each pixel that one box hides, by a loop over pixels."""
    share = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            for box in boxes:
                part = 1.0
                for place, start, length, side in (
                    (row, box.row, box.height, full[0]),
                    (column, box.col, box.width, full[1]),
                ):
                    low, high = (start - grown) * size / side, (start + length + grown) * size / side
                    part *= max(0.0, min(place + 1, high) - max(place, low))
                share[row, column] = max(share[row, column], part)
    return share


@pytest.mark.parametrize("grown", [0, 3])
@pytest.mark.parametrize(("full", "size"), [((16, 16), 16), ((40, 40), 10), ((37, 50), 12), ((9, 7), 16)])
def test_coverage_of_each_photos_boxes_is_that_of_a_slow_loop(full: tuple[int, int], size: int, grown: int) -> None:
    rng = np.random.default_rng(size)
    like = [Box(0, 0, 5, 4), Box(0, 0, 3, 7)]
    boxes = [random_boxes(rng, like, *full) for _ in range(6)]
    shares = coverage_of(as_tensor(boxes), full, size, grown=grown)
    assert shares.shape == (6, 1, size, size) and shares.dtype == torch.float32
    expected = np.stack([slow_coverage(of_photo, full, size, grown) for of_photo in boxes])
    np.testing.assert_allclose(shares[:, 0].numpy(), expected, atol=1e-5)


def test_coverage_of_no_box_is_nothing() -> None:
    assert not coverage([], FULL, 64).any()
    assert coverage_of(as_tensor([(), ()]), FULL, 64).shape == (2, 1, 64, 64)


def test_numbers_of_boxes_are_row_column_height_and_width() -> None:
    assert as_tensor([[Box(1, 2, 3, 4), Box(5, 6, 7, 8)]]).tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8]]]


@settings(max_examples=40)
@given(boxes_in(*FULL), st.sampled_from([64, 96, 128, 256]))
def test_coverage_of_a_box_is_its_area(box: Box, size: int) -> None:
    share = coverage([box], FULL, size)
    assert float(share.double().sum()) * (256 / size) ** 2 == pytest.approx(box.height * box.width, rel=1e-4)
    assert float(share.min()) >= 0 and float(share.max()) <= 1 + 1e-6


@settings(max_examples=40)
@given(boxes_in(*FULL), st.sampled_from([64, 128, 256]))
def test_coverage_of_a_box_is_the_hole_resized_by_area(box: Box, size: int) -> None:
    hole = torch.from_numpy(hole_of([box], *FULL)).float()[None, None]
    assert torch.allclose(coverage([box], FULL, size), F.interpolate(hole, size=size, mode="area"), atol=1e-5)


@settings(max_examples=40)
@given(boxes_in(*FULL), boxes_in(*FULL))
def test_coverage_of_two_boxes_hides_the_same_pixels_whole_and_not_at_all(one: Box, other: Box) -> None:
    hole = torch.from_numpy(hole_of([one, other], *FULL)).float()[None, None]
    exact, share = F.interpolate(hole, size=64, mode="area"), coverage([one, other], FULL, 64)
    assert torch.equal(share > 1e-6, exact > 1e-6)
    assert (share <= exact + 1e-5).all()
    assert torch.equal(share > 0.9999, torch.maximum(*(coverage([box], FULL, 64) for box in (one, other))) > 0.9999)


# windows


photos_with_boxes = st.tuples(st.integers(2, 300), st.integers(2, 300)).flatmap(
    lambda full: st.tuples(
        st.just(full),
        st.integers(1, 3).flatmap(
            lambda count: st.lists(
                st.lists(boxes_in(*full), min_size=count, max_size=count),
                min_size=1,
                max_size=4,
            )
        ),
    )
)


@settings(max_examples=150)
@given(photos_with_boxes, st.sampled_from([16, 64, 90, 128]))
def test_windows_cover_every_hidden_pixel(case: tuple[tuple[int, int], list[list[Box]]], size: int) -> None:
    full, boxes = case
    corners, side, free, complete = windows_of(boxes, full, size, CPU)
    assert corners.shape == free.shape == (len(boxes), len(boxes[0]), 2)
    assert 1 <= side <= size and complete
    assert int(corners.min()) >= 0 and int(corners.max()) + side <= size
    hidden = coverage_of(as_tensor(boxes), full, size)[:, 0] > 0
    for missing, of_photo in zip(hidden, corners.tolist(), strict=True):
        for row, column in of_photo:
            missing[row : row + side, column : column + side] = False
    assert not hidden.any()


def test_windows_are_no_larger_than_the_largest_box_wants() -> None:
    boxes = [[Box(0, 0, 75, 75), Box(181, 181, 75, 75)], [Box(90, 31, 75, 75), Box(1, 2, 75, 75)]]
    corners, side, _, _ = windows_of(boxes, FULL, 64, CPU)
    assert side == 20
    assert corners.tolist() == [[[0, 0], [44, 44]], [[22, 7], [0, 0]]]


@settings(max_examples=60)
@given(photos_with_boxes, st.sampled_from([16, 64, 90, 128]))
def test_a_window_is_free_where_its_box_reaches_the_photos_edge(
    case: tuple[tuple[int, int], list[list[Box]]], size: int
) -> None:
    full, boxes = case
    ends = windows_of(boxes, full, size, CPU).free.flatten(0, 1).tolist()
    for expected, box in zip(ends, [box for of_photo in boxes for box in of_photo], strict=True):
        hidden = coverage([box], full, size)[0, 0] > 0
        assert expected == [int(line[0]) + 2 * int(line[-1]) for line in (hidden.any(1), hidden.any(0))]


# chroma beside boxes


def luma_and_chroma(photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    luma = (photos * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    return luma, photos - luma


def distance_to(box: Box, height: int, width: int) -> np.ndarray:
    """How many pixels each pixel is from a box, 0 inside, diagonally as straight."""
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    down = np.maximum(np.maximum(box.row - rows, rows - box.row - box.height + 1), 0)
    across = np.maximum(np.maximum(box.col - columns, columns - box.col - box.width + 1), 0)
    return np.maximum(down, across)


@pytest.fixture(scope="module")
def colours() -> torch.Tensor:
    """Two photos of noise at full size."""
    return torch.rand(2, 3, *FULL, generator=torch.Generator().manual_seed(4))


def test_chroma_beside_a_box_shrinks_as_it_was_measured_and_luma_stays(colours: torch.Tensor) -> None:
    assert BLEED == (0.31, 0.08, 0.02)
    boxes = [[Box(40, 50, 75, 75)], [Box(0, 181, 75, 75)]]  # one of them at the photo's edge
    before, after = luma_and_chroma(colours), luma_and_chroma(bleed(colours, as_tensor(boxes), FULL, 1.0))
    assert torch.allclose(after[0], before[0], atol=1e-6)
    for number, (box,) in enumerate(boxes):
        distances = torch.from_numpy(distance_to(box, *FULL))
        for distance in range(6):
            ring = distances == distance
            left = 1 - {1: 0.31, 2: 0.08, 3: 0.02}.get(distance, 0.0)
            assert torch.allclose(after[1][number][:, ring], left * before[1][number][:, ring], atol=1e-6)


def test_bleed_changes_nothing_inside_the_boxes_and_from_the_fourth_pixel_on(colours: torch.Tensor) -> None:
    boxes = [[Box(100, 20, 75, 75), Box(140, 60, 75, 75)], [Box(3, 3, 75, 75), Box(3, 78, 75, 75)]]
    bled = bleed(colours, as_tensor(boxes), FULL, 1.0)
    for number, of_photo in enumerate(boxes):
        distances = np.minimum.reduce([distance_to(box, *FULL) for box in of_photo])
        same = torch.from_numpy((distances == 0) | (distances > 3))
        assert torch.equal(bled[number][:, same], colours[number][:, same])
        assert not torch.isclose(bled[number][:, ~same], colours[number][:, ~same], atol=1e-6).all(0).any()


def test_bleed_grows_with_its_strength_and_is_nothing_without(colours: torch.Tensor) -> None:
    boxes = as_tensor([[Box(40, 50, 75, 75)]] * 2)
    assert torch.equal(bleed(colours, boxes, FULL, 0.0), colours)
    one, two = (bleed(colours, boxes, FULL, strength) - colours for strength in (1.0, 2.0))
    assert torch.allclose(two, 2 * one, atol=1e-6)


@pytest.mark.parametrize("size", [64, 128])
def test_bleed_at_a_smaller_size_is_about_that_of_the_full_size_made_smaller(size: int) -> None:
    # the share of chroma that is left, seen on a photo of one colour
    colour = torch.tensor([0.9, 0.4, 0.1])[:, None, None]
    boxes = as_tensor([[Box(41, 50, 75, 75), Box(130, 7, 75, 75)]])
    large = bleed(colour.expand(1, 3, *FULL), boxes, FULL, 1.0)
    small = bleed(colour.expand(1, 3, size, size), boxes, FULL, 1.0)
    assert torch.allclose(small, F.interpolate(large, size=size, mode="area"), atol=0.01)
    assert float((small - colour).abs().max()) > 0.03
