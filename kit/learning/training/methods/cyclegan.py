"""CycleGAN (Zhu et al. 2017): masked and whole photos that are not pairs of one another."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from kit.learning.datasets import Batch, network_input
from kit.learning.experiments import Experiment
from kit.learning.losses import discriminator_loss, generator_adversarial_loss
from kit.learning.models import build_discriminator, build_generator
from kit.learning.training.methods.diversity import diversity
from kit.learning.training.methods.stepper import Stepper


class CycleGAN:
    """`generator` completes masked photos, `back` masks whole ones; each has a discriminator of what it paints."""

    optimizers: ClassVar[dict[str, tuple[str, ...]]] = {
        "generator": ("generator", "back"),
        "discriminator": ("discriminator", "back_discriminator"),
    }
    streams: ClassVar[int] = 2

    def build(self, experiment: Experiment, pretrained: bool) -> tuple[nn.Module, dict[str, nn.Module]]:
        """Build the completing generator, and all four networks."""
        generator, back = build_generator(experiment), build_generator(experiment)
        discriminators = [build_discriminator(experiment, conditional=False) for _ in range(2)]
        assert discriminators[0] is not None and discriminators[1] is not None
        networks = {"generator": generator, "back": back}
        return generator, {**networks, "discriminator": discriminators[0], "back_discriminator": discriminators[1]}

    def memory(self, experiment: Experiment) -> dict[str, Any]:
        """Return the generated photos of both kinds, to be shown again."""
        return {"pool": Pool(experiment.pool), "back_pool": Pool(experiment.pool)}

    def check_buildable(
        self, experiment: Experiment, networks: dict[str, nn.Module], photos: torch.Tensor
    ) -> torch.Size:
        """Pass a batch through all four."""
        for name in ("discriminator", "back_discriminator"):
            networks[name](photos)
        networks["back"](_generator_input(photos))
        shape: torch.Size = networks["generator"](_generator_input(photos)).shape
        return shape

    def losses(self, trainer: Stepper, *batches: Batch) -> dict[str, torch.Tensor]:
        """Make the generators' step, then the discriminators'."""
        masked, whole = batches[0].filled, batches[1].target
        with trainer.autocast():
            completed, erased = _paint(trainer, "generator", masked), _paint(trainer, "back", whole)
            losses = _cycles(trainer, masked, whole, completed, erased)
        losses["adversarial"] = _adversarial(trainer, "discriminator", completed) + _adversarial(
            trainer, "back_discriminator", erased
        )
        experiment = trainer.experiment
        total = experiment.adversarial_weight * losses["adversarial"] + experiment.cycle_weight * losses["cycle"]
        if "identity" in losses:
            total = total + experiment.cycle_weight * experiment.identity_weight * losses["identity"]
        trainer.backward_and_step("generator", total)
        shown = (
            trainer.memory["pool"].exchange(completed.detach()),
            trainer.memory["back_pool"].exchange(erased.detach()),
        )
        losses["discriminator"] = _discriminate(trainer, "discriminator", whole, shown[0]) + _discriminate(
            trainer, "back_discriminator", masked, shown[1]
        )
        trainer.backward_and_step("discriminator", losses["discriminator"])
        return {**losses, **diversity(experiment, completed, whole)}


def _generator_input(photos: torch.Tensor) -> torch.Tensor:
    # these generators are not told where the hole is: there is none to tell of in a whole photo
    return network_input(photos, torch.zeros_like(photos[:, :1]))


def _paint(trainer: Stepper, name: str, photos: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = photos + trainer.run[name](_generator_input(photos)).float()
    return y


def _cycles(
    trainer: Stepper, masked: torch.Tensor, whole: torch.Tensor, completed: torch.Tensor, erased: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the cycle-consistency loss and the identity loss, each over both directions."""
    there = (_paint(trainer, "back", completed) - masked).abs().mean()
    losses = {"cycle": there + (_paint(trainer, "generator", erased) - whole).abs().mean()}
    if trainer.experiment.identity_weight:
        same = (_paint(trainer, "generator", whole) - whole).abs().mean()
        losses["identity"] = same + (_paint(trainer, "back", masked) - masked).abs().mean()
    return losses


def _adversarial(trainer: Stepper, name: str, painted: torch.Tensor) -> torch.Tensor:
    with trainer.frozen(name) as discriminator, trainer.autocast():
        verdict = discriminator(_for_discriminator(painted)).float()
    return generator_adversarial_loss(verdict, trainer.experiment.adversary)


def _discriminate(trainer: Stepper, name: str, real: torch.Tensor, painted: torch.Tensor) -> torch.Tensor:
    with trainer.autocast():
        on_real = trainer.run[name](_for_discriminator(real)).float()
        on_fake = trainer.run[name](_for_discriminator(painted)).float()
    return discriminator_loss(on_real, on_fake, trainer.experiment.adversary)


def _for_discriminator(photos: torch.Tensor) -> torch.Tensor:
    return (photos * 2 - 1).contiguous(memory_format=torch.channels_last)


class Pool:
    """Generated photos of earlier steps (Shrivastava et al. 2017): discriminators see them again, half of the time.

    Draws come from torch's global generator, which the engine seeds in each step.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.photos = torch.empty(0)

    def exchange(self, photos: torch.Tensor) -> torch.Tensor:
        """Exchange half of the photos, each for an earlier one, once the pool is full."""
        if not self.size:
            return photos
        kept = list(self.photos.to(photos.device))
        shown = []
        for photo in photos:
            if len(kept) < self.size:
                kept.append(photo)
                shown.append(photo)
            elif float(torch.rand(())) < 0.5:
                place = int(torch.randint(self.size, ()))
                shown.append(kept[place])
                kept[place] = photo
            else:
                shown.append(photo)
        self.photos = torch.stack(kept)
        return torch.stack(shown)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the pool for a checkpoint."""
        return {"photos": self.photos}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load the pool from a checkpoint."""
        self.photos = state["photos"]
