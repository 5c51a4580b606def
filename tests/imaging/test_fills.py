"""Every fill keeps its contract; harmonic and fractional agree with slow dense references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kit.errors import UnknownName, UsageError
from kit.imaging.fills import CHROMA_GUARD, FILLS, FRACTIONAL_POWER, Fill, fill_photo, fill_photos, fractional_fill
from kit.imaging.fills.gaussian import conditional_mean, guarded, power_and_aspect
from kit.imaging.holes import Box, hole_of

# an error of one grey level is 4e-3; the fill promises less than a quarter of that
FRACTIONAL_TOLERANCE = 1e-3


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random photo with the whole range of values."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = scipy.ndimage.gaussian_filter(noise, (min(4, height / 8), min(4, width / 8), 0))
    span = np.ptp(smooth) or 1.0
    return np.rint((smooth - smooth.min()) / span * 255).astype(np.uint8)


def free_form(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A hole of blobs: no small number of rectangles covers it."""
    field = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 2)
    return field > np.quantile(field, 0.7)


def gaussian_field(size: int, power: float, aspect: float, seed: int) -> np.ndarray:
    """A field with the spectrum that `fractional` assumes, in [0, 1]."""
    line = 2 - 2 * np.cos(np.pi * np.arange(size) / size)
    eigenvalues = aspect * line[:, None] + line / aspect
    eigenvalues[0, 0] = np.inf
    noise = np.random.default_rng(seed).normal(size=(size, size))
    field = scipy.fft.idctn(noise * eigenvalues ** (-power / 2), norm="ortho")
    return (field - field.min()) / np.ptp(field)


YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])

HOLES: dict[str, Callable[[], np.ndarray]] = {
    "inner box": lambda: hole_of([Box(8, 10, 9, 7)], 28, 30),
    "two boxes": lambda: hole_of([Box(3, 4, 9, 9), Box(16, 15, 9, 9)], 28, 30),
    "overlapping boxes": lambda: hole_of([Box(5, 6, 12, 12), Box(11, 13, 12, 12)], 28, 30),
    "crossing boxes": lambda: hole_of([Box(4, 12, 20, 5), Box(11, 4, 6, 22)], 28, 30),
    "touching boxes": lambda: hole_of([Box(4, 4, 9, 9), Box(8, 13, 9, 9)], 28, 30),
    "boxes that meet in a corner": lambda: hole_of([Box(4, 4, 9, 9), Box(13, 13, 9, 9)], 28, 30),
    "low edge": lambda: hole_of([Box(0, 6, 9, 9)], 28, 30),
    "high edge": lambda: hole_of([Box(19, 21, 9, 9)], 28, 30),
    "low corner": lambda: hole_of([Box(0, 0, 9, 9)], 28, 30),
    "whole rows": lambda: hole_of([Box(9, 0, 8, 30)], 28, 30),
    "whole rows at the edge": lambda: hole_of([Box(20, 0, 8, 30)], 28, 30),
    "all but one pixel": lambda: ~hole_of([Box(5, 5, 1, 1)], 28, 30),
    "all but a frame": lambda: hole_of([Box(1, 1, 26, 28)], 28, 30),
    "one pixel": lambda: hole_of([Box(5, 5, 1, 1)], 28, 30),
    "scattered": lambda: np.random.default_rng(1).random((28, 30)) < 0.4,
    "free form": lambda: free_form(28, 30),
}


def dense_laplacian(height: int, width: int, aspect: float = 1.0) -> np.ndarray:
    """The 5-point Laplacian, mirrored at the edge, entry by entry: `(H * W, H * W)` float64."""
    laplacian = np.zeros((height * width, height * width))
    for row in range(height):
        for column in range(width):
            for down, right, weight in ((1, 0, aspect), (0, 1, 1 / aspect)):
                if row + down < height and column + right < width:
                    one, other = row * width + column, (row + down) * width + column + right
                    laplacian[one, one] += weight
                    laplacian[other, other] += weight
                    laplacian[one, other] = laplacian[other, one] = -weight
    return laplacian


@lru_cache(maxsize=8)
def dense_power(height: int, width: int, power: float, aspect: float) -> np.ndarray:
    """`L^power` by eigenvectors."""
    eigenvalues, vectors = np.linalg.eigh(dense_laplacian(height, width, aspect))
    return (vectors * np.maximum(eigenvalues, 0) ** power) @ vectors.T


