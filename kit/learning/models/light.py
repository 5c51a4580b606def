"""A pretrained encoder with a light decoder that stops at half of the size: low frequencies carry most of the score.

On a CPU this is several times cheaper than a full U-Net on the same encoder: batch norms are folded, the finest stages
keep their weights and need no backward pass, and the widest maps are never decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from kit.errors import UsageError
from kit.learning.models.layers.film import Film, apply_film
from kit.learning.models.layers.fold_batch_norm import fold_batch_norms

_AROUND = 9  # pixels: a smoothed hole tells how far the border is
_HOLE_CHANNELS = 4  # hole, row, column, smoothed hole
_NOT_BY_STAGES = ("FeatureGetterNet", "FeatureHookNet")  # timm's wrappers that run a model by its own forward


class LightUNet(nn.Module):
    """`(N, 6, S, S)` as `kit.learning.datasets` makes it, to the residual `(N, 3, S, S)`; zero at the start."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        encoder: nn.Module,
        widths: Sequence[int],
        *,
        frozen: int = 0,
        dropout: float = 0.0,
        size: int = 64,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        """
        Args:
            encoder: a timm model with `features_only`, three input channels and its weights loaded; its batch norms are
                folded here.
            widths: of the decoder from coarse to fine, one a level of the encoder that is used.
            frozen: stages of the encoder, from the finest, that keep their weights.
            dropout: share of the coarsest features dropped while training.
            size: side in pixels of what the encoder was built to see.
            mean, std: of the photos that the encoder was trained with.

        Raises:
            UsageError: the encoder has no such levels, or cannot be told of the hole on its way.
        """
        super().__init__()
        information: Any = encoder.feature_info
        channels = information.channels()
        if not 2 <= len(widths) < len(channels) + 1 or not 0 <= frozen < len(channels):
            raise UsageError(
                f"decoder_channels: 2 to {len(channels)} numbers, frozen: 0 to {len(channels) - 1} for this encoder"
            )
        if type(encoder).__name__ in _NOT_BY_STAGES:
            raise UsageError(
                "architecture=light tells an encoder of the hole between its stages, and timm runs this one whole. "
                "Give it --set architecture=unet, or --set encoder=tu-resnet18."
            )
        self.coarsest = int(channels[-1])
        self.film: Film | None = None
        self.encoder = fold_batch_norms(encoder, torch.zeros(1, 3, size, size))
        self.dropout, self.finest = dropout, len(channels) - len(widths)
        self.channels_last = getattr(encoder, "output_fmt", None) == "NHWC"  # Swin's kind: (N, H, W, C)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        injected = _inject(self.encoder, information.module_name()[frozen - 1], channels[frozen - 1], bool(frozen))
        injected.channels_last = self.channels_last and frozen > 0
        self._injected = [injected]  # in a list: it belongs to the encoder, and its weights are stored once
        self.levels, self.between = nn.ModuleList(), nn.ModuleList()
        narrow = 0
        for level, (inside, width) in enumerate(zip(reversed(channels), widths, strict=False)):
            # the coarsest level has more channels than places
            depth, kernel = (1 if level < len(widths) / 2 else 2), (1 if level == 0 else 3)
            self.levels.append(_level(inside + narrow + 3 + _HOLE_CHANNELS, width, depth, kernel))
            if level + 1 < len(widths):
                narrow = max(32, 16 * round(widths[level + 1] / 24))
                self.between.append(nn.Conv2d(width, narrow, 1))  # before upsampling, which is then cheap
        self.head = nn.Conv2d(widths[-1], 3 * 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)

    @property
    def injected(self) -> _Injected:
        """Return the stage of the encoder that takes the hole besides."""
        return self._injected[0]

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Return the residual `(N, 3, S, S)`, decoded at half the resolution of the finest level used.

        Args:
            condition: `(N, CONDITION)`, see `kit.learning.conditions`.
        """
        photo, hole = x[:, :3] / 4 + 0.5, x[:, 3:4]
        around = box_blur(hole, _AROUND)
        hole_input = torch.cat([x[:, 3:], around], 1)
        self.injected.hole_input = hole_input
        features = self.encoder(((photo - self.mean) / self.std).contiguous(memory_format=torch.channels_last))
        if self.channels_last:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        seen = torch.cat([x[:, :3] / 2, hole_input], 1)
        y: torch.Tensor | None = None
        for level, (convolutions, feature) in enumerate(zip(self.levels, reversed(features), strict=False)):
            if level == 0:
                feature = F.dropout2d(apply_film(self.film, feature, condition), self.dropout, self.training)
            parts = [feature, F.interpolate(seen, size=feature.shape[2:], mode="area")]
            if y is not None:
                parts.insert(1, F.interpolate(y, size=feature.shape[2:], mode="nearest"))
            y = convolutions(torch.cat(parts, 1))
            if level < len(self.between):
                y = self.between[level](y)
        half = F.pixel_shuffle(self.head(y), 2)
        return F.interpolate(half, size=x.shape[2:], mode="bilinear")


def box_blur(x: torch.Tensor, side: int) -> torch.Tensor:
    """Return `(N, C, H, W)` averaged over squares of `side` pixels (odd), zeros around it.

    By running sums: `F.avg_pool2d` over a channels-last map is slow on a CPU, the more so the larger the square.
    """
    before, after = side // 2 + 1, side // 2
    rows = F.pad(x.contiguous(), (before, after, before, after)).cumsum(2)
    columns = (rows[:, :, side:] - rows[:, :, :-side]).cumsum(3)
    return (columns[..., side:] - columns[..., :-side]) / side**2


class _Injected(nn.Module):
    """A stage of the encoder that adds what it makes of the hole to its features."""

    hole_input: torch.Tensor

    def __init__(self, stage: nn.Module, channels: int) -> None:
        super().__init__()
        self.stage, self.channels_last = stage, False
        self.bring = nn.Conv2d(_HOLE_CHANNELS, channels, 1)
        nn.init.zeros_(self.bring.weight)  # nothing learnt is lost
        if self.bring.bias is not None:
            nn.init.zeros_(self.bring.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stage(x)
        size = y.shape[1:3] if self.channels_last else y.shape[2:]
        brought = self.bring(F.interpolate(self.hole_input, size=size, mode="area"))
        output: torch.Tensor = y + (brought.permute(0, 2, 3, 1) if self.channels_last else brought)
        return output


def _inject(encoder: nn.Module, name: str, channels: int, frozen: bool) -> _Injected:
    """Bring the hole into the encoder after the stage `name` and freeze what comes up to it; or before all stages."""
    names = [child for child, _ in encoder.named_modules()]
    if not frozen:  # before the first stage, whose name is that of the first child
        first = next(child for child in names if child)
        injected = _Injected(nn.Identity(), 3)
        encoder.set_submodule(first, nn.Sequential(injected, encoder.get_submodule(first)))
        return injected
    name = name if name in names else name.replace(".", "_")  # timm's FeatureListNet flattens
    last = max(place for place, child in enumerate(names) if child == name or child.startswith(f"{name}."))
    for child in names[1 : last + 1]:
        for parameter in encoder.get_submodule(child).parameters(recurse=False):
            parameter.requires_grad_(False)
    injected = _Injected(encoder.get_submodule(name), channels)
    encoder.set_submodule(name, injected)
    return injected


def _level(inside: int, width: int, depth: int, kernel: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(depth):
        size = kernel if number == 0 else 3
        convolution = nn.Conv2d(width if number else inside, width, size, padding=size // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
