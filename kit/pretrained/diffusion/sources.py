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
from kit.core.workspace import PredictionSplit
from kit.data.prediction_store import SourceKind, photo_split
from kit.data.project import Project
from kit.pretrained.diffusion.samples import Samples, mean_and_spread
from kit.pretrained.diffusion.settings import SamplingRecipe

SPREAD = "spread.npy"
OTHER_NAME = "Take another one: kit sd run --as NAME"


@dataclass(frozen=True)
class WrittenPart:
    """One split of a source, written now (`fresh`) or before."""

    name: str
    split: PredictionSplit
    fresh: bool
    note: str = ""


@dataclass(frozen=True)
class SourceWriter:
    """Write sources from samples under one name."""

    project: Project
    recipe: SamplingRecipe
    samples: Samples
    """Those that both splits, or the asked one, have of every photo."""
    name: str
    command: str
    """The command that makes it again."""
    force: bool = False

    def write(self, split: PredictionSplit) -> list[WrittenPart]:
        """Write `NAME` and `NAME-mean` of one split; what is there with the same samples stays."""
        first = Samples(self.samples.cache, self.samples.photos, self.samples.specs[:1], self.samples.matched)
        return [self._single(split, first), self._mean(split)]

    def _single(self, split: PredictionSplit, first: Samples) -> WrittenPart:
        recipe = self._recipe("sample", split, first)
        return self._written(self.name, split, recipe, first, lambda place: first.values(split, place)[0])

    def _mean(self, split: PredictionSplit) -> WrittenPart:
        name, samples = f"{self.name}-mean", self.samples
        recipe = self._recipe("mean", split, samples)
        spread = self.project.workspace.source(name, split) / SPREAD
        if self._is_there(name, split, recipe) and spread.is_file():
            return WrittenPart(name, split, False)
        recipe["spread"] = self._write_spread(spread, split)  # before the part, whose manifest then vouches for it
        return self._written(name, split, recipe, samples, lambda place: samples.values(split, place).mean(0))

    def _write_spread(self, path: Path, split: PredictionSplit) -> str:
        """Write the samples' standard deviation, float16 `(values, 3)` in the order of the part; return its digest."""
        self._claim(path.parent.parent.name)
        total = sum(photo_row.scored for photo_row in self.project.index.split(photo_split(split)))
        with writing(path) as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": (total, 3)})
            for place in self._track(split, "spread"):
                file.write(mean_and_spread(self.samples.values(split, place))[1].astype("<f2").tobytes())
        return digest_file(path)

    def _is_there(self, name: str, split: PredictionSplit, recipe: dict[str, Any]) -> bool:
        """Return whether the part has this recipe; the spread's digest is not known before it is computed."""
        if self.force:
            return False
        manifest = self.project.predictions.manifest(name, split, None)
        if manifest is None:
            return False
        stored = dict(manifest["recipe"])
        known = {**recipe, "spread": stored["spread"]} if "spread" in stored else recipe
        return self.project.predictions.is_done(name, split, known)

    def _written(
        self,
        name: str,
        split: PredictionSplit,
        recipe: dict[str, Any],
        samples: Samples,
        values: Callable[[int], np.ndarray],
    ) -> WrittenPart:
        if self._is_there(name, split, recipe):
            return WrittenPart(name, split, False)
        self._claim(name)
        self.project.predictions.write(
            name,
            split,
            (values(place) for place in self._track(split, name)),
            made_by=self.command,
            recipe=recipe,
            seconds=lambda: samples.seconds(split),
        )
        return WrittenPart(name, split, True)

    def _claim(self, name: str) -> None:
        self.project.predictions.claim_name(name, SourceKind.DIFFUSION, hint=OTHER_NAME)

    def _track(self, split: PredictionSplit, what: str) -> Iterator[int]:
        places = range(len(self.project.index.split(photo_split(split))))
        return track(places, f"Writing {what} ({split})", len(places), "photos")

    def _recipe(self, what: str, split: PredictionSplit, samples: Samples) -> dict[str, Any]:
        return {
            "kind": "diffusion",
            "what": what,
            **self.recipe.fields,
            "label": self.recipe.label,
            "layers": [asdict(spec) for spec in samples.specs],
            "matched": samples.matched,
            "samples": samples.digest(split),
        }
