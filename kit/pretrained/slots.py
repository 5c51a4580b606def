"""Where commands run side by side: on GPUs, in shares of the cores, or on a Ray cluster. Starts nothing."""

from __future__ import annotations

import os

from kit.core.bucket import checked_bucket
from kit.core.extras import is_installed, missing_package
from kit.core.jobs import Cluster, Slot, core_shares
from kit.core.parallel import is_alone
from kit.errors import UnknownName, UsageError

BUCKET = "KIT_BUCKET"
"""The variable that names the bucket where no option does."""


def place_for(
    on: str | None,
    gpus: str | None,
    jobs: int | None,
    cpus: int | None,
    device: str = "auto",
    bucket: str | None = None,
) -> list[Slot] | Cluster:
    """Return where jobs run side by side, as --on, --gpus, --jobs and --cpus say; [] for none beside this process.

    Args:
        on: `ray`, or None for this machine's own slots.
        gpus, jobs, device: see `slots_for`; on Ray `gpus` is how many each job has.
        cpus: cores of each job on Ray.
        bucket: the object store by way of which jobs on Ray get and return files; None: they share the workspace.

    Raises:
        UsageError: an option cannot be, or two contradict each other.
        MissingPackage: Ray is not installed.
    """
    if on is None:
        if cpus is not None:
            raise UsageError("--cpus are those of each job on a cluster: it goes with --on ray. Here: --jobs")
        if bucket is not None:
            raise UsageError("--bucket is how jobs on a cluster get and return files: it goes with --on ray.")
        return slots_for(gpus, jobs, device)
    if on != "ray":
        raise UnknownName("place to run jobs on", on, ["ray"])
    if not is_alone():
        raise UsageError("--on ray starts processes of its own. Start kit without torchrun.")
    if not is_installed("ray"):
        raise missing_package("ray")
    words = () if device == "auto" else ("--device", device)
    address, called = (bucket, "--bucket") if bucket is not None else (os.environ.get(BUCKET) or None, f"{BUCKET}:")
    return Cluster(
        cpus, _gpus_each(gpus, device), jobs, words, None if address is None else checked_bucket(address, called)
    )


def _gpus_each(gpus: str | None, device: str) -> float | None:
    """Return how many GPUs a job on Ray has; None: one where there are any."""
    if device == "cpu":
        if gpus not in (None, "0"):
            raise UsageError(f"--device cpu and --gpus {gpus} contradict each other. Give one.")
        return 0.0
    if gpus is None:
        return None
    try:
        count = float(gpus)
    except ValueError:
        count = -1.0
    if not (0 <= count <= 64) or (count > 1 and count != int(count)):
        raise UsageError(f"--gpus {gpus}: with --on ray it is how many GPUs each job has: 0, 0.5, 1, 2 ...")
    return count


def slots_for(gpus: str | None, jobs: int | None, device: str) -> list[Slot]:
    """Return where trainings run side by side; [] for none beside this process.

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
