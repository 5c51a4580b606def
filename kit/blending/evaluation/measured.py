"""Members by a metric, and samples of their pixels to find weights by it. Knows the stores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kit.blending.evaluation.pixels import Photos, source_errors
from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.weights.direct import ByAbsolutes, ByDecibels, ByPictures, Improve
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.imaging.metrics import RMSE, Metric

PIXELS = 300_000  # hidden pixels of a sample: with ten members 72 MB
PHOTOS = 60  # of a sample of pictures: each score of one costs milliseconds


class Measured:
    """The members of a blend by its metric."""

    def __init__(self, project: Project, metric: Metric, workers: int | None) -> None:
        self._project, self._metric, self._workers = project, metric, workers

    @property
    def of_parts(self) -> Metric:
        """Return what tells of a part of the pixels: the metric, or RMSE where that needs whole pictures."""
        return RMSE if self._metric.of == "pictures" else self._metric

    def of_members(self, gram: ResidualGram) -> np.ndarray:
        """Return `(P, K)`, what the metric sums of each photo for each member."""
        return source_errors(self._project, gram, self._metric, workers=self._workers)

    def best_member(self, gram: ResidualGram) -> str:
        """Return the member that is best on all photos, the first of equals."""
        errors = self.of_members(gram)
        parts = [self._metric.statistics(errors[:, k], gram.counts) for k in range(len(gram.members))]
        scores = np.array([float(self._metric.value(above.sum(), below.sum())) for above, below in parts])
        return gram.members[int(np.argmax(scores) if self._metric.higher_is_better else np.argmin(scores))]

    def improver(self, gram: ResidualGram, fold: np.ndarray, oof: Sequence[Predictions]) -> Improve:
        """Return what finds weights by the metric, on a sample that is the same each time.

        Args:
            fold: `(P,)`, of the Gram's photos.
            oof: of its members.
        """
        if self._metric.of == "squares":
            return ByDecibels(gram, fold)
        return (
            self._by_absolutes(gram, fold, oof)
            if self._metric.of == "absolutes"
            else self._by_pictures(gram, fold, oof)
        )

    def _by_absolutes(self, gram: ResidualGram, fold: np.ndarray, oof: Sequence[Predictions]) -> ByAbsolutes:
        photos, rng = Photos(self._project, self._metric), np.random.default_rng(0)
        pixels = gram.counts // 3
        share = min(1.0, PIXELS / max(int(pixels.sum()), 1))
        found, folds = [], []
        for photo, count, number in zip(map(int, gram.photos), pixels, fold, strict=True):
            taken = np.sort(rng.choice(count, int(np.ceil(share * count)), replace=False))
            truth = photos.truth(photo)[taken]
            residuals = [photos.scored(photo, one.values(photo)[taken]) - truth for one in oof]
            found.append(np.stack([one.reshape(-1) for one in residuals], axis=1).astype(np.float32))
            folds.append(np.full(3 * len(taken), number))
        return ByAbsolutes(np.concatenate(found), np.concatenate(folds))

    def _by_pictures(self, gram: ResidualGram, fold: np.ndarray, oof: Sequence[Predictions]) -> ByPictures:
        photos, hides = Photos(self._project, self._metric), np.flatnonzero(gram.counts > 0)
        rows = np.sort(np.random.default_rng(0).permutation(hides)[:PHOTOS])
        sample = [int(photo) for photo in gram.photos[rows]]
        values = [np.stack([one.values(photo) for one in oof]).astype(np.float16) for photo in sample]
        return ByPictures(
            lambda row, mixed: photos.errors(sample[row], [mixed])[0],
            values,
            fold[rows],
            -1.0 if self._metric.higher_is_better else 1.0,
        )
