"""The base fill of training batches, at the network's size. Knows tensors, holes and the fields of `kit.imaging.fills`.

The fill minimises u^T L^p u over the hole with the known pixels fixed, L the 5-point Neumann Laplacian: p = 1 is the
harmonic fill, a p above 1 the conditional mean of a Gaussian field with spectrum 1/f^(2p), and the aspect weighs rows
against columns. On a CPU, photos that share a box layout are solved together by the preconditioned solver of
`kit.imaging.fills`; on a GPU all photos of a batch at once, by a fixed number of plain iterations, so that nothing
waits for the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch

from kit.errors import UsageError
from kit.imaging.fills import FRACTIONAL_POWER
from kit.imaging.fills.gaussian import ASPECTS, MEAN_POWER, POWER_GAIN, POWERS, conditional_mean
from kit.learning.datasets.cuda_graph import CudaGraph

LUMA = (0.299, 0.587, 0.114)  # of JPEG's YCbCr, in which the full-size fill works
TOLERANCE = 2e-3  # of the solver on a CPU: half a grey level, and a third faster than the full-size fill's
ITERATIONS = 10  # of the solver on a GPU: as near to the minimum as the one on a CPU comes
PATIENT_ITERATIONS = 128  # where it has no windows, or something is hidden outside them
_MOST_RECORDED = 8  # shapes of batches
_recorded: dict[tuple[object, ...], CudaGraph] = {}
_POWERS_OF_BASE = {"fractional": FRACTIONAL_POWER, "harmonic": 1.0, "mean": None}


class Windows(NamedTuple):
    """Squares that cover the boxes of each photo: what the solver on a GPU is preconditioned with."""

    corners: torch.Tensor
    """`(n, boxes, 2)` int64: row and column of each square's first pixel."""
    side: int
    free: torch.Tensor
    """`(n, boxes, 2)` int64, of rows and of columns: 1 if the hole reaches the photo's low edge there, plus 2 if it
    reaches the high one, where the photo is mirrored and not known."""
    complete: bool = True
    """Whether nothing is hidden outside them."""


