"""The page of an exploration: whole in one file, escaped, the same each time, and its charts in words too."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.toy import make_toy_workspace

from kit.data.project import Project
from kit.errors import UsageError
from kit.exploring import Exploration, explore
from kit.exploring.result import Group, Leak
from kit.imaging.metrics import Estimate
from kit.report.explore.charts import bars_of, map_of, ticks_of
from kit.report.explore.page import page_of, write_page
from kit.report.explore.thumbnail import SIDE, thumbnail_of

NASTY = '<script>alert("1")</script>&\''


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Exploration]:
    toy = make_toy_workspace(tmp_path_factory.mktemp("page"), photos=24, test=12, size=48, seed=3, duplicates=2)
    return toy.project, explore(toy.project)


class Reader(HTMLParser):
    """Collects tags, attributes and text, and refuses what is closed in another order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_asks_no_network(made: tuple[Project, Exploration]) -> None:
    page = page_of(*made)
    read = Reader(page)
    assert not re.search(r"https?://|//[a-z]|url\(|@import", page.replace('"{:,}"', ""))
    addresses = [value for _, attrs in read.tags for key, value in attrs.items() if key in ("src", "href")]
    assert addresses and all((address or "").startswith("data:image/jpeg;base64,") for address in addresses)
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    for verdict in made[1].verdicts:
        assert verdict.text in read.text
    assert all(attrs.get("alt") for tag, attrs in read.tags if tag == "img")


def test_every_chart_has_words_and_its_numbers_in_a_table(made: tuple[Project, Exploration]) -> None:
    project, found = made
    read = Reader(page_of(project, found))
    charts = [attrs for tag, attrs in read.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(charts) == 4 and all("table below" in (attrs["aria-label"] or "") for attrs in charts)
    assert found.spectrum is not None
    for one in found.spectrum.train:
        assert f"{one.value:.2f}" in read.text
    for measure in found.measures:
        assert f"{measure.higher.value:.3f}" in read.text and measure.meaning in read.text


def test_names_and_notes_are_escaped(made: tuple[Project, Exploration]) -> None:
    project, found = made
    nasty = dataclasses.replace(
        found,
        competition=NASTY,
        notes=(NASTY,),
        verdicts=tuple(dataclasses.replace(one, text=NASTY) for one in found.verdicts),
        classes=tuple(dataclasses.replace(one, name=NASTY) for one in found.classes),
        copies=dataclasses.replace(found.copies, train=(Group(found.copies.train[0].ids, (NASTY, "b")),)),
        odd=tuple(dataclasses.replace(one, meaning=NASTY) for one in found.odd),
    )
    page = page_of(project, nasty)
    assert NASTY not in page and page.count("<script>") == 1
    assert NASTY in Reader(page).text


def test_leaks_are_shown_side_by_side(made: tuple[Project, Exploration]) -> None:
    project, found = made
    leak = Leak(project.index.train[0].id, project.index.test[1].id)
    page = page_of(project, dataclasses.replace(found, copies=dataclasses.replace(found.copies, leaks=(leak,))))
    pair = re.search(r'<div class="pairs">(.*?)</section>', page, re.DOTALL)
    assert pair is not None
    assert re.findall(r'alt="([^"]*)"', pair.group(1)) == [leak.train, leak.test]
    assert found.copies.train and "Near duplicates" in page and "Leaks" not in page_of(project, found)


def test_the_same_exploration_gives_the_same_bytes(made: tuple[Project, Exploration], tmp_path: Path) -> None:
    write_page(tmp_path / "deep" / "a.html", *made)
    write_page(tmp_path / "b.html", Project(made[0].workspace), made[1])
    assert (tmp_path / "deep" / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    with pytest.raises(UsageError, match=r"choose --out .*a\.html"):
        write_page(tmp_path / "a.pdf", *made)


def test_what_a_hole_hides_is_grey_in_a_small_picture(made: tuple[Project, Exploration]) -> None:
    project, _ = made
    address = thumbnail_of(project, "test", 0)
    import base64

    data = base64.b64decode(address.partition(",")[2])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[:2] == (48, 48) and max(picture.shape) <= SIDE  # nothing is enlarged
    hole = cv2.erode(project.index.test[0].hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert abs(float(picture[hole].mean()) - 128) < 6
    assert thumbnail_of(project, "train", 0) != thumbnail_of(project, "train", 0, whole=True)


def test_where_holes_leave_no_room_or_a_split_is_small_the_page_says_so(made: tuple[Project, Exploration]) -> None:
    project, found = made
    bare = dataclasses.replace(found, spectrum=None, apart=None, measures=(), odd=())
    page = page_of(project, bare)
    Reader(page)
    assert "too few photos to ask" in page and 'id="spectrum"' not in page and 'id="measures"' not in page


@pytest.mark.parametrize(("low", "high"), [(-40.2, 5.1), (-0.1, 0.1), (0.0, 0.0), (3, 1000)])
def test_ticks_are_few_round_and_around_everything(low: float, high: float) -> None:
    ticks = ticks_of(low, high)
    assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 8
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_marks_stand_where_their_numbers_say(made: tuple[Project, Exploration]) -> None:
    measure = dataclasses.replace(made[1].measures[0], higher=Estimate(0.5, 0.3, 0.7))
    (bar,) = bars_of([measure])
    assert (bar.low, bar.value, bar.high) == (4.0, 50.0, 96.0)
    heat = np.zeros((32, 32))
    heat[:2, :2] = 0.4
    drawn = map_of("test", heat.tolist(), 0.4)
    assert (drawn.cells[0].shade, drawn.cells[0].share, drawn.cells[1].shade) == ("1.000", "40.0%", "0.000")
    assert drawn.rows[0][0] == "10"
