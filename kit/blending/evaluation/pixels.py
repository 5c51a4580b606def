"""What metrics that Grams do not give make of each photo: absolute errors and whole pictures, from pixels.

A streaming pass over the photos, computed in float64; what a source's predictions came to is kept on disk.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np

from kit.blending.grams.cache import Member, cache_base
from kit.blending.grams.residual_gram import ResidualGram
from kit.competitions import score_scale
from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.core.storage import digest_of, writing
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import KitError
from kit.imaging.holes import cut_boxes, scored_pixels
from kit.imaging.metrics import Metric

Values = Callable[[int], Sequence[np.ndarray]]
"""A photo's place in the index to the values of several blends, `(n, 3)` RGB each, in pixel space."""


class Photos:
    """The truth of the training photos, and what a metric makes of values there."""

    def __init__(self, project: Project, metric: Metric) -> None:
        self.metric = metric
        self._rows, self._target = project.index.train, project.pack.train_target
        self._estimated = np.asarray(project.pack.train_estimated_range)
        self._true = np.asarray(project.pack.train_value_range)

    def truth(self, photo: int) -> np.ndarray:
        """Return a photo's hidden values in score space, `(n, 3)` float64."""
        low, high = self._true[photo]
        hidden = cut_boxes(np.asarray(self._target[photo]), self._rows[photo].boxes)
        return np.asarray((hidden / 255.0 - low) * score_scale(low, high))

    def scored(self, photo: int, values: np.ndarray) -> np.ndarray:
        """Return values in pixel space `(n, 3)` in score space, by the range of the known pixels; not clipped."""
        low, high = self._estimated[photo]
        return np.asarray((values.astype(np.float64) - low) * score_scale(low, high))

    def errors(self, photo: int, blends: Sequence[np.ndarray], *, clip: bool = False) -> list[float]:
        """Return what the metric sums of a photo for each of several `(n, 3)` values in pixel space.

        Args:
            clip: to the range of score space, as a submission does; pictures always are, to what a pixel can be.
        """
        if self.metric.of == "pictures":
            return self._similarities(photo, blends)
        truth = self.truth(photo)
        scored = (self.scored(photo, values) for values in blends)
        return [self.metric.errors((one.clip(0.0, 1.0) if clip else one) - truth) for one in scored]

    def _similarities(self, photo: int, blends: Sequence[np.ndarray]) -> list[float]:
        assert self.metric.compare is not None
        row = self._rows[photo]
        truth = np.asarray(self._target[photo]) / 255.0
        found, filled, scored, hole = [], truth.copy(), scored_pixels(row.boxes), row.hole
        for values in blends:
            filled[scored] = np.clip(values, 0.0, 1.0)
            found.append(self.metric.compare(filled, truth, hole))
        return found


def photo_scores(
    project: Project,
    metric: Metric,
    photos: np.ndarray,
    values: Values,
    *,
    clip: bool = False,
    workers: int | None = None,
) -> np.ndarray:
    """Return what a metric sums of each photo for each of several blends, `(P, M)` float64.

    Args:
        photos: `(P,)` positions in the index.
        values: called by threads.
    """
    of = Photos(project, metric)

    def work(photo: int) -> list[float]:
        return of.errors(photo, values(photo), clip=clip)

    with closing(map_in_order(work, map(int, photos), workers=workers)) as done:
        return np.array(list(track(done, metric.label, len(photos), "photos")), np.float64)


def source_errors(project: Project, gram: ResidualGram, metric: Metric, *, workers: int | None = None) -> np.ndarray:
    """Return what a metric sums of each photo for each member of a Gram, `(P, K)` float64."""
    if metric.of == "squares":
        return gram.sse
    found = []
    for source in gram.members:
        one = project.predictions.read(source, "oof", partial=True)
        errors = _cached(project, one, metric, workers)
        found.append(errors[np.searchsorted(one.photos, gram.photos)])
    return np.column_stack(found)


def _cached(project: Project, one: Predictions, metric: Metric, workers: int | None) -> np.ndarray:
    """Return a source's errors on all photos that it predicts, from disk when they were computed before."""
    path = project.workspace.blends / ".cache" / f"{digest_of([cache_base(project), Member.of(one), metric.name])}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        found = np.load(path, allow_pickle=False)
        if found.shape == (len(one.photos),) and found.dtype == np.float64:
            os.utime(path)  # the cache forgets what was not used for longest
            return np.asarray(found)
    opened = one.opened()
    found = photo_scores(project, metric, one.photos, lambda photo: [opened.values(photo)], workers=workers)[:, 0]
    with contextlib.suppress(OSError, KitError), writing(path) as file:  # a workspace that is only read: without
        np.save(file, found)
    return found
