"""The source `NAME-shrunk`: fitted on the photos of other folds, written fold by fold. Knows the stores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from kit.competitions import score_scale, to_score_space
from kit.core.progress import track
from kit.core.workspace import PredictionSplit
from kit.data.fill_sources import make_fill_source
from kit.data.prediction_store import SourceKind, fold_part, photo_split
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.imaging.fills import FILLS
from kit.pretrained.diffusion.measure import truth_of
from kit.pretrained.diffusion.shrink_to_fill import ShrinkToFill, Sums, best_shrink, blurred, photo_sums
from kit.pretrained.diffusion.sources import OTHER_NAME

DEFAULT_FILL = "fractional"


@dataclass(frozen=True)
class ShrunkSourceWriter:
    """Fit and write `NAME-shrunk` from `NAME-mean`."""

    project: Project
    name: str
    command: str
    force: bool = False

    def write(self) -> list[tuple[int, ShrinkToFill, bool]]:
        """Return each fold's blur and weight, and whether its parts were written now.

        Raises:
            MissingStep: no folds yet, or a split of `NAME-mean` is not there.
        """
        project, mean = self.project, f"{self.name}-mean"
        project.predictions.claim_name(f"{self.name}-shrunk", SourceKind.DIFFUSION, hint=OTHER_NAME)
        fills = self._fills()
        means = {split: self._read(mean, split) for split in ("oof", "test")}
        shrinks = self._fit(fills, means["oof"])
        found = []
        for fold, shrink in enumerate(shrinks):
            fresh = False
            for split in ("oof", "test"):
                recipe = self._recipe(fills, means, split)
                if not self.force and project.predictions.is_done(f"{self.name}-shrunk", split, recipe, fold=fold):
                    continue
                self._write(fold, shrink, split, recipe, means[split])
                fresh = True
            found.append((fold, shrink, fresh))
        return found

    def _read(self, name: str, split: PredictionSplit) -> Predictions:
        return self.project.predictions.read(name, split)

    def _fills(self) -> dict[str, Predictions]:
        """Return OOF predictions of the classical fills that are there; one is made if there is none."""
        project = self.project
        there = [name for name in FILLS if name in project.predictions.sources()]
        if not there:
            make_fill_source(project, DEFAULT_FILL)
            there = [DEFAULT_FILL]
        return {name: self._read(name, "oof") for name in there}

    def _fit(self, fills: dict[str, Predictions], mean: Predictions) -> list[ShrinkToFill]:
        """Fit for each fold, on the photos of the others, the best fill and over it the best blur and weight."""
        folds, photos = self.project.folds, len(self.project.index.train)
        truths = range(photos)
        errors = {name: np.zeros(photos) for name in fills}
        for place in track(truths, "Comparing fills", photos, "photos"):
            truth, estimated_range = truth_of(self.project, place), self.project.pack.train_estimated_range[place]
            for name, fill in fills.items():
                error = to_score_space(fill.values(place), estimated_range) - truth
                errors[name][place] = np.vdot(error, error)
        others = [folds.train_positions(fold) for fold in range(folds.k)]
        best = [min(fills, key=lambda name: errors[name][places].sum()) for places in others]
        sums = {name: self._sums(name, fills[name], mean) for name in dict.fromkeys(best)}
        return [
            best_shrink(name, reduce(add, [sums[name][place] for place in places]))
            for name, places in zip(best, others, strict=True)
        ]

    def _sums(self, name: str, fill: Predictions, mean: Predictions) -> list[Sums]:
        project, found = self.project, []
        for place in track(range(len(project.index.train)), f"Fitting over {name}", len(project.index.train), "photos"):
            photo_row, estimated_range = project.index.train[place], project.pack.train_estimated_range[place]
            base = fill.values(place)
            smooth = blurred(mean.values(place) - base, photo_row.boxes, photo_row.height, photo_row.width)
            missing = truth_of(project, place) - to_score_space(base, estimated_range)
            found.append(photo_sums(smooth, missing, score_scale(*estimated_range)))
        return found

    def _recipe(
        self, fills: dict[str, Predictions], means: dict[str, Predictions], split: PredictionSplit
    ) -> dict[str, Any]:
        # alike in all folds, which are read as one: what was fitted follows from it
        return {
            "kind": "diffusion",
            "what": "shrunk",
            "oof": means["oof"].digest,
            "mean": means[split].digest,
            "fills": {name: fill.digest for name, fill in fills.items()},
            "folds": self.project.folds.digest,
        }

    def _write(
        self, fold: int, shrink: ShrinkToFill, split: PredictionSplit, recipe: dict[str, Any], mean: Predictions
    ) -> None:
        project, name = self.project, f"{self.name}-shrunk"
        photo_rows = project.index.split(photo_split(split))
        places = project.folds.valid_positions(fold) if split == "oof" else np.arange(len(photo_rows))
        fill, started = self._read(shrink.fill, split), time.perf_counter()

        def values() -> Iterator[np.ndarray]:
            for place in track(places, f"Writing {name}, {fold_part(fold)} ({split})", len(places), "photos"):
                photo_row = photo_rows[place]
                yield shrink(mean.values(place), fill.values(place), photo_row.boxes, photo_row.height, photo_row.width)

        def seconds() -> float:
            return time.perf_counter() - started

        project.predictions.write(
            name, split, values(), made_by=self.command, recipe=recipe, fold=fold, seconds=seconds
        )
