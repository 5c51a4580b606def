"""The original test photos: where each lies, and whether a folder holds them; masks would be graded too."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from kit.data.index import PhotoRow, evenly_spread
from kit.data.project import Project
from kit.errors import ImageError
from kit.imaging.images import IMAGE_SUFFIXES, load_image

LOOKED_AT = 20  # photos, evenly spread
APART = 0.1  # of the range of values, on average over known pixels: a JPEG that was saved again is 0.02 off
FEWEST = 16  # hidden pixels of which one colour tells something


class Originals:
    """A folder of original test photos, which is looked through once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path | None:
        """Return where the original of a test photo lies: of its name, or of its name with another suffix; of several
        masks of one picture, all have the same one. None where it is not there, or not alone."""
        path = self.folder / name
        if path.is_file():
            return path
        stems = [stem for stem in (path.stem, path.stem.rpartition("_mask")[0]) if stem]
        for stem in stems:
            found = sorted(one for one in path.parent.glob("*.*") if one.stem == stem)
            if found:
                return found[0]
        below = [one for stem in stems for one in self._below.get(stem, [])]
        return below[0] if len(below) == 1 else None

    @cached_property
    def _below(self) -> dict[str, list[Path]]:
        """Return the pictures in the folders in the folder, by their names without suffix: where classes are folders,
        a submission knows names alone."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() in IMAGE_SUFFIXES and path.parent != self.folder:
                found.setdefault(path.stem, []).append(path)
        return found

    def load(self, row: PhotoRow) -> np.ndarray:
        """Return the original of a test photo, uint8 RGB.

        Raises:
            ImageError: it is missing, cannot be read, or has another size.
        """
        path = self.path(row.name)
        if path is None:
            raise ImageError(
                f"{self.folder / row.name}: found nothing. Give the folder of the original test photos: --truth DIR"
            )
        try:
            photo = load_image(path)
        except ImageError:
            found = f"{path.stat().st_size} bytes that are no whole picture"
            raise ImageError(
                f"{path}: found {found}. Give the folder of the original test photos: --truth DIR"
            ) from None
        if photo.shape[:2] != (row.height, row.width):
            raise ImageError(
                f"{path} is {photo.shape[1]}x{photo.shape[0]}, expected {row.width}x{row.height}. Give the folder of "
                "the original test photos: --truth DIR"
            )
        return photo


def check_originals(truth: Path, project: Project) -> None:
    """Compare some photos with what is known of them.

    Args:
        truth: the folder; photos that are missing there are passed over.

    Raises:
        ImageError: most of them are other photos, or hide in one colour what is to be graded.
    """
    rows, originals = project.index.test, Originals(truth)
    apart, flat, seen = [], [], 0
    for place in evenly_spread(len(rows), LOOKED_AT):
        row = rows[place]
        if originals.path(row.name) is None:
            continue
        photo, given, hole = originals.load(row), np.asarray(project.pack.test_image[place]), row.hole
        seen += 1
        if (~hole).any():
            difference = np.abs(photo[~hole].astype(np.float64) - given[~hole]).mean() / 255
            apart += [(row.name, difference)] if difference > APART else []
        if hole.sum() >= FEWEST and (photo[hole] == photo[hole][0]).all():
            flat.append(row.name)
    if 2 * len(apart) > seen:
        name, difference = apart[0]
        raise ImageError(
            f"{truth / name} is another picture than the test photo of that name: known pixels are {difference:.0%} "
            "apart on average. Give the folder of the original test photos: --truth DIR"
        )
    if 2 * len(flat) > seen:
        raise ImageError(
            f"{truth / flat[0]} has one colour where the photo is hidden: it is no original. Give the folder of the "
            "original test photos: --truth DIR"
        )
