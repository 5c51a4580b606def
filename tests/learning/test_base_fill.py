"""The base fill of training batches: both solvers against a dense solve, and what no fill may depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from support.toy import toy_photo

import kit.learning.datasets.base_fill
from kit.errors import UsageError
from kit.imaging.fills import FRACTIONAL_POWER, fill_photo, gaussian
from kit.imaging.holes import Box, hole_of, random_boxes
from kit.imaging.images import resize
from kit.learning.datasets import coverage, coverage_of
from kit.learning.datasets.base_fill import (
    ITERATIONS,
    LUMA,
    TOLERANCE,
    SpectralFill,
    Windows,
    cosine_matrix,
    line_spectra,
    mean_fill,
    power_and_aspect,
    solve_together,
    spectral_fill,
)
from kit.learning.datasets.boxes import as_tensor, windows_of

CPU = torch.device("cpu")
SIDE = 16
HOLES = {
    "one box": [Box(5, 4, 6, 7)],
    "two boxes apart": [Box(1, 1, 4, 5), Box(9, 8, 5, 4)],
    "overlapping": [Box(3, 3, 6, 6), Box(6, 6, 6, 6)],
    "touching": [Box(2, 2, 5, 5), Box(2, 7, 5, 5)],
    "at the upper left": [Box(0, 0, 6, 6)],
    "at the lower edge": [Box(10, 5, 6, 6), Box(13, 0, 3, 16)],
    "from edge to edge": [Box(4, 0, 5, 16)],
    "all but one column": [Box(0, 0, 16, 15)],
    "all but a pixel": [Box(0, 0, 15, 16), Box(15, 0, 1, 15)],
}
POWERS = (1.0, FRACTIONAL_POWER, 1.4)
BASES = ["fractional", "harmonic", "mean"]


def photos(count: int = 3, side: int = SIDE, seed: int = 0) -> torch.Tensor:
    """Random pictures, far enough from 0 and 1 that a fill is seldom clipped."""
    return 0.3 + 0.4 * torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def toy_photos(count: int, side: int, seed: int = 0) -> torch.Tensor:
    """Pictures that are smooth as photos are, some of them squashed."""
    rng = np.random.default_rng(seed)
    pictures = [toy_photo(rng, side) for _ in range(count)]
    squashed = [resize(picture[: side - number * side // 40], side, side) for number, picture in enumerate(pictures)]
    return torch.from_numpy(np.stack(squashed)).permute(0, 3, 1, 2).float() / 255


def holes(boxes: list[Box], count: int = 3, side: int = SIDE) -> torch.Tensor:
    return torch.from_numpy(hole_of(boxes, side, side)).expand(count, 1, side, side)


def fields(count: int, power: float, aspect: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((count,), power), torch.full((count,), aspect)


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
    """The minimiser by a dense solve, float64, clipped; one hole `(H, W)` for all."""
    side = pictures.shape[-1]
    matrix = dense_power(side, power, aspect)
    inside = hole.numpy().reshape(-1)
    flat = pictures.double().numpy().reshape(-1, side * side).copy()
    flat[:, inside] = np.linalg.solve(
        matrix[np.ix_(inside, inside)], -matrix[np.ix_(inside, ~inside)] @ flat[:, ~inside].T
    ).T.clip(0, 1)
    return flat.reshape(pictures.shape)


def exact_fill(pictures: torch.Tensor, hole: torch.Tensor, power: torch.Tensor, aspect: torch.Tensor) -> torch.Tensor:
    """Each photo by the full-size solver, which a dense solve vouches for, gone on with to the end."""
    parts = [
        gaussian.conditional_mean(picture.numpy(), missing[0].numpy(), float(p), float(a), tolerance=1e-6)
        for picture, missing, p, a in zip(pictures, hole, power, aspect, strict=True)
    ]
    return torch.where(hole, torch.from_numpy(np.stack(parts)).clamp(0, 1), pictures)


def together(
    pictures: torch.Tensor,
    hole: torch.Tensor,
    power: torch.Tensor,
    aspect: torch.Tensor,
    windows: Windows | None,
    iterations: int | None = None,
) -> torch.Tensor:
    """What `spectral_fill` does on a GPU."""
    solved = solve_together(pictures, hole, power, aspect, windows, iterations)
    return torch.where(hole, solved.clamp(0, 1), pictures)


@pytest.mark.parametrize("aspect", [1.0, 1.5])
@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("name", HOLES)
def test_both_solvers_equal_a_dense_solve(name: str, power: float, aspect: float) -> None:
    pictures, hole = photos(), holes(HOLES[name])
    exact = dense_fill(pictures, hole[0, 0], power, aspect)
    filled = spectral_fill(pictures, hole, *fields(3, power, aspect))
    np.testing.assert_allclose(filled.numpy(), exact, atol=TOLERANCE)
    windows = windows_of([HOLES[name]] * 3, (SIDE, SIDE), SIDE, CPU)
    on_gpu = together(pictures, hole, *fields(3, power, aspect), windows)
    np.testing.assert_allclose(on_gpu.numpy(), exact, atol=TOLERANCE)
    for result in (filled, on_gpu):
        assert torch.equal(result[~hole.expand_as(result)], pictures[~hole.expand_as(pictures)])


@pytest.mark.parametrize("name", HOLES)
def test_spectral_fill_with_power_one_is_the_harmonic_fill_of_the_full_size(name: str) -> None:
    image = (photos(1, seed=3)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    hole = holes(HOLES[name], 1)
    picture = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
    filled = spectral_fill(picture, hole, *fields(1, 1.0))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(filled, fill_photo("harmonic", image, hole[0, 0].numpy()), atol=TOLERANCE)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("side", [64, 128, 256])
def test_a_constant_photo_is_filled_with_its_constant(base: str, side: int) -> None:
    level = torch.tensor([0.0, 0.37, 1.0])[None, :, None, None].expand(2, 3, side, side).contiguous()
    hole = coverage([Box(0, 60, 40, 40), Box(216, 216, 40, 40)], (256, 256), side).expand(2, 1, side, side)
    assert torch.allclose(SpectralFill(base)(level, hole), level, atol=1e-5)


@pytest.mark.parametrize("base", ["harmonic", "mean"])
@pytest.mark.parametrize("side", [64, 256])
def test_what_is_under_the_hole_does_not_count_and_known_pixels_stay(base: str, side: int) -> None:
    hole = coverage([Box(16, 16, 40, 40), Box(32, 32, 40, 40)], (256, 256), side).expand(2, 1, side, side)
    one = photos(2, side)
    other = torch.where(hole == 1, torch.rand_like(one), one)
    fill = SpectralFill(base)
    known = (hole == 0).expand_as(one)
    assert torch.equal(fill(one, hole), fill(other, hole))
    assert torch.equal(fill(one, hole)[known], one[known])


@pytest.mark.parametrize("on_gpu", [False, True])
def test_what_is_under_the_hole_does_not_count_once_the_field_is_known(on_gpu: bool) -> None:
    boxes = [[Box(16, 16, 40, 40), Box(32, 32, 40, 40)]] * 2
    hole, one = coverage_of(as_tensor(boxes), (256, 256), 64) > 0, photos(2, 64)
    other = torch.where(hole, torch.rand_like(one), one)
    windows = windows_of(boxes, (256, 256), 64, CPU)
    fill: Callable[[torch.Tensor], torch.Tensor] = lambda pictures: (  # noqa: E731
        together(pictures, hole, *fields(2, 1.2, 0.8), windows)
        if on_gpu
        else spectral_fill(pictures, hole, *fields(2, 1.2, 0.8))
    )
    assert torch.equal(fill(one), fill(other))


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
    hole = torch.ones(1, 1, 40, 40, dtype=torch.bool)
    hole[..., ::13, ::13] = False
    for fill in (spectral_fill, lambda *parts: together(*parts, None)):
        filled = fill(photos(1, 40), hole, *fields(1, power))
        assert torch.isfinite(filled).all()
        assert 0.2 < float(filled[hole.expand_as(filled)].mean()) < 0.8


def test_a_photo_without_a_hole_stays_and_one_without_a_known_pixel_is_grey() -> None:
    pictures, hole = photos(3), torch.zeros(3, 1, SIDE, SIDE, dtype=torch.bool)
    hole[1] = True
    hole[2, :, 4:9, 4:9] = True
    everywhere = windows_of([[Box(0, 0, 4, 4)], [Box(0, 0, SIDE, SIDE)], [Box(4, 4, 5, 5)]], (SIDE, SIDE), SIDE, CPU)
    results = [spectral_fill(pictures, hole, *fields(3, 1.25))]
    results += [together(pictures, hole, *fields(3, 1.25), windows) for windows in (None, everywhere)]
    alone = spectral_fill(pictures[2:], hole[2:], *fields(1, 1.25))
    for filled in results:
        assert torch.equal(filled[0], pictures[0])
        assert (filled[1] == 0.5).all()
        assert torch.allclose(filled[2:], alone, atol=TOLERANCE)


def test_photos_with_one_hole_are_solved_as_each_alone() -> None:
    hole = coverage([Box(20, 90, 75, 75), Box(60, 110, 75, 75)], (256, 256), 64).expand(5, 1, 64, 64) > 0
    other = coverage([Box(1, 2, 75, 75)], (256, 256), 64).expand(2, 1, 64, 64) > 0
    pictures, power = toy_photos(7, 64), torch.linspace(1, 1.4, 7)
    parts = (pictures, torch.cat([hole, other]), power, power.flip(0) - 0.2)
    assert torch.allclose(spectral_fill(*parts, groups=[5, 2]), spectral_fill(*parts), atol=2 * TOLERANCE)
    assert torch.allclose(spectral_fill(*parts, groups=[5, 2]), exact_fill(*parts), atol=TOLERANCE)


@pytest.mark.parametrize("same", [True, False])
def test_one_power_and_aspect_a_plane_is_one_call_a_plane(same: bool) -> None:
    planes = toy_photos(2, 64).flatten(0, 1).numpy()
    hole = hole_of([Box(0, 20, 19, 19), Box(30, 25, 19, 19)], 64, 64)
    power = np.full(6, 1.2) if same else np.linspace(1, 1.4, 6)
    aspect = np.full(6, 0.8) if same else np.linspace(0.6, 1.8, 6)
    at_once = gaussian.conditional_mean(planes, hole, power, aspect, tolerance=1e-6)
    for number in range(6):
        alone = gaussian.conditional_mean(
            planes[number : number + 1], hole, float(power[number]), float(aspect[number]), tolerance=1e-6
        )
        np.testing.assert_allclose(at_once[number], alone[0], atol=1e-4)
    if same:
        np.testing.assert_array_equal(at_once, gaussian.conditional_mean(planes, hole, 1.2, 0.8, tolerance=1e-6))
    else:  # an array and a number go together
        mixed = gaussian.conditional_mean(planes, hole, power, 1.1, tolerance=1e-6)
        both = gaussian.conditional_mean(planes, hole, power, np.full(6, 1.1), tolerance=1e-6)
        np.testing.assert_array_equal(mixed, both)


# all photos at once, as on a GPU


def anywhere(rng: np.random.Generator) -> list[Box]:
    return random_boxes(rng, [Box(0, 0), Box(0, 0)], 256, 256)


def at_the_edge(rng: np.random.Generator) -> list[Box]:
    ends = np.array([0, 181])
    along = int(rng.integers(0, 182))
    box = Box(int(rng.choice(ends)), along) if rng.random() < 0.5 else Box(along, int(rng.choice(ends)))
    return [box, Box(int(rng.choice(ends)), int(rng.choice(ends)))]


def overlapping(rng: np.random.Generator) -> list[Box]:
    row, column = (int(place) for place in rng.integers(0, 120, 2))
    down, across = (int(place) for place in rng.integers(0, 60, 2))
    return [Box(row, column), Box(row + down, column + across)]


def side_by_side(rng: np.random.Generator) -> list[Box]:
    row, column = (int(place) for place in rng.integers(0, 100, 2))
    return [Box(row, column), Box(row + int(rng.integers(0, 60)), column + 75 + int(rng.integers(0, 6)))]


def many(rng: np.random.Generator) -> list[Box]:
    return random_boxes(rng, [Box(0, 0)] * 8, 256, 256)


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("boxes_of", [anywhere, at_the_edge, overlapping, side_by_side, many])
def test_photos_solved_together_are_solved_within_half_a_grey_level(
    boxes_of: Callable[[np.random.Generator], list[Box]], size: int
) -> None:
    rng, count = np.random.default_rng(7), 10
    boxes = [boxes_of(rng) for _ in range(count)]
    hole = coverage_of(as_tensor(boxes), (256, 256), size) > 0
    power = torch.from_numpy(rng.uniform(1.0, 1.3, count)).float()
    aspect = torch.from_numpy(rng.uniform(0.7, 1.4, count)).float()
    parts = (toy_photos(count, size), hole, power, aspect)
    exact = exact_fill(*parts)
    assert float((exact - parts[0]).abs().max()) > 0.1
    errors = (together(*parts, windows_of(boxes, (256, 256), size, CPU)) - exact)[hole.expand_as(exact)]
    assert float(errors.square().mean().sqrt()) < TOLERANCE
    assert float(errors.abs().max()) < 10 * TOLERANCE
    assert torch.allclose(spectral_fill(*parts), exact, atol=2 * TOLERANCE)


def test_windows_save_most_of_the_iterations() -> None:
    boxes = [[Box(0, 0), Box(90, 181)], [Box(40, 50), Box(100, 80)]]
    hole = coverage_of(as_tensor(boxes), (256, 256), 128) > 0
    parts = (toy_photos(2, 128), hole, *fields(2, FRACTIONAL_POWER))
    windows, exact = windows_of(boxes, (256, 256), 128, CPU), exact_fill(*parts)
    with_windows, without = (float((together(*parts, one, ITERATIONS) - exact).abs().max()) for one in (windows, None))
    assert with_windows < TOLERANCE and without > 0.05
    # it takes no harm from going on for long after it is there
    assert float((together(*parts, windows, 300) - exact).abs().max()) < 1e-3


@pytest.mark.parametrize("columns", [(0, 6), (5, 6), (10, 6), (0, 16)])
@pytest.mark.parametrize("rows", [(0, 6), (5, 6), (10, 6)])
def test_a_window_that_is_the_hole_is_solved_by_one_iteration(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    # with power 1 it is preconditioned with the inverse itself, whichever edges of the photo the hole reaches
    (row, height), (column, width) = rows, columns
    boxes = [[Box(row, column + start, height, 6) for start in range(0, width - 5, 10)]]
    hole = holes(boxes[0], 1)
    ends = [[int(start == 0) + 2 * int(start + 6 == SIDE) for start in (box.row, box.col)] for box in boxes[0]]
    corners = torch.tensor([[[box.row, box.col] for box in boxes[0]]])
    parts = (photos(1), hole, *fields(1, 1.0, 1.3))
    filled = together(*parts, Windows(corners, 6, torch.tensor([ends])), 1)
    np.testing.assert_allclose(filled.numpy(), dense_fill(parts[0], hole[0, 0], 1.0, 1.3), atol=1e-4)


@pytest.mark.parametrize("power", [1.0, FRACTIONAL_POWER])
@pytest.mark.parametrize("kept", [0, 1])
def test_what_no_window_covers_is_filled_too(power: float, kept: int) -> None:
    boxes = [[Box(30, 40), Box(130, 20)], [Box(0, 100), Box(181, 181)], [Box(60, 60), Box(100, 100)]]
    hole = coverage_of(as_tensor(boxes), (256, 256), 64) > 0
    covered = windows_of([of_photo[:kept] for of_photo in boxes], (256, 256), 64, CPU) if kept else None
    windows = covered._replace(complete=False) if covered is not None else None
    parts = (toy_photos(3, 64), hole, *fields(3, power))
    assert torch.allclose(together(*parts, windows), exact_fill(*parts), atol=2e-3)
    if kept:
        hasty = together(*parts, covered)
        assert torch.isfinite(hasty).all()
        assert not torch.allclose(hasty, exact_fill(*parts), atol=2e-3)


@pytest.mark.parametrize("iterations", [1, ITERATIONS, 200])
def test_constant_photos_solved_together_stay_and_are_finite(iterations: int) -> None:
    level = torch.tensor([0.0, 0.37, 1.0])[None, :, None, None].expand(4, 3, 64, 64).contiguous()
    boxes = [
        [Box(0, 0), Box(100, 100)],
        [Box(0, 0, 256, 250), Box(3, 3, 9, 9)],
        [Box(1, 1), Box(9, 9)],
        [Box(7, 7)] * 2,
    ]
    hole = coverage_of(as_tensor(boxes), (256, 256), 64) > 0
    for windows in (None, windows_of(boxes, (256, 256), 64, CPU)):
        filled = together(level, hole, *fields(4, 1.3, 0.6), windows, iterations)
        assert torch.allclose(filled, level, atol=1e-5)


def test_a_window_that_is_the_whole_photo_is_solved() -> None:
    boxes = [[Box(0, 0, 16, 15), Box(15, 1, 1, 15)]]  # reaches all four edges; one pixel and a column are known
    hole = holes(boxes[0], 1)
    windows = windows_of(boxes, (SIDE, SIDE), SIDE, CPU)
    assert windows.side == SIDE and windows.free[0, 0].tolist() == [3, 1]
    parts = (photos(1), hole, *fields(1, FRACTIONAL_POWER))
    assert torch.allclose(together(*parts, windows), exact_fill(*parts), atol=1e-3)
    everything = Windows(torch.zeros(1, 1, 2, dtype=torch.int64), SIDE, torch.full((1, 1, 2), 3))
    assert torch.allclose(together(*parts, everything, 40), exact_fill(*parts), atol=1e-3)


def test_a_photo_is_solved_as_it_would_be_alone() -> None:
    rng = np.random.default_rng(3)
    boxes = [anywhere(rng) for _ in range(4)]
    hole = coverage_of(as_tensor(boxes), (256, 256), 64) > 0
    parts = (toy_photos(4, 64), hole, torch.linspace(1, 1.3, 4), torch.linspace(0.8, 1.3, 4))
    every = together(*parts, windows_of(boxes, (256, 256), 64, CPU))
    for number in range(4):
        own = [part[number : number + 1] for part in parts]
        alone = together(*own, windows_of(boxes[number : number + 1], (256, 256), 64, CPU))
        assert torch.allclose(every[number : number + 1], alone, atol=1e-5)


class Recording:
    """Stands in for a CUDA graph where there is no GPU: the function, and the inputs' shapes."""

    def __init__(self, function: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor]) -> None:
        self.function, self.shapes = function, [part.shape for part in inputs]

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        assert [part.shape for part in inputs] == self.shapes
        assert torch.get_float32_matmul_precision() == "highest"
        return self.function(*inputs)


