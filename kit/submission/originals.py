"""Whether a folder holds the original test photos: masks, or the photos with their holes, would be graded too."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kit.data.project import Project
from kit.errors import ImageError
from kit.submission.pictures import load_whole, whole_path

LOOKED_AT = 20  # photos, evenly spread
APART = 0.1  # of the range of values, on average over known pixels: a JPEG that was saved again is 0.02 off
FEWEST = 16  # hidden pixels of which one colour tells something


def check_originals(truth: Path, project: Project) -> None:
    """Compare some photos with what is known of them.

    Args:
        truth: the folder; photos that are missing there are passed over.

    Raises:
        ImageError: most of them are other photos, or hide in one colour what is to be graded.
    """
    rows = project.index.test
    places = sorted({int(place) for place in np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows)))})
    apart, flat, seen = [], [], 0
    for place in places:
        row = rows[place]
        if whole_path(truth, row.name) is None:
            continue
        photo, given, hole = load_whole(truth, row), np.asarray(project.pack.test_image[place]), row.hole
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
