"""Devices by their names. Knows torch and no network."""

from __future__ import annotations

import os

import torch

from kit.errors import UsageError


def device_named(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` ... name. Raises `UsageError` when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, AttributeError) as error:
        reason = str(error).splitlines()[0].split(". ")[0].partition(", xla")[0].partition("Expected one of")[0][:100]
        raise UsageError(
            f"--device {name} cannot be used here ({reason}). Use --device cpu or --device auto."
        ) from None
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # graphs and streams are the current device's
    return device


def gpu_count() -> int:
    """Return the number of CUDA devices that this process may use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def idle_gpus(name: str, way_out: str) -> str:
    """Return a line that says which GPUs a command with `--device NAME` leaves idle; "" where none.

    Args:
        way_out: what would use them all.
    """
    count = gpu_count()
    if name == "cpu" and count:
        return f"Note: {'a GPU stands' if count == 1 else f'{count} GPUs stand'} idle, for --device cpu."
    if count > 1:
        return f"Note: one of {count} GPUs works, and the others stand idle. All of them: {way_out}"
    return ""


def device_of(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda:1` ... name; under torchrun `auto` and `cuda` mean this process's own
    GPU."""
    device = device_named(name)
    rank = os.environ.get("LOCAL_RANK", "")
    if device.type == "cuda" and device.index is None and rank.isdecimal():
        return torch.device("cuda", int(rank) % torch.cuda.device_count())
    return device


def half_precision_on(device: torch.device) -> torch.dtype:
    """Return the 16-bit precision that a GPU computes in itself: bfloat16 from Ampere on, else float16.

    Older cards such as the T4 emulate bfloat16, several times slower; torch says that they support it unless asked so.
    """
    with torch.cuda.device(device):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16