def test_on_a_gpu_the_photos_are_solved_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(kit.learning.datasets.base_fill, "CudaGraph", Recording)
    monkeypatch.setattr(kit.learning.datasets.base_fill, "_recorded", {})
    monkeypatch.setattr(kit.learning.datasets.base_fill, "_solve_alike", None)
    boxes = [[Box(30, 40), Box(130, 20)]] * 2
    hole = coverage_of(as_tensor(boxes), (256, 256), 64)
    windows = windows_of(boxes, (256, 256), 64, CPU)
    pictures = toy_photos(2, 64)
    fill = SpectralFill("fractional")
    filled = fill(pictures, hole, groups=[2], windows=windows)
    for count in (1, 2, 1):  # one recording for each shape
        fill(pictures[:count], hole[:count], windows=windows_of(boxes[:count], (256, 256), 64, CPU))
    assert len(kit.learning.datasets.base_fill._recorded) == 2
    monkeypatch.undo()
    assert torch.allclose(filled, SpectralFill("fractional")(pictures, hole), atol=TOLERANCE)


def test_the_cosine_matrix_is_orthonormal_and_diagonalises_the_laplacian() -> None:
    matrix = cosine_matrix(12, CPU).double()
    assert torch.allclose(matrix @ matrix.T, torch.eye(12, dtype=torch.float64), atol=1e-6)
    line = torch.from_numpy(dense_power(12, 1.0, 1.0).reshape(12, 12, 12, 12)[0, :, 0, :]).clone()
    line -= torch.eye(12) * torch.from_numpy(np.ones(12))  # what the edge to the next row adds
    spectrum = matrix @ line @ matrix.T
    assert torch.allclose(spectrum, spectrum.diagonal().diag(), atol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 20])
