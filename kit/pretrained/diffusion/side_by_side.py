"""Samples drawn by several processes, which share what is missing by locks. Draws nothing itself."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from kit.core import deadline
from kit.core.jobs import Job, Slot
from kit.core.queue import global_words, run_queue
from kit.errors import NotFinished
from kit.pretrained.diffusion.session import BOTH, SamplingRequest, SamplingSession, missing_samples


def draw_side_by_side(session: SamplingSession, slots: Sequence[Slot]) -> None:
    """Draw what is missing in child processes, one in each slot. Raises `NotFinished` where the time is over."""
    if not (missing := missing_samples(session)):
        return
    command = (*global_words(session.project.workspace), *words_of(session.request))
    run_queue([Job(slot.name, command) for slot in slots], slots)
    session.cache.refresh()
    left = missing_samples(session)
    if left and deadline.is_over():
        raise NotFinished(f"sampling: {missing - left} of {missing} missing samples made")


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
