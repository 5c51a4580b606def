"""Everything that changes while training, and what of it goes into a checkpoint."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from kit.learning.experiments import Experiment
from kit.learning.training.methods import METHODS
from kit.learning.training.optim import make_optimizer
from kit.pretrained.devices import half_precision_on

_PLAIN = {name: name for name in ("epoch", "step", "planned", "log", "seconds", "best")}
_PLAIN["validations_without_improvement"] = "stale"  # as checkpoints call it


@dataclass(frozen=True)
class CutEpoch:
    """What an epoch has reached besides the weights when it is cut between two steps."""

    sums: dict[str, torch.Tensor]
    """Of the losses of its steps so far."""
    seconds: float


@dataclass
class State:
    """Networks, optimizers, and where the training is."""

    model: nn.Module
    """The network that predicts."""
    networks: dict[str, nn.Module]
    """All that learn, by name; the model is one of them or made of them."""
    average: nn.Module
    """The model with the moving average of its weights."""
    optimizers: dict[str, torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    """Of float16's gradients; does nothing in other precisions."""
    memory: dict[str, Any]
    """What a method keeps besides, with `state_dict`."""
    epoch: int = 0
    step: int = 0
    planned: int = 0
    """Epochs this run will have; fewer than the experiment's when --max-minutes or patience cuts it."""
    log: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    best: dict[str, Any] | None = None
    """With patience: rmse, epoch and weights of the best measurement."""
    validations_without_improvement: int = 0
    """So many validations since then."""
    cut: CutEpoch | None = None
    """What has been reached of an epoch that `--stop-after` has cut; None between two epochs."""

    def parts(self) -> dict[str, Any]:
        """Return all that has a state_dict, by name."""
        optimizers = {f"{name}_optimizer": optimizer for name, optimizer in self.optimizers.items()}
        return {**self.networks, "average": self.average, **optimizers, "scaler": self.scaler, **self.memory}

    def state_dict(self) -> dict[str, Any]:
        """Return all of it for a checkpoint."""
        return {
            **{name: part.state_dict() for name, part in self.parts().items()},
            **{key: getattr(self, name) for name, key in _PLAIN.items()},
            "cut": None if self.cut is None else vars(self.cut),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load all of it from a checkpoint."""
        for name, part in self.parts().items():
            if name != "scaler" or state[name]:  # it is empty where float16 was not used
                part.load_state_dict(state[name])
        for name, key in _PLAIN.items():
            setattr(self, name, state[key])
        cut = state.get("cut")  # earlier versions knew none
        self.cut = None if cut is None else CutEpoch(**cut)


def new_state(experiment: Experiment, device: torch.device, *, pretrained: bool = True) -> State:
    """Make networks and optimizers before the first step; the same for the same experiment.

    Args:
        pretrained: False leaves the encoder's weights to a checkpoint.
    """
    method = METHODS[experiment.method]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        model, networks = method.build(experiment, pretrained)
    for network in (model, *networks.values()):
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).requires_grad_(False)
    optimizers = {
        name: make_optimizer([networks[one] for one in owned if one in networks], experiment)
        for name, owned in method.optimizers.items()
        if any(one in networks for one in owned)
    }
    scaler = torch.amp.GradScaler(device.type, enabled=precision_on(experiment, device) == torch.float16)
    memory = method.memory(experiment)
    return State(model, networks, average, optimizers, scaler, memory, planned=experiment.epochs)


def precision_on(experiment: Experiment, device: torch.device) -> torch.dtype:
    """Return the precision in which passes are computed on this device."""
    if experiment.precision != "auto":
        chosen: torch.dtype = getattr(torch, experiment.precision)
        return chosen
    if device.type != "cuda":
        return torch.float32
    return half_precision_on(device)
