"""One pass over the photos of both splits: statistics, spectra, frames, each from known pixels. Knows the pack.

Each photo is looked at twice. Through its own hole, to say whether it is odd. And through its own hole and that of a
photo of the other split at once, to be compared with the other split: then both splits are seen through holes of the
same kind, and neither where nor how much is hidden gives a photo away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.core.workspace import Split
from kit.data.index import PhotoRow
from kit.data.pack import Pack
from kit.data.project import Project
from kit.exploring.known import TILES, frame_of, known_tiles, light_of, spectrum_of, statistics_of
from kit.imaging.images import resize

_MOST = 0.9  # of a split's photos must have room for a square of the spectrum


@dataclass(frozen=True)
class Looked:
    """What was seen, training photos first."""

    light: np.ndarray
    """`(N, n)` float64 through each photo's own hole, see `kit.exploring.known.LIGHT`."""
    fair: np.ndarray
    """`(N, m)` float64 through the hole of a photo of the other split, too: `kit.exploring.known.STATISTICS`."""
    spectra: np.ndarray
    """`(N, tile / 2)` float64 in decibels, through both holes; NaN of a photo without room for a square."""
    frames: np.ndarray
    """`(N, 4)` int: rows and columns of one colour at the top, bottom, left and right."""
    tile: int
    """Side of the spectrum's squares; 0 where too few photos have room for any."""


class _Task(NamedTuple):
    """One photo, and the photo of the other split through whose hole it is looked at, too."""

    split: Split
    place: int
    row: PhotoRow
    other: PhotoRow | None

    def through(self) -> np.ndarray:
        """Return what is known of it through both holes, bool `(H, W)`."""
        known = ~self.row.hole
        if self.other is None:
            return known
        return known & (resize(self.other.hole.astype(np.float32), *known.shape) <= 0.5)


def look(project: Project) -> Looked:
    """Look at every photo once, by threads; of the photos nothing is kept but numbers."""
    tasks = _tasks(project)
    tile = best_tile(tasks)
    seen = map_in_order(partial(_look, project.pack, tile), tasks)
    found = track(seen, "Looking at photos", len(tasks), "photos")
    light, fair, spectra, frames = zip(*found, strict=True)
    return Looked(np.stack(light), np.stack(fair), np.stack(spectra), np.array(frames), tile)


def _tasks(project: Project) -> list[_Task]:
    """Return each photo with a photo of the other split: by a fixed shuffle, round and round."""
    rng, tasks = np.random.default_rng(0), []
    ways: tuple[tuple[Split, Split], ...] = (("train", "test"), ("test", "train"))
    for split, other in ways:
        rows, others = project.index.split(split), project.index.split(other)
        order = rng.permutation(len(others))
        for place, row in enumerate(rows):
            partner = others[int(order[place % len(others)])] if len(others) else None
            tasks.append(_Task(split, place, row, partner))
    return tasks


def _look(pack: Pack, tile: int, task: _Task) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int, int, int]]:
    photo = np.ascontiguousarray(pack.image(task.split)[task.place])
    known, through = ~task.row.hole, task.through()
    spectrum = spectrum_of(photo, through, tile) if tile else np.zeros(0)
    return light_of(photo, known), statistics_of(photo, through), spectrum, frame_of(photo, known)


def best_tile(tasks: Sequence[_Task]) -> int:
    """Return the side of the largest square for which nine in ten photos of each split have room; 0 where none does."""
    for tile in TILES:
        room: dict[Split, list[bool]] = {}
        for task in tasks:
            room.setdefault(task.split, []).append(len(known_tiles(task.through(), tile)) > 0)
        if all(np.mean(one) >= _MOST for one in room.values()):
            return tile
    return 0
