"""Pictures of a blend: which there are, that they say what the text says, that everything fits on them."""

from __future__ import annotations

import errno
import os
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import matplotlib
import matplotlib.style
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from support.toy import Toy

from kit.blending import Blend, CandidateRow, make_blend
from kit.cli.results import blend_report
from kit.core.workspace import Workspace
from kit.errors import KitError, UsageError
from kit.imaging.images import load_image
from kit.imaging.metrics import RMSE, Estimate
from kit.report.blend import PICTURES, _clustered, _shade, plot_blend
from kit.report.chart import _STYLE, LEAST_SPAN, Sheet, drawn, lines_of, ticks, width_of, window

ALL = ["members", "left-out", "correlation", "ladder", "errors", "leaderboard", "trajectory"]
LONG = ["ablation-regress.architecture+plain_bottleneck-" * 2 + "000001", "ablation-regress_" * 5 + "2", "x" * 100]


pytestmark = pytest.mark.toy(
    shared=True,
    sources=[
        {"name": "good", "noise": 0.05, "seed": 1},
        {"name": "fair", "noise": 0.07, "seed": 2},
        {"name": "twin", "noise": 0.05, "seed": 1},
        {"name": "grey", "predict": lambda split, photo, truth: np.full_like(truth, 0.5)},
        *({"name": name, "noise": 0.06, "seed": seed} for seed, name in enumerate(LONG, start=3)),
    ],
)


@pytest.fixture(scope="module")
def blend(shared_toy: Toy) -> Blend:
    """Of the four with short names."""
    return make_blend(shared_toy.project, ["good", "fair", "twin", "grey"], name="four")


def stacked(blend: Blend) -> Blend:
    """The same as if a stack had been taken."""
    row = CandidateRow("stack", Estimate(0.05, 0.04, 0.06), blend.rung, Estimate(0.01, 0.005, 0.02), True, True)
    return replace(blend, name="stacked", rung="stack", ladder=(*blend.ladder, row))


def many(blend: Blend, count: int) -> Blend:
    """A blend of so many members, drawn at random, some with names as long as can be."""
    rng = np.random.default_rng(0)
    names = [f"member-{k:02d}" if k % 3 else f"{'regress-standardised_' * 5}"[:97] + f"-{k:02d}" for k in range(count)]
    members = []
    for name in names:
        cv, change = 0.1 + 0.1 * rng.random(), 0.001 * rng.normal()
        members.append(
            replace(
                blend.members[0],
                name=name,
                weight=rng.normal() / 10,
                cv=Estimate(cv, cv - 0.01, cv + 0.01),
                without=Estimate(change, change - 0.001, change + 0.001),
            )
        )
    factors = rng.normal(1.0, 0.3, (count, 20))
    steps = tuple((names[int(k)], 0.2 / step) for step, k in enumerate(rng.integers(0, count, 100), start=1))
    correlation = tuple(map(tuple, np.corrcoef(factors).tolist()))
    return replace(blend, name="n" * 100, members=tuple(members), correlation=correlation, trajectory=steps)


def texts_of(sheet: Sheet) -> list[Text]:
    return [text for text in sheet.ink.findobj(Text) if isinstance(text, Text) and text.get_text()]


def said(blend: Blend) -> set[str]:
    """Every text on every picture."""
    return {text.get_text() for draw in PICTURES.values() for text in texts_of(draw(blend))}


def test_there_is_a_picture_for_each_thing_that_is_printed(toy: Toy, blend: Blend) -> None:
    paths = plot_blend(toy.workspace, blend, "png")
    assert paths == [toy.workspace.report / "four" / f"{name}.png" for name in ALL] and list(PICTURES) == ALL
    for path in paths:
        image = load_image(path)
        assert image.shape[1] > 800 and image.std() > 5
    for path in plot_blend(toy.workspace, blend, "svg"):
        root = ElementTree.parse(path).getroot()
        assert "four" in (root.findtext("{http://www.w3.org/2000/svg}title") or "")


def test_the_pictures_have_every_number_of_the_text_report(toy: Toy, blend: Blend) -> None:
    report, drawn = blend_report(blend, toy.workspace, RMSE), " ".join(said(blend))
    tables = report[: report.index("Blend four:")]
    numbers = re.findall(r"[+-]?\d\.\d{3,5}(?: \[[^]]*\])?", tables)
    assert len(numbers) > 45
    assert not [number for number in numbers if number not in drawn]
    assert {row.name for row in blend.members} | {row.rung for row in blend.ladder} <= said(blend)
    assert str(blend.leaderboard.score) in drawn and f"±{blend.leaderboard.sampling:.4f}" in drawn


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_blend_gives_the_same_bytes_whatever_the_users_style(blend: Blend, kind: str) -> None:
    for name in ("members", "correlation", "trajectory"):
        draw = partial(PICTURES[name], blend)
        once = drawn(draw, kind)
        with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "svg.hashsalt": None}):
            assert drawn(draw, kind) == once
        assert b"atplotlib" not in once and b"<dc:date>" not in once


