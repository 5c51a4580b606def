"""Training-free sources: a classical fill of every photo, stored like any other prediction. Knows no model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kit.core.progress import track
from kit.data.index import PhotoRow
from kit.data.prediction_store import SPLITS, photo_split
from kit.data.project import Project
from kit.errors import UnknownName
from kit.imaging.fills import FILLS, fill_photos
from kit.imaging.holes import scored_pixels

FILL_VERSION = 1  # raise it when a fill's values change: stored ones are then made again


def fill_recipe(name: str) -> dict[str, Any]:
    """Return what makes a fill's predictions."""
    return {"kind": "fill", "fill": name, "version": FILL_VERSION}


def make_fill_source(project: Project, name: str, *, force: bool = False, workers: int | None = None) -> bool:
    """Fill every training and test photo and store the hidden pixels; False when they were there already.

    Raises:
        UnknownName: there is no such fill.
    """
    recipe = fill_recipe(name)
    made = False
    for split in SPLITS:
        if not force and project.predictions.is_done(name, split, recipe):
            continue
        started = time.perf_counter()
        photos = project.index.split(photo_split(split))
        project.predictions.write(
            name,
            split,
            _values(name, photos, project.pack.image(photo_split(split)), split, workers),
            made_by=f"kit fill {name}",
            recipe=recipe,
            seconds=lambda started=started: time.perf_counter() - started,  # type: ignore[misc]
        )
        made = True
    return made


def _values(
    name: str, photo_rows: tuple[PhotoRow, ...], images: np.ndarray, split: str, workers: int | None
) -> Iterator[np.ndarray]:
    filled = fill_photos(name, images, lambda position: photo_rows[position].hole, workers=workers)
    bar = track(filled, f"Filling {name} ({split})", len(photo_rows), "photos")
    for photo_row, photo in zip(photo_rows, bar, strict=True):
        yield photo[scored_pixels(photo_row.boxes)]


def fills_named(names: Sequence[str]) -> list[str]:
    """Return the names with `all` spelled out, each once. Raises `UnknownName` before anything is computed."""
    for name in names:
        if name != "all" and name not in FILLS:
            raise UnknownName("fill", name, [*FILLS, "all"])
    return list(FILLS) if "all" in names else list(dict.fromkeys(names))
