"""Small tables for people: plain text for logs and terminals, as wide as these are, HTML for notebooks."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from kit.core.shortening import shortened, shortened_apart, text_width
from kit.core.terminal import output_width

_GAP = 2
_COMFORTABLE, _LEAST = 22, 8  # columns of a long text before other columns go for its sake, and at last
_LONG = 36  # what begins with a digit and is longer is no number
_INTERVAL = re.compile(r" \[[^\]]*\]")


@dataclass(frozen=True)
class _Column:
    title: str
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(map(text_width, (self.title, *self.cells)))

    @property
    def is_numeric(self) -> bool:
        return bool(self.cells) and all(map(_numeric, self.cells))

    @property
    def may_shrink(self) -> bool:
        return not self.is_numeric or self.width > _LONG

    def bare(self) -> _Column:
        """Return the column without the intervals of its numbers."""
        return _Column(_INTERVAL.sub("", self.title), tuple(_INTERVAL.sub("", cell) for cell in self.cells))

    def lines(self, width: int) -> list[str]:
        """Return title, rule and cells in so many columns; numbers stand right."""
        texts = [shortened(self.title, width), "-" * width, *shortened_apart(self.cells, width)]
        return [" " * (width - text_width(text)) + text if self.is_numeric else text for text in texts]


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    bare: Sequence[str] = (),
    drop: Sequence[str] = (),
    width: int | None = None,
) -> str:
    """Return a table: columns as wide as their widest cell, those whose cells are all numbers aligned right.

    Where it is too wide, long texts are shortened in their middle, no two to the same; then columns lose their
    intervals, then whole columns go, in the order in which they are given, and a line names them; at last the columns
    are folded into several tables.

    Args:
        bare: titles of columns that may lose their intervals, `0.15 [0.14, 0.16]`.
        drop: titles of columns that may go, the least important first.
        width: columns that there are; None: those of standard output.
    """
    width = output_width() if width is None else width
    columns = [_Column(title, tuple(cells)) for title, *cells in zip(header, *rows, strict=True)]
    gone: list[str] = []
    for way, title in [("", ""), *(("bare", title) for title in bare), *(("drop", title) for title in drop)]:
        if way == "bare":
            columns = [one.bare() if one.title == title else one for one in columns]
        elif way == "drop":
            gone += [title for one in columns if one.title == title]
            columns = [one for one in columns if one.title != title]
        if (widths := _widths(columns, width, _COMFORTABLE)) is not None:
            break
    else:
        widths = _widths(columns, width, _LEAST)
    text = _rendered(columns, widths) if widths is not None else _folded(columns, width)
    return f"{text}\nNo room here for: {', '.join(gone)}." if gone else text


def _widths(columns: Sequence[_Column], width: int, least: int) -> list[int] | None:
    """Return how wide each column is so that all fit, the longest texts shortened; None where they cannot."""
    natural = [one.width for one in columns]
    room = width - _GAP * (len(columns) - 1)
    for most in range(max(natural, default=0), least - 1, -1):
        widths = [min(one, most) if column.may_shrink else one for one, column in zip(natural, columns, strict=True)]
        if sum(widths) <= room:
            return widths
    return natural if sum(natural) <= room else None


def _rendered(columns: Sequence[_Column], widths: Sequence[int]) -> str:
    shown = [one.lines(width) for one, width in zip(columns, widths, strict=True)]
    filled = [
        [text + " " * (width - text_width(text)) for text in lines] for lines, width in zip(shown, widths, strict=True)
    ]
    return "\n".join((" " * _GAP).join(line).rstrip() for line in zip(*filled, strict=True))


def _folded(columns: Sequence[_Column], width: int) -> str:
    """Return several tables, one below the other; each begins with the first column."""
    first, *rest = columns
    own = min(first.width, max(_LEAST, width // 3))
    blocks: list[tuple[list[_Column], list[int]]] = []
    used = width
    for one in rest:
        wanted = min(one.width, width - own - _GAP)
        if used + _GAP + wanted > width:
            blocks.append(([first], [own]))
            used = own
        blocks[-1][0].append(one)
        blocks[-1][1].append(wanted)
        used += _GAP + wanted
    return "\n\n".join(_rendered(*block) for block in blocks or [([first], [min(first.width, width)])])


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
