"""One pass over the photos of both splits: statistics, spectra, frames, each from known pixels. Knows the pack.

Each photo is looked at twice. Through its own hole, to say what it is like. And through its own hole and that of a
photo of the other split at once, to be told from the other split: then both splits are seen through holes of the same
kind, and neither where nor how much is hidden gives a photo away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.core.workspace import Split
from kit.data.index import PhotoRow
from kit.data.project import Project
from kit.exploring.known import TILES, frame_of, known_tiles, spectrum_of, statistics_of
from kit.imaging.images import resize

_MOST = 0.9  # of a split's photos must have room for a square of the spectrum


@dataclass(frozen=True)
class Looked:
    """What was seen, training photos first."""

    statistics: np.ndarray
    """`(N, n)` float64 through each photo's own hole, see `kit.exploring.known.STATISTICS`."""
    fair: np.ndarray
    """The same through the hole of a photo of the other split, too."""
    spectra: np.ndarray
    """`(N, tile / 2)` float64 in decibels; NaN of a photo without room for a square."""
    frames: np.ndarray
    """`(N, 4)` int: rows and columns of one colour at the top, bottom, left and right."""
    tile: int
    """Side of the spectrum's squares; 0 where too few photos have room for any."""


class _Task(NamedTuple):
    photo: np.ndarray
    row: PhotoRow
    other: PhotoRow | None
    tile: int


def look(project: Project) -> Looked:
    """Look at every photo once, by threads; of the photos nothing is kept but numbers."""
    rows = [*project.index.train, *project.index.test]
    tile = best_tile(project)
    found = track(map_in_order(_look, _tasks(project, tile)), "Looking at photos", len(rows), "photos")
    statistics, fair, spectra, frames = zip(*found, strict=True)
    return Looked(np.stack(statistics), np.stack(fair), np.stack(spectra), np.array(frames), tile)


def _tasks(project: Project, tile: int) -> Iterator[_Task]:
    """Yield each photo with a photo of the other split: by a fixed shuffle, round and round."""
    rng = np.random.default_rng(0)
    ways: tuple[tuple[Split, Split], ...] = (("train", "test"), ("test", "train"))
    for split, other in ways:
        rows, others = project.index.split(split), project.index.split(other)
        order = rng.permutation(len(others))
        for place, row in enumerate(rows):
            partner = others[int(order[place % len(others)])] if len(others) else None
            yield _Task(project.pack.image(split)[place], row, partner, tile)


def _look(task: _Task) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int, int, int]]:
    photo, known = np.ascontiguousarray(task.photo), ~task.row.hole
    through = known
    if task.other is not None:
        hole = resize(task.other.hole.astype(np.float32), *known.shape) > 0.5
        through = known & ~hole
    spectrum = spectrum_of(photo, known, task.tile) if task.tile else np.zeros(0)
    return statistics_of(photo, known), statistics_of(photo, through), spectrum, frame_of(photo, known)


def best_tile(project: Project) -> int:
    """Return the side of the largest square for which nine in ten photos of each split have room; 0 where none does."""
    splits = [rows for rows in (project.index.train, project.index.test) if rows]
    for tile in TILES:
        shares = (sum(len(known_tiles(~row.hole, tile)) > 0 for row in rows) / len(rows) for rows in splits)
        if all(share >= _MOST for share in shares):
            return tile
    return 0
