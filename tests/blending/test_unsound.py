"""Sources with values that are not finite, and sources that are one another's copies: named, and no end of the work."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.command import kit, ok
from support.toy import Toy

pytestmark = pytest.mark.toy(
    photos=24,
    sources=[
        {"name": "good", "noise": 0.05},
        {"name": "copy", "noise": 0.05},
        {"name": "other", "noise": 0.06, "seed": 3},
        {"name": "broken", "noise": 0.04, "by_fold": True},
    ],
)


def spoil(toy: Toy) -> None:
    path = toy.workspace.source("broken", "oof") / "fold_1.npy"
    values = np.lib.format.open_memmap(path, mode="r+")
    values[7, 1] = np.nan
    values.flush()


def test_one_that_is_not_finite_is_named_and_the_others_are_scored_and_blended(toy: Toy) -> None:
    spoil(toy)
    done = kit(f"-w {toy.workspace.root} sources")
    assert done.code == 0 and "broken: " in done.out and "fold_1.npy holds values that are not finite" in done.out
    scores = {row["name"]: row["score"] for row in json.loads(ok(f"-w {toy.workspace.root} sources --json"))}
    assert scores["broken"] is None and scores["good"]["value"] < scores["other"]["value"]
    text = ok(f"-w {toy.workspace.root} blend --plots none --name whole")
    assert "Left out, values not finite (kit sources says where): broken" in text
    named = kit(f"-w {toy.workspace.root} blend good broken")
    assert named.is_one_error_line and "fold_1.npy holds values that are not finite" in named.err


def test_copies_are_named(toy: Toy) -> None:
    for line in ("sources", "blend copy good other --plots none --name x"):
        assert "Note: copy and good hold the same values." in ok(f"-w {toy.workspace.root} {line}")
    assert "hold the same" not in ok(f"-w {toy.workspace.root} blend good other --plots none --name y")
