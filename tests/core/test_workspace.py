"""Every path below one folder, and no name that leads out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core.workspace import Workspace, checked_name
from kit.errors import KitError, UnknownName, UsageError

BAD = ["", ".", "..", ".hidden", "a/b", "a\\b", "/etc", "a b", "a\n", "a\0", "é", "-x", "x" * 101, "a:b", "~"]


@pytest.mark.parametrize("name", ["a", "unet_b3", "p2p-1.5+ema", "0", "x" * 100])
def test_names_that_can_be_files_are_taken(name: str) -> None:
    assert checked_name("The source", name) == name


@pytest.mark.parametrize("name", BAD)
def test_names_that_cannot_be_files_are_refused_everywhere(name: str) -> None:
    workspace = Workspace(Path("w"))
    for make in (
        lambda: workspace.run(name, 0),
        lambda: workspace.source(name, "oof"),
        lambda: workspace.blend(name),
        lambda: workspace.submission(name),
        lambda: Workspace(Path("w"), name),
    ):
        with pytest.raises(UsageError, match="cannot be a file name"):
            make()


@given(st.text(max_size=20))
def test_no_name_leads_out_of_the_workspace(name: str) -> None:
    workspace = Workspace(Path("/w"))
    try:
        paths = [workspace.run(name, 1), workspace.source(name, "test"), workspace.blend(name)]
    except UsageError:
        return
    for path in paths:
        assert ".." not in path.parts and path.is_relative_to("/w") and len(path.parts) in (4, 5)


def test_the_places_are_those_of_the_design() -> None:
    w = Workspace(Path("w"), "slug")
    assert [path.relative_to("w").as_posix() for path in (w.raw, w.index, w.pack, w.folds, w.run("e", 2))] == [
        "data/slug/raw",
        "data/slug/index.csv",
        "data/slug/pack",
        "folds/slug.csv",
        "runs/e/fold_2",
    ]
    assert w.source("s", "oof") == w.predictions / "s" / "oof"
    assert (w.blend("b"), w.submission("x"), w.ledger) == (
        w.blends / "b.json",
        w.submissions / "x.csv",
        w.submissions / "ledger.csv",
    )


def test_every_message_is_one_line() -> None:
    assert str(KitError("two\nlines  and\tblanks")) == "two lines and blanks"
    assert str(UnknownName("fill", "x", ["b", "a"])) == "There is no fill 'x'. Known: a, b."
    assert str(UnknownName("fill", "x", [])).endswith("Known: none yet.")
    assert str(UnknownName("fill", "Harmonc", ["mean", "harmonic"])) == (
        "There is no fill 'Harmonc'. Did you mean harmonic? Known: harmonic, mean."
    )
