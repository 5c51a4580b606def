"""What a metric makes of one photo of a submission. Knows no files."""

from __future__ import annotations

import numpy as np

from kit.competitions import Competition, to_score_space
from kit.data.index import PhotoRow
from kit.imaging.holes import scored_pixels
from kit.imaging.metrics import Metric


def photo_error(metric: Metric, layout: Competition, row: PhotoRow, whole: np.ndarray, values: np.ndarray) -> float:
    """Return a photo's errors as `Metric.statistics` wants them; of a metric of pictures the photo's score.

    Pictures are compared in pixel values: the filled one is the original with the values in its holes, scaled back by
    the range of the known pixels and clipped.

    Args:
        whole: the original, uint8 RGB `(H, W, 3)`.
        values: `(n, 3)` RGB in score space, in the order of the scored pixels.
    """
    scored = scored_pixels(row.boxes)
    if metric.of != "pictures":
        target = to_score_space(whole[scored] / 255.0, layout.value_range(whole, None))
        return metric.errors(values - target)
    assert metric.compare is not None
    low, high = layout.value_range(whole, row.hole)
    truth = whole / 255.0
    filled = truth.copy()
    filled[scored] = np.clip(values * (high - low) + low, 0.0, 1.0)
    return metric.compare(filled, truth, row.hole)