class SpectralFill:
    """Callable `(photos (n, 3, S, S), hole (n, 1, S, S)) -> filled (n, 3, S, S)`."""

    def __init__(self, base: str) -> None:
        if base not in _POWERS_OF_BASE:
            raise UsageError(f"base={base}: training knows {', '.join(_POWERS_OF_BASE)}.")
        self.base = base
        self.power = _POWERS_OF_BASE[base]

    def __call__(
        self,
        photos: torch.Tensor,
        hole: torch.Tensor,
        *,
        groups: Sequence[int] | None = None,
        windows: Windows | None = None,
    ) -> torch.Tensor:
        """Fill the holes.

        Args:
            photos: whole photos in [0, 1]; what is under the hole is looked at only to tell each photo's field.
            hole: the share of each pixel that is hidden.
            groups: how many photos in a row have the same hole, one number a group; of use on a CPU alone.
            windows: around the holes; of use on a GPU alone, where they save most of the iterations.
        """
        if self.power is None:
            return photos.lerp(mean_fill(photos, hole), hole)
        power, aspect = self.fields_of(photos, self.power)
        fill = spectral_fill(photos, hole > 0, power, aspect, groups=groups, windows=windows)
        return photos.lerp(fill, hole)  # unlike photos + hole * (fill - photos), exactly the fill where all is hidden

    def fields_of(self, photos: torch.Tensor, power: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Estimate each whole photo's power and aspect, two of `(n,)`, as the full-size fill does."""
        if self.base == "fractional":
            return power_and_aspect(luma_of(photos))
        one = photos.new_ones(len(photos))
        return one * power, one


def luma_of(photos: torch.Tensor) -> torch.Tensor:
    """Return the luma `(n, S, S)` of photos `(n, 3, S, S)`."""
    return (photos * photos.new_tensor(LUMA)[:, None, None]).sum(1)


def power_and_aspect(luma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimate `kit.imaging.fills.gaussian.power_and_aspect` of whole photos `(n, S, S)`, a batch at once: two of
    `(n,)`."""
    side = luma.shape[-1]
    distances = [side // share for share in (64, 32, 16, 8)]
    if distances[0] == 0:
        one = luma.new_ones(len(luma))
        return one * FRACTIONAL_POWER, one
    rows = torch.stack([_variation(luma, distance) for distance in distances])
    columns = torch.stack([_variation(luma.mT, distance) for distance in distances])
    logs = torch.tensor(distances, dtype=torch.float32, device=luma.device).log()
    lever = logs - logs.mean()
    exponent = (lever[:, None] * (rows + columns).log()).sum(0) / lever.square().sum()
    power = FRACTIONAL_POWER + POWER_GAIN * (exponent / 2 + 1 - MEAN_POWER)
    aspect = (columns[1] / rows[1]).sqrt()
    return power.clamp(*POWERS), aspect.clamp(*ASPECTS)


def _variation(luma: torch.Tensor, distance: int) -> torch.Tensor:
    """Return the mean squared difference between rows so far apart, `(n,)`."""
    difference = luma[:, distance:] - luma[:, :-distance]
    return difference.square().mean(dim=(1, 2)) + 1 / 255**2  # photos without any variation have no direction


def mean_fill(photos: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Return the mean of the known pixels of each channel, `(n, 3, 1, 1)`."""
    known = 1 - hole
    return (photos * known).sum(dim=(2, 3), keepdim=True) / known.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)


def spectral_fill(
    photos: torch.Tensor,
    hole: torch.Tensor,
    power: torch.Tensor,
    aspect: torch.Tensor,
    *,
    groups: Sequence[int] | None = None,
    windows: Windows | None = None,
) -> torch.Tensor:
    """Minimise u^T L^power u over each photo's hole.

    Args:
        photos: `(n, C, H, W)` float32; what is under the hole is not looked at.
        hole: bool `(n, 1, H, W)`.
        power, aspect: `(n,)`; L is `aspect` times the differences from row to row plus 1/`aspect` times those from
            column to column.
        groups, windows: see `SpectralFill`.

    Returns:
        `(n, C, H, W)`: the photos with the hole filled, clipped to [0, 1] there; grey where nothing is known.
    """
    if photos.is_cuda:
        solved = _solve_on_gpu(photos, hole, power, aspect, windows)
    else:
        lengths = groups or [1] * len(photos)
        pieces = [slice(end - length, end) for length, end in zip(lengths, accumulate(lengths), strict=True)]
        parts = [_solve_alike(photos[piece], hole[piece.start, 0], power[piece], aspect[piece]) for piece in pieces]
        solved = torch.cat(parts)
    return torch.where(hole, solved.clamp(0, 1), photos)


def _solve_alike(photos: torch.Tensor, hole: torch.Tensor, power: torch.Tensor, aspect: torch.Tensor) -> torch.Tensor:
    """Solve photos with one hole `(H, W)` on a CPU, within 2e-3 of the exact minimum."""
    missing = hole.numpy()
    if not missing.any():
        return photos
    if missing.all():
        return torch.full_like(photos, 0.5)
    channels = photos.shape[1]
    fields = (value.repeat_interleave(channels).numpy() for value in (power, aspect))
    return torch.from_numpy(
        conditional_mean(photos.flatten(0, 1).numpy(), missing, *fields, tolerance=TOLERANCE)
    ).reshape(photos.shape)


def _solve_on_gpu(
    photos: torch.Tensor, hole: torch.Tensor, power: torch.Tensor, aspect: torch.Tensor, windows: Windows | None
) -> torch.Tensor:
    """Solve by `solve_together`, recorded once for each shape of batches: its kernels are hundreds, and short."""
    if windows is None:
        return solve_together(photos, hole, power, aspect)
    inputs = (photos, hole, power, aspect, windows.corners, windows.free)
    key = (*(part.shape for part in inputs), windows.side, windows.complete, photos.device)
    if key not in _recorded:
        side, complete = windows.side, windows.complete

        def solve(
            photos: torch.Tensor,
            hole: torch.Tensor,
            power: torch.Tensor,
            aspect: torch.Tensor,
            corners: torch.Tensor,
            free: torch.Tensor,
        ) -> torch.Tensor:
            return solve_together(photos, hole, power, aspect, Windows(corners, side, free, complete))

        if len(_recorded) >= _MOST_RECORDED:
            _recorded.clear()
        with matrix_units():
            _recorded[key] = CudaGraph(solve, inputs)
    return _recorded[key](*inputs)


@contextlib.contextmanager
def matrix_units() -> Iterator[None]:
    """Let float32 products be made by a GPU's matrix units, of 10 bits each: the solver corrects what they round."""
    usual = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(usual)


def solve_together(
    photos: torch.Tensor,
    hole: torch.Tensor,
    power: torch.Tensor,
    aspect: torch.Tensor,
    windows: Windows | None = None,
    iterations: int | None = None,
) -> torch.Tensor:
    """Solve all photos at once, each with its own hole, on any device: conjugate gradients that never look at the
    numbers.

    Cosine transforms are products with a matrix: faster on a GPU than FFTs of such small pictures.

    Args:
        photos, hole, power, aspect, windows: see `spectral_fill`.
        iterations: as many as the windows ask for when None.

    Returns:
        As `spectral_fill`, not clipped.
    """
    if iterations is None:
        iterations = ITERATIONS if windows is not None and windows.complete else PATIENT_ITERATIONS
    down, across = (cosine_matrix(side, photos.device) for side in photos.shape[2:])
    multiplier = _powers(
        _line_eigenvalues(len(down), photos.device), _line_eigenvalues(len(across), photos.device), aspect
    )
    multiplier = (multiplier ** power[:, None, None])[:, None]
    known, missing = (~hole).float(), hole.float()
    mean = (photos * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)

    def apply(u: torch.Tensor) -> torch.Tensor:
        spectrum = _on_both_sides(down, u, across.T).mul_(multiplier)
        return _on_both_sides(down.T, spectrum, across).mul_(missing)

    precondition = _in_windows(windows, hole, power, aspect) if windows is not None else lambda residual: residual
    values = (photos - mean) * known
    solution = torch.zeros_like(values)
    residual = apply(values).neg_()
    direction = step = precondition(residual)
    energy = (residual * step).sum((2, 3), keepdim=True)
    for _ in range(iterations):
        image = apply(direction)
        length = energy / (direction * image).sum((2, 3), keepdim=True).clamp(min=1e-20)
        solution = solution.addcmul_(length, direction)
        residual = residual.addcmul_(length, image, value=-1)
        step = precondition(residual)
        previous, energy = energy, (residual * step).sum((2, 3), keepdim=True)
        direction = torch.addcmul(step, energy / previous.clamp(min=1e-20), direction)
    nothing_known = ~(known > 0).flatten(1).any(1)[:, None, None, None]
    return torch.where(nothing_known, 0.5, values + solution + mean)


def _on_both_sides(left: torch.Tensor, u: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return left @ u @ right of `(n, C, H, W)`, without a copy of `left` for each of them, as `@` would make."""
    rows = (u.reshape(-1, u.shape[-1]) @ right).view(-1, *u.shape[2:])
    return torch.bmm(left.expand(len(rows), -1, -1), rows).view_as(u)


def _in_windows(
    windows: Windows, hole: torch.Tensor, power: torch.Tensor, aspect: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Apply the inverse power of each window's own Laplacian, zeros around it, and add up; see
    `gaussian.preconditioner`."""
    corners, side, free, complete = windows
    missing = hole.float()
    count, boxes, _ = corners.shape
    height, width = hole.shape[2:]
    line = torch.arange(side, device=hole.device)
    rows, columns = corners[..., 0, None, None] + line[:, None], corners[..., 1, None, None] + line
    places = (rows * width + columns).reshape(count, 1, -1)  # (n, 1, boxes * side * side)
    vectors, eigenvalues = line_spectra(side, hole.device)
    down, across = vectors[free].unbind(2)  # (n, boxes, side, side) each
    of_rows, of_columns = eigenvalues[free].unbind(2)
    # a window that is the whole photo has an eigenvalue of zero; no other is as small as the limit
    inverse = _powers(of_rows, of_columns, aspect[:, None]).clamp(min=1 / side**2) ** -power[:, None, None, None]
    left_out: torch.Tensor | None = None  # parts of the hole that no window covers
    if not complete:
        inside = torch.zeros(count, 1, height * width, device=hole.device).scatter_(2, places, 1.0)
        left_out = hole.flatten(2) & (inside == 0)

    def apply(residual: torch.Tensor) -> torch.Tensor:
        channels = residual.shape[1]
        flat = residual.flatten(2)
        where = places.expand(-1, channels, -1)
        blocks = flat.gather(2, where).reshape(count, channels, boxes, side, side).transpose(0, 1)
        solved = down.mT @ ((down @ blocks @ across.mT) * inverse) @ across
        total = torch.zeros_like(flat).scatter_add_(2, where, solved.transpose(0, 1).reshape(count, channels, -1))
        if left_out is not None:
            total = torch.where(left_out, flat / 4, total)  # about the operator's diagonal
        return total.reshape(residual.shape).mul_(missing)

    return apply


def _powers(rows: torch.Tensor, columns: torch.Tensor, aspect: torch.Tensor) -> torch.Tensor:
    """Return the eigenvalues of Laplacians `(..., rows, columns)` by those of their lines and the aspects `(...)`."""
    aspect = aspect[..., None, None]
    return aspect * rows[..., :, None] + columns[..., None, :] / aspect


@lru_cache(maxsize=16)
def cosine_matrix(side: int, device: torch.device) -> torch.Tensor:
    """Return the orthonormal DCT-II as a float32 matrix `(side, side)`."""
    places = torch.arange(side, dtype=torch.float64)
    matrix = torch.cos(torch.pi * (places + 0.5) * places[:, None] / side) * (2 / side) ** 0.5
    matrix[0] /= 2**0.5
    moved: torch.Tensor = matrix.float().to(device)
    return moved


@lru_cache(maxsize=16)
def line_spectra(side: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the eigenvectors, as rows, `(4, side, side)` and eigenvalues `(4, side)` of a line's Laplacian.

    Its ends are held at zero but for those that are free: none, the first, the last, both.
    """
    beside = torch.ones(side - 1, dtype=torch.float64).diag(1)
    held = 2 * torch.eye(side, dtype=torch.float64) - beside - beside.T
    laplacians = held.repeat(4, 1, 1)
    laplacians[[1, 3], 0, 0] -= 1
    laplacians[[2, 3], -1, -1] -= 1
    eigenvalues, vectors = torch.linalg.eigh(laplacians)
    return vectors.mT.float().to(device), eigenvalues.clamp(min=0).float().to(device)


@lru_cache(maxsize=16)
def _line_eigenvalues(side: int, device: torch.device) -> torch.Tensor:
    return (2 - 2 * torch.cos(torch.pi * torch.arange(side, dtype=torch.float64) / side)).float().to(device)
