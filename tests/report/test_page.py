"""`kit report` without a browser: what is in the page, against the stores."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.reported import HOSTILE, filled
from support.toy import Toy, write_toy_source

from kit.blending import score_sources
from kit.data.project import Project
from kit.errors import MissingStep, UnknownName, UsageError
from kit.imaging.holes import scored_pixels
from kit.report.page import write_report
from kit.report.page.line import leaderboard_line
from kit.report.page.picks import EXTREMES, picked_photos
from kit.report.page.pictures import rectangles_of, strip_of


def data_in(path: Path, name: str = "data") -> Any:
    """Return what lies in the page as JSON."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', path.read_text("utf-8"), re.S)
    assert found is not None
    return json.loads(found[1])


def test_the_page_says_what_the_stores_say(toy: Toy) -> None:
    made = write_report(filled(toy).project)
    data = data_in(made.path)
    scores = {one.name: one.score for one in score_sources(toy.project) if one.score}
    for one in data["sources"]:
        assert one["score"] == pytest.approx([scores[one["name"]].value, *_ends(scores[one["name"]])], rel=1e-5)
    assert data["scores"]["columns"] == [*scores, "blend"] and len(data["scores"]["rows"]) == len(toy.index.train)
    rows = np.array(data["scores"]["rows"], float)
    fine = rows[:, data["scores"]["columns"].index("fine")]
    counts = np.array([row.scored for row in toy.index.train])
    assert np.sqrt((fine**2 * counts).sum() / counts.sum()) == pytest.approx(scores["fine"].value, rel=1e-4)
    half = rows[:, data["scores"]["columns"].index("half")]
    assert np.array_equal(np.isnan(half), toy.folds.fold == 1)
    assert [one["fold"] for one in data["runs"]] == ["0", "1"] and data["runs"][0]["best_epoch"] == 2
    assert data["sent"]["line"]["points"] == 3 and len(data["sent"]["rows"]) == 3
    assert data["sent"]["rows"][0]["expected"] is not None
    assert made.verdict[0].startswith("Blend mix: CV RMSE ") and data["blend"]["name"] == "mix"
    assert set(data["parts"]) == {"distance", "channel", "class", "boxes"}
    assert all("http" not in one["whole"] for one in data_in(made.path, "photos"))


def _ends(score: Any) -> list[float]:
    return [score.low, score.high]


def test_the_same_stores_give_the_same_bytes_and_nothing_else_is_written(toy: Toy) -> None:
    filled(toy)
    before = {path for path in toy.workspace.root.rglob("*") if path.is_file() and ".cache" not in path.parts}
    first = write_report(toy.project).path.read_bytes()
    made = write_report(Project(toy.workspace))
    assert made.path.read_bytes() == first
    after = {path for path in toy.workspace.root.rglob("*") if path.is_file() and ".cache" not in path.parts}
    assert after - before == {made.path}


def test_what_files_are_called_is_never_run(toy: Toy) -> None:
    from kit.report.page.write import page

    filled(toy)
    data = data_in(write_report(toy.project).path)
    data["scores"]["classes"] = [HOSTILE] * len(data["scores"]["names"])
    text = page(HOSTILE, [HOSTILE], data, [])
    assert HOSTILE not in text and text.count("<script") == 3
    assert json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1]) == data  # type: ignore[index]


def test_more_photos_than_the_page_holds_lie_beside_it(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.report.page.write.WITHIN", 10)
    monkeypatch.setattr("kit.report.page.write._CHUNK", 8)
    filled(toy)
    made = write_report(toy.project, photos=None)
    inside = data_in(made.path, "photos")
    beside = [json.loads(path.read_text("utf-8")[len("kitPhotos(") : -3]) for path in made.beside]
    every = [(one["split"], one["at"]) for part in [inside, *beside] for one in part]
    assert len(every) == len(set(every)) == len(toy.index.train) + len(toy.index.test) == made.photos
    assert data_in(made.path)["gallery"]["beside"] == [f"report-photos/{path.name}" for path in made.beside]
    fewer = write_report(toy.project, photos=5)
    assert fewer.beside == () and not list((made.path.parent / "report-photos").glob("*"))  # those of before are gone


def test_strips_put_back_give_the_picture(toy: Toy) -> None:
    row = toy.index.train[0]
    picture = np.asarray(toy.pack.train_target[0])
    rectangles = rectangles_of(row.boxes, row.hole, 1.0)
    strip, again, start = strip_of(picture, rectangles), np.zeros_like(picture), 0
    for one in rectangles:
        again[one.row : one.row + one.height, one.col : one.col + one.width] = strip[
            start : start + one.height, : one.width
        ]
        start += one.height
    scored = scored_pixels(row.boxes)
    np.testing.assert_array_equal(again[scored], picture[scored])


def test_the_worst_and_best_of_each_source_come_first() -> None:
    scores = np.random.default_rng(0).random((300, 2))
    scores[3, 0] = np.nan
    found = picked_photos(scores, higher_is_better=False, most=None)
    assert sorted(found) == list(range(300))
    worst = np.argsort(-scores[:, 1])
    assert found[0] == worst[0] and worst[-1] in found[:3]
    extremes = set(np.argsort(scores[:, 1])[-EXTREMES:].tolist())
    assert extremes <= set(found[: 4 * EXTREMES])
    assert picked_photos(scores, higher_is_better=True, most=1) == [int(np.argmin(scores[:, 1]))]


def test_the_line_through_scores_is_that_of_scipy() -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    x = rng.random(9)
    y = 0.01 + 1.2 * x + 0.02 * rng.normal(size=9)
    line, theirs = leaderboard_line(list(zip(x, y, strict=True))), stats.linregress(x, y)
    assert line is not None and (line.slope, line.intercept) == pytest.approx((theirs.slope, theirs.intercept))
    half = stats.t.ppf(0.975, 7) * theirs.intercept_stderr
    at_zero = np.interp(0, [0], [half])
    rest = y - line.intercept - line.slope * x
    assert line.spread == pytest.approx(np.sqrt(rest @ rest / 7)) and at_zero > 0
    middle = np.argmin(np.abs(np.array(line.x) - x.mean()))
    narrow = (line.high[middle] - line.low[middle]) / 2
    assert narrow == pytest.approx(stats.t.ppf(0.975, 7) * line.spread / 3, rel=0.02)
    assert leaderboard_line([(1, 1), (2, 2)]) is None and leaderboard_line([(1, 1)] * 4) is None


def test_what_cannot_be_shown_is_said(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(MissingStep, match="kit fill all"):
        write_report(toy.project)
    filled(toy)
    with pytest.raises(UnknownName, match=r"no blend 'mx'.*mix"):
        write_report(toy.project, blend="mx")
    with pytest.raises(UsageError, match=r"does not end in \.html"):
        write_report(toy.project, out=tmp_path / "page.pdf")
    with pytest.raises(UnknownName, match="no source 'fin'"):
        write_report(toy.project, sources=["fin"])
    write_toy_source(toy, "fine", noise=0.3, seed=9)  # made again: the blend no longer fits
    made = write_report(Project(toy.workspace))
    assert (
        any("no longer fits" in one for one in made.verdict) and "blend" not in data_in(made.path)["scores"]["columns"]
    )
