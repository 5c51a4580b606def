"""One process, or several that torchrun or `accelerate launch` started. Knows no experiment."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn

from kit.errors import TrainingError
from kit.learning.datasets import BatchShard
from kit.pretrained.devices import device_named

PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class DistributedContext:
    """The processes of a training and the device of this one."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def is_main_process(self) -> bool:
        """Return whether this process is the one that writes."""
        return self.rank == 0

    @property
    def shard(self) -> BatchShard:
        """Return the share of each batch that this process takes."""
        return BatchShard(self.rank, self.count)

    def prepare(self, module: nn.Module) -> nn.Module:
        """Let a network's batch norm see the batches of all processes, on CUDA.

        On CPUs, where torch has no such layer, each process normalises its own batch; the main one's running statistics
        are those that are kept, as with `DistributedDataParallel`.
        """
        if self.count == 1 or self.device.type != "cuda":
            return module
        # timm's, because torch's own would lose what timm's norms do after them
        converted: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of all processes' gradients.

        Once a step and by hand: `DistributedDataParallel` would do it in every pass, and wants every parameter to take
        part in the loss, which those of an encoder's unused levels do not.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.count == 1 or not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):  # type: ignore[no-untyped-call]
            gradient.copy_(mean.view(gradient.shape))

    def wait(self) -> None:
        """Wait until all processes are at this point."""
        if self.count > 1:
            dist.barrier()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over all processes, of a tensor on any device."""
        if self.count == 1:
            return values
        total = values.to(self.device, copy=True)
        dist.all_reduce(total)
        return (total / self.count).cpu()

    def from_main(self, value: float) -> float:
        """Return the value that the main process has."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)


def started_by_torchrun() -> bool:
    """Return whether other processes train with this one.

    Raises:
        TrainingError: the environment says so, but not where they are.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    way_out = "Start processes with torchrun, or train in one: unset WORLD_SIZE"
    if not count.isdecimal():
        raise TrainingError(f"WORLD_SIZE={count} in the environment is no number of processes. {way_out}")
    if int(count) <= 1:
        return False
    lacking = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if lacking:
        raise TrainingError(f"WORLD_SIZE={count} in the environment, but {lacking[0]} is not set. {way_out}")
    rank = os.environ["RANK"]
    if not rank.isdecimal() or int(rank) >= int(count):
        raise TrainingError(f"RANK={rank} in the environment, but WORLD_SIZE={count}. {way_out}")
    return True


def processes_on(device: str) -> DistributedContext:
    """Join the other processes, if there are any, and take a device: `auto`, `cpu`, `cuda`, ...

    Raises:
        UsageError: there is no such device.
    """
    if not started_by_torchrun():
        return DistributedContext(device_named(device))
    own = torch.device("cpu")
    if device != "cpu" and torch.cuda.is_available():
        own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(own)
    if not dist.is_initialized():
        # the others wait while the main process fills, measures and predicts
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=PATIENCE)
    return DistributedContext(own, dist.get_rank(), dist.get_world_size())