def test_the_spectra_of_a_line_are_those_of_its_four_laplacians(side: int) -> None:
    vectors, eigenvalues = line_spectra(side, CPU)
    lines = vectors.mT @ (eigenvalues[:, :, None] * vectors)
    for number, line in enumerate(lines):
        expected = 2 * np.eye(side) - np.eye(side, k=1) - np.eye(side, k=-1)
        expected[0, 0] -= number in (1, 3)
        expected[-1, -1] -= number in (2, 3)
        np.testing.assert_allclose(line.numpy(), expected, atol=1e-5)
    assert (eigenvalues >= 0).all()


# the field of a photo


@pytest.mark.parametrize("side", [64, 128, 256, 90])
def test_power_and_aspect_of_a_batch_are_those_of_the_full_size_fill(side: int) -> None:
    pictures = torch.cat([toy_photos(6, side), photos(2, side), torch.full((1, 3, side, side), 0.3)])
    luma = (pictures * torch.tensor(LUMA)[:, None, None]).sum(1)
    power, aspect = power_and_aspect(luma)
    nothing = np.zeros((side, side), bool)
    expected = np.array([gaussian.power_and_aspect(one.numpy(), nothing) for one in luma])
    np.testing.assert_allclose(power, expected[:, 0], atol=1e-4)
    np.testing.assert_allclose(aspect, expected[:, 1], rtol=1e-4)
    assert len({*power[:6].tolist(), *aspect[:6].tolist()}) > 6  # they are told from one another


