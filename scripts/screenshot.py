"""Take a picture of a page of `kit report`, as a reader sees it in a browser: scripts/pictures runs this.

    python scripts/screenshot.py REPORT.html PICTURE.png

The picture is 1,200 pixels wide: what the page says first, its ladder, and the first photos of its gallery.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH = 1200
GAP = 24
HEIGHT = 6000  # of the window: pictures are drawn where they are seen
COLUMNS = 7  # photos side by side in a window of that width
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# without these Chromium asks its maker's hosts at every start
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)


def shots(page: Path) -> list[Image.Image]:
    """Return the parts of the page that are shown, from top to bottom."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=found, args=list(FLAGS))
        sheet = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        sheet.goto(page.absolute().as_uri())
        sheet.wait_for_selector("html[data-ready]", timeout=30_000)
        for place in range(1, COLUMNS + 1):
            sheet.wait_for_selector(f"#cards li:nth-child({place}) [data-drawn]", timeout=30_000)
        ladder, title = _box(sheet, "#sources figure svg"), _box(sheet, "#gallery h2")
        cards = [card.bounding_box() for card in sheet.locator(".card").all()]
        row = [box for box in cards if box["y"] < cards[0]["y"] + 1]
        parts = [
            (0.0, ladder["y"] + ladder["height"]),
            (title["y"] - GAP, title["y"] + title["height"] + GAP / 2),
            (row[0]["y"] - GAP / 4, max(box["y"] + box["height"] for box in row) + GAP / 2),
        ]
        whole = Image.open(io.BytesIO(sheet.screenshot()))
        browser.close()
    return [whole.crop((0, round(top), WIDTH, round(bottom))) for top, bottom in parts]


def _box(sheet: Any, selector: str) -> Any:
    return sheet.locator(selector).first.bounding_box()


def main() -> None:
    """Put the parts under each other and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    parts = shots(arguments.page)
    picture = Image.new("RGB", (WIDTH, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        picture.paste(part, (0, top))
        top += part.height
    picture.save(arguments.picture, optimize=True)


if __name__ == "__main__":
    main()
