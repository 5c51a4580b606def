"""Sources made of cached samples: one, their mean, and their mean drawn toward a fill. Knows the stores; no model.

NAME          the first sample of the first prompt
NAME-mean     the mean of all samples and prompts so far, and beside each part `spread.npy`, their deviation
NAME-shrunk   the mean drawn toward the best classical fill; fitted on other folds
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit.core.progress import track
from kit.core.storage import digest_file, writing
from kit.core.workspace import PredictionSplit, Workspace
from kit.data.prediction_store import is_done, photo_split, read_manifest, write_part
from kit.data.project import Project
from kit.errors import StoreError, UsageError
from kit.imaging.fills import FILLS
from kit.pretrained.diffusion.samples import Samples, mean_and_spread
from kit.pretrained.diffusion.settings import Recipe

SPREAD = "spread.npy"


@dataclass(frozen=True)
class Written:
    """One source after `write_sources`."""

    name: str
    split: PredictionSplit
    fresh: bool
    note: str = ""


@dataclass(frozen=True)
class SourceMaker:
    """Writes sources from samples under one name."""

    project: Project
    recipe: Recipe
    samples: Samples
    """All layers that both splits, or the asked one, have whole."""
    name: str
    command: str
    """What makes it again."""
    force: bool = False

    def write(self, split: PredictionSplit) -> list[Written]:
        """`NAME` and `NAME-mean` of one split; what is there with the same samples stays."""
        first = Samples(self.samples.cache, self.samples.photos, self.samples.layers[:1], self.samples.matched)
        return [self._single(split, first), self._mean(split)]

    def _single(self, split: PredictionSplit, first: Samples) -> Written:
        recipe = self._recipe("sample", split, first)
        return self._written(self.name, split, recipe, first, lambda place: first.values(split, place)[0])

    def _mean(self, split: PredictionSplit) -> Written:
        name, samples = f"{self.name}-mean", self.samples
        recipe = self._recipe("mean", split, samples)
        spread = self.project.workspace.source(name, split) / SPREAD
        if self._is_there(name, split, recipe) and spread.is_file():
            return Written(name, split, False)
        recipe["spread"] = self._write_spread(spread, split)  # before the part, whose manifest then vouches for it
        return self._written(name, split, recipe, samples, lambda place: samples.values(split, place).mean(0))

    def _write_spread(self, path: Path, split: PredictionSplit) -> str:
        """The samples' standard deviation, float16 `(values, 3)` in the order of the part beside it; its digest."""
        check_free(self.project.workspace, path.parent.parent.name)
        total = sum(sample.scored for sample in self.project.index.split(photo_split(split)))
        with writing(path) as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": (total, 3)})
            for place in self._track(split, "spread"):
                file.write(mean_and_spread(self.samples.values(split, place))[1].astype("<f2").tobytes())
        return digest_file(path)

    def _is_there(self, name: str, split: PredictionSplit, recipe: dict[str, Any]) -> bool:
        """Whether the part has this recipe; the spread's digest is not known before it is computed."""
        if self.force:
            return False
        manifest = read_manifest(self.project.workspace, name, split, None)
        if manifest is None:
            return False
        stored = dict(manifest["recipe"])
        known = {**recipe, "spread": stored["spread"]} if "spread" in stored else recipe
        return is_done(self.project.workspace, self.project.index, name, split, known)

    def _written(
        self,
        name: str,
        split: PredictionSplit,
        recipe: dict[str, Any],
        samples: Samples,
        values: Callable[[int], np.ndarray],
    ) -> Written:
        if self._is_there(name, split, recipe):
            return Written(name, split, False)
        check_free(self.project.workspace, name)
        write_part(
            self.project.workspace,
            self.project.index,
            name,
            split,
            (values(place) for place in self._track(split, name)),
            made_by=self.command,
            recipe=recipe,
            seconds=lambda: samples.seconds(split),
        )
        return Written(name, split, True)

    def _track(self, split: PredictionSplit, what: str) -> Iterator[int]:
        places = range(len(self.project.index.split(photo_split(split))))
        return track(places, f"Writing {what} ({split})", len(places), "photos")

    def _recipe(self, what: str, split: PredictionSplit, samples: Samples) -> dict[str, Any]:
        return {
            "kind": "diffusion",
            "what": what,
            **self.recipe.fields,
            "label": self.recipe.label,
            "layers": [asdict(layer) for layer in samples.layers],
            "matched": samples.matched,
            "samples": samples.digest(split),
        }


def check_free(workspace: Workspace, name: str) -> None:
    """Raise `UsageError` when another kind of source has this name."""
    taken = name in FILLS or workspace.blend(name).is_file() or (workspace.runs / name).is_dir()
    for split in ("oof", "test"):
        if not taken and (manifest := _manifest_of(workspace, name, split)) is not None:  # type: ignore[arg-type]
            taken = manifest["recipe"].get("kind") != "diffusion"
    if taken:
        raise UsageError(f"{name} is the name of another source or blend. Take another one: kit sd --as NAME")


def _manifest_of(workspace: Workspace, name: str, split: PredictionSplit) -> dict[str, Any] | None:
    try:
        return read_manifest(workspace, name, split, None)
    except StoreError:
        return None
