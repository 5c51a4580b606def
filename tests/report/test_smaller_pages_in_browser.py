"""The pages of `kit explore` and `kit watch --page` in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.browser import browser, opened, serious_violations
from support.toy import make_toy_workspace

from kit.exploring import explore
from kit.report.explore.page import write_page
from kit.report.watch import write_watch_page

pytestmark = pytest.mark.slow
HOSTILE = "<b onmouseover=alert(1)>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    toy = make_toy_workspace(folder / "w", photos=24, test=12, size=48, seed=3, duplicates=2)
    write_page(folder / "explore.html", toy.project, explore(toy.project))
    assert cv2.imwrite(str(folder / "progress.png"), np.full((60, 900, 3), 200, np.uint8))
    rows = [[HOSTILE, "0", "3 of 12", *(["0.1234"] * 3), "a source with a long name", "1:20:00", "running"]]
    header = ["source", "fold", "epoch", "fold RMSE", "fill", "gain", "best", "left", "state"]
    shown = [(HOSTILE, folder / "progress.png"), ("gone", folder / "gone.png")]
    write_watch_page(folder / "watch.html", "1 running", "toy", header, rows, shown, refresh=False)
    return {"explore": folder / "explore.html", "watch": folder / "watch.html"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["explore", "watch"])
def test_it_loads_quietly_and_axe_finds_nothing_serious(
    name: str, scheme: str, chromium: Any, pages: dict[str, Path]
) -> None:
    with opened(chromium, pages[name], color_scheme=scheme) as (page, seen):
        assert seen.errors == [] and all(one.startswith("data:") for one in seen.requests[1:])
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]
        assert serious_violations(page) == []


@pytest.mark.parametrize("name", ["explore", "watch"])
def test_it_is_read_on_a_phone_without_moving_sideways(name: str, chromium: Any, pages: dict[str, Path]) -> None:
    with opened(chromium, pages[name], width=360, height=740) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_names_are_shown_and_not_run(chromium: Any, pages: dict[str, Path]) -> None:
    with opened(chromium, pages["watch"]) as (page, seen):
        assert page.locator("td").first.inner_text() == HOSTILE
        assert page.locator("figcaption").all_inner_texts() == [HOSTILE] and page.locator("b").count() == 0
        assert seen.errors == []
