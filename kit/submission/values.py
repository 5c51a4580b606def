"""What a blend or a source says of the test photos, of whatever project. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kit.blending import Blend, blend_test_values
from kit.data.project import Project


def values_to_send(project: Project, what: Blend | str) -> tuple[str, Iterator[np.ndarray]]:
    """Return the name of a blend or a source, and its values of each test photo in the index's order.

    Args:
        what: a blend that was read, or a source's name.

    Returns:
        The name, and for each photo `(n, 3)` RGB in pixel space.

    Raises:
        UnknownName, MissingStep: no such source, or a member's folds are absent.
        Mismatch: index, folds or predictions are not those that the blend was made of.
    """
    if isinstance(what, Blend):
        return what.name, blend_test_values(project, what)
    predictions = project.predictions.read(what, "test")
    return what, (predictions.values(photo) for photo in range(len(project.index.test)))
