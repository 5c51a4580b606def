"""What commands that run on several GPUs or shares of the cores have in common: their options, and a word on GPUs that
stand idle."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

from kit.core.jobs import Cluster, is_child
from kit.core.parallel import is_alone
from kit.core.speech import say

GpusOption = Annotated[
    str | None,
    typer.Option(
        "--gpus", metavar="all|0,1", help="One at a time on each of these GPUs. With --on ray: so many a job, or 0.5."
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", min=1, max=256, help="So many at a time; they share the cores. With --on ray: at most."),
]
OnOption = Annotated[
    str | None, typer.Option("--on", metavar="ray", help="Run jobs on the Ray cluster of RAY_ADDRESS, or a Ray here.")
]
CpusOption = Annotated[
    int | None, typer.Option("--cpus", min=1, max=1024, help="With --on ray: cores a job. Default: its share.")
]
BucketOption = Annotated[
    str | None,
    typer.Option(
        "--bucket",
        metavar="s3://...",
        help="With --on ray: jobs get and return files by way of this object store, not a shared folder. KIT_BUCKET.",
    ),
]


@contextlib.contextmanager
def on_cluster(on: str | None, *, jobs: int | None, is_needed: bool) -> Iterator[Cluster | None]:
    """Give the cluster of --on, connected until the block ends, for work that is no queue of commands; None without it,
    or where nothing is left to do."""
    from kit.pretrained.slots import place_for

    place = place_for(on, None, jobs, None) if on is not None else None
    if place is None or not is_needed:
        yield None
        return
    from kit.core.ray_cluster import connected  # brings Ray

    with connected():
        assert isinstance(place, Cluster)
        yield place


def say_idle_gpus(device: str) -> None:
    """Say which GPUs this process leaves idle; a child of a queue and torchrun's processes know of others."""
    from kit.pretrained.devices import idle_gpus

    if is_alone() and not is_child() and (line := idle_gpus(device, "--gpus all")):
        say(line)
