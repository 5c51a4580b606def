"""A real browser for tests of pages: Debian's Chromium, or Playwright's own; a skip where there is none.

    with browser() as started, opened(started, path) as (page, seen): ...

No page may ask a network: every request that is no file or data is refused and noted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# without these Chromium asks its maker's hosts at every start
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic"),
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Seen:
    """What a page did."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def browser() -> Iterator[Any]:
    """Start one, or skip."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    with api.sync_playwright() as player:
        try:
            started = player.chromium.launch(executable_path=found, args=list(_FLAGS))
        except api.Error as error:
            pytest.skip(f"no browser could be started: {str(error).splitlines()[0]}")
        yield started
        started.close()


@contextmanager
def opened(
    started: Any, path: Path, *, width: int = 1280, height: int = 900, **options: Any
) -> Iterator[tuple[Any, Seen]]:
    """Open a page from the disk, and wait until it has said that it is whole."""
    context = started.new_context(viewport={"width": width, "height": height}, **options)
    page, seen = context.new_page(), Seen()
    page.on(
        "console", lambda message: seen.errors.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.route(
        "**/*", lambda route: route.continue_() if route.request.url[:5] in ("file:", "data:") else route.abort()
    )
    page.goto(path.absolute().as_uri())
    page.wait_for_selector("html[data-ready]", timeout=20_000)
    try:
        yield page, seen
    finally:
        context.close()


def serious_violations(page: Any) -> list[tuple[str, str]]:
    """Return the rule and the place of what axe-core finds serious or critical; skips without axe."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:120]) for one in found if one["impact"] in ("serious", "critical")]
