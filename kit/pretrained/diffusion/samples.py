"""Cached samples of a photo as predictions. Knows the cache and how a sample's colours are matched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.core.workspace import PredictionSplit
from kit.errors import DamagedStore
from kit.pretrained.diffusion.plan import Job, PhotoSelection, SampleSpec
from kit.pretrained.diffusion.preprocess import shifted
from kit.pretrained.diffusion.sample_store import Cache


@dataclass(frozen=True)
class Samples:
    """The samples that some specs name of some photos, all of them in the cache."""

    cache: Cache
    photos: PhotoSelection
    specs: tuple[SampleSpec, ...]
    matched: bool = True
    """Move each box's colours by what the model got wrong around it."""

    def values(self, split: PredictionSplit, position: int) -> np.ndarray:
        """Return `(specs, n, 3)` float32 RGB in [0, 1] of one photo's scored pixels.

        Raises:
            DamagedStore: a sample cannot be read, or is of another hole.
        """
        return np.stack([self._values(self.photos.job(split, position, spec)) for spec in self.specs])

    def _values(self, job: Job) -> np.ndarray:
        record, boxes = self.cache.read(job.key), job.photo.boxes
        if record.values.shape != (job.photo.scored, 3) or record.shifts.shape != (len(boxes), 3):
            raise DamagedStore(
                f"{self.cache.entries[job.key].path} holds {len(record.values)} pixels of {job.photo.id}, which has "
                f"{job.photo.scored} hidden ones. Delete that file, then run: kit sd run"
            )
        return shifted(record.values, record.shifts if self.matched else np.zeros_like(record.shifts), boxes)

    def digest(self, split: PredictionSplit) -> str:
        """Return a digest of these very samples, without reading them."""
        sha = hashlib.sha256()
        for job in self._jobs(split):
            sha.update(self.cache.entries[job.key].checksum)
        return sha.hexdigest()[:16]

    def seconds(self, split: PredictionSplit) -> float:
        """Return the seconds of computing that went into them."""
        return sum(self.cache.entries[job.key].seconds for job in self._jobs(split))

    def _jobs(self, split: PredictionSplit) -> list[Job]:
        return [self.photos.job(split, place, spec) for spec in self.specs for place in self.photos.positions(split)]


def mean_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation over samples: `(samples, n, 3)` to two float32 `(n, 3)`.

    The deviation is the unbiased estimate's root; 0 where there is a single sample.
    """
    mean = values.mean(axis=0, dtype=np.float64)
    spread = values.std(axis=0, dtype=np.float64, ddof=1) if len(values) > 1 else np.zeros_like(mean)
    return mean.astype(np.float32), spread.astype(np.float32)


def templates_in(specs: Sequence[SampleSpec]) -> list[str]:
    """Return the templates of these specs, in order, each once."""
    return list(dict.fromkeys(spec.template for spec in specs))
