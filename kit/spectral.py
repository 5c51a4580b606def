"""The base fill of training batches, solved exactly at working size. Knows tensors, boxes' pixels and one operator.

The fill minimises u^T L^p u over the hole with the known pixels fixed, L the 5-point Neumann Laplacian: p = 1 is the
harmonic fill, a p above 1 the conditional mean of a Gaussian field with spectrum 1/f^(2p), and the aspect weighs rows
against columns (`kit.fills` has the same operator at full size, solved by conjugate gradients). Photos that share a box
layout share one Cholesky factor, so that fresh boxes in every step cost a fraction of a training step.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F

from kit.errors import UsageError
from kit.fills import FRACTIONAL_POWER
from kit.fills.gaussian import power_and_aspect

LUMA = (0.299, 0.587, 0.114)  # of JPEG's YCbCr, in which the full-size fill works
DENSE_LIMIT = 128  # larger pictures are solved at this size: the dense system grows with the sixth power of the side


class SpectralFill:
    """Callable `(photos (n, 3, S, S), hole (1, 1, S, S)) -> filled (n, 3, S, S)`."""

    def __init__(self, base: str, size: int) -> None:
        powers = {"fractional": FRACTIONAL_POWER, "harmonic": 1.0, "mean": None}
        if base not in powers:
            raise UsageError(f"base={base}: training knows {', '.join(powers)}.")
        self.base = base
        self.power = powers[base]
        self.size = size

    def fields_of(self, photos: torch.Tensor) -> np.ndarray:
        """Power and aspect that suit each whole photo, `(n, 2)` float64, as the full-size fill would estimate them."""
        if self.base != "fractional":
            return np.tile([self.power or 1.0, 1.0], (len(photos), 1))
        luma = (photos * torch.tensor(LUMA, device=photos.device)[:, None, None]).sum(1).cpu().numpy()
        nothing = np.zeros(luma.shape[1:], bool)
        return np.array([power_and_aspect(one, nothing) for one in luma])

    def __call__(
        self, photos: torch.Tensor, hole: torch.Tensor, *, power: float | None = None, aspect: float = 1.0
    ) -> torch.Tensor:
        power = self.power if power is None else power
        if self.power is None or power is None:
            fill = mean_fill(photos, hole)
        elif self.size <= DENSE_LIMIT:
            fill = spectral_fill(photos, hole[0, 0] > 0, power, aspect)
        else:
            small = F.interpolate(photos * (1 - hole), size=DENSE_LIMIT, mode="area")
            weight = F.interpolate(1 - hole, size=DENSE_LIMIT, mode="area")
            fill = spectral_fill(small / weight.clamp(min=1e-6), weight[0, 0] < 1, power, aspect)
            fill = F.interpolate(fill, size=self.size, mode="bilinear")
        return photos.lerp(fill, hole)  # unlike photos + hole * (fill - photos), exactly the fill where all is hidden


def mean_fill(photos: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Mean of the known pixels of each channel, `(n, 3, 1, 1)`."""
    known = 1 - hole
    return (photos * known).sum(dim=(2, 3), keepdim=True) / known.sum().clamp(min=1e-6)


def spectral_fill(photos: torch.Tensor, hole: torch.Tensor, power: float, aspect: float = 1.0) -> torch.Tensor:
    """Minimise u^T L^p u over the hole, float32.

    Args:
        photos: `(n, C, S, S)`; what is under the hole is not looked at.
        hole: bool `(S, S)`.
        aspect: L is `aspect` times the differences from row to row plus 1/`aspect` times those from column to column.

    Returns:
        `(n, C, S, S)`: the photos with the hole filled, clipped to [0, 1] there.
    """
    count, channels, size, _ = photos.shape
    rows, columns = torch.nonzero(hole, as_tuple=True)
    if not len(rows) or len(rows) == size * size:
        return photos if not len(rows) else torch.full_like(photos, 0.5)
    known = photos.masked_fill(hole, 0.0)
    # L ignores constants, so the mean of the known part is taken off first: smaller numbers, smaller rounding
    mean = known.sum(dim=(2, 3), keepdim=True) / (~hole).sum()
    known = (known - mean).masked_fill(hole, 0.0)
    pull = _apply(known, power, aspect)[:, :, rows, columns].reshape(count * channels, -1)
    factor = torch.linalg.cholesky(_matrix(rows, columns, size, power, aspect))
    solved = torch.cholesky_solve(-pull.T, factor).T.reshape(count, channels, -1)
    filled = photos.clone()
    filled[:, :, rows, columns] = (solved + mean[:, :, 0]).clamp(0, 1)
    return filled


@functools.lru_cache(maxsize=8)
def _dct(size: int) -> torch.Tensor:
    """Orthonormal DCT-II as a matrix `(S, S)`: its rows are the eigenvectors of the 1-D Neumann Laplacian."""
    k = torch.arange(size, dtype=torch.float64)[:, None]
    x = torch.arange(size, dtype=torch.float64)[None, :] + 0.5
    matrix = torch.cos(torch.pi * k * x / size) * (2 / size) ** 0.5
    matrix[0] /= 2**0.5
    return matrix.float()


def _eigenvalues(size: int, power: float, aspect: float, length: int) -> torch.Tensor:
    """Eigenvalues of L^p for frequencies 0 to `length` - 1 in steps of pi / `size`, `(length, length)` float64."""
    one = 2 - 2 * torch.cos(torch.pi * torch.arange(length, dtype=torch.float64) / size)
    return (aspect * one[:, None] + one[None, :] / aspect) ** power


def _apply(x: torch.Tensor, power: float, aspect: float) -> torch.Tensor:
    """L^p x for `(n, C, S, S)`."""
    size = x.shape[-1]
    dct = _dct(size).to(x.device)
    return dct.T @ ((dct @ x @ dct.T) * _eigenvalues(size, power, aspect, size).to(x)) @ dct


def _kernel(size: int, power: float, aspect: float) -> torch.Tensor:
    """L^p as a convolution on the mirrored, periodic `(2S, 2S)` picture."""
    return torch.fft.ifft2(_eigenvalues(size, power, aspect, 2 * size)).real.float()


def _matrix(rows: torch.Tensor, columns: torch.Tensor, size: int, power: float, aspect: float) -> torch.Tensor:
    """L^p between these pixels, `(m, m)`: the kernel of a pixel and of its mirror images."""
    kernel = _kernel(size, power, aspect).to(rows.device).reshape(-1)
    period = 2 * size
    down = (rows[:, None] - rows[None, :]) % period * period
    down_mirrored = (rows[:, None] + rows[None, :] + 1) % period * period
    across = (columns[:, None] - columns[None, :]) % period
    across_mirrored = (columns[:, None] + columns[None, :] + 1) % period
    matrix = kernel[down + across]
    matrix += kernel[down_mirrored + across]
    matrix += kernel[down + across_mirrored]
    matrix += kernel[down_mirrored + across_mirrored]
    return matrix
