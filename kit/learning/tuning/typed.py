"""What `--space field=...` says: a setting, or an argument of a model of the user's own, and the values to try."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from kit.errors import UnknownName, UsageError
from kit.learning.experiments import Experiment, problem_of, suggested_setting
from kit.learning.experiments.arguments import kind_of_argument, own_arguments, read_argument, unknown_argument
from kit.learning.experiments.limits import as_text, choices_of, kind_of
from kit.learning.experiments.parse import read_value
from kit.learning.experiments.settings import setting_fields
from kit.learning.tuning.dimensions import Choice, Dimension, Range

_WIDE = 10  # a range whose end is so many times its beginning is searched on a logarithmic scale
FORMS = "Give low:high, low:high:log, low:high:linear, or values with commas between"


@dataclass(frozen=True)
class _Typed:
    """One `--space`, and what is known of the setting or argument that it names."""

    text: str
    field: str
    kind: type
    """bool, int, float, str or tuple."""
    few: bool
    """Whether it can only have a few values, which are no range."""
    read: Callable[[str], Any]
    """Gives one value, or says why it cannot be."""

    @property
    def is_number(self) -> bool:
        return self.kind in (int, float) and not self.few


def dimension_of(one: Experiment, text: str) -> Dimension:
    """Read `field=low:high[:log|linear]` or `field=a,b,c`; lists, as of decoder_channels, have slashes between them.

    Raises:
        UnknownName: no setting and, of a model of the user's own, no argument has such a name.
        UsageError: a value or a range that cannot be.
    """
    field, _, values = text.partition("=")
    if field == "seed":
        raise UsageError("--space seed: a seed is no setting. Average several: kit train NAME --seeds 3")
    typed = _setting(text, field) if field in setting_fields() else _argument(one, text, field, values)
    if typed.is_number and ":" in values:
        return _range(typed, values.split(":"))
    parts = list(dict.fromkeys(part.strip() for part in values.split("/" if typed.kind is tuple else ",")))
    if len(parts) < 2 or not all(parts):
        form = "lists with slashes between: 64,32/128,64" if typed.kind is tuple else "values with commas between"
        forms = FORMS if typed.is_number else f"Give {form}"
        raise UsageError(f"--space {text}: {forms}. For one value: --set {field}=VALUE")
    return Choice(field, tuple(dict.fromkeys(as_text(typed.read(part)) for part in parts)))


def _setting(text: str, field: str) -> _Typed:
    declared = setting_fields()[field]
    return _Typed(text, field, kind_of(declared), bool(choices_of(declared)), partial(_value, text, field))


def _argument(one: Experiment, text: str, field: str, values: str) -> _Typed:
    """Return what is known of an argument by the signature of the user's model; its file is run."""
    known = own_arguments(one.model) if one.model != "none" else {}
    if field not in known:
        raise _unknown(one, field, values)
    option = f"--space {text}"
    kind = _KINDS[kind_of_argument(one.model, known[field], option) or _looks_like(one, known[field], values)]
    return _Typed(text, field, kind, False, lambda part: read_argument(one.model, known[field], part, option))


_KINDS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


def _looks_like(one: Experiment, parameter: inspect.Parameter, values: str) -> str:
    """Return the type of an argument of which the model does not tell it: that of a range's ends or of the values."""
    ends = [read_argument(one.model, parameter, part) for part in re.split("[:,]", values)[:2]]
    if all(type(end) is int for end in ends):
        return "int"
    return "float" if all(type(end) in (int, float) for end in ends) else "str"


def _unknown(one: Experiment, field: str, values: str) -> UnknownName:
    if one.model != "none":
        return unknown_argument(one.model, field, "--space", values)
    meant = suggested_setting(field)
    suggestion = f"--space {meant}={values}" if meant else None
    return UnknownName("setting", field, setting_fields(), suggestion=suggestion, listed_by="kit train --list")


def _range(typed: _Typed, parts: list[str]) -> Range:
    scales = {"log": True, "linear": False}
    if len(parts) == 2:
        parts = [*parts, ""]
    if len(parts) != 3 or parts[2] not in ("", *scales):
        raise UsageError(f"--space {typed.text}: {FORMS}.")
    low, high = (typed.read(part) for part in parts[:2])
    if low >= high:
        raise UsageError(f"--space {typed.text}: {parts[0]} is not below {parts[1]}.")
    log = scales.get(parts[2], low > 0 and high >= _WIDE * low)
    if log and low <= 0:
        raise UsageError(f"--space {typed.text}: a logarithmic scale has no {parts[0]}: begin above 0, or add :linear.")
    return Range(typed.field, low, high, log=log, whole=typed.kind is int)


def _value(text: str, field: str, part: str) -> Any:
    """Read one value of a setting, and check it against the setting's own limits."""
    value = read_value(field, part, option=f"--space {text}")
    if problem := problem_of(setting_fields()[field], value):
        raise UsageError(f"--space {text}: {field}={part}: {problem}.")
    return value
