"""A model of the user's own, and what is asked of it wherever it is used: one line where it gives something else."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from kit.errors import UsageError
from kit.learning.experiments import SIZES, Experiment
from kit.learning.experiments.arguments import call_model
from kit.learning.experiments.code import called, failed, name_in


class OwnModel(nn.Module):
    """A network of the user's: `(N, 6, S, S)` to a residual `(N, 3, S, S)`, or one line that says what it gave."""

    def __init__(self, network: nn.Module, reference: str) -> None:
        super().__init__()
        self.network, self.reference = network, reference

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the residual. Raises `UsageError` for an exception in the network, or another shape."""
        given = tuple(x.shape)
        try:
            residual: torch.Tensor = self.network(x)
        except torch.OutOfMemoryError:
            raise
        except (Exception, SystemExit) as error:  # whatever their code raises
            hint = f"If it needs another size: --set size={'|'.join(map(str, SIZES))}"
            raise failed(error, self.reference, f"{name_in(self.reference)} on {given}", hint) from None
        wanted = (given[0], 3, *given[2:])
        if not isinstance(residual, torch.Tensor) or tuple(residual.shape) != wanted:
            what = tuple(residual.shape) if isinstance(residual, torch.Tensor) else type(residual).__name__
            raise UsageError(f"{called(self.reference)} gives {what} for {given}, and {wanted} is needed.")
        return residual

    def check_gradient(self, x: torch.Tensor) -> None:
        """Pass a batch there and back. Raises `UsageError` where no gradient can be had."""
        with torch.enable_grad():
            residual = self(x)
            if not residual.requires_grad:
                raise UsageError(f"{called(self.reference)}: its output depends on no parameter, so nothing is learnt.")
            try:
                residual.float().square().mean().backward()
            except torch.OutOfMemoryError:
                raise
            except (Exception, SystemExit) as error:  # whatever torch or their own backward raises
                raise failed(error, self.reference, f"the backward pass of {name_in(self.reference)}") from None
        self.zero_grad(set_to_none=True)


def build_own(experiment: Experiment) -> OwnModel:
    """Build the model that an experiment names.

    Raises:
        UsageError: it fails, gives no module, or one that cannot be trained or stored.
    """
    network, name = call_model(experiment), called(experiment.model)
    if not isinstance(network, nn.Module):
        raise UsageError(f"{name} gives {type(network).__name__}, and a torch.nn.Module is needed.")
    if any(isinstance(one, UninitializedParameter) for one in network.parameters()):
        raise UsageError(f"{name} has lazy layers, whose shapes are not known yet. Give them their channels.")
    if not any(one.requires_grad for one in network.parameters()):
        raise UsageError(f"{name} has no parameter that could learn.")
    _check_storable(network, name)
    return OwnModel(network, experiment.model)


def _check_storable(network: nn.Module, name: str) -> None:
    """Raise `UsageError` for a state that a weights file cannot hold: it would be found out after the training."""
    places: dict[int, str] = {}
    for key, value in network.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise UsageError(f"{name}: its state {key} is no tensor, and weights files hold tensors alone.")
        if not value.numel():
            continue
        other = places.setdefault(value.untyped_storage().data_ptr(), key)
        if other != key:
            raise UsageError(
                f"{name}: {key} and {other} are one tensor, which a weights file cannot hold. Use it once."
            )
