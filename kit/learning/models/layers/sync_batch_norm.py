"""Batch norm over the batches of all processes: what several machines compute is what one would.

torch's own `SyncBatchNorm` works on CUDA alone; this one on whatever the process group does, gloo on a CPU too.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kit.errors import TrainingError


def synchronise(module: nn.Module) -> nn.Module:
    """Let every 2-D batch norm in `module` take its training statistics over all processes.

    The layers are changed where they are: tensors, their names, hooks and what follows the norm inside the layer
    (timm's activation) stay. Without a process group, or in one of a single process, they compute what they did.

    Every process must call the network equally often, and in the same order: they wait for each other inside it.
    The gradient is that of the sum of all processes' losses, as gradient averaging expects.

    Raises:
        TrainingError: a batch norm whose own `forward` is not known here.
    """
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d) and not isinstance(layer, _Synchronised):
            layer.__class__ = _synchronised(type(layer))  # not a new layer: whoever holds this one keeps it
    return module


class _Synchronised(nn.BatchNorm2d):
    """Mixed in before a class of batch norm."""

    act: nn.Module  # timm's BatchNormAct2d alone has these two
    drop: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, C, H, W)` to the same."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        y = _normalise(self, x)
        return self.act(self.drop(y)) if hasattr(self, "act") else y


def _synchronised(kind: type[nn.BatchNorm2d]) -> Any:
    from timm.layers import BatchNormAct2d

    if kind.forward not in (_BatchNorm.forward, BatchNormAct2d.forward):
        raise TrainingError(f"{kind.__name__} computes in a way of its own and cannot be synchronised over processes.")
    return type(f"Synchronised{kind.__name__}", (_Synchronised, kind), {})


def _normalise(layer: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    count = values.new_full((1,), values.numel() / values.shape[1])  # processes may have batches of different sizes
    reduced = _SumOverProcesses.apply(torch.cat([values.sum((0, 2, 3)), count]))
    total = reduced[-1].detach()
    mean = reduced[:-1] / total
    # squares of what is centred already: a mean of squares less a square of the mean loses every digit far from zero
    centred = values - mean.view(1, -1, 1, 1)
    variance = _SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / total
    if layer.track_running_stats:
        _remember(layer, mean.detach(), variance.detach() * total / (total - 1).clamp(min=1))
    scale = torch.rsqrt(variance + layer.eps)
    if not layer.affine:
        return (centred * scale.view(1, -1, 1, 1)).to(x.dtype)
    return torch.addcmul(layer.bias.view(1, -1, 1, 1), centred, (scale * layer.weight).view(1, -1, 1, 1)).to(x.dtype)


def _remember(layer: Any, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Move the running statistics towards this batch's, as `nn.BatchNorm2d` does."""
    layer.num_batches_tracked.add_(1)
    share: Any = 1 / layer.num_batches_tracked if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean, share)
    layer.running_var.lerp_(variance, share)


class _SumOverProcesses(torch.autograd.Function):
    """The sum, the same in every process; so each one's gradient is the sum of theirs (torch's own is deprecated)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return _summed(gradient)


def _summed(x: torch.Tensor) -> torch.Tensor:
    total = x.contiguous().clone()
    dist.all_reduce(total)
    return total