def dense_fill(values: np.ndarray, hole: np.ndarray, power: float = 1.0, aspect: float = 1.0) -> np.ndarray:
    """Minimise `u^T L^power u` by a dense solve: `(H, W, C)` float64, not clipped."""
    operator = dense_power(*hole.shape, power, aspect)
    hidden = hole.ravel()
    flat = values.reshape(hole.size, -1).astype(np.float64)
    flat[hidden] = np.linalg.solve(operator[np.ix_(hidden, hidden)], -operator[np.ix_(hidden, ~hidden)] @ flat[~hidden])
    return flat.reshape(values.shape)


@pytest.fixture(params=FILLS.values(), ids=lambda fill: fill.name)
def fill(request: pytest.FixtureRequest) -> Iterator[Fill]:
    yield request.param


# --- The contract of every fill ---


@pytest.mark.parametrize("kind", HOLES)
def test_contract(fill: Fill, kind: str) -> None:
    image, hole = photo(28, 30), HOLES[kind]()
    before = image.copy()
    filled = fill_photo(fill.name, image, hole)
    assert filled.dtype == np.float32
    assert filled.shape == image.shape
    assert np.isfinite(filled).all()
    assert filled.min() >= 0
    assert filled.max() <= 1
    assert np.array_equal(filled[~hole], (image.astype(np.float32) / np.float32(255))[~hole])
    assert np.array_equal(image, before)


@pytest.mark.parametrize("kind", HOLES)
def test_hidden_pixels_have_no_influence(fill: Fill, kind: str) -> None:
    image, hole = photo(28, 30), HOLES[kind]()
    other = image.copy()
    other[hole] = np.random.default_rng(5).integers(0, 256, (hole.sum(), 3))
    assert fill_photo(fill.name, image, hole).tobytes() == fill_photo(fill.name, other, hole).tobytes()


@pytest.mark.parametrize("kind", HOLES)
def test_constant_photo_is_filled_with_its_constant(fill: Fill, kind: str) -> None:
    image = np.full((28, 30, 3), (200, 3, 77), np.uint8)
    filled = fill_photo(fill.name, image, HOLES[kind]())
    # OpenCV's fast marching works in 8 bits and drifts by a few grey levels
    assert np.abs(filled - image / 255).max() < (0.05 if fill.name == "telea" else 1e-6)


def test_empty_hole_changes_nothing(fill: Fill) -> None:
    image = photo(13, 9)
    filled = fill_photo(fill.name, image, np.zeros((13, 9), bool))
    assert np.array_equal(filled, image.astype(np.float32) / np.float32(255))


def test_photo_without_a_known_pixel_is_grey(fill: Fill) -> None:
    assert (fill_photo(fill.name, photo(13, 9), np.ones((13, 9), bool)) == 0.5).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 17), (17, 1), (2, 2), (3, 50), (50, 3)])
def test_small_and_narrow_photos(fill: Fill, shape: tuple[int, int]) -> None:
    image = photo(*shape)
    for seed in range(4):
        hole = np.random.default_rng(seed).random(shape) < 0.5
        filled = fill_photo(fill.name, image, hole)
        assert filled.shape == image.shape
        assert np.isfinite(filled).all()
        assert np.array_equal(filled[~hole], (image.astype(np.float32) / np.float32(255))[~hole])


@pytest.mark.parametrize("shape", [(256, 256), (200, 320)])
def test_whole_size(fill: Fill, shape: tuple[int, int]) -> None:
    image = photo(*shape)
    hole = hole_of([Box(20, 30, 75, 75), Box(80, 90, 75, 75)], *shape)
    filled = fill_photo(fill.name, image, hole)
    # a smooth photo: any sane fill is far better than a coin
    assert 0 < np.abs(filled - image / 255)[hole].mean() < 0.2


@settings(max_examples=25, deadline=None)
@given(
    image=hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))),
    seed=st.integers(0, 2**16),
    share=st.floats(0, 1),
)
def test_any_photo_and_any_hole(image: np.ndarray, seed: int, share: float) -> None:
    hole = np.random.default_rng(seed).random(image.shape[:2]) < share
    for name in FILLS:
        filled = fill_photo(name, image, hole)
        assert np.isfinite(filled).all()
        assert filled.min() >= 0
        assert filled.max() <= 1
        assert np.array_equal(filled[~hole], (image.astype(np.float32) / np.float32(255))[~hole])


def test_read_only_and_strided_photos(fill: Fill) -> None:
    image, hole = photo(28, 30), HOLES["overlapping boxes"]()
    strided = np.repeat(image, 2, axis=1)[:, ::2]
    strided.flags.writeable = False
    assert np.array_equal(fill_photo(fill.name, strided, hole), fill_photo(fill.name, image, hole))


# --- Harmonic and fractional against references ---


