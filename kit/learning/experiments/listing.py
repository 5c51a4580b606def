"""The text of `kit train --list`: every experiment, and every setting in its group."""

from __future__ import annotations

import textwrap
from typing import Any

from kit.learning.experiments.catalog import EXPERIMENTS
from kit.learning.experiments.groups import GROUPS
from kit.learning.experiments.limits import as_text, limits_text
from kit.learning.experiments.own import list_packages
from kit.learning.experiments.settings import Experiment, fields_of, setting_fields

_COLUMN = 28  # where descriptions begin
_WIDTH = 110


def describe_experiments() -> str:
    """Return every experiment with its summary and what it sets, then every setting with its default."""
    plain = Experiment("plain")
    lines = []
    for name, function in EXPERIMENTS.items():
        made = function()
        own = [key for key in setting_fields() if getattr(made, key) != getattr(plain, key)]
        lines.append(f"{name}: {(function.__doc__ or '').splitlines()[0]}")
        sets = " ".join(f"{key}={as_text(getattr(made, key))}" for key in own)
        lines += textwrap.wrap(sets, _WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4, break_on_hyphens=False)
    if packages := list_packages():
        lines += ["\nOf installed packages:", *(f"  {line}" for line in packages)]
    lines.append("\nSettings (--set field=value) and their defaults, where an experiment has not its own:")
    explained = explanations()
    for group in GROUPS:
        title = group.__name__.removesuffix("Settings")
        lines.append(f"\n{title}: {(group.__doc__ or '').splitlines()[0]}")
        for name in fields_of(group):
            lines += _described(f"{name}={as_text(getattr(plain, name))}", explained[name])
    return "\n".join(lines)


def listed_experiments() -> dict[str, Any]:
    """Return the same as data: the settings of every experiment, and every setting with its default and meaning."""
    plain, explained = Experiment("plain"), explanations()
    experiments = {
        name: {
            "about": (function.__doc__ or "").splitlines()[0],
            "settings": {key: getattr(function(), key) for key in setting_fields()},
        }
        for name, function in EXPERIMENTS.items()
    }
    settings = {key: {"default": getattr(plain, key), "about": explained[key]} for key in setting_fields()}
    return {"experiments": experiments, "packages": list_packages(), "settings": settings}


def _described(setting: str, explanation: str) -> list[str]:
    margin = " " * _COLUMN
    start = f"  {setting}  ".ljust(_COLUMN)
    if len(start) > _COLUMN:
        return [start.rstrip(), *textwrap.wrap(explanation, _WIDTH, initial_indent=margin, subsequent_indent=margin)]
    return textwrap.wrap(explanation, _WIDTH, initial_indent=start, subsequent_indent=margin)


def explanations() -> dict[str, str]:
    """Return what each setting is, and which values it can have where the description does not name them."""
    texts = {}
    for name, field in setting_fields().items():
        text, limits = " ".join((field.description or "").split()), limits_text(field)
        choices = limits.removeprefix("one of ").split(", ")
        if limits and not all(choice in text for choice in choices):
            text += f" {limits[0].upper()}{limits[1:]}."
        texts[name] = text
    return texts
