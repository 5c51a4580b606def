"""Where commands run side by side: on GPUs, or in shares of the cores. Starts nothing."""

from __future__ import annotations

from kit.core.jobs import Slot, core_shares
from kit.core.parallel import is_alone
from kit.errors import UsageError


def slots_for(gpus: str | None, jobs: int | None, device: str) -> list[Slot]:
    """Return where trainings run side by side; [] for none beside this process's own.

    Args:
        gpus: `all`, or numbers with commas between.
        jobs: so many at a time; by default one a GPU.
        device: what --device says, for slots without a GPU of their own.

    Raises:
        UsageError: there is no such GPU, or two options contradict each other.
    """
    if gpus is None and jobs is None:
        return []
    if not is_alone():
        raise UsageError("--gpus and --jobs start processes of their own. Start kit without torchrun.")
    if gpus is None:
        words = () if device == "auto" else ("--device", device)
        return [Slot(f"job {number}", words, core_shares(jobs or 1)) for number in range(1, (jobs or 1) + 1)]
    if device != "auto":
        raise UsageError(f"--device {device} and --gpus {gpus} contradict each other. Give one.")
    numbers = _gpu_numbers(gpus)
    count = jobs or len(numbers)
    shares = core_shares(count)
    chosen = [numbers[place % len(numbers)] for place in range(count)]
    return [Slot(f"GPU {number}", ("--device", f"cuda:{number}"), shares) for number in chosen]


def _gpu_numbers(gpus: str) -> list[int]:
    from kit.pretrained.devices import gpu_count  # brings torch

    count = gpu_count()
    words = list(dict.fromkeys(word.strip() for word in gpus.split(",") if word.strip()))
    there = "there is none here: use --jobs N, on the CPU" if not count else f"there are 0 to {count - 1}"
    if words == ["all"] and count:
        return list(range(count))
    wrong = [word for word in words if not word.isdecimal() or int(word) >= count]
    if wrong or not words:
        raise UsageError(f"--gpus {gpus}: numbers of GPUs, or all, are needed, and {there}.")
    return [int(word) for word in words]
