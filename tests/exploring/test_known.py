"""Numbers of one photo: known pixels alone, and what they are of pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from kit.exploring.known import (
    STATISTICS,
    frame_of,
    frequencies,
    known_tiles,
    slope_of,
    spectrum_of,
    statistics_of,
)

SIDE = 96


def photo_of(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def hole_of_boxes(seed: int = 1) -> np.ndarray:
    hole = np.zeros((SIDE, SIDE), bool)
    for row, column in np.random.default_rng(seed).integers(0, SIDE - 20, (2, 2)):
        hole[row : row + 20, column : column + 20] = True
    return hole


def named(photo: np.ndarray, known: np.ndarray | None = None) -> dict[str, float]:
    known = np.ones(photo.shape[:2], bool) if known is None else known
    return dict(zip(STATISTICS, statistics_of(photo, known).tolist(), strict=True))


def test_hidden_pixels_decide_nothing() -> None:
    photo, hole = photo_of(), hole_of_boxes()
    other = photo.copy()
    other[hole] = 255 - other[hole] // 3
    assert (photo != other).any()
    np.testing.assert_array_equal(statistics_of(photo, ~hole), statistics_of(other, ~hole))
    np.testing.assert_array_equal(spectrum_of(photo, ~hole, 16), spectrum_of(other, ~hole, 16))
    assert frame_of(photo, ~hole) == frame_of(other, ~hole)


def test_light_and_colour_are_what_they_are_called() -> None:
    flat = np.full((SIDE, SIDE, 3), (51, 102, 204), np.uint8)
    found = named(flat)
    assert (found["red"], found["green"], found["blue"]) == pytest.approx((0.2, 0.4, 0.8), abs=1e-6)
    assert found["brightness"] == pytest.approx(0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.8, abs=1e-5)
    assert found["contrast"] == pytest.approx(0, abs=1e-6) and found["chroma"] == pytest.approx(0.6, abs=1e-5)
    assert found["colourfulness"] == pytest.approx(0.3 * np.hypot(-0.2, 0.3 - 0.8), abs=1e-5)
    halves = np.zeros((SIDE, SIDE, 3), np.uint8)
    halves[: SIDE // 2] = 255
    found = named(halves)
    assert (found["black share"], found["white share"], found["chroma"]) == (0.5, 0.5, 0.0)
    assert (found["darkest"], found["brightest"]) == (0.0, 1.0)
    assert found["top less bottom"] == 1.0 and found["left less right"] == 0.0
    assert found["edges down 1"] > found["edges across 1"]


def test_blocks_of_eight_are_seen() -> None:
    tiles = np.random.default_rng(0).integers(60, 200, (SIDE // 8, SIDE // 8)).repeat(8, 0).repeat(8, 1)
    assert named(np.dstack([tiles] * 3).astype(np.uint8))["blocks"] > 1
    assert abs(named(photo_of())["blocks"]) < 0.05


def test_of_a_photo_that_is_hidden_nothing_is_said() -> None:
    nothing = np.zeros((SIDE, SIDE), bool)
    assert np.isnan(statistics_of(photo_of(), nothing)).all()
    assert np.isnan(spectrum_of(photo_of(), nothing, 16)).all()
    assert frame_of(photo_of(), nothing) == (0, 0, 0, 0)
    one_pixel = np.ones((1, 1, 3), np.uint8)
    assert np.isnan(statistics_of(one_pixel, np.ones((1, 1), bool))).all()


def test_bars_are_measured_and_noise_has_none() -> None:
    photo = photo_of()
    photo[:7], photo[-5:], photo[:, :3] = 10, 11, 10
    known = np.ones((SIDE, SIDE), bool)
    assert frame_of(photo, known) == (7, 5, 3, 0)
    known[0:2, :] = False  # a row of which nothing is known says nothing
    assert frame_of(photo, known)[0] == 0
    assert frame_of(photo_of(), np.ones((SIDE, SIDE), bool)) == (0, 0, 0, 0)


def test_white_noise_has_a_flat_spectrum_and_1_over_f_falls_as_it_should() -> None:
    rng = np.random.default_rng(0)
    white = np.clip(128 + 30 * rng.normal(size=(256, 256)), 0, 255).astype(np.uint8)
    known = np.ones((256, 256), bool)
    found = spectrum_of(np.dstack([white] * 3), known, 64)
    assert len(found) == len(frequencies(64)) == 32 and frequencies(64)[-1] == 0.5
    assert np.ptp(found[1:]) < 2 and found.mean() == pytest.approx(20 * np.log10(30 / 255), abs=0.5)
    assert abs(slope_of(found)) < 0.05
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(256)] * 2, indexing="ij"))
    frequency[0, 0] = 1
    pink = np.fft.ifft2(np.fft.fft2(rng.normal(size=(256, 256))) / frequency).real
    pink = np.clip(128 + 40 * (pink - pink.mean()) / pink.std(), 0, 255).astype(np.uint8)
    assert slope_of(spectrum_of(np.dstack([pink] * 3), known, 64)) == pytest.approx(1, abs=0.15)


def test_squares_are_wholly_known() -> None:
    known = ~hole_of_boxes()
    places = known_tiles(known, 16)
    assert len(places)
    for row, column in places.tolist():
        assert known[row : row + 16, column : column + 16].all()
    assert not len(known_tiles(known, 128))
