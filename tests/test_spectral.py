"""The base fill of training batches against a dense solve in float64, and the share of pixels that boxes hide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.datasets import coverage
from kit.errors import UsageError
from kit.fills import FRACTIONAL_POWER, fill_photo
from kit.holes import Box, hole_of
from kit.spectral import SpectralFill, mean_fill, spectral_fill

SIDE = 16
HOLES = {
    "one box": [Box(5, 4, 6, 7)],
    "two boxes apart": [Box(1, 1, 4, 5), Box(9, 8, 5, 4)],
    "overlapping": [Box(3, 3, 6, 6), Box(6, 6, 6, 6)],
    "touching": [Box(2, 2, 5, 5), Box(2, 7, 5, 5)],
    "at the upper left": [Box(0, 0, 6, 6)],
    "at the lower edge": [Box(10, 5, 6, 6), Box(13, 0, 3, 16)],
    "all but one column": [Box(0, 0, 16, 15)],
    "all but a pixel": [Box(0, 0, 15, 16), Box(15, 0, 1, 15)],
}
POWERS = (1.0, FRACTIONAL_POWER, 1.6)


def photos(count: int = 3, side: int = SIDE, seed: int = 0) -> torch.Tensor:
    """Random pictures, far enough from 0 and 1 that a fill is seldom clipped."""
    return 0.3 + 0.4 * torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def holes(boxes: list[Box], side: int = SIDE) -> torch.Tensor:
    return torch.from_numpy(hole_of(boxes, side, side))


def dense_power(side: int, power: float, aspect: float) -> np.ndarray:
    """L^p as a matrix of all pixels, from the graph's own edges."""
    line = np.zeros((side, side))
    for here in range(side - 1):
        edge = np.zeros(side)
        edge[here], edge[here + 1] = 1, -1
        line += np.outer(edge, edge)
    one = np.eye(side)
    laplacian = aspect * np.kron(line, one) + np.kron(one, line) / aspect
    values, vectors = np.linalg.eigh(laplacian)
    return (vectors * np.clip(values, 0, None) ** power) @ vectors.T


def dense_fill(pictures: torch.Tensor, hole: torch.Tensor, power: float, aspect: float = 1.0) -> np.ndarray:
    """The minimiser by a dense solve, float64, clipped."""
    side = pictures.shape[-1]
    matrix = dense_power(side, power, aspect)
    inside = hole.numpy().reshape(-1)
    flat = pictures.double().numpy().reshape(-1, side * side).copy()
    flat[:, inside] = np.linalg.solve(
        matrix[np.ix_(inside, inside)], -matrix[np.ix_(inside, ~inside)] @ flat[:, ~inside].T
    ).T.clip(0, 1)
    return flat.reshape(pictures.shape)


@pytest.mark.parametrize("aspect", [1.0, 1.5])
@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("name", HOLES)
def test_spectral_fill_equals_a_dense_solve(name: str, power: float, aspect: float) -> None:
    pictures, hole = photos(), holes(HOLES[name])
    filled = spectral_fill(pictures, hole, power, aspect)
    np.testing.assert_allclose(filled.numpy(), dense_fill(pictures, hole, power, aspect), atol=2e-4)
    assert torch.equal(filled[:, :, ~hole], pictures[:, :, ~hole])


