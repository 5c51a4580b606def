"""Training-free sources: a classical fill of every photo, stored like any other prediction. Knows no model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kit.core.progress import track
from kit.core.workspace import PredictionSplit, Workspace
from kit.data.index import Index, Sample
from kit.data.pack import Pack
from kit.data.prediction_store import is_done, photo_split, write_part
from kit.errors import UnknownName
from kit.imaging.fills import FILLS, fill_photos
from kit.imaging.holes import scored_pixels

FILL_VERSION = 1  # raise it when a fill's values change: stored ones are then made again

SPLITS: tuple[PredictionSplit, PredictionSplit] = ("oof", "test")


def fill_recipe(name: str) -> dict[str, Any]:
    """What makes a fill's predictions."""
    return {"kind": "fill", "fill": name, "version": FILL_VERSION}


def make_fill_source(
    workspace: Workspace, index: Index, pack: Pack, name: str, *, force: bool = False, workers: int | None = None
) -> bool:
    """Fill every training and test photo and store the hidden pixels; False when they were there already.

    Raises:
        UnknownName: there is no such fill.
    """
    recipe = fill_recipe(name)
    made = False
    for split in SPLITS:
        if not force and is_done(workspace, index, name, split, recipe):
            continue
        started = time.perf_counter()
        write_part(
            workspace,
            index,
            name,
            split,
            _values(name, index.split(photo_split(split)), pack.image(photo_split(split)), split, workers),
            made_by=f"kit fill {name}",
            recipe=recipe,
            seconds=lambda started=started: time.perf_counter() - started,  # type: ignore[misc]
        )
        made = True
    return made


def _values(
    name: str, samples: tuple[Sample, ...], images: np.ndarray, split: str, workers: int | None
) -> Iterator[np.ndarray]:
    filled = fill_photos(name, images, lambda position: samples[position].hole, workers=workers)
    bar = track(filled, f"Filling {name} ({split})", len(samples), "photos")
    for sample, photo in zip(samples, bar, strict=True):
        yield photo[scored_pixels(sample.boxes)]


def fills_named(names: Sequence[str]) -> list[str]:
    """Names with `all` spelled out, each once. Raises `UnknownName` before anything is computed."""
    for name in names:
        if name != "all" and name not in FILLS:
            raise UnknownName("fill", name, [*FILLS, "all"])
    return list(FILLS) if "all" in names else list(dict.fromkeys(names))
