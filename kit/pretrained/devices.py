"""Devices by their names. Knows torch and no network."""

from __future__ import annotations

import os

import torch

from kit.errors import TrainingError


def device_named(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` ... name. Raises `TrainingError` when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, AttributeError) as error:
        reason = str(error).splitlines()[0].split(". ")[0][:100]
        raise TrainingError(
            f"--device {name} cannot be used here ({reason}). Use --device cpu or --device auto."
        ) from None
    return device


def device_of(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda:1` ... name; under torchrun `auto` and `cuda` mean this process's own
    GPU."""
    device = device_named(name)
    rank = os.environ.get("LOCAL_RANK", "")
    if device.type == "cuda" and device.index is None and rank.isdecimal():
        return torch.device("cuda", int(rank) % torch.cuda.device_count())
    return device
