"""Feature matching: a discriminator's layers see the same in a generated picture as in the real one."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def feature_matching_loss(real: list[torch.Tensor], fake: list[torch.Tensor]) -> torch.Tensor:
    """Return the mean over layers of the mean absolute difference (Wang et al. 2018, pix2pixHD, eq. 4); no gradient
    into `real`.

    Args:
        real, fake: one tensor a layer, pairs of equal shape; the last are the logits, which do not count.
    """
    layers = zip(real[:-1], fake[:-1], strict=True)
    return torch.stack([F.l1_loss(of_fake, of_real.detach()) for of_real, of_fake in layers]).mean()
