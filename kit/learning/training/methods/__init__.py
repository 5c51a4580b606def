"""How networks are taught: one file each. Knows networks and losses, no files and no epochs.

A method builds its networks, says which optimizer owns which, and turns a batch into gradients. `Trainer` is what a
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
from kit.learning.training.methods.supervised import Supervised


class Method(Protocol):
    """What the engine asks of a method."""

    optimizers: ClassVar[dict[str, tuple[str, ...]]]
    """Each optimizer's networks."""
    streams: ClassVar[int]
    """Independent batches that a pass takes."""

    def build(self, experiment: Experiment, pretrained: bool) -> tuple[nn.Module, dict[str, nn.Module]]:
        """The model that predicts, and all networks by name."""

    def memory(self, experiment: Experiment) -> dict[str, Any]:
        """What is kept from step to step besides the networks."""

    def losses(self, trainer: Any, *batches: Batch) -> dict[str, torch.Tensor]:
        """Let the optimizers descend on one pass; losses, not yet read."""

    def try_out(self, experiment: Experiment, networks: dict[str, nn.Module], photos: torch.Tensor) -> torch.Size:
        """Pass photos through all networks; the shape of what the generator paints."""


METHODS: dict[str, Method] = {"supervised": Supervised(), "cyclegan": CycleGAN(), "dcgan": DCGAN()}
