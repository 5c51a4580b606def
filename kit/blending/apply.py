"""What a blend predicts: its members' stored values, mixed photo by photo. Streams; knows the stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from kit.blending.result import Blend, MemberRow
from kit.blending.weights.features import facts_of
from kit.blending.weights.mixing import mix
from kit.core.workspace import PredictionSplit, Workspace
from kit.data.fill_sources import SPLITS
from kit.data.folds import Folds
from kit.data.index import Index
from kit.data.pack import Pack
from kit.data.prediction_store import photo_split, read_predictions
from kit.data.predictions import Predictions
from kit.errors import Mismatch


def blend_test_values(
    workspace: Workspace, index: Index, folds: Folds, pack: Pack, blend: Blend
) -> Iterator[np.ndarray]:
    """The blend of each test photo in order, `(n, 3)` float32 RGB in the order of its scored pixels.

    In pixel space by the extremes of the known pixels: values may leave [0, 1], and are to be clipped last, in score
    space. The checks are made at once, before the first photo is asked for.

    Raises:
        Mismatch: index, folds or a member's predictions are not those of the blend.
        PredictionsError: a value is not finite.
    """
    values = blend_values(workspace, index, folds, pack, blend, "test")
    return (values(photo) for photo in range(len(index.test)))


def blend_values(
    workspace: Workspace, index: Index, folds: Folds, pack: Pack, blend: Blend, split: PredictionSplit
) -> Callable[[int], np.ndarray]:
    """A photo's position to its blend, as in `blend_test_values`; of training photos by the weights of all of them.

    Raises:
        Mismatch: index, folds or a member's predictions are not those of the blend.
    """
    for what, mine, here in (("index", blend.index, index.digest), ("folds", blend.folds, folds.digest)):
        if mine != here:
            raise Mismatch(f"Blend {blend.name} was made with another {what} ({mine}, here {here}). Run: kit blend")
    mixed = _mixer(workspace, index, folds, pack, blend, split)
    return lambda photo: mixed(photo).astype(np.float32)


def _mixer(
    workspace: Workspace, index: Index, folds: Folds, pack: Pack, blend: Blend, split: PredictionSplit
) -> Callable[[int], np.ndarray]:
    def read(row: MemberRow) -> Predictions:
        found = {which: read_predictions(workspace, index, folds, row.name, which) for which in SPLITS}
        for which, expected in zip(SPLITS, (row.oof, row.test), strict=True):
            if found[which].digest != expected:
                raise Mismatch(
                    f"The {which} predictions of {row.name} have changed since blend {blend.name} was made "
                    f"({expected}, now {found[which].digest}). Run: kit blend"
                )
        return found[split]

    recipe = blend.recipe
    members = [read(blend.members[k]) for k in recipe.used]  # the others may be gone
    coefficients = recipe.array[:, [*recipe.used, -1]]
    photos = photo_split(split)
    samples, estimated = index.split(photos), pack.estimated(photos)

    def values(photo: int) -> np.ndarray:
        stacked = np.stack([one.values(photo) for one in members])
        low, high = estimated[photo]
        return mix(recipe, coefficients, stacked, samples[photo], facts_of(index, pack, photos, photo), high - low)

    return values
