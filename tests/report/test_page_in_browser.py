"""The page of `kit report` in a real browser."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browser import browser, opened, serious_violations
from support.reported import HOSTILE, filled
from support.toy import TOY, Toy, make_toy_files, make_toy_workspace, write_toy_source

from kit.blending import make_blend
from kit.core.workspace import Workspace
from kit.data.pack import build_pack, read_pack
from kit.data.project import Project
from kit.data.splitting import make_folds
from kit.imaging.images import load_image
from kit.report.page import Report, write_report

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return a page of a toy competition whose classes are called what would run if it were not escaped."""
    root = tmp_path_factory.mktemp("page")
    make_toy_files(root)
    table = root / "data" / "toy" / "raw" / "boxes.csv"
    table.write_text(table.read_text().replace(",Cat,", f',"{HOSTILE}",'))
    workspace = Workspace(root, "toy")
    index, _ = build_pack(workspace, TOY)
    folds = make_folds(Project(workspace), k=3, seed=0)
    truth = np.stack([load_image(root / "truth" / row.name) for row in index.test])
    return write_report(filled(Toy(workspace, TOY, index, read_pack(workspace, index), folds, truth)).project)


def test_it_loads_without_errors_or_requests_and_runs_no_name(chromium: Any, written: Report) -> None:
    with opened(chromium, written.path) as (page, seen):
        assert seen.errors == [] and seen.requests[1:] == [r for r in seen.requests[1:] if r.startswith("data:")]
        assert page.title() == "toy: report"
        assert page.locator("svg[role=img]").count() > 8
        assert HOSTILE in page.locator("#cards").inner_text()  # shown, not run
        assert page.locator("#cards b, #cards script").count() == 0
        for one in page.locator("svg[role=img]").all():
            assert one.get_attribute("aria-label") and "NaN" not in one.evaluate("node => node.outerHTML")


def test_photos_are_sorted_and_chosen(chromium: Any, written: Report) -> None:
    with opened(chromium, written.path) as (page, seen):

        def scores() -> list[float]:
            return [float(text.split()[-1]) for text in page.locator(".card strong").all_inner_texts()]

        assert scores() == sorted(scores(), reverse=True) and len(scores()) == 24
        page.select_option("select[name=sort]", "best")
        assert scores() == sorted(scores())
        page.select_option("select[name=of]", "half")
        page.select_option("select[name=klass]", "Dog")
        assert all("Dog" in one for one in page.locator(".card").all_inner_texts())
        page.select_option("select[name=klass]", "")
        page.select_option("select[name=split]", "test")
        assert page.locator(".card").count() == 6 and page.locator(".card strong").count() == 0
        page.select_option("select[name=split]", "train")
        page.select_option("select[name=sort]", "gain")
        assert page.locator(".card", has_text="gain").count() == 24
        assert seen.errors == []


def test_a_photo_is_wiped_zoomed_and_left_by_keys_alone(chromium: Any, written: Report) -> None:
    with opened(chromium, written.path) as (page, seen):
        page.locator(".card").first.focus()
        page.keyboard.press("Enter")
        dialog = page.locator("dialog")
        title = dialog.locator("h2").inner_text()

        def drawn() -> str:
            page.wait_for_timeout(150)
            return str(dialog.locator("canvas").evaluate("sheet => sheet.toDataURL()"))

        pictures = [drawn()]
        for key in ("[", "+", "Shift+ArrowRight", "2"):
            page.keyboard.press(key)
            pictures.append(drawn())
        assert len(set(pictures)) == len(pictures)
        assert "Zoom 2" in dialog.locator(".pixel").inner_text()
        dialog.locator("input[type=range]").fill("100")
        left = drawn()
        page.keyboard.press("ArrowRight")
        dialog.locator("canvas").focus()
        page.keyboard.press("ArrowRight")
        assert dialog.locator("h2").inner_text() != title and drawn() != left
        page.keyboard.press("Escape")
        assert not dialog.is_visible() and seen.errors == []


def test_a_wipe_shows_left_of_it_one_source_and_right_of_it_the_other(chromium: Any, written: Report) -> None:
    with opened(chromium, written.path) as (page, _):
        page.locator(".card").first.click()
        page.select_option("select[data-side=left]", "hidden")
        page.select_option("select[data-side=right]", "truth")
        colours = []
        for wipe in ("0", "100"):
            page.locator("dialog input[type=range]").fill(wipe)
            page.wait_for_timeout(150)
            colours.append(
                page.evaluate(
                    """() => { const one = PHOTOS.get(seen.key), sheet = document.querySelector('dialog canvas');
                    const [row, column] = one.boxes[0].map((at) => ((at + 1.5) * sheet.width) / one.size[0]);
                    return [...sheet.getContext('2d').getImageData(column, row, 1, 1).data]; }"""
                )
            )
        assert colours[1][:3] in ([0x5A, 0x5F, 0x66], [0x71, 0x77, 0x7F])  # the pattern of what is hidden
        assert colours[0] != colours[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_found_by_axe(chromium: Any, written: Report, scheme: str) -> None:
    with opened(chromium, written.path, color_scheme=scheme) as (page, _):
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        for name in ("page", "photo"):
            if name == "photo":
                page.locator(".card").first.click()
                page.wait_for_timeout(200)
            assert serious_violations(page) == [], name


def test_the_button_turns_it_dark(chromium: Any, written: Report) -> None:
    with opened(chromium, written.path, color_scheme="light") as (page, _):
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"


def test_it_fits_a_phone(chromium: Any, written: Report) -> None:
    with opened(chromium, written.path, width=360, height=740) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator(".card").first.click()
        page.wait_for_timeout(200)
        assert page.locator("dialog").evaluate("node => node.scrollWidth <= node.clientWidth")


def test_the_documents_picture_is_taken_of_it(chromium: Any, written: Report, tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "scripts" / "screenshot.py"), str(written.path), str(tmp_path / "page.png")]
    subprocess.run(program, check=True)
    picture = load_image(tmp_path / "page.png")
    assert picture.shape[1] == 1200 and 500 < picture.shape[0] < 1500 and len(np.unique(picture)) > 100


@pytest.mark.long
def test_a_thousand_photos_are_there_within_seconds(chromium: Any, tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path, photos=1000, test=6)
    for name, noise in (("fine", 0.05), ("rough", 0.1)):
        write_toy_source(toy, name, noise=noise)
    make_blend(toy.project, name="mix")
    made = write_report(toy.project, photos=None)
    assert made.bytes < 10e6 and len(made.beside) == 9
    with opened(chromium, made.path) as (page, seen):
        begun = time.monotonic()
        for number in range(len(made.beside)):
            page.click("#more")
            page.wait_for_function(f"document.querySelectorAll('.card').length >= {min(976, 200 + 90 * number)}")
        page.wait_for_function("document.querySelectorAll('.card').length === 1000")
        page.select_option("select[name=sort]", "spread")
        assert time.monotonic() - begun < 15  # a second or two; machines are shared
        assert not page.locator("#more").is_visible() and seen.errors == []
