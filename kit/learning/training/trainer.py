"""The trainer of one fold, which training methods use: networks to run, precision, optimizer steps."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from kit.core.speech import warn_once
from kit.learning.datasets import Batch, TrainingPhotos, network_input
from kit.learning.experiments import Experiment
from kit.learning.training.distributed import DistributedContext
from kit.learning.training.methods import METHODS
from kit.learning.training.optim import average_weight, learning_rate, set_learning_rate, update_average
from kit.learning.training.state import State, precision_on

SECOND_STREAM = 1 << 20  # added to the epoch: other draws for a method that wants two batches


class Trainer:
    """One step after the other. Nothing in a step waits for the device."""

    def __init__(
        self, experiment: Experiment, state: State, processes: DistributedContext, *, compiled: bool = False
    ) -> None:
        """
        Args:
            processes: device and fellow processes.
            compiled: run the networks through `torch.compile`, if it works here.
        """
        self.experiment, self.state, self.processes = experiment, state, processes
        self.method = METHODS[experiment.method]
        self.memory = state.memory
        self.precision = precision_on(experiment, processes.device)
        self.run: dict[str, Callable[..., Any]] = {
            name: processes.prepare(network) for name, network in state.networks.items()
        }
        if compiled:
            self.run["generator"] = _compiled(self)
        self._passes, self._last = 1, True

    def autocast(self) -> torch.autocast:
        """Return the passes' precision."""
        wanted = self.precision != torch.float32
        return torch.autocast(self.processes.device.type, self.precision if wanted else None, enabled=wanted)

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[nn.Module]:
        """Lend a network through which gradients flow, but into which none do."""
        network = self.state.networks[name]
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            yield network
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)

    def backward_and_step(self, name: str, loss: torch.Tensor) -> None:
        """Add this pass's gradients; after the last pass of a step, clip them and let the optimizer step."""
        optimizer, scaler = self.state.optimizers[name], self.state.scaler
        scaler.scale(loss / self._passes).backward()  # type: ignore[no-untyped-call]
        if not self._last:
            return
        owned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.processes.average_gradients(owned)
        scaler.unscale_(optimizer)
        if self.experiment.gradient_clip:
            nn.utils.clip_grad_norm_(owned, self.experiment.gradient_clip)
        scaler.step(optimizer)
        optimizer.zero_grad(set_to_none=True)

    def step(
        self, photos: TrainingPhotos, draws: Sequence[tuple[np.ndarray, np.ndarray]], steps: int
    ) -> dict[str, torch.Tensor]:
        """Step all optimizers and the average once; return the passes' mean losses, not yet read.

        Args:
            draws: for each stream of the method, what `TrainingPhotos.begin_epoch` gave.
            steps: of the whole run.
        """
        state, experiment = self.state, self.experiment
        rank = self.processes.rank
        # dropout and z: a function of the step alone
        torch.manual_seed(experiment.seed * 1_000_003 + state.step + (rank << 40))
        set_learning_rate(state.optimizers.values(), learning_rate(experiment, state.step, steps))
        state.model.train()
        sums: dict[str, torch.Tensor] = {}
        self._passes = photos.passes
        for number in range(self._passes):
            self._last = number == self._passes - 1
            batches = [self._batch(photos, stream, drawn, number) for stream, drawn in enumerate(draws)]
            for name, loss in train_step(self, *batches).items():
                sums[name] = sums.get(name, 0.0) + loss.detach() / self._passes
        state.scaler.update()
        share = average_weight(experiment, state.step, steps)
        if share < 1 or (state.step + 1) % len(photos) == 0:  # weights as they are are only looked at between epochs
            update_average(state.average, state.model, share)
        state.step += 1
        return sums

    def _batch(self, photos: TrainingPhotos, stream: int, drawn: tuple[np.ndarray, np.ndarray], number: int) -> Batch:
        epoch = self.state.epoch + stream * SECOND_STREAM
        draws, order = drawn
        return photos.batch(epoch, self.state.step % len(photos), draws, order, number)


def train_step(trainer: Trainer, *batches: Batch) -> dict[str, torch.Tensor]:
    """Make one pass of the experiment's method."""
    return trainer.method.losses(trainer, *batches)


def _compiled(trainer: Trainer) -> Callable[..., Any]:
    """Put the generator through `torch.compile`, tried on one batch; as it is where that fails."""
    network, plain = trainer.state.networks["generator"], trainer.run["generator"]
    if trainer.experiment.method == "dcgan":
        warn_once("Warning: a DCGAN is trained without --compile.")
        return plain
    before = copy.deepcopy(network.state_dict())
    size, batch = trainer.experiment.size, trainer.experiment.batch_size
    picture = torch.zeros(batch, 3, size, size, device=trainer.processes.device)
    try:
        quick: Any = torch.compile(plain)
        with trainer.autocast():
            quick(network_input(picture, picture[:, :1])).float().sum().backward()
    except Exception as error:  # a missing compiler, a construct it does not know: each backend raises its own
        reason = " ".join(str(error).split())[:160]
        warn_once(f"Warning: torch.compile does not work here ({reason}); going on without it.")
        quick = plain
    network.load_state_dict(before)
    network.zero_grad(set_to_none=True)
    return quick  # type: ignore[no-any-return]
