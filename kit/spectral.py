"""The base fill of training batches, at the network's size. Knows tensors, holes and the fields of `kit.fills`.

The fill minimises u^T L^p u over the hole with the known pixels fixed, L the 5-point Neumann Laplacian: p = 1 is the
harmonic fill, a p above 1 the conditional mean of a Gaussian field with spectrum 1/f^(2p), and the aspect weighs rows
against columns. Photos that share a box layout are solved together, so that fresh boxes in every step cost a fraction
of a training step.
"""

from __future__ import annotations

import numpy as np
import torch

from kit.errors import UsageError
from kit.fills import FRACTIONAL_POWER
from kit.fills.gaussian import conditional_mean, power_and_aspect

LUMA = (0.299, 0.587, 0.114)  # of JPEG's YCbCr, in which the full-size fill works


class SpectralFill:
    """Callable `(photos (n, 3, S, S), hole (1, 1, S, S)) -> filled (n, 3, S, S)`."""

    def __init__(self, base: str) -> None:
        powers = {"fractional": FRACTIONAL_POWER, "harmonic": 1.0, "mean": None}
        if base not in powers:
            raise UsageError(f"base={base}: training knows {', '.join(powers)}.")
        self.base = base
        self.power = powers[base]

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
        if self.power is None:
            fill = mean_fill(photos, hole)
        else:
            fill = spectral_fill(photos, hole[0, 0] > 0, self.power if power is None else power, aspect)
        return photos.lerp(fill, hole)  # unlike photos + hole * (fill - photos), exactly the fill where all is hidden


def mean_fill(photos: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Mean of the known pixels of each channel, `(n, 3, 1, 1)`."""
    known = 1 - hole
    return (photos * known).sum(dim=(2, 3), keepdim=True) / known.sum().clamp(min=1e-6)


def spectral_fill(photos: torch.Tensor, hole: torch.Tensor, power: float, aspect: float = 1.0) -> torch.Tensor:
    """Minimise u^T L^power u over the hole, within 1e-3 of the exact minimum.

    Args:
        photos: `(n, C, H, W)` float32; what is under the hole is not looked at.
        hole: bool `(H, W)`.
        aspect: L is `aspect` times the differences from row to row plus 1/`aspect` times those from column to column.

    Returns:
        `(n, C, H, W)`: the photos with the hole filled, clipped to [0, 1] there.
    """
    missing = hole.cpu().numpy()
    if not missing.any():
        return photos
    if missing.all():
        return torch.full_like(photos, 0.5)
    planes = photos.detach().cpu().flatten(0, 1).numpy()
    solved = torch.from_numpy(conditional_mean(planes, missing, power, aspect)).to(photos)
    return torch.where(hole, solved.reshape(photos.shape).clamp(0, 1), photos)
