"""A few photos filled, small enough to stand in a notebook: hidden, filled, and the truth where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kit.blending import Blend, blend_values
from kit.core.workspace import PredictionSplit
from kit.data.prediction_store import photo_split
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.imaging.images import encode_image, resize
from kit.report.figure import filled_photo
from kit.report.picking import pick_photos

SIDE = 112  # pixels of the longer side, at most
COUNT = 3
_QUALITY = 85


@dataclass(frozen=True)
class Thumbnails:
    """One photo: titles and JPEG files, from left to right."""

    photo: str
    pictures: tuple[tuple[str, bytes], ...]


def thumbnails_of_source(project: Project, predictions: Predictions, count: int = COUNT) -> list[Thumbnails]:
    """Return photos that are predicted, filled by a source."""
    there = set(predictions.photos.tolist())
    return _thumbnails(project, predictions.source, predictions.split, predictions.values, there, count)


def thumbnails_of_blend(project: Project, blend: Blend, count: int = COUNT) -> list[Thumbnails]:
    """Return training photos filled by a blend. Raises `Mismatch` where it is not of this index, folds and members."""
    values = blend_values(project, blend, "oof")
    there = set(range(len(project.index.train)))
    return _thumbnails(project, blend.name, "oof", lambda photo: np.clip(values(photo), 0.0, 1.0), there, count)


def _thumbnails(
    project: Project,
    title: str,
    split: PredictionSplit,
    values: Callable[[int], np.ndarray],
    there: set[int],
    count: int,
) -> list[Thumbnails]:
    photos, made = photo_split(split), []
    photo_rows, images = project.index.split(photos), project.pack.image(photos)
    of_classes = pick_photos(project.index, photos, len(photo_rows))
    for position in [one for one in of_classes if one in there][:count]:
        image = np.asarray(images[position])
        filled = filled_photo(image, photo_rows[position], values(position))
        shown = [("hidden", image), (title, filled)]
        shown += [("truth", np.asarray(project.pack.train_target[position]))] if split == "oof" else []
        made.append(Thumbnails(photo_rows[position].name, tuple((name, thumbnail(one)) for name, one in shown)))
    return made


def thumbnail(image: np.ndarray) -> bytes:
    """Return a picture, uint8 RGB `(H, W, 3)`, as a small JPEG."""
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = resize(image, max(1, round(height * scale)), max(1, round(width * scale)))
    return encode_image(small, ".jpg", jpeg_quality=_QUALITY)
