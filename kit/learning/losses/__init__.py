"""Losses: one file each, a function that takes tensors and gives a scalar."""

from kit.learning.losses.adversarial import ADVERSARIAL_KINDS, discriminator_loss, generator_adversarial_loss
from kit.learning.losses.features import feature_matching_loss
from kit.learning.losses.own import check_own_loss, own_loss
from kit.learning.losses.pixel import hole_l1_loss, hole_mse_loss

__all__ = [
    "ADVERSARIAL_KINDS",
    "check_own_loss",
    "discriminator_loss",
    "feature_matching_loss",
    "generator_adversarial_loss",
    "hole_l1_loss",
    "hole_mse_loss",
    "own_loss",
]
