"""The picture of a blend: its texts, its bytes, and that everything fits on it."""

from __future__ import annotations

import errno
import os
import warnings
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib
import matplotlib.style
import numpy as np
import pytest
from matplotlib.text import Text
from support.toy import Toy

from kit.blending import Blend, CandidateRow, make_blend
from kit.errors import KitError, UsageError
from kit.imaging.images import load_image
from kit.imaging.metrics import Estimate
from kit.report.blend import _STYLE, _sheet, plot_blend

pytestmark = pytest.mark.toy(
    shared=True,
    sources=[
        {"name": "good", "noise": 0.05, "seed": 1},
        {"name": "fair", "noise": 0.07, "seed": 2},
        {"name": "grey", "predict": lambda split, photo, truth: np.full_like(truth, 0.5)},
        {"name": "ablation-regress.architecture+plain_bottleneck-" * 2, "noise": 0.06, "seed": 3},
    ],
)


@pytest.fixture(scope="module")
def blend(shared_toy: Toy) -> Blend:
    return make_blend(shared_toy.project, name="four")


def many(blend: Blend, count: int) -> Blend:
    """A blend of so many members, some with names as long as can be."""
    rng = np.random.default_rng(0)
    members = []
    for k in range(count):
        cv, change = 0.1 + 0.1 * rng.random(), 0.001 * rng.normal()
        made = {"cv": Estimate(cv, cv - 0.01, cv + 0.01), "without": Estimate(change, change - 0.001, change + 0.001)}
        name = f"member-{k:02d}" if k % 3 else f"{'regress-standardised_' * 5}"[:97] + f"-{k:02d}"
        members.append(replace(blend.members[0], name=name, weight=rng.normal() / 10, **made))
    return replace(blend, name="n" * 100, members=tuple(members))


def stacked(blend: Blend) -> Blend:
    """The same as if a stack had been taken."""
    row = CandidateRow("stack", Estimate(0.05, 0.04, 0.06), blend.rung, Estimate(0.01, 0.005, 0.02), True, True)
    return replace(blend, name="stacked", rung="stack", ladder=(*blend.ladder, row))


def test_it_names_every_source_and_rung(toy: Toy, blend: Blend) -> None:
    path = plot_blend(toy.workspace, blend, "png")
    image = load_image(path)
    assert path == toy.workspace.report / "four.png" and image.shape[1] > 1000 and image.std() > 5
    texts = {text.get_text() for text in _sheet(blend, "PSNR").findobj(Text) if isinstance(text, Text)}
    assert {"good", "fair", "grey"} <= texts and any(text.startswith("ablation-regress.") for text in texts)
    assert {f"{row.rung} ({row.below})" for row in blend.ladder[1:]} <= texts
    assert {f"class {name}" for name in ("Cat", "Dog")} <= texts
    assert any(str(blend.leaderboard.score) in text and "CV PSNR" in text for text in texts)
    root = ElementTree.parse(plot_blend(toy.workspace, blend, "svg")).getroot()
    assert root.tag.endswith("svg")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_blend_gives_the_same_bytes_whatever_the_users_style(toy: Toy, blend: Blend, kind: str) -> None:
    once = plot_blend(toy.workspace, blend, kind).read_bytes()
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "svg.hashsalt": None}):
        assert plot_blend(toy.workspace, blend, kind).read_bytes() == once
    assert b"<dc:date>" not in once


@pytest.mark.parametrize("which", ["stack", "one", "60", "strange"])
def test_no_text_leaves_the_sheet_or_lies_over_another(toy: Toy, blend: Blend, which: str) -> None:
    made = {
        "stack": lambda: stacked(blend),
        "one": lambda: make_blend(toy.project, ["good"], name="alone"),
        "60": lambda: many(blend, 60),
        "strange": lambda: replace(
            blend, slices=tuple(replace(row, name="$\\frac{a}$ 虎 <b>") for row in blend.slices)
        ),
    }[which]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_blend(toy.workspace, made, "png")
        warnings.simplefilter("ignore")
        with matplotlib.style.context(["default", _STYLE]):
            sheet = _sheet(made, "RMSE")
            sheet.canvas.draw()
            seen = sheet.get_tightbbox()
            labels = [axes.get_yticklabels() for axes in sheet.axes[:5]]
            boxes = [text.get_window_extent() for axes in labels for text in axes if text.get_text()]
    width, height = sheet.get_size_inches()
    assert seen.x0 >= -0.01 and seen.y0 >= -0.01 and seen.x1 <= width + 0.01 and seen.y1 <= height + 0.01
    for place, box in enumerate(boxes):
        for other in boxes[:place]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            along = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across < 1 or along < 3


def test_another_kind_and_a_full_disk_are_told_and_what_was_there_stays(
    toy: Toy, blend: Blend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="png or svg, not 'pdf'"):
        plot_blend(toy.workspace, blend, "pdf")
    before = plot_blend(toy.workspace, blend, "png").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(KitError, match="No room left on the disk"):
        plot_blend(toy.workspace, replace(stacked(blend), name="four"), "png")
    assert (toy.workspace.report / "four.png").read_bytes() == before
