"""The plan of samples: of which photos, in which order, by which process. Knows keys; no model and no torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.core.storage import digest_bytes, read_json, write_json
from kit.core.workspace import PredictionSplit
from kit.data.index import Index, PhotoRow
from kit.data.prediction_store import photo_split
from kit.errors import DamagedStore, UsageError
from kit.imaging.holes import boxes_to_text
from kit.pretrained.diffusion.sample_store import Cache
from kit.pretrained.prompts import ClassOf, class_in_index, prompt_for


@dataclass(frozen=True)
class SampleSpec:
    """One sample of every photo: a template and the sample's number."""

    template: str
    sample: int


@dataclass(frozen=True)
class Job:
    """One sample of one photo."""

    split: PredictionSplit
    position: int
    """The photo's place in its split."""
    photo: PhotoRow
    prompt: str
    sample: int
    key: bytes


def sample_specs(templates: Sequence[str], samples: int) -> list[SampleSpec]:
    """Return the specs, first samples of all templates first: sources of one sample can then be written early."""
    return [SampleSpec(template, number) for number in range(samples) for template in templates]


def key_of(photo: PhotoRow, prompt: str, sample: int) -> bytes:
    """Return the 16 bytes that name a sample within its recipe's folder."""
    text = json.dumps([photo.digest, boxes_to_text(photo.boxes), photo.height, photo.width, prompt, sample])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def seed_of(job: Job, seed: int) -> int:
    """Return the seed of a sample's generator: 63 bits of (photo, hole, prompt, sample, seed)."""
    data = hashlib.blake2b(job.key + seed.to_bytes(8, "big"), digest_size=8, person=b"kit sd noise").digest()
    return int.from_bytes(data, "big") >> 1


@dataclass(frozen=True)
class PhotoSelection:
    """The photos that samples are wanted of: all of the splits, or some of each."""

    index: Index
    splits: tuple[PredictionSplit, ...]
    limit: int | None = None
    class_of: ClassOf = class_in_index

    def positions(self, split: PredictionSplit) -> list[int]:
        """Return places in the split, ascending; with a limit those of least digest, so that every class has its share
        and a larger limit takes the same photos and more."""
        photo_rows = self.index.split(photo_split(split))
        if self.limit is None or self.limit >= len(photo_rows):
            return list(range(len(photo_rows)))
        order = sorted(range(len(photo_rows)), key=lambda place: (_shuffled(photo_rows[place]), place))
        return sorted(order[: self.limit])

    def jobs(self, specs: Sequence[SampleSpec], shard: Shard | None = None) -> Iterator[Job]:
        """Yield the samples of these specs, spec by spec, in an order that depends on nothing else."""
        photos = [(split, place) for split in self.splits for place in self.positions(split)]
        mine = photos if shard is None else photos[shard.number - 1 :: shard.count]
        for spec in specs:
            for split, place in mine:
                yield self.job(split, place, spec)

    def job(self, split: PredictionSplit, place: int, spec: SampleSpec) -> Job:
        """Return the job of one sample of one photo."""
        photo = self.index.split(photo_split(split))[place]
        prompt = prompt_for(spec.template, photo, self.class_of)
        return Job(split, place, photo, prompt, spec.sample, key_of(photo, prompt, spec.sample))

    def has(self, cache: Cache, spec: SampleSpec) -> bool:
        """Return whether the cache has this sample of all photos."""
        return all(job.key in cache for job in self.jobs([spec]))


def _shuffled(photo: PhotoRow) -> str:
    return digest_bytes(f"{photo.digest} {photo.id}".encode())


@dataclass(frozen=True)
class Shard:
    """PhotoSelection `number`, `number + count`, ... of those wanted; numbers begin with 1."""

    number: int
    count: int


def shard_of(text: str | None, environment: Mapping[str, str]) -> Shard | None:
    """Return the shard of `--shard 2/4`, or this process's place among those that torchrun started; None for all
    photos.

    Raises:
        UsageError: neither is what it should be, or both are given.
    """
    rank, count = environment.get("RANK"), environment.get("WORLD_SIZE", "1")
    several = rank is not None and count != "1"
    if text is None and not several:
        return None
    if text is not None and several:
        raise UsageError(f"--shard {text}: torchrun (RANK={rank}, WORLD_SIZE={count}) shares the photos out already.")
    if text is not None:
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--shard {text}: I/N is needed, I from 1 to N, such as --shard 1/4.")
        return Shard(int(found[1]), int(found[2]))
    assert rank is not None
    if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
        raise UsageError(f"RANK={rank} and WORLD_SIZE={count} in the environment are no process's place: unset both.")
    return Shard(int(rank) + 1, int(count))


def remember_templates(folder: Path, templates: Sequence[str]) -> None:
    """Note in a recipe's folder which templates were asked for."""
    for template in templates:
        path = folder / "prompts" / f"{digest_bytes(template.encode())}.json"
        if not path.is_file():
            write_json(path, {"template": template})


def known_templates(folder: Path) -> tuple[str, ...]:
    """Return every template that was ever asked for with this recipe, sorted."""
    found = set()
    for path in folder.glob("prompts/*.json"):
        template = read_json(path, made_by="kit sd run").get("template")
        if not isinstance(template, str) or digest_bytes(template.encode()) != path.stem:
            raise DamagedStore(f"{path} is not what kit wrote. Delete it, then run: kit sd run")
        found.add(template)
    return tuple(sorted(found))


def stored_specs(
    photos: PhotoSelection, cache: Cache, templates: Sequence[str], most: int = 10_000
) -> list[SampleSpec]:
    """Return the specs of these templates that the cache has of all these photos, first samples first."""
    found = []
    for template in templates:
        numbers = range(most)
        for number in numbers:
            if not photos.has(cache, SampleSpec(template, number)):
                break
            found.append(SampleSpec(template, number))
    return sorted(found, key=lambda spec: (spec.sample, templates.index(spec.template)))
