"""Count the wanted samples that are there, and estimate how long the rest will take. Knows the cache; no torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from kit.pretrained.diffusion.plan import PhotoSelection, SampleSpec, Shard
from kit.pretrained.diffusion.sample_store import RETRIED, Cache


@dataclass(frozen=True)
class SpecStatus:
    """Counts of one sample of every photo."""

    prompt: str
    sample: int
    there: int
    missing: int


@dataclass(frozen=True)
class SamplingStatus:
    """The status of one recipe, for `kit sd status`."""

    specs: tuple[SpecStatus, ...]
    hits: int
    missing: int
    seconds_each: float | None
    """Median of the samples that are there; None when there is none."""
    seconds_left: float | None
    """Of one process like those that made them."""
    retried: int
    """Made in float32, because half precision gave no picture."""
    damaged: int
    """Records that cannot be read, and will be made again."""
    size: int
    """Bytes on the disk."""


def count_samples(
    cache: Cache, photos: PhotoSelection, specs: Sequence[SampleSpec], shard: Shard | None = None
) -> SamplingStatus:
    """Count the samples of these specs that are there and that are missing."""
    states = []
    for spec in specs:
        present = [job.key in cache for job in photos.jobs([spec], shard)]
        states.append(SpecStatus(spec.template, spec.sample, sum(present), len(present) - sum(present)))
    entries = cache.entries.values()
    each = statistics.median(entry.seconds for entry in entries) if entries else None
    missing = sum(state.missing for state in states)
    return SamplingStatus(
        specs=tuple(states),
        hits=sum(state.there for state in states),
        missing=missing,
        seconds_each=each,
        seconds_left=0.0 if not missing else None if each is None else missing * each,
        retried=sum(bool(entry.flags & RETRIED) for entry in entries),
        damaged=cache.damaged,
        size=sum(path.stat().st_size for path in cache.folder.glob("*.bin")),
    )
