"""What is sent of a blend and of a source: each test photo's values, the same for every way to a submission."""

from __future__ import annotations

import numpy as np
import pytest
from support.toy import Toy

from kit.blending import blend_values, make_blend, read_blend
from kit.errors import MissingStep, UnknownName
from kit.submission.upload import prepare
from kit.submission.values import values_to_send
from kit.submission.write import write_submission

pytestmark = pytest.mark.toy(
    sources=[
        {"name": "good", "noise": 0.05, "seed": 1},
        {"name": "fair", "noise": 0.08, "seed": 2, "by_fold": True},
        {"name": "partial", "noise": 0.1, "seed": 3, "by_fold": True, "present": [0, 2]},
    ]
)


def test_a_source_and_a_blend_give_their_values_photo_by_photo(toy: Toy) -> None:
    project = toy.project
    make_blend(project, ["good", "fair"], name="both", rung="mean")
    name, values = values_to_send(project, "fair")
    stored = project.predictions.read("fair", "test")
    assert name == "fair"
    for photo, given in enumerate(values):
        np.testing.assert_array_equal(given, stored.values(photo))
    blend = read_blend(toy.workspace, "both")
    name, values = values_to_send(project, blend)
    mixed = blend_values(project, blend, "test")
    given = list(values)
    assert name == "both" and len(given) == len(project.index.test)
    for photo, one in enumerate(given):
        np.testing.assert_array_equal(one, mixed(photo))
    written = write_submission(project, values_to_send(project, blend)[1], "again")
    assert written.digest == prepare(project, "both").digest


def test_what_is_not_there_or_not_whole_is_said_before_the_first_photo(toy: Toy) -> None:
    with pytest.raises(UnknownName, match="no source 'nope'"):
        values_to_send(toy.project, "nope")
    with pytest.raises(MissingStep, match="lacks the test predictions of folds 1"):
        values_to_send(toy.project, "partial")
