"""Texts made shorter in their middle, and several of them so that each is still another one. Knows no table."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

MARK = "…"


def text_width(text: str) -> int:
    """Return how many columns a text takes: letters of East Asia take two, accents that join a letter none."""
    return len(text) if text.isascii() else sum(map(_letter_width, text))


def _letter_width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def shortened(text: str, width: int) -> str:
    """Return a text of at most so many columns, without its middle where it is longer."""
    return _without_middle(text, width, (width - 1) - (width - 1) // 2)


def shortened_apart(texts: Sequence[str], width: int) -> list[str]:
    """Return each text in at most so many columns; different texts stay different.

    Where the usual beginnings and ends are the same, more of the one or of the other is shown; where that does not
    help either, a number stands at the end.
    """
    different = list(dict.fromkeys(texts))
    room = max(1, width - 1)
    for head in sorted(range(room + 1), key=lambda head: abs(head - (room - room // 2))):
        found = dict(zip(different, (_without_middle(text, width, head) for text in different), strict=True))
        if len(set(found.values())) == len(different):
            return [found[text] for text in texts]
    return _numbered(texts, different, width)


def _numbered(texts: Sequence[str], different: Sequence[str], width: int) -> list[str]:
    """Return beginnings, with a number where two texts begin alike; wider than asked where there are too many."""
    taken = {text for text in different if text_width(text) <= width}
    found = {text: text for text in taken}
    for text in different:
        number = 1
        while text not in found:
            end = f"{MARK}{number}"
            short = f"{_head(text, max(1, width - len(end)))}{end}"
            number += 1
            if short not in taken:
                found[text] = short
                taken.add(short)
    return [found[text] for text in texts]


def _without_middle(text: str, width: int, head: int) -> str:
    """Return a text with so many columns of its beginning and what has room of its end."""
    if text_width(text) <= width:
        return text
    if width < 2:
        return MARK[:width]
    return f"{_head(text, head)}{MARK}{_head(text[::-1], width - 1 - head)[::-1]}"


def _head(text: str, width: int) -> str:
    """Return as much of a text's beginning as takes at most so many columns."""
    taken, used = 0, 0
    for letter in text:
        used += _letter_width(letter)
        if used > width:
            break
        taken += 1
    return text[:taken]