def test_a_photo_too_small_to_tell_has_the_usual_field() -> None:
    power, aspect = power_and_aspect(torch.rand(3, 63, 63))
    assert power.tolist() == pytest.approx([FRACTIONAL_POWER] * 3) and aspect.tolist() == [1, 1, 1]


def test_each_photo_is_filled_by_its_own_field_and_by_none_if_the_base_is_harmonic() -> None:
    pictures = toy_photos(4, 64)
    power, aspect = SpectralFill("fractional").fields_of(pictures, FRACTIONAL_POWER)
    assert len(set(power.tolist())) > 1 and len(set(aspect.tolist())) > 1
    assert [field.tolist() for field in SpectralFill("harmonic").fields_of(pictures, 1.0)] == [[1] * 4, [1] * 4]
    hole = coverage([Box(20, 60, 75, 75)], (256, 256), 64).expand(4, 1, 64, 64)
    expected = exact_fill(pictures, hole > 0, power, aspect)
    filled = SpectralFill("fractional")(pictures, hole)
    assert torch.allclose(filled, pictures.lerp(expected, hole), atol=2 * TOLERANCE)


def test_mean_fill_is_the_mean_of_known_pixels() -> None:
    pictures, hole = photos(), holes(HOLES["overlapping"])
    filled = mean_fill(pictures, hole.float())
    expected = pictures.numpy()[:, :, ~hole[0, 0].numpy()].mean(axis=2)
    np.testing.assert_allclose(filled[:, :, 0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("base", BASES)
def test_a_pixel_hidden_in_part_is_filled_in_part(base: str) -> None:
    pictures = toy_photos(1, 64)
    hole = torch.zeros(1, 1, 64, 64)
    hole[..., 20:30, 20:30] = 0.25
    whole = SpectralFill(base)(pictures, hole.ceil())
    if base == "mean":  # what a pixel hidden in part shows counts in part
        whole = torch.where(hole > 0, mean_fill(pictures, hole), pictures)
    assert torch.allclose(SpectralFill(base)(pictures, hole), pictures.lerp(whole, hole), atol=1e-6)


def test_an_unknown_base_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="base=telea"):
        SpectralFill("telea")
