"""Prompts: templates over class names. Knows photos by their class."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

from kit.data.index import PhotoRow
from kit.errors import UsageError

PROMPTS = {
    "class": "Real image of an {animal}, no text",
    "seamless": "Natural looking seamless image, no text",
}
"""Built in, by name. Those of the report that this project starts from."""

FIELDS = ("animal", "class", "klass")
"""What a template may name; all are the class in lower case."""

UNKNOWN = "animal"
"""The word for a photo whose class nobody gave."""

ClassOf = Callable[[PhotoRow], str]
"""From a photo to its class, "" where it is not known."""


def class_in_index(photo_row: PhotoRow) -> str:
    """Return the class that the layout gives, or ""."""
    return photo_row.klass


def templates_of(given: Sequence[str]) -> tuple[str, ...]:
    """Return the templates that `--prompt` texts mean: names of `PROMPTS` spelled out, each once; all of `PROMPTS` when
    none is given.

    Raises:
        UsageError: a template that is empty or names what is not known.
    """
    templates = tuple(dict.fromkeys(PROMPTS.get(text, text).strip() for text in given or PROMPTS))
    for template in templates:
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
        except ValueError as error:
            raise UsageError(
                f"--prompt {template!r} cannot be read ({error}). Write a brace itself twice: {{{{"
            ) from None
        wrong = [field for field in fields if field not in FIELDS]
        if wrong:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise UsageError(f"--prompt {template!r}: there is no {{{wrong[0]}}} to fill in. Known: {known}.")
        if not template:
            raise UsageError("--prompt '' is empty. Known by name: " + ", ".join(PROMPTS) + ".")
    return templates


def needs_class(template: str) -> bool:
    """Return whether photos of different classes get different prompts."""
    return any(field for _, field, _, _ in string.Formatter().parse(template))


def prompt_for(template: str, photo_row: PhotoRow, class_of: ClassOf = class_in_index) -> str:
    """Fill in the template for one photo."""
    word = (class_of(photo_row) or UNKNOWN).lower()
    return template.format(**dict.fromkeys(FIELDS, word))
