"""Generators of segmentation-models-pytorch on timm encoders that begin as the base fill itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from kit.errors import UsageError
from kit.learning.models.layers.film import Film, apply_film


class ResidualGenerator(nn.Module):
    """An smp network whose head starts at zero: before the first step the prediction is the base fill."""

    def __init__(
        self,
        architecture: str,
        encoder: str,
        decoder_channels: tuple[int, ...],
        *,
        in_channels: int,
        dropout: float,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            architecture: unet, unetplusplus, fpn or manet.
            encoder: smp's name, any timm model as `tu-<name>`.
            decoder_channels: widths from coarse to fine; their number is the encoder's depth.
            in_channels: channels of the input.
            dropout: share of the coarsest features dropped while training.
            options: what timm must be told to build the encoder.

        Raises:
            UsageError: there is no such encoder, or it has not that many levels.
        """
        super().__init__()
        self.network: Any = _smp_network(architecture, encoder, decoder_channels, in_channels, options)
        self.dropout = dropout
        self.coarsest = int(self.network.encoder.out_channels[-1])
        self.film: Film | None = None
        head: Any = self.network.segmentation_head[0]
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Return the residual `(N, 3, S, S)` for `(N, C, S, S)` and the condition `(N, CONDITION)`."""
        features = self.network.encoder(x)
        features[-1] = apply_film(self.film, features[-1], condition)
        if self.dropout:
            features[-1] = F.dropout2d(features[-1], self.dropout, self.training)
        y: torch.Tensor = self.network.segmentation_head(self.network.decoder(features))
        return y


def _smp_network(
    architecture: str, encoder: str, decoder_channels: tuple[int, ...], in_channels: int, more: Mapping[str, Any]
) -> Any:
    import segmentation_models_pytorch as smp  # brings timm and torchvision: seconds that other networks need not wait

    options: dict[str, object] = {"encoder_depth": len(decoder_channels), "decoder_channels": decoder_channels}
    if architecture == "fpn":  # has one width, not one a level
        options = {"encoder_depth": 5, "decoder_segmentation_channels": decoder_channels[0]}
    try:
        return smp.create_model(
            architecture, encoder, encoder_weights=None, in_channels=in_channels, classes=3, **options, **more
        )
    except Exception as error:  # each encoder of smp and timm raises what it likes
        reason = (str(error) or type(error).__name__).splitlines()[0].split(", supported encoders")[0][:200].strip('."')
        raise UsageError(
            f"encoder={encoder} with architecture={architecture} and {len(decoder_channels)} decoder channels cannot "
            f"be built: {reason}. Encoders: tu-<name of a timm model>, such as --set encoder=tu-resnet18."
        ) from None
