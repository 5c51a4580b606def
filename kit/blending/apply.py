"""Apply a blend: its members' stored values, mixed photo by photo. Streams; knows the stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from kit.blending.result import Blend, MemberRow
from kit.blending.weights.features import features_of
from kit.blending.weights.mixing import mix
from kit.core.workspace import PredictionSplit
from kit.data.index import PhotoRow
from kit.data.prediction_store import SPLITS, photo_split
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import Mismatch
from kit.imaging.metrics import metric_named


def blend_test_values(project: Project, blend: Blend) -> Iterator[np.ndarray]:
    """Yield the blend of each test photo in order, `(n, 3)` float32 RGB in the order of its scored pixels.

    In pixel space by the value range of the known pixels: values may leave [0, 1], and are to be clipped last, in score
    space. The checks are made at once, before the first photo is asked for.

    Raises:
        Mismatch: index, folds or a member's predictions are not those of the blend.
        PredictionsError: a value is not finite.
    """
    values = blend_values(project, blend, "test")
    return (values(photo) for photo in range(len(project.index.test)))


def blend_values(project: Project, blend: Blend, split: PredictionSplit) -> Callable[[int], np.ndarray]:
    """Return a photo's position to its blend, as in `blend_test_values`; of training photos by the weights of all.

    Of other test photos by the stored weights too, once its members have predicted them.

    Raises:
        Mismatch: index, folds or a member's predictions are not those of the blend.
    """
    check_made_here(project.trained or project, blend)
    model = blend.recipe
    members = [_read(project, blend, blend.members[k], split) for k in model.used]  # the others may be gone
    mixed = mixer(blend)
    photos = photo_split(split)
    photo_rows, images, estimated_range = (
        project.index.split(photos),
        project.pack.image(photos),
        project.pack.estimated_range(photos),
    )

    def values(photo: int) -> np.ndarray:
        stacked = np.stack([one.values(photo) for one in members])
        return mixed(stacked, photo_rows[photo], images[photo], estimated_range[photo])

    return values


def mixer(blend: Blend) -> Callable[[np.ndarray, PhotoRow, np.ndarray, np.ndarray], np.ndarray]:
    """Return what blends any one photo by the stored weights.

    Of `(values (K, n, 3) of the members with weights, the photo's row, the photo as given, its estimated value range)`
    it makes `(n, 3)` float32, which may leave [0, 1].
    """
    model = blend.recipe
    coefficients = model.array[:, [*model.used, -1]]

    def mixed(stacked: np.ndarray, row: PhotoRow, image: np.ndarray, estimated_range: np.ndarray) -> np.ndarray:
        low, high = estimated_range
        features = features_of(row, image, estimated_range)
        return mix(model, coefficients, stacked, row, features, high - low).astype(np.float32)

    return mixed


def _read(project: Project, blend: Blend, row: MemberRow, split: PredictionSplit) -> Predictions:
    if project.trained is None:
        check_members(project, blend, [row])
    return project.predictions.read(row.name, split)


def check_made_here(project: Project, blend: Blend) -> None:
    """Raise `Mismatch` for a blend of other photos or folds, or by another metric."""
    for what, mine, here in (
        ("index", blend.index, project.index.digest),
        ("folds", blend.folds, project.folds.digest),
    ):
        if mine != here:
            raise Mismatch(f"Blend {blend.name} was made with another {what} ({mine}, here {here}). Run: kit blend")
    metric = project.layout.measured_by
    if blend.metric != metric.name:
        made_by = metric_named(blend.metric).label
        raise Mismatch(f"Blend {blend.name} was chosen by {made_by}, and here {metric.label} counts. Run: kit blend")


def check_members(project: Project, blend: Blend, rows: Sequence[MemberRow]) -> None:
    """Raise `Mismatch` for a member whose predictions are not those that the blend was made of."""
    for row in rows:
        for which, expected in zip(SPLITS, (row.oof, row.test), strict=True):
            found = project.predictions.read(row.name, which).digest
            if found != expected:
                raise Mismatch(
                    f"The {which} predictions of {row.name} have changed since blend {blend.name} was made "
                    f"({expected}, now {found}). Run: kit blend"
                )
