"""Near duplicates of test photos among the training photos: what a score may owe to them is to be known."""

from __future__ import annotations

import numpy as np

from kit.data.duplicates import duplicates_of_masked, known_thumbnail
from kit.data.likeness import THUMBNAIL_SIZE, thumbnails_of
from kit.data.project import Project


def masked_thumbnails(project: Project) -> tuple[np.ndarray, np.ndarray]:
    """Return the test photos' thumbnails `(M, 32, 32)` uint8, and what is known of them: bool of the same shape."""
    rows = project.index.test
    small, known = thumbnails_of(project.pack.test_image, len(rows)), np.empty((len(rows), *[THUMBNAIL_SIZE] * 2), bool)
    for place, row in enumerate(rows):
        known[place] = known_thumbnail(row.hole)
    return small, known


def note_test_copies(project: Project) -> tuple[str, ...]:
    """Return a note that counts the training photos that are near duplicates of test photos, or none."""
    small = thumbnails_of(project.pack.train_target, len(project.index.train))
    of = duplicates_of_masked(small, *masked_thumbnails(project))
    copies = np.flatnonzero(of >= 0)
    if not len(copies):
        return ()
    first, other = project.index.train[copies[0]].id, project.index.test[of[copies[0]]].id
    return (
        f"{len(copies)} training photos are near duplicates of {len(set(of[copies].tolist()))} test photos (first: "
        f"{first!r} of {other!r}): models will have seen what is scored there, and CV does not tell it",
    )