@pytest.mark.parametrize("kind", HOLES)
def test_harmonic_equals_a_dense_solve(kind: str) -> None:
    image, hole = photo(28, 30), HOLES[kind]()
    assert np.abs(fill_photo("harmonic", image, hole) - dense_fill(image / 255, hole)).max() < 1e-6


def test_harmonic_pixel_is_the_mean_of_its_neighbours() -> None:
    image, hole = photo(64, 64), hole_of([Box(5, 5, 30, 30), Box(20, 25, 30, 30)], 64, 64)
    filled = fill_photo("harmonic", image, hole).astype(np.float64)
    around = sum(np.roll(filled, shift, axis) for shift in (-1, 1) for axis in (0, 1)) / 4
    assert np.abs(filled - around)[hole].max() < 1e-6


def test_harmonic_continues_a_ramp() -> None:
    rows, columns = np.mgrid[:40, :50]
    image = np.stack([rows * 3, columns * 4, rows + columns * 2], axis=-1).astype(np.uint8)
    filled = fill_photo("harmonic", image, hole_of([Box(4, 6, 20, 20), Box(15, 20, 20, 20)], 40, 50))
    assert np.abs(filled - image / 255).max() < 1e-6


@pytest.mark.parametrize("kind", HOLES)
@pytest.mark.parametrize(("power", "aspect"), [(FRACTIONAL_POWER, 1.0), (1.4, 1.0), (1.2, 1.7)])
def test_conditional_mean_equals_a_dense_solve(kind: str, power: float, aspect: float) -> None:
    image, hole = photo(28, 30) / 255, HOLES[kind]()
    ours = conditional_mean(image.astype(np.float32).transpose(2, 0, 1), hole, power, aspect).transpose(1, 2, 0)
    assert np.abs(ours - dense_fill(image, hole, power, aspect))[hole].max() < FRACTIONAL_TOLERANCE


@pytest.mark.parametrize("kind", HOLES)
def test_fractional_is_the_conditional_mean_of_luma_and_guarded_chroma(kind: str) -> None:
    image, hole = photo(28, 30), HOLES[kind]()
    ycc = image / 255 @ YCC.T
    luma = dense_fill(ycc[..., :1], hole, FRACTIONAL_POWER)
    chroma = dense_fill(ycc[..., 1:], guarded(hole, CHROMA_GUARD), FRACTIONAL_POWER)
    reference = np.clip(np.concatenate([luma, chroma], axis=-1) @ np.linalg.inv(YCC).T, 0, 1)
    # luma and chroma have an error each, and blue is luma plus 1.8 of chroma
    assert np.abs(fill_photo("fractional", image, hole) - reference)[hole].max() < 2 * FRACTIONAL_TOLERANCE


def test_fractional_with_power_one_and_no_guard_is_harmonic() -> None:
    image, hole = photo(96, 96), hole_of([Box(10, 20, 30, 30), Box(30, 40, 30, 30)], 96, 96)
    filled = fractional_fill(image, hole, power=1.0, aspect=1.0, chroma_guard=0)
    assert np.abs(filled - fill_photo("harmonic", image, hole))[hole].max() < FRACTIONAL_TOLERANCE


def test_fractional_sees_no_chroma_beside_the_hole() -> None:
    image, hole = photo(96, 96), hole_of([Box(10, 20, 30, 30)], 96, 96)
    beside = guarded(hole, CHROMA_GUARD) & ~hole
    tinted = image.astype(int)
    tinted[beside] += (-6, 0, 0)  # luma changes too, but less
    grey = np.clip(tinted, 0, 255).astype(np.uint8)
    change = np.abs(fill_photo("fractional", grey, hole) - fill_photo("fractional", image, hole))[hole].mean(axis=0)
    # only luma, which all three channels share, has moved
    assert np.ptp(change) < 0.1 * change.mean()


# --- The photo's own power and aspect ---


@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("power", [1.2, 1.5])
def test_power_and_aspect_follow_the_field(power: float, aspect: float) -> None:
    hole = hole_of([Box(20, 30), Box(120, 140)], 256, 256)
    estimates = [power_and_aspect(gaussian_field(256, power, aspect, seed), hole) for seed in range(8)]
    mean_power, mean_aspect = np.mean(estimates, axis=0)
    # drawn towards the usual values, so the direction is what can be asked for
    assert (mean_power > FRACTIONAL_POWER) == (power == 1.5)
    assert (mean_aspect > 1.1, mean_aspect < 0.9) == (aspect > 1, aspect < 1)


def test_power_and_aspect_of_a_small_photo_are_the_usual_ones() -> None:
    assert power_and_aspect(photo(60, 90)[..., 0] / 255, np.zeros((60, 90), bool)) == (FRACTIONAL_POWER, 1.0)