@pytest.mark.parametrize("name", HOLES)
def test_spectral_fill_with_power_one_is_the_harmonic_fill_of_the_full_size(name: str) -> None:
    image = (photos(1, seed=3)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    hole = holes(HOLES[name])
    picture = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
    filled = spectral_fill(picture, hole, 1.0)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(filled, fill_photo("harmonic", image, hole.numpy()), atol=2e-4)


@pytest.mark.parametrize("base", ["fractional", "harmonic", "mean"])
@pytest.mark.parametrize("side", [64, 128, 256])
def test_a_constant_photo_is_filled_with_its_constant(base: str, side: int) -> None:
    level = torch.tensor([0.0, 0.37, 1.0])[None, :, None, None].expand(2, 3, side, side).contiguous()
    hole = coverage([Box(0, 60, 40, 40), Box(216, 216, 40, 40)], (256, 256), side)
    assert torch.allclose(SpectralFill(base)(level, hole), level, atol=1e-5)


@pytest.mark.parametrize("base", ["fractional", "harmonic", "mean"])
@pytest.mark.parametrize("side", [64, 256])
def test_what_is_under_the_hole_does_not_count_and_known_pixels_stay(base: str, side: int) -> None:
    hole = coverage([Box(16, 16, 40, 40), Box(32, 32, 40, 40)], (256, 256), side)
    one = photos(2, side)
    other = torch.where(hole == 1, torch.rand_like(one), one)
    fill = SpectralFill(base)
    known = (hole == 0).expand_as(one)
    assert torch.equal(fill(one, hole), fill(other, hole))
    assert torch.equal(fill(one, hole)[known], one[known])


def test_a_large_picture_is_filled_as_by_the_full_size_fill() -> None:
    side = 128
    ramp = torch.linspace(0.1, 0.9, side)
    picture = torch.stack([ramp[:, None].expand(side, side), ramp[None].expand(side, side), ramp.outer(ramp)])[None]
    boxes = [Box(3, 40, 50, 50), Box(50, 80, 30, 30)]
    filled = SpectralFill("harmonic")(picture, coverage(boxes, (side, side), side))
    image = (picture[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    exact = fill_photo("harmonic", image, hole_of(boxes, side, side))
    assert np.abs(filled[0].permute(1, 2, 0).numpy() - exact).max() < 0.003


@pytest.mark.parametrize("power", POWERS)
def test_large_holes_are_solved_in_single_precision(power: float) -> None:
    hole = torch.ones(40, 40, dtype=torch.bool)
    hole[::13, ::13] = False
    filled = spectral_fill(photos(1, 40), hole, power)
    assert torch.isfinite(filled).all()
    assert 0.2 < float(filled[:, :, hole].mean()) < 0.8


def test_a_photo_without_a_hole_stays_and_one_without_a_known_pixel_is_grey() -> None:
    picture = photos(1)
    assert torch.equal(spectral_fill(picture, torch.zeros(SIDE, SIDE, dtype=torch.bool), 1.25), picture)
    assert (spectral_fill(picture, torch.ones(SIDE, SIDE, dtype=torch.bool), 1.25) == 0.5).all()


def test_mean_fill_is_the_mean_of_known_pixels() -> None:
    pictures, hole = photos(), holes(HOLES["overlapping"])
    filled = mean_fill(pictures, hole.float()[None, None])
    expected = pictures.numpy()[:, :, ~hole.numpy()].mean(axis=2)
    np.testing.assert_allclose(filled[:, :, 0, 0].numpy(), expected, atol=1e-6)


def test_an_unknown_base_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="base=telea"):
        SpectralFill("telea")


boxes_inside = st.builds(
    lambda height, width, row, col: Box(int(row * (256 - height)), int(col * (256 - width)), height, width),
    st.integers(1, 256),
    st.integers(1, 256),
    st.floats(0, 1),
    st.floats(0, 1),
)


@settings(max_examples=40)
@given(boxes_inside, st.sampled_from([64, 96, 128, 256]))
def test_coverage_of_a_box_is_its_area(box: Box, size: int) -> None:
    share = coverage([box], (256, 256), size)
    assert float(share.double().sum()) * (256 / size) ** 2 == pytest.approx(box.height * box.width, rel=1e-4)
    assert float(share.min()) >= 0 and float(share.max()) <= 1 + 1e-6


@settings(max_examples=40)
@given(boxes_inside, st.sampled_from([64, 128, 256]))
def test_coverage_of_a_box_is_the_hole_resized_by_area(box: Box, size: int) -> None:
    hole = torch.from_numpy(hole_of([box], 256, 256)).float()[None, None]
    assert torch.allclose(coverage([box], (256, 256), size), F.interpolate(hole, size=size, mode="area"), atol=1e-5)


@settings(max_examples=40)
@given(boxes_inside, boxes_inside)
def test_coverage_of_two_boxes_hides_the_same_pixels_whole_and_not_at_all(one: Box, other: Box) -> None:
    hole = torch.from_numpy(hole_of([one, other], 256, 256)).float()[None, None]
    exact, share = F.interpolate(hole, size=64, mode="area"), coverage([one, other], (256, 256), 64)
    assert torch.equal(share > 1e-6, exact > 1e-6)
    assert (share <= exact + 1e-5).all()
    assert torch.equal(
        share > 0.9999, torch.maximum(*(coverage([box], (256, 256), 64) for box in (one, other))) > 0.9999
    )
