"""Samples drawn by several processes, which share what is missing by locks, or on a cluster by shards. Draws nothing
itself."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Sequence
from dataclasses import replace

from kit.core import deadline
from kit.core.bucket import Exchange
from kit.core.jobs import Cargo, Cluster, Job, Slot
from kit.core.queue import failed_jobs, global_words, run_queue
from kit.errors import KitError, NotFinished, UsageError
from kit.pretrained.diffusion.sample_store import Cache
from kit.pretrained.diffusion.session import BOTH, SamplingRequest, SamplingSession, missing_samples
from kit.pretrained.diffusion.settings import DTYPES, SamplingRecipe, stored_recipe

_OUTPUTS = "sd/{}/"
"""What a model's jobs write, as a bucket names it."""


def draw_side_by_side(session: SamplingSession, where: Sequence[Slot] | Cluster) -> SamplingSession:
    """Draw what is missing in child processes, one in each slot, or on a Ray cluster, a shard of the photos each: locks
    are of one machine.

    Returns:
        The session to go on with: machines with GPUs may draw in another precision than this one would.

    Raises:
        NotFinished: the time is over.
        KitError: on a cluster, some have failed; their own lines have said why.
        UsageError: a shard is asked for already.
    """
    if isinstance(where, Cluster):
        _take_leftovers(session, where)
        session = as_drawn(session)
    if not (missing := missing_samples(session)):
        return session
    command = (*global_words(session.project.workspace), *words_of(session.request))
    failed: list[str] = []
    if isinstance(where, Cluster):
        failed = _draw_on_ray(session, where, command)
        session = as_drawn(session)
    else:
        run_queue([Job(f"{slot.name}, process {number}", command) for number, slot in enumerate(where, 1)], where)
    session.cache.refresh()
    left = missing_samples(session)
    if left and deadline.is_over():
        raise NotFinished(f"sampling: {missing - left} of {missing} missing samples made")
    if left and failed:
        raise KitError(f"{left} samples are missing, for jobs have failed: {'; '.join(failed)}.")
    if left and isinstance(where, Cluster):  # not to be drawn here, one after the other
        raise KitError(
            f"{left} samples are missing although no job has failed: machines draw in other precisions. Choose one: "
            "--dtype float32, or float16"
        )
    return session


def as_drawn(session: SamplingSession) -> SamplingSession:
    """Return the session with the samples that are there by now, in whatever precision machines have drawn them."""
    workspace, request = session.project.workspace, session.request
    recipe = stored_recipe(workspace, request.settings, request.model, session.recipe.model) or session.recipe
    if recipe.digest == session.recipe.digest:
        session.cache.refresh()
        return session
    return replace(session, recipe=recipe, cache=Cache(recipe.folder(workspace) / "samples").refresh())


def _take_leftovers(session: SamplingSession, cluster: Cluster) -> None:
    if cluster.bucket is None:
        return
    exchange = Exchange(cluster.bucket, session.project.workspace.root)
    names = exchange.written(session.project.index.digest, _OUTPUTS.format(session.recipe.model))
    exchange.take_leftovers([_cargo(session, name) for name in names])
    exchange.wait()


def _cargo(session: SamplingSession, name: str) -> Cargo:
    """Return the files of a job that draws samples: more of them, beside those that are there."""
    workspace = session.project.workspace
    digests = [_with_dtype(session, dtype).digest for dtype in DTYPES]
    folders = tuple(f"sd/{digest}/**/*" for digest in digests)
    vectors = ("embeddings/**/*",) if session.request.clip else ()
    subject = session.project.index.digest
    return Cargo(name, subject, workspace.root, (*workspace.photo_files, *vectors, *folders), folders)


def _with_dtype(session: SamplingSession, dtype: str) -> SamplingRecipe:
    return replace(session.recipe, settings=replace(session.recipe.settings, dtype=dtype))


def _draw_on_ray(session: SamplingSession, cluster: Cluster, command: Sequence[str]) -> list[str]:
    """Draw shards of the photos; returns the names of jobs that have failed."""
    from kit.core.ray_cluster import connected, room_for  # brings Ray

    if session.request.shard is not None:
        raise UsageError("--on ray gives each job a shard of its own: leave --shard out.")
    with connected():
        count = room_for(cluster)
        shards = [f"{number}/{count}" for number in range(1, count + 1)]
        folder = f"{_OUTPUTS.format(session.recipe.model)}{uuid.uuid4().hex[:8]}-"  # another command's are not these
        cargos = [_cargo(session, f"{folder}shard-{shard.replace('/', '-of-')}") for shard in shards]
        named = zip(shards, cargos, strict=True)
        jobs = [Job(f"shard {shard}", (*command, "--shard", shard), cargo=cargo) for shard, cargo in named]
        return failed_jobs(run_queue(jobs, cluster))


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