def test_pictures_of_another_kind_or_an_earlier_run_are_gone_and_other_files_stay(toy: Toy, blend: Blend) -> None:
    folder = toy.workspace.report / "again"
    plot_blend(toy.workspace, replace(blend, name="again"), "svg")
    (folder / "notes.txt").write_text("mine")
    (folder / ".partial-999999999-abc-members.png").write_text("of a killed run")
    alone = make_blend(toy.project, ["good"], name="again")
    paths = plot_blend(toy.workspace, alone, "png")
    assert [path.stem for path in paths] == [name for name in ALL if name not in ("left-out", "correlation")]
    assert {path.name for path in folder.iterdir()} == {"notes.txt", *(path.name for path in paths)}


def test_stacks_two_members_and_long_names_are_drawn_without_a_warning(toy: Toy, blend: Blend) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for names in (["good", "fair"], LONG):
            made = make_blend(toy.project, names, name="L" * 100)
            assert len(plot_blend(toy.workspace, made, "png")) == len(ALL)
        assert len(plot_blend(toy.workspace, stacked(blend), "svg")) == len(ALL)
    assert "taken; the blend" in said(stacked(blend))


@pytest.mark.parametrize("count", [2, 20, 60])
def test_every_text_is_on_the_sheet_and_none_lies_over_another(blend: Blend, count: int) -> None:
    big = many(blend, count)
    for name, draw in PICTURES.items():
        with matplotlib.style.context(["default", _STYLE]):
            sheet = draw(big)
            canvas = FigureCanvasAgg(sheet.figure)
            boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts_of(sheet)]
        width, height = canvas.get_width_height()
        for box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, name
        # letters may touch the next line
        low, high = (np.array([getattr(box, end) for box in boxes])[:, None] for end in ("min", "max"))
        over = (low + 3 < high.swapaxes(0, 1)).all(axis=2)
        pairs = np.argwhere(np.triu(over & over.T, k=1))
        written = [text.get_text() for text in texts_of(sheet)]
        assert not [(written[a], written[b]) for a, b in pairs], name


def test_a_class_may_have_any_name(blend: Blend) -> None:
    odd = replace(blend, slices=(replace(blend.slices[-1], name="$x$ Ελέφαντας 象" + "<&>" * 60),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(partial(PICTURES["errors"], odd), "png")
        ElementTree.fromstring(drawn(partial(PICTURES["errors"], odd), "svg"))


def test_an_unknown_kind_is_refused(toy: Toy, blend: Blend) -> None:
    with pytest.raises(UsageError, match="png or svg, not 'pdf'"):
        plot_blend(toy.workspace, blend, "pdf")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, blend: Blend) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "four").write_text("in the way")
    with pytest.raises(KitError, match=r"Cannot write \S*report/four/members.png: .*in the way"):
        plot_blend(Workspace(tmp_path), blend, "png")


def test_a_full_disk_leaves_the_pictures_of_the_run_before(
    tmp_path: Path, blend: Blend, digests: Callable[[Path], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    plot_blend(workspace, blend, "png")
    before = digests(workspace.report)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KitError, match="No room left"):
        plot_blend(workspace, replace(stacked(blend), name="four"), "png")
    assert digests(workspace.report) == before


def test_sources_alike_stand_together_and_shades_tell_high_correlations_apart() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(3, 500))
    noisy = np.concatenate([base + 0.1 * rng.normal(size=base.shape) for _ in range(4)])
    order = _clustered(np.corrcoef(noisy), list(np.arange(12.0)))
    kinds = (order % 3).tolist()
    assert sum(a != b for a, b in pairwise(kinds)) == 2
    assert list(order).index(0) < 6
    shades = _shade(np.array([-0.5, 0.0, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0]))
    assert shades[0] == shades[1] == 0 and shades[-1] == 1 and (np.diff(shades[1:-1]) > 0.09).all()


def test_an_axis_leaves_out_what_would_squeeze_the_rest() -> None:
    near = [Estimate(value, value - 0.01, value + 0.01) for value in (0.1, 0.11, 0.12, 0.13)]
    low, high = window([*near, Estimate(5.0, 4.9, 5.1)])
    assert 0.08 < low < 0.09 and 0.14 < high < 0.15
    low, high = window([*near, Estimate(0.2, 0.19, 0.21)])
    assert high > 0.21
    low, high = window(near, [0.0])
    assert low < 0
    same = Estimate(0.1, 0.1, 0.1)
    assert np.diff(window([same])) == pytest.approx(LEAST_SPAN)


@pytest.mark.parametrize("ends", [(0.157, 0.166), (-4e-5, 3e-5), (0.0, 1234.5), (0.0999, 0.1001), (-0.2, 1.0)])
def test_ticks_are_round_distinct_and_within_the_ends(ends: tuple[float, float]) -> None:
    places, digits = ticks(*ends, 5)
    texts = [f"{place:.{digits}f}" for place in places]
    assert len(places) >= 2 and len(set(texts)) == len(texts) and "-0" not in texts
    assert [float(text) for text in texts] == pytest.approx(places, abs=1e-12)
    assert all(ends[0] <= place <= ends[1] for place in places)


@pytest.mark.parametrize("text", ["", "one", "x" * 100, "a-b_c.d+" * 12, "two words " * 20, LONG[0]])
def test_cut_lines_fit_and_lose_nothing(text: str) -> None:
    lines = lines_of(text, width=100.0, breaks=" -_.+")
    assert all(width_of(line) <= 100.0 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(lines) or not text
