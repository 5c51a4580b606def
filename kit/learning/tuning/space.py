"""The settings that are tuned, each with its values: a table of the usual ones, and `--space` over it. Runs nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kit.errors import UnknownName, UsageError
from kit.learning.experiments import Experiment, problem_of, suggested_setting
from kit.learning.experiments.arguments import not_taken
from kit.learning.experiments.limits import as_text, choices_of, kind_of
from kit.learning.experiments.settings import setting_fields, without_effect

_DIGITS = 3  # significant ones of a value that is tried: more would say nothing, and reads badly
_WIDE = 10  # a range whose end is so many times its beginning is searched on a logarithmic scale
_FORMS = "Give low:high, low:high:log, low:high:linear, or values with commas between"


@dataclass(frozen=True)
class Range:
    """A setting between two numbers, both included."""

    field: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Return whether a value lies in it."""
        return bool(self.low <= value <= self.high)

    def suggested(self, trial: Any) -> str:
        """Return the value that an Optuna trial has for it, as it is typed."""
        if self.whole:
            return str(trial.suggest_int(self.field, int(self.low), int(self.high), log=self.log))
        value = float(f"{trial.suggest_float(self.field, self.low, self.high, log=self.log):.{_DIGITS}g}")
        return str(min(max(value, self.low), self.high))

    def stored(self, value: Any) -> Any:
        """Return a value of the setting as Optuna has it."""
        return value

    def with_value(self, value: Any) -> Range:
        """Return the range stretched to hold a value, where its scale allows."""
        if self.log and value <= 0:
            return self
        return dataclasses.replace(self, low=min(self.low, value), high=max(self.high, value))

    def __str__(self) -> str:
        return f"{self.field} {self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """A setting among a few values, as they are typed."""

    field: str
    texts: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        """Return whether a value is one of them."""
        return as_text(value) in self.texts

    def suggested(self, trial: Any) -> str:
        """Return the value that an Optuna trial has for it, as it is typed."""
        return str(trial.suggest_categorical(self.field, self.texts))

    def stored(self, value: Any) -> Any:
        """Return a value of the setting as Optuna has it."""
        return as_text(value)

    def with_value(self, value: Any) -> Choice:
        """Return the choice with a value more."""
        return self if self.holds(value) else Choice(self.field, (*self.texts, as_text(value)))

    def __str__(self) -> str:
        return f"{self.field} {', '.join(self.texts)}"


Dimension = Range | Choice

_USUAL: tuple[Dimension, ...] = (
    Range("learning_rate", 1e-4, 1e-2, log=True),
    Range("encoder_rate", 0.03, 1.0, log=True),
    Choice("weight_decay", ("0.0", "0.001", "0.01", "0.1")),
    Choice("batch_size", ("8", "16", "32", "64")),
    Choice("ema", ("0.0", "0.9", "0.99", "0.995", "0.999")),
    Range("warmup", 0.0, 0.3),
    Range("dropout", 0.0, 0.5),
    Choice("standardise", ("false", "true")),
    Range("crop", 0.4, 1.0),
    Range("jitter", 0.0, 0.4),
    Range("box_copies", 1, 8, whole=True),
)
"""What is tuned unless --space or --set says otherwise: what costs nothing or little, and helps often."""


def space_of(one: Experiment, typed: Sequence[str] = (), fixed: Collection[str] = ()) -> tuple[Dimension, ...]:
    """Return the settings that are tuned for an experiment, sorted by name.

    Args:
        typed: `field=low:high` and `field=a,b`, over the usual ones.
        fixed: settings that were given, and so are not tuned.

    Raises:
        UsageError: a setting or a value that cannot be, or that changes nothing here.
    """
    useless = {**without_effect(one), **not_taken(one)}
    space = {
        usual.field: usual.with_value(getattr(one, usual.field))
        for usual in _usual(one, useless)
        if usual.field not in fixed
    }
    own = [_parsed(text) for text in typed]
    for dimension in own:
        field = dimension.field
        if field in useless:
            raise UsageError(f"--space {field}: it changes nothing: {useless[field]}.")
        if field in fixed:
            raise UsageError(f"{field} is given, and tuned by --space {field}. Leave one of them out.")
        if sum(other.field == field for other in own) > 1:
            raise UsageError(f"--space {field} is there twice. Give one.")
        space[field] = dimension
    if not space:
        raise UsageError(f"Nothing is left to tune for {one.name}. {_FORMS}: --space learning_rate=1e-4:1e-2")
    return tuple(space[field] for field in sorted(space))


def space_differences(stored: Sequence[dict[str, Any]], space: Sequence[Dimension]) -> list[str]:
    """Say of each setting that a stored study tries otherwise than this space, what it tries there and here.

    Args:
        stored: the study's settings as dictionaries.
    """
    before = {one.field: one for one in map(_from_stored, stored)}
    now = {one.field: one for one in space}
    lines = []
    for field in sorted({*before, *now}):
        if before.get(field) == now.get(field):
            continue
        there, here = (str(some[field]).removeprefix(f"{field} ") if field in some else None for some in (before, now))
        if there is None or here is None:
            lines.append(f"{field} is tuned {'there' if here is None else 'here'} alone")
        else:
            lines.append(f"{field} is {there} there and {here} here")
    return lines


def _from_stored(one: dict[str, Any]) -> Dimension:
    return Choice(one["field"], tuple(one["texts"])) if "texts" in one else Range(**one)


def _usual(one: Experiment, useless: Collection[str]) -> Iterator[Dimension]:
    for dimension in _USUAL:
        of_pretrained = dimension.field != "encoder_rate" or one.encoder_weights != "none"
        if dimension.field not in useless and of_pretrained:
            yield dimension


def _parsed(text: str) -> Dimension:
    """Read `field=low:high[:log|linear]` or `field=a,b,c`; lists, as of decoder_channels, have slashes between them."""
    field, _, values = text.partition("=")
    declared = setting_fields().get(field)
    if declared is None:
        meant = suggested_setting(field)
        suggestion = f"--space {meant}={values}" if meant else None
        raise UnknownName("setting", field, setting_fields(), suggestion=suggestion, listed_by="kit train --list")
    if field == "seed":
        raise UsageError("--space seed: a seed is no setting. Average several: kit train NAME --seeds 3")
    kind = kind_of(declared)
    if kind in (int, float) and not choices_of(declared) and ":" in values:
        return _range(text, field, values.split(":"), kind)
    parts = list(dict.fromkeys(part.strip() for part in values.split("/" if kind is tuple else ",")))
    if len(parts) < 2 or not all(parts):
        form = "lists with slashes between: 64,32/128,64" if kind is tuple else "values with commas between"
        numbers = kind in (int, float) and not choices_of(declared)
        raise UsageError(f"--space {text}: {_FORMS if numbers else f'Give {form}'}. For one value: --set {field}=VALUE")
    return Choice(field, tuple(dict.fromkeys(as_text(_value(text, field, part)) for part in parts)))


def _range(text: str, field: str, parts: list[str], kind: type) -> Range:
    scales = {"log": True, "linear": False}
    if len(parts) == 2:
        parts = [*parts, ""]
    if len(parts) != 3 or parts[2] not in ("", *scales):
        raise UsageError(f"--space {text}: {_FORMS}.")
    low, high = (_value(text, field, part) for part in parts[:2])
    if low >= high:
        raise UsageError(f"--space {text}: {parts[0]} is not below {parts[1]}.")
    log = scales.get(parts[2], low > 0 and high >= _WIDE * low)
    if log and low <= 0:
        raise UsageError(f"--space {text}: a logarithmic scale has no {parts[0]}: begin above 0, or add :linear.")
    return Range(field, low, high, log=log, whole=kind is int)


def _value(text: str, field: str, part: str) -> Any:
    """Read one value, and check it against the setting's own limits."""
    from kit.learning.experiments.parse import read_value

    declared = setting_fields()[field]
    value = read_value(field, part, option=f"--space {text}")
    if problem := problem_of(declared, value):
        raise UsageError(f"--space {text}: {field}={part}: {problem}.")
    return value
