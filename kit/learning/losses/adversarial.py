"""Adversarial losses on logits, of patches or of pictures.

`bce` is the binary cross-entropy of pix2pix (Goodfellow et al. 2014; Isola et al. 2017), `lsgan` the squared distance
to the labels 1 and 0 (Mao et al. 2017), `hinge` counts only what is within the margin (Lim & Ye 2017; Miyato et al.
2018).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

ADVERSARIAL_KINDS = ("bce", "lsgan", "hinge")


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor, kind: str = "bce") -> torch.Tensor:
    """Return half the sum over real and generated patches: pix2pix halves it to slow the discriminator down.

    Args:
        real, fake: logits of any equal shape.
        kind: bce, lsgan or hinge.
    """
    if kind == "bce":
        on_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        on_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    elif kind == "lsgan":
        on_real, on_fake = (real - 1).square().mean(), fake.square().mean()
    elif kind == "hinge":
        on_real, on_fake = F.relu(1 - real).mean(), F.relu(1 + fake).mean()
    else:
        raise _unknown(kind)
    return (on_real + on_fake) / 2


def generator_adversarial_loss(fake: torch.Tensor, kind: str = "bce") -> torch.Tensor:
    """Return the loss of generated patches as if they were real; bce in its non-saturating form.

    Args:
        fake: logits of any shape.
        kind: bce, lsgan or hinge, the discriminator's.
    """
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
    if kind == "lsgan":
        return (fake - 1).square().mean() / 2  # the paper's half, as in the discriminator's
    if kind == "hinge":
        return -fake.mean()
    raise _unknown(kind)


def _unknown(kind: str) -> ValueError:
    return ValueError(f"adversarial loss {kind!r}: expected one of {', '.join(ADVERSARIAL_KINDS)}")
