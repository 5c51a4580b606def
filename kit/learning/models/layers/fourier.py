"""Fast Fourier convolutions: half of the features are filtered over the whole photo at once.

Chi et al. 2020 (the convolution), Suvorov et al. 2022 (LaMa, which fills large holes with blocks of two of them).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kit.learning.models.layers.blocks import ChannelNorm, drop_branch


class FourierUnit(nn.Module):
    """A 1x1 convolution on the spectrum, `(N, C, H, W)` to the same shape.

    The papers' batch norm is replaced by a norm over each photo's whole spectrum, which does not depend on the batch;
    a norm at each frequency would lose how strong the frequencies are.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * width, 2 * width, 1, bias=False)
        self.norm = nn.GroupNorm(1, 2 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, H, W)` to `(N, C, H, W)` float32."""
        size = x.shape[-2:]
        # half precision knows no transform of sizes that are no powers of two
        spectrum = torch.fft.rfft2(x.float(), norm="ortho")
        parts = torch.cat([spectrum.real, spectrum.imag], dim=1).contiguous(memory_format=torch.channels_last)
        real, imaginary = F.relu(self.norm(self.mix(parts))).float().chunk(2, dim=1)
        y: torch.Tensor = torch.fft.irfft2(torch.complex(real, imaginary), s=size, norm="ortho")
        return y


class SpectralTransform(nn.Module):
    """A Fourier unit on half the channels between two 1x1 convolutions, `(N, C, H, W)` to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, width // 2, 1)
        self.unit = FourierUnit(width // 2)
        self.expand = nn.Conv2d(width // 2, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, H, W)` to `(N, C, H, W)`."""
        x = F.relu(self.reduce(x))
        x = (x + self.unit(x)).contiguous(memory_format=torch.channels_last)
        y: torch.Tensor = self.expand(x)
        return y


class FourierConv2d(nn.Module):
    """The local features see 3x3 places, the global ones the whole photo, and each sees the other."""

    def __init__(self, width: int, ratio: float = 0.5) -> None:
        """
        Args:
            width: channels of input and output, local ones first.
            ratio: share of the channels that are global; LaMa has three quarters.
        """
        super().__init__()
        self.local = width - round(width * ratio)
        self.to_local = nn.Conv2d(width, self.local, 3, padding=1)
        self.local_to_global = nn.Conv2d(self.local, width - self.local, 3, padding=1)
        self.global_to_global = SpectralTransform(width - self.local)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, H, W)` to `(N, C, H, W)`."""
        local, whole = x[:, : self.local], x[:, self.local :]
        return torch.cat([self.to_local(x), self.local_to_global(local) + self.global_to_global(whole)], dim=1)


class FourierBlock(nn.Module):
    """Norm, Fourier convolution, ReLU, Fourier convolution, added to the input."""

    def __init__(self, width: int, drop: float = 0.0, *, ratio: float = 0.5) -> None:
        """
        Args:
            width: channels of input and output.
            drop: share of photos whose branch is dropped while training.
            ratio: share of the channels that are global.
        """
        super().__init__()
        self.drop = drop
        convolutions = (FourierConv2d(width, ratio), FourierConv2d(width, ratio))
        self.branch = nn.Sequential(ChannelNorm(width), convolutions[0], nn.ReLU(inplace=True), convolutions[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, H, W)` to the same shape."""
        return x + drop_branch(self.branch(x), self.drop, self.training)
