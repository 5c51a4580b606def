"""Small tables for people: plain text for logs and terminals, HTML for notebooks."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table: columns padded to their widest cell; columns whose cells are all numbers are aligned right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(_numeric(cell) for cell in column[1:]) and len(column) > 1 for column in columns]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _numeric(cell: str) -> bool:
    return cell in ("", "-") or cell[0] in "+-0123456789"


def html_table(heading: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str] = ()) -> str:
    """Return a table as HTML, every text escaped: names may hold any letters where something else wrote the folder."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in heading)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def html_picture(data: bytes, kind: str, title: str) -> str:
    """Return a picture as a part of the page itself.

    Args:
        kind: `png`, `jpeg` or `svg+xml`.
    """
    text = base64.b64encode(data).decode("ascii")
    return f'<img alt="{html.escape(title)}" style="max-width:100%" src="data:image/{kind};base64,{text}">'


class Shown:
    """Shows a dataclass in a notebook: a table of its fields, every text escaped."""

    def _repr_html_(self) -> str:
        if not is_dataclass(self):
            raise TypeError(f"{type(self).__name__} is no dataclass.")
        named = [(one.name, getattr(self, one.name)) for one in fields(self) if one.repr]
        return html_table(("", type(self).__name__), [(name, _shown(value)) for name, value in named])


def _shown(value: Any) -> str:
    """Return a field as a line of text."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_shown(one)}" for key, one in value.items())
    if isinstance(value, (tuple, list)):
        return "; ".join(map(_shown, value))
    return str(value)
