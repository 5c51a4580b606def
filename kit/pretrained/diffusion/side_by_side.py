"""Samples drawn by several processes, which share what is missing by locks, or on a cluster by shards. Draws nothing
itself."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from kit.core import deadline
from kit.core.jobs import Cluster, Job, Slot
from kit.core.queue import global_words, run_queue
from kit.errors import NotFinished, UsageError
from kit.pretrained.diffusion.session import BOTH, SamplingRequest, SamplingSession, missing_samples


def draw_side_by_side(session: SamplingSession, where: Sequence[Slot] | Cluster) -> None:
    """Draw what is missing in child processes, one in each slot, or on a Ray cluster, a shard of the photos each: locks
    are of one machine.

    Raises:
        NotFinished: the time is over.
        UsageError: a shard is asked for already.
    """
    if not (missing := missing_samples(session)):
        return
    command = (*global_words(session.project.workspace), *words_of(session.request))
    if isinstance(where, Cluster):
        _draw_on_ray(session, where, command)
    else:
        run_queue([Job(f"{slot.name}, process {number}", command) for number, slot in enumerate(where, 1)], where)
    session.cache.refresh()
    left = missing_samples(session)
    if left and deadline.is_over():
        raise NotFinished(f"sampling: {missing - left} of {missing} missing samples made")


def _draw_on_ray(session: SamplingSession, cluster: Cluster, command: Sequence[str]) -> None:
    from kit.core.ray_cluster import connected, room_for  # brings Ray

    if session.request.shard is not None:
        raise UsageError("--on ray gives each job a shard of its own: leave --shard out.")
    with connected():
        count = room_for(cluster)
        shards = [f"{number}/{count}" for number in range(1, count + 1)]
        run_queue([Job(f"shard {shard}", (*command, "--shard", shard)) for shard in shards], cluster)


def words_of(request: SamplingRequest) -> list[str]:
    """Return a request as it is typed after `kit`, without its device, which a slot names."""
    split = request.splits[0] if len(request.splits) < len(BOTH) else "both"
    shard = f"{request.shard.number}/{request.shard.count}" if request.shard else None
    values = {"--samples": request.samples, "--split": split, "--limit": request.limit, "--shard": shard}
    values |= {"--batch-size": request.batch, "--clip": request.clip}
    flags = {"--low-memory": request.low_memory, "--download": request.download}
    words = shlex.split(request.command)[1:]
    words += [word for option, value in values.items() if value is not None for word in (option, str(value))]
    return [*words, *(flag for flag, is_given in flags.items() if is_given)]
