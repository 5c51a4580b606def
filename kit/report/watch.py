"""Trainings on their way as one HTML file that needs nothing beside it and no network. Knows words and files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from kit.core.storage import write_text
from kit.report.templates import templates_of

REFRESH = 10  # seconds after which a browser reads the page again
MOST_PICTURES = 24  # of a page: each is some hundred kilobytes


def write_watch_page(
    path: Path,
    verdict: str,
    note: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    pictures: Sequence[tuple[str, Path]],
    *,
    refresh: bool,
) -> None:
    """Write the page whole.

    Args:
        verdict: its heading.
        note: a line beneath.
        header: of the table.
        rows: of the table, as text.
        pictures: what each shows, and its PNG; one that is gone by now is left out.
        refresh: whether a browser shall read the page again by itself.

    Raises:
        KitError: no room, or no permission.
    """
    found = [(caption, _address(file)) for caption, file in pictures[:MOST_PICTURES]]
    # whose style it has
    text = (
        templates_of("kit.report.page")
        .get_template("watch.html")
        .render(
            verdict=verdict,
            note=note,
            header=header,
            rows=rows,
            pictures=[(caption, address) for caption, address in found if address],
            refresh=REFRESH if refresh else 0,
        )
    )
    write_text(path, text)


def _address(file: Path) -> str:
    """Return a picture as a part of the page, "" where it is gone."""
    try:
        return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
    except OSError:
        return ""
