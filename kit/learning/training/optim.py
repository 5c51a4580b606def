"""Optimizers, their learning rate, and the moving average of weights."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from kit.learning.experiments import Experiment

SWA_SHARE = 0.25  # of the steps, the last ones, whose weights `average=swa` takes the mean of
_ENCODER = re.compile(r"(network\.)*encoder\.")  # networks may be wrapped


def make_optimizer(networks: Iterable[nn.Module], experiment: Experiment) -> torch.optim.Optimizer:
    """Make Adam or AdamW over some networks; norms and biases are not decayed: pulling them to zero regularises
    nothing."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for network in networks:
        for name, parameter in network.named_parameters():
            share = experiment.encoder_rate if _ENCODER.match(name) else 1.0
            if share == 0:
                parameter.requires_grad_(False)
            if not parameter.requires_grad:
                continue
            decay = experiment.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((share, decay), []).append(parameter)
    kind = torch.optim.AdamW if experiment.optimizer == "adamw" else torch.optim.Adam
    return kind(
        [{"params": some, "weight_decay": decay, "share": share} for (share, decay), some in groups.items()],
        lr=experiment.learning_rate,
        betas=(experiment.beta1, 0.999),
        fused=True,
    )


def learning_rate(experiment: Experiment, step: int, steps: int) -> float:
    """Return the rate: linear warm-up, then a half cosine to zero, or constant for half of the run and straight to
    zero."""
    warm = round(experiment.warmup * steps)
    if step < warm:
        return experiment.learning_rate * (step + 1) / warm
    if experiment.schedule == "linear":
        return experiment.learning_rate * min(1.0, 2 * (1 - step / max(1, steps)))
    share = (step - warm) / max(1, steps - warm)
    return experiment.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Give each group its share."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]


def average_weight(experiment: Experiment, step: int, steps: int) -> float:
    """Return the share of the weights after this step in their average; 1 sets it to them."""
    if experiment.average == "swa":
        return 1 / max(1, step + 1 - round((1 - SWA_SHARE) * steps))
    return ema_weight(experiment.ema, step)


def ema_weight(decay: float, step: int) -> float:
    """Return the share of the weights after this step in their moving average."""
    # early on the average would be mostly the random start, so its memory grows with the steps made
    return 1 - min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, share: float) -> None:
    """Move the average towards the weights by this share of the way, batch norms' statistics included."""
    mean, now = average.state_dict(), model.state_dict()
    floats = [name for name, value in now.items() if value.is_floating_point()]
    # the library's arithmetic without its AveragedModel, which reads a counter, and so waits for the GPU, in each step
    move: Callable[..., None] = get_ema_multi_avg_fn(1 - share)  # type: ignore[no-untyped-call]
    move([mean[name] for name in floats], [now[name] for name in floats], None)
    for name in now.keys() - set(floats):
        mean[name].copy_(now[name])
