"""The part of the engine that a training method may use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import nn

from kit.learning.experiments import Experiment


class Stepper(Protocol):
    """The part of `Trainer` that methods call."""

    @property
    def experiment(self) -> Experiment:
        """Return the settings."""

    @property
    def run(self) -> dict[str, Callable[..., Any]]:
        """Return the networks by name, called as they are trained: compiled, or with batch norms over processes."""

    @property
    def memory(self) -> dict[str, Any]:
        """Return what the method keeps from step to step besides the networks."""

    def autocast(self) -> torch.autocast:
        """Return the context of the passes' precision."""

    def frozen(self, name: str) -> AbstractContextManager[nn.Module]:
        """Lend a network through which gradients flow, but into which none do."""

    def backward_and_step(self, name: str, loss: torch.Tensor) -> None:
        """Add this pass's gradients; after the last pass of a step, let the optimizer of this name step."""
