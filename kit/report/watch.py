"""Trainings on their way as one HTML file that needs nothing beside it, no network, no script. Knows words, files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from kit.core.storage import write_text

REFRESH = 10  # seconds after which a browser reads the page again
MOST_PICTURES = 24  # of a page: each is some hundred kilobytes

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; color: #1f2328; max-width: 960px; margin: 24px auto; padding: 0 16px }
h1 { font-size: 20px } p { color: #5d6670 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: 3px 12px 3px 0 }
th { color: #5d6670; font-weight: normal; border-bottom: 1px solid #e4e7eb }
img { max-width: 100%; display: block; border: 1px solid #e4e7eb; margin: 6px 0 24px }
"""


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
    again = f'<meta http-equiv="refresh" content="{REFRESH}">' if refresh else ""
    cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    shown = "".join(_picture(caption, file) for caption, file in pictures[:MOST_PICTURES])
    write_text(
        path,
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{again}<title>{escape(verdict)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(verdict)}</h1>\n<p>{escape(note)}</p>\n"
        f"<table><tr>{heads}</tr>\n{cells}</table>\n{shown}</body></html>\n",
    )


def _picture(caption: str, file: Path) -> str:
    try:
        data = base64.b64encode(file.read_bytes()).decode("ascii")
    except OSError:
        return ""
    return f'<h2>{escape(caption)}</h2><img alt="{escape(caption)}" src="data:image/png;base64,{data}">\n'
