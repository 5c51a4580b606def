"""Pairs of masked and whole photos: regression, and pix2pix when there is a discriminator (Isola et al. 2017)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from kit.learning.datasets import Batch, network_input
from kit.learning.experiments import Experiment
from kit.learning.losses import (
    check_own_loss,
    discriminator_loss,
    feature_matching_loss,
    generator_adversarial_loss,
    hole_l1_loss,
    hole_mse_loss,
    own_loss,
)
from kit.learning.models import build_discriminator, build_generator
from kit.learning.models.layers.film import CONDITION
from kit.learning.models.layers.standardised import contrast
from kit.learning.models.own import OwnModel
from kit.learning.models.patchgan import PatchGAN, patch_candidate
from kit.learning.training.methods.diversity import diversity
from kit.learning.training.methods.stepper import Stepper


class Supervised:
    """One generator, and a discriminator if anything is adversarial."""

    optimizers: ClassVar[dict[str, tuple[str, ...]]] = {
        "generator": ("generator",),
        "discriminator": ("discriminator",),
    }
    streams: ClassVar[int] = 1

    def build(self, experiment: Experiment, pretrained: bool) -> tuple[nn.Module, dict[str, nn.Module]]:
        """Build the generator, and it with its discriminator."""
        generator = build_generator(experiment, pretrained=pretrained)
        discriminator = build_discriminator(experiment)
        networks: dict[str, nn.Module] = {"generator": generator}
        return generator, networks if discriminator is None else {**networks, "discriminator": discriminator}

    def memory(self, experiment: Experiment) -> dict[str, Any]:
        """Return nothing: no memory is needed."""
        return {}

    def check_buildable(
        self, experiment: Experiment, networks: dict[str, nn.Module], photos: torch.Tensor
    ) -> torch.Size:
        """Pass a batch through both."""
        condition = (photos.new_zeros(len(photos), CONDITION),) if experiment.conditioned else ()
        residual = networks["generator"](network_input(photos, photos[:, :1]), *condition)
        if "discriminator" in networks:
            networks["discriminator"](patch_candidate(photos, photos[:, :1], photos))
        for own in networks["generator"].modules():
            if isinstance(own, OwnModel):
                own.check_gradient(network_input(photos, photos[:, :1]))
        if experiment.loss != "none":
            check_own_loss(experiment.loss, photos)
        shape: torch.Size = residual.shape
        return shape

    def losses(self, trainer: Stepper, *batches: Batch) -> dict[str, torch.Tensor]:
        """Make the discriminator's step, then the generator's."""
        (batch,) = batches
        experiment = trainer.experiment
        with trainer.autocast():
            residual = trainer.run["generator"](network_input(batch.filled, batch.hole), *batch.extra_inputs).float()
        predicted = batch.filled + residual
        losses: dict[str, torch.Tensor] = {}
        total = residual.new_zeros(())
        if experiment.loss != "none":
            losses["own"] = total = own_loss(experiment.loss, predicted, batch.target, batch.weight)
        elif experiment.mse_weight:
            losses["mse"] = hole_mse_loss(predicted, batch.target, batch.weight)
            total = total + experiment.mse_weight * (
                _by_contrast(batch, predicted) if experiment.standardised else losses["mse"]
            )
        if experiment.l1_weight and experiment.loss == "none":
            losses["l1"] = hole_l1_loss(predicted, batch.target, batch.weight)
            total = total + experiment.l1_weight * losses["l1"]
        if "discriminator" in trainer.run:
            # what nobody knows of a test photo is the fill on both sides
            real = batch.filled.lerp(batch.target, batch.weight)
            candidate = batch.filled + batch.weight * residual
            losses["discriminator"] = _discriminator_step(trainer, batch, real, candidate.detach())
            adversarial = _adversarial(trainer, batch, real, candidate)
            total = total + experiment.adversarial_weight * adversarial["adversarial"]
            total = total + experiment.feature_weight * adversarial.get("features", 0.0)
            losses.update(adversarial)
        trainer.backward_and_step("generator", total)
        return {**losses, **diversity(experiment, predicted, batch.target)}


def _by_contrast(batch: Batch, predicted: torch.Tensor) -> torch.Tensor:
    """Return the squared error by each photo's own contrast, as the score stretches channels by their value range."""
    scale = contrast(4 * batch.filled) / 4
    return hole_mse_loss(predicted / scale, batch.target / scale, batch.weight)


def _discriminator_step(trainer: Stepper, batch: Batch, real: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
    discriminator = trainer.run["discriminator"]
    with trainer.autocast():
        on_real = discriminator(patch_candidate(batch.filled, batch.hole, real)).float()
        on_fake = discriminator(patch_candidate(batch.filled, batch.hole, candidate)).float()
    loss = discriminator_loss(on_real, on_fake, trainer.experiment.adversary)
    trainer.backward_and_step("discriminator", loss)
    return loss


def _adversarial(
    trainer: Stepper, batch: Batch, real: torch.Tensor, candidate: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the generator's side; the discriminator's own gradients are not computed."""
    experiment = trainer.experiment
    with trainer.frozen("discriminator") as discriminator, trainer.autocast():
        condition = (batch.filled, batch.hole)
        if not experiment.feature_weight:
            verdict = discriminator(patch_candidate(*condition, candidate)).float()
            return {"adversarial": generator_adversarial_loss(verdict, experiment.adversary)}
        assert isinstance(discriminator, PatchGAN)
        fake = discriminator.features(patch_candidate(*condition, candidate))
        with torch.no_grad():
            true = discriminator.features(patch_candidate(*condition, real))
    return {
        "adversarial": generator_adversarial_loss(fake[-1].float(), experiment.adversary),
        "features": feature_matching_loss(true, fake),
    }
