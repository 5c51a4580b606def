"""Make the samples that are missing: locks, batches, memory, retries, and the bar. Knows the cache and the pipeline.

Every batch is in the cache before the next begins, so a kill costs one batch. What half precision turns to NaN or black
is made again in float32 at the end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from kit.core.parallel import cores
from kit.core.progress import Progress, progress
from kit.core.speech import say
from kit.data.prediction_store import photo_split
from kit.data.project import Project
from kit.errors import TrainingError
from kit.pretrained.diffusion.locks import SampleLocks
from kit.pretrained.diffusion.model import DiffusionModel
from kit.pretrained.diffusion.pipeline import InpaintingPipeline, is_out_of_memory, load_pipeline
from kit.pretrained.diffusion.plan import Job, PhotoSelection, SampleSpec, Shard, remember_templates, seed_of
from kit.pretrained.diffusion.preprocess import hidden_values, is_picture, model_mask, model_picture, ring_shifts
from kit.pretrained.diffusion.sample_store import RETRIED, Cache, Record, Writer
from kit.pretrained.diffusion.settings import BASE_FILL, SamplingRecipe, SamplingSettings

BATCH = {"cpu": 4}
"""Pictures at once where the user says nothing, by kind of device; 8 elsewhere."""


@dataclass(frozen=True)
class SamplerOptions:
    """Options of making samples, without effect on what they are but for the last bits that a batch's size decides.

    Attributes:
        batch: pictures at once; halved whenever memory runs out.
        low_memory: see `load_pipeline`.
        shard: this process's share of the photos.
        quiet: no bar: another process of the same job shows one.
    """

    batch: int | None = None
    low_memory: bool = False
    shard: Shard | None = None
    quiet: bool = False


@dataclass
class Outcome:
    """Counts of the samples that were asked for."""

    wanted: int = 0
    hits: int = 0
    made: int = 0
    retried: int = 0
    """Of those made: in float32, because half precision gave no picture."""
    locked_elsewhere: int = 0
    """Another process holds their locks: it makes them."""
    failed: list[Job] = field(default_factory=list)
    """No pictures even in float32."""
    seconds: float = 0.0
    """Without loading the model."""


def make_samples(
    project: Project,
    photos: PhotoSelection,
    specs: Sequence[SampleSpec],
    recipe: SamplingRecipe,
    model: DiffusionModel,
    device: torch.device,
    options: SamplerOptions = SamplerOptions(),
) -> Outcome:
    """Fill the cache with these samples of these photos, as far as this process's shard goes.

    Raises:
        UsageError, TrainingError: see `load_pipeline`.
        TrainingError: memory runs out with a single picture.
        KitError: the disk is full; what was made is safe.
    """
    folder = recipe.folder(project.workspace)
    cache = Cache(folder / "samples").refresh()
    cache.check()
    jobs = list(photos.jobs(specs, options.shard))
    missing = [job for job in jobs if job.key not in cache]
    outcome = Outcome(wanted=len(jobs), hits=len(jobs) - len(missing))
    if not missing:
        return outcome
    recipe.save(project.workspace)
    remember_templates(folder, list(dict.fromkeys(spec.template for spec in specs)))
    with contextlib.ExitStack() as stack:
        locks = stack.enter_context(SampleLocks(folder))
        writer = Writer(folder / "samples")
        stack.callback(writer.close)
        bar = None if options.quiet else stack.enter_context(progress("Sampling", len(jobs), "samples"))
        if bar is not None:
            bar.start_at(outcome.hits)
        sampler = _Sampler(project, recipe.settings, model, device, options, cache, locks, writer, outcome, bar)
        sampler.run(missing)
    return outcome


@dataclass(frozen=True)
class _Batch:
    pictures: np.ndarray
    masks: np.ndarray


@dataclass
class _Sampler:
    """The loop of one process over its missing samples."""

    project: Project
    settings: SamplingSettings
    model: DiffusionModel
    device: torch.device
    options: SamplerOptions
    cache: Cache
    locks: SampleLocks
    writer: Writer
    outcome: Outcome
    bar: Progress | None
    batch: int = 0

    def run(self, missing: Sequence[Job]) -> None:
        self.batch = self.options.batch or BATCH.get(self.device.type, 8)
        pipeline = load_pipeline(self.model, self.settings, self.device, low_memory=self.options.low_memory)
        started = time.monotonic()
        failed = self._paint_all(pipeline, missing, 0)
        if failed and pipeline.wrapped.dtype != torch.float32:
            del pipeline
            exact = replace(self.settings, dtype="float32")
            pipeline = load_pipeline(self.model, exact, self.device, low_memory=self.options.low_memory)
            failed = self._paint_all(pipeline, failed, RETRIED)
        self.outcome.failed = failed
        self.outcome.seconds = time.monotonic() - started

    def _paint_all(self, pipeline: InpaintingPipeline, jobs: Sequence[Job], flags: int) -> list[Job]:
        """Paint and store; returns those that gave no picture."""
        failed: list[Job] = []
        with ThreadPoolExecutor(max(1, min(cores(), 8)), thread_name_prefix="sd") as pool:
            try:
                for group, inputs in self._prefetch(pool, pipeline, self._groups(jobs, retrying=bool(flags))):
                    for chunk, painted, seconds in self._painted(pipeline, group, inputs):
                        failed += self._store(chunk, painted, seconds, flags)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        return failed

    def _groups(self, jobs: Iterable[Job], *, retrying: bool) -> Iterator[list[Job]]:
        """Yield locked jobs by the batch; those that are there by now, or that another process has, are passed over."""
        group: list[Job] = []
        for job in jobs:
            if not retrying and not self._take(job):
                continue
            group.append(job)
            if len(group) >= self.batch:
                yield group
                self.cache.refresh()
                group = []
        if group:
            yield group

    def _take(self, job: Job) -> bool:
        if job.key not in self.cache:
            if not self.locks.acquire(job.key):
                self.outcome.locked_elsewhere += 1
                return False
            self.cache.refresh()  # it may have been finished between the last look and the lock
            if job.key not in self.cache:
                return True
            self.locks.release(job.key)
        self.outcome.hits += 1
        self._count(1)
        return False

    def _prefetch(
        self, pool: ThreadPoolExecutor, pipeline: InpaintingPipeline, groups: Iterable[list[Job]]
    ) -> Iterator[tuple[list[Job], _Batch]]:
        """Yield groups with their inputs, which are prepared while the group before is painted."""
        cell = pipeline.cell if self.settings.dilated else 1
        waiting: tuple[list[Job], list[Future[tuple[np.ndarray, np.ndarray]]]] | None = None
        for group in groups:
            following = group, [pool.submit(self._inputs_of, job, cell) for job in group]
            if waiting is not None:
                yield waiting[0], _stacked(waiting[1])
            waiting = following
        if waiting is not None:
            yield waiting[0], _stacked(waiting[1])

    def _inputs_of(self, job: Job, cell: int) -> tuple[np.ndarray, np.ndarray]:
        image, size = self._image(job), self.settings.size
        photo = job.photo
        return (
            model_picture(image, photo.boxes, size, BASE_FILL),
            model_mask(photo.boxes, photo.height, photo.width, size, cell),
        )

    def _image(self, job: Job) -> np.ndarray:
        return np.asarray(self.project.pack.image(photo_split(job.split))[job.position])

    def _painted(
        self, pipeline: InpaintingPipeline, group: list[Job], inputs: _Batch
    ) -> Iterator[tuple[list[Job], np.ndarray, float]]:
        """Yield the group's pictures, in smaller batches whenever memory runs out."""
        start = 0
        while start < len(group):
            piece = slice(start, start + self.batch)
            chunk = group[piece]
            prompts, seeds = [job.prompt for job in chunk], [seed_of(job, self.settings.seed) for job in chunk]
            began = time.perf_counter()
            try:
                painted = pipeline.inpaint(inputs.pictures[piece], inputs.masks[piece], prompts, seeds, self.batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve()
                continue
            yield chunk, painted, (time.perf_counter() - began) / len(chunk)
            start += len(chunk)

    def _halve(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.batch == 1:
            raise TrainingError(
                f"Memory runs out on {self.device} with a single picture of {self.settings.size} pixels. The samples "
                "made so far are kept. Try: kit sd run --low-memory, or a smaller --size, or --dtype float16"
            )
        self.batch //= 2
        say(f"Memory ran out: going on with batches of {self.batch}.")

    def _store(self, chunk: Sequence[Job], painted: np.ndarray, seconds: float, flags: int) -> list[Job]:
        good, failed = [], []
        for job, picture in zip(chunk, painted, strict=True):
            image, photo = self._image(job), job.photo
            if not is_picture(picture, image):
                failed.append(job)
                continue
            values, whole = hidden_values(picture, photo.boxes, photo.height, photo.width)
            good.append((job.key, Record(values, ring_shifts(whole, image, photo.boxes), seconds, flags)))
        self.writer.append(good)
        for key, _ in good:
            self.locks.release(key)
        self.outcome.made += len(good)
        self.outcome.retried += len(good) if flags else 0
        self._count(len(good))
        return failed

    def _count(self, number: int) -> None:
        if self.bar is not None and number:
            self.bar.update(number)


def _stacked(pairs: Sequence[Future[tuple[np.ndarray, np.ndarray]]]) -> _Batch:
    found = [pair.result() for pair in pairs]
    return _Batch(np.stack([picture for picture, _ in found]), np.stack([mask for _, mask in found]))
