"""Train a DCGAN on whole photos (Radford et al. 2016); `kit.learning.models.semantic` makes a fill of it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from kit.learning.datasets import Batch
from kit.learning.experiments import Experiment
from kit.learning.losses import discriminator_loss, generator_adversarial_loss
from kit.learning.models import build_generator
from kit.learning.models.semantic import SemanticInpainter
from kit.learning.training.methods.diversity import diversity
from kit.learning.training.methods.stepper import Stepper


class DCGAN:
    """Generator and discriminator of whole photos; the model that predicts is made of both."""

    optimizers: ClassVar[dict[str, tuple[str, ...]]] = {
        "generator": ("generator",),
        "discriminator": ("discriminator",),
    }
    streams: ClassVar[int] = 1

    def build(self, experiment: Experiment, pretrained: bool) -> tuple[nn.Module, dict[str, nn.Module]]:
        """Build the semantic inpainter, and its two networks."""
        model = build_generator(experiment)
        assert isinstance(model, SemanticInpainter)
        return model, {"generator": model.generator, "discriminator": model.discriminator}

    def memory(self, experiment: Experiment) -> dict[str, Any]:
        """Return nothing: no memory is needed."""
        return {}

    def check_buildable(
        self, experiment: Experiment, networks: dict[str, nn.Module], photos: torch.Tensor
    ) -> torch.Size:
        """Pass a batch through both."""
        generated = networks["generator"](torch.zeros(len(photos), experiment.latent))
        networks["discriminator"](generated)
        shape: torch.Size = generated.shape
        return shape

    def losses(self, trainer: Stepper, *batches: Batch) -> dict[str, torch.Tensor]:
        """Make the discriminator's step, then the generator's."""
        (batch,) = batches
        experiment = trainer.experiment
        real = batch.target * 2 - 1
        z = torch.randn(len(real), experiment.latent, device=real.device)
        with trainer.autocast():
            generated = trainer.run["generator"](z)
            discriminator = trainer.run["discriminator"]
            on_real, on_fake = discriminator(real).float(), discriminator(generated.detach()).float()
        losses = {"discriminator": discriminator_loss(on_real, on_fake, experiment.adversary)}
        trainer.backward_and_step("discriminator", losses["discriminator"])
        with trainer.frozen("discriminator") as frozen, trainer.autocast():
            verdict = frozen(generated).float()
        losses["adversarial"] = generator_adversarial_loss(verdict, experiment.adversary)
        trainer.backward_and_step("generator", losses["adversarial"])
        return {**losses, **diversity(experiment, generated, real)}
