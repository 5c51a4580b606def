"""What looks wrong with a submission's values, beside the known pixels of its photos. Reads a part of the file."""

from __future__ import annotations

import contextlib
from itertools import islice
from pathlib import Path

from kit.data.project import Project
from kit.errors import KitError
from kit.exchange.continuity import other_reading, steps
from kit.exchange.csv import values_in_file_order
from kit.exchange.values import Photos

LOOKED_AT = 60  # photos, the first of the file
SAME = 1e-3


def doubts_about_submission(project: Project, path: Path, lowest: float, highest: float) -> list[str]:
    """Return one line for each thing that looks wrong with a submission that has passed `check_submission`.

    Args:
        lowest, highest: of all its values.
    """
    if highest - lowest < SAME:
        return [
            f"{path}: every value is {lowest:g}. Is it the untouched sample? Write a real one: kit upload --dry-run"
        ]
    if project.layout.submission != "csv":  # rows, columns and channels of a picture have one order
        return []
    photos = Photos.of(project, "test")
    found = []
    with contextlib.suppress(KitError):  # ids of a sample that asks for other photos than the index has
        for position, values in islice(values_in_file_order(path, photos), LOOKED_AT):
            photo_row = photos.photo_rows[position]
            of_photo = steps(values, photo_row.boxes, photos.images[position], photo_row.hole)
            found += [of_photo] if of_photo else []
    meant = other_reading(found)
    if meant is None:
        return []
    reading, other, own = meant
    return [
        f"{path}: at the boxes' edges the values would continue the known pixels far better (a step of {other:.3f}, "
        f"now {own:.3f}) {reading}. Channels 0, 1, 2 are blue, green, red; rows and columns are in the ids"
    ]
