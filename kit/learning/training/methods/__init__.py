"""Training methods: one file each. Knows networks and losses, no files and no epochs.

A method builds its networks, says which optimizer owns which, and turns a batch into gradients. `Stepper` is what a
method may use of the engine.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from kit.learning.datasets import Batch
from kit.learning.experiments import Experiment
from kit.learning.training.methods.cyclegan import CycleGAN
from kit.learning.training.methods.dcgan import DCGAN
from kit.learning.training.methods.stepper import Stepper
from kit.learning.training.methods.supervised import Supervised


class Method(Protocol):
    """Teach networks: the part that differs between regression, pix2pix, CycleGAN and DCGAN."""

    optimizers: ClassVar[dict[str, tuple[str, ...]]]
    """Each optimizer's networks."""
    streams: ClassVar[int]
    """Independent batches that a pass takes."""

    def build(self, experiment: Experiment, pretrained: bool) -> tuple[nn.Module, dict[str, nn.Module]]:
        """Build the model that predicts, and all networks by name."""

    def memory(self, experiment: Experiment) -> dict[str, Any]:
        """Return what is kept from step to step besides the networks."""

    def losses(self, trainer: Stepper, *batches: Batch) -> dict[str, torch.Tensor]:
        """Let the optimizers step on one pass and return the losses, not yet read."""

    def check_buildable(
        self, experiment: Experiment, networks: dict[str, nn.Module], photos: torch.Tensor
    ) -> torch.Size:
        """Pass photos through all networks and return the shape of what the generator paints."""


METHODS: dict[str, Method] = {"supervised": Supervised(), "cyclegan": CycleGAN(), "dcgan": DCGAN()}
