"""The 4x4 convolutions of stride 2 of which GANs are built, made quick on a CPU where the map is tiny."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

MATMUL_POSITIONS = 64
"""Up to so many places of input in a batch, a CPU is quicker with one matrix product than with oneDNN's convolution.

oneDNN reorders the weights, 32 MiB of them between 1024 and 512 channels, however few the places are; the product
reads them as they lie. Measured on an EPYC with AVX2, forward and backward at a batch of one: 6 times up from 1x1 and
more down to it, 1.1 to 3 times at 2x2 to 8x8, and nothing from 16x16 on.
"""


class DownConv(nn.Conv2d):
    """`(N, C, S, S)` to `(N, out, S/2, S/2)`: `nn.Conv2d(C, out, 4, 2, 1)`, the same tensors and values."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=bias)
        _keep_channels_last(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not _is_tiny(x):
            return super().forward(x)
        windows = F.pad(x, (1, 1, 1, 1)).unfold(2, 4, 2).unfold(3, 4, 2)  # (N, C, h, w, 4, 4)
        n, _, height, width = windows.shape[:4]
        rows = windows.permute(0, 2, 3, 4, 5, 1).reshape(n * height * width, -1)
        # rows by weights: the transposed order of the same product is ten times slower backward
        y = F.linear(rows, self.weight.permute(0, 2, 3, 1).reshape(self.out_channels, -1), self.bias)
        return y.view(n, height, width, -1).permute(0, 3, 1, 2)


class UpConv(nn.ConvTranspose2d):
    """`(N, C, S, S)` to `(N, out, 2S, 2S)`: `nn.ConvTranspose2d(C, out, 4, 2, 1)`, the same tensors and values."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=bias)
        _keep_channels_last(self)

    def forward(self, x: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        if not _is_tiny(x):
            return super().forward(x, output_size)
        n, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
        stamps = rows @ self.weight.permute(0, 2, 3, 1).reshape(channels, -1)  # what each place adds to 4x4 pixels
        stamps = stamps.view(n, height * width, 16, self.out_channels).permute(0, 3, 2, 1).flatten(1, 2)
        y = F.fold(stamps, (2 * height, 2 * width), 4, padding=1, stride=2)
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1)


def _is_tiny(x: torch.Tensor) -> bool:
    return x.device.type == "cpu" and x.shape[0] * x.shape[2] * x.shape[3] <= MATMUL_POSITIONS


def _keep_channels_last(convolution: nn.Conv2d | nn.ConvTranspose2d) -> None:
    # so the matrix of the product is a view, before `.to(memory_format=...)` as after it
    convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)


def initialise(module: nn.Module) -> None:
    """DCGAN's start, which pix2pix and CycleGAN took over: Gaussian of deviation 0.02, biases zero; for `apply`."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
