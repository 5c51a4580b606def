"""The adversarial loss of pix2pix: binary cross-entropy on patch logits (Goodfellow et al. 2014; Isola et al. 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Half the sum over real and generated patches: the paper halves it to slow the discriminator down.

    Args:
        real, fake: logits of any equal shape.
    """
    on_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    on_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    return (on_real + on_fake) / 2


def generator_adversarial_loss(fake: torch.Tensor) -> torch.Tensor:
    """The non-saturating form: generated patches taken for real."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
