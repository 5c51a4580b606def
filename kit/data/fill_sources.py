"""Training-free sources: a classical fill of every photo, stored like any other prediction. Knows no model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kit.core.jobs import Cluster
from kit.core.parallel import cores, map_in_order, map_in_processes
from kit.core.progress import track
from kit.data.index import PhotoRow
from kit.data.photo_list import PhotoArray
from kit.data.prediction_store import SPLITS, photo_split
from kit.data.project import Project
from kit.errors import UnknownName
from kit.imaging.fills import FILLS, fill_photo
from kit.imaging.holes import scored_pixels

ENOUGH_CORES, ENOUGH_PHOTOS = 4, 256  # from which on processes fill faster than threads, their start included
FILL_VERSION = 1  # raise it when a fill's values change: stored ones are then made again


def fill_recipe(name: str) -> dict[str, Any]:
    """Return what makes a fill's predictions."""
    return {"kind": "fill", "fill": name, "version": FILL_VERSION}


def fill_processes(project: Project) -> int:
    """Return how many processes fill all photos soonest; 0: threads do. Two threads hold the interpreter's lock so much
    that further ones gain little."""
    photos = len(project.index.train) + len(project.index.test)
    return cores() if cores() >= ENOUGH_CORES and photos >= ENOUGH_PHOTOS else 0


def is_filled(project: Project, name: str) -> bool:
    """Return whether a fill's predictions of all photos are there."""
    return all(project.predictions.is_done(name, split, fill_recipe(name)) for split in SPLITS)


def make_fill_source(
    project: Project, name: str, *, force: bool = False, processes: int = 0, cluster: Cluster | None = None
) -> bool:
    """Fill every training and test photo and store the hidden pixels; False when they were there already.

    Args:
        processes: so many fill, each a photo at a time; 0: threads do. The values do not depend on it. A script that
            gives it must be guarded by `if __name__ == "__main__"`, as for all of `multiprocessing`.
        cluster: fill on Ray, a few photos a task; the values are the same.

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
            _values(name, photos, project.pack.image(photo_split(split)), split, processes, cluster),
            made_by=f"kit fill {name}",
            recipe=recipe,
            seconds=lambda started=started: time.perf_counter() - started,  # type: ignore[misc]
        )
        made = True
    return made


def _values(
    name: str,
    photo_rows: tuple[PhotoRow, ...],
    images: PhotoArray,
    split: str,
    processes: int,
    cluster: Cluster | None,
) -> Iterator[np.ndarray]:
    photos = ((name, np.array(images[number]), photo_row) for number, photo_row in enumerate(photo_rows))
    if cluster is not None:
        from kit.core.ray_map import map_on_ray  # brings Ray

        filled = map_on_ray(_hidden_values, photos, cluster, count=len(photo_rows))
    elif processes:
        filled = map_in_processes(_hidden_values, photos, workers=processes)
    else:
        filled = map_in_order(_hidden_values, photos)
    with contextlib.closing(filled):
        yield from track(filled, f"Filling {name} ({split})", len(photo_rows), "photos")


def _hidden_values(photo: tuple[str, np.ndarray, PhotoRow]) -> np.ndarray:
    name, image, photo_row = photo
    values: np.ndarray = fill_photo(name, image, photo_row.hole)[scored_pixels(photo_row.boxes)]
    return values


def fills_named(names: Sequence[str]) -> list[str]:
    """Return the names with `all` spelled out, each once. Raises `UnknownName` before anything is computed."""
    for name in names:
        if name != "all" and name not in FILLS:
            raise UnknownName("fill", name, [*FILLS, "all"])
    return list(FILLS) if "all" in names else list(dict.fromkeys(names))
