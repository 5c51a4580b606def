"""Checks that stop a training which has gone wrong; the last good checkpoint is kept."""

from __future__ import annotations

import math

import torch
from torch import nn

from kit.errors import TrainingError, UsageError
from kit.learning.experiments import Experiment

COLLAPSED = 0.02  # generated photos that differ by less than this share of what real ones differ by are one photo
_CRASHING = ("RepVggBlock", "MobileOneBlock")  # of timm: RepVGG, MobileOne, FastViT
FIRST_STEPS = 300  # a generator begins as a constant and may take so long to leave it


def check_device(experiment: Experiment, networks: dict[str, nn.Module], device: torch.device) -> None:
    """Raise `UsageError` where torch cannot train a network on this device.

    On a CPU, torch 2.15 writes outside of its memory in the backward pass of blocks that add up several convolutions of
    one input, with channels-last maps, and the process dies.
    """
    kinds = {type(part).__name__ for network in networks.values() for part in network.modules()}
    if device.type == "cpu" and not kinds.isdisjoint(_CRASHING):
        raise UsageError(
            f"{experiment.name}: torch crashes when it trains {experiment.encoder} on a CPU. Train it on a GPU, or "
            f"take another encoder: --set encoder=tu-resnet18"
        )


def check_finite(experiment: Experiment, epoch: int, values: dict[str, float]) -> None:
    """Raise `TrainingError` when one of the values is not a number."""
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise TrainingError(
            f"{experiment.name}: {_called(wrong[0])} is no longer finite in epoch {epoch}. The last good checkpoint is "
            "kept. "
            f"{_gentler(experiment)}"
        )


def _called(value: str) -> str:
    """Return what a value of the log is to people."""
    return {"own": "your loss", "fold_rmse": "the fold's RMSE"}.get(value, f"the loss {value}")


def check_diversity(experiment: Experiment, epoch: int, step: int, values: dict[str, float]) -> None:
    """Raise `TrainingError` when generated photos have all become one.

    Args:
        values: `spread` and `real_spread`, the mean over pixels of the standard deviation over the photos of a batch,
            of generated and of real photos; nothing is checked without them.
    """
    spread, real = values.get("spread"), values.get("real_spread")
    if spread is None or real is None or step < FIRST_STEPS or spread >= COLLAPSED * real:
        return
    raise TrainingError(
        f"{experiment.name}: the generator has collapsed in epoch {epoch}: its photos differ by {spread:.5f}, "
        f"real ones by {real:.5f}. The last good checkpoint is kept. {_gentler(experiment)}"
    )


def _gentler(experiment: Experiment) -> str:
    rate = f"--set learning_rate={experiment.learning_rate / 4:g}"
    return f"Train gentler under another name: kit train ... --as NAME {rate}"