def test_power_and_aspect_do_not_depend_on_hidden_pixels_or_flips() -> None:
    luma, hole = gaussian_field(128, 1.2, 1.3, 0), hole_of([Box(20, 30, 40, 40)], 128, 128)
    power, aspect = power_and_aspect(luma, hole)
    assert power_and_aspect(np.where(hole, 9.0, luma), hole) == (power, aspect)
    assert power_and_aspect(luma[::-1, ::-1], hole[::-1, ::-1]) == pytest.approx((power, aspect))
    assert power_and_aspect(luma.T, hole.T) == pytest.approx((power, 1 / aspect))


def test_guard_gives_way_where_it_would_leave_too_little() -> None:
    frame = hole_of([Box(1, 1, 26, 28)], 28, 30)
    assert np.array_equal(guarded(frame, 2), frame)
    box = hole_of([Box(0, 5, 9, 9)], 28, 30)
    assert np.array_equal(guarded(box, 2), hole_of([Box(0, 3, 11, 13)], 28, 30))


# --- Symmetry ---


@pytest.mark.parametrize("name", ["mean", "harmonic", "fractional"])
@pytest.mark.parametrize("kind", HOLES)
def test_flipped_photo_is_filled_flipped(name: str, kind: str) -> None:
    image, hole = photo(28, 30), HOLES[kind]()
    filled = fill_photo(name, image, hole)
    for flip in (np.flipud, np.fliplr, lambda array: np.swapaxes(array, 0, 1)):
        again = fill_photo(name, np.ascontiguousarray(flip(image)), np.ascontiguousarray(flip(hole)))
        assert np.abs(flip(filled) - again).max() < (FRACTIONAL_TOLERANCE if name == "fractional" else 1e-6)


# --- Many photos ---


def test_many_photos_are_the_same_for_any_number_of_workers(fill: Fill) -> None:
    images = np.stack([photo(64, 64, seed) for seed in range(7)])
    rng = np.random.default_rng(0)
    holes = [hole_of([Box(*rng.integers(0, 44, 2), 20, 20) for _ in range(2)], 64, 64) for _ in images]
    one_by_one = [fill_photo(fill.name, image, hole).tobytes() for image, hole in zip(images, holes, strict=True)]
    for workers in (1, 2, 5, None):
        filled = fill_photos(fill.name, images, holes, workers=workers)
        assert [values.tobytes() for values in filled] == one_by_one


def test_many_photos_take_holes_from_a_function() -> None:
    images = np.stack([photo(20, 20, seed) for seed in range(3)])
    holes = np.stack([hole_of([Box(number, 2, 9, 9)], 20, 20) for number in range(3)])
    from_function = list(fill_photos("harmonic", images, lambda number: holes[number], workers=2))
    assert np.array_equal(from_function, list(fill_photos("harmonic", images, holes, workers=2)))


def test_many_photos_can_be_left_early_and_are_taken_lazily() -> None:
    asked = []

    def hole(number: int) -> np.ndarray:
        asked.append(number)
        return hole_of([Box(2, 2, 5, 5)], 20, 20)

    filled = fill_photos("mean", np.zeros((1000, 20, 20, 3), np.uint8), hole, workers=2)
    next(filled)
    filled.close()
    assert len(asked) < 20


def test_error_in_one_photo_reaches_the_caller() -> None:
    with pytest.raises(UsageError, match="bool hole"):
        list(fill_photos("mean", np.zeros((3, 8, 8, 3), np.uint8), [np.ones((8, 9), bool)] * 3))


def test_no_photos() -> None:
    assert list(fill_photos("harmonic", np.zeros((0, 8, 8, 3), np.uint8), [])) == []


# --- Wrong input ---


def test_unknown_fill_names_those_there_are() -> None:
    with pytest.raises(UnknownName, match="harmonic"):
        fill_photo("magic", photo(4, 4), np.zeros((4, 4), bool))
    with pytest.raises(UnknownName, match="harmonic"):
        fill_photos("magic", photo(4, 4)[None], [np.zeros((4, 4), bool)])


def test_wrong_types_and_shapes_are_refused(fill: Fill) -> None:
    hole = np.zeros((4, 4), bool)
    for image in (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(UsageError, match="uint8 photo"):
            fill_photo(fill.name, image, hole)
    for wrong in (hole[:3], hole.astype(np.uint8)):
        with pytest.raises(UsageError, match="bool hole"):
            fill_photo(fill.name, np.zeros((4, 4, 3), np.uint8), wrong)
