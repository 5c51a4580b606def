"""The score of predictions of training photos, where the competition compares. Knows no store and no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from kit.competitions import to_score_space
from kit.data.index import PhotoRow
from kit.data.pack import Pack
from kit.imaging.holes import scored_pixels


def rmse_of(
    predicted: Iterable[np.ndarray], positions: Iterable[int], photo_rows: Sequence[PhotoRow], pack: Pack
) -> float:
    """Return the RMSE in score space, predictions scaled by the value range that known pixels give, as in a submission.

    Args:
        predicted: `(n, 3)` RGB in [0, 1] of each photo.
        positions: of these photos among the training photos, in the same order.
        photo_rows: theirs.
    """
    total, count = 0.0, 0
    for position, photo_row, values in zip(positions, photo_rows, predicted, strict=True):
        truth = np.asarray(pack.train_target[position])[scored_pixels(photo_row.boxes)] / 255.0
        error = to_score_space(values, pack.train_estimated_range[position]) - to_score_space(
            truth, pack.train_value_range[position]
        )
        total += float(np.vdot(error, error))
        count += error.size
    return float(np.sqrt(total / max(count, 1)))
