"""The settings that are tuned, each with its values: a table of the usual ones, and `--space` over it. Runs nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from kit.errors import UsageError
from kit.learning.experiments import Experiment
from kit.learning.experiments.arguments import not_taken
from kit.learning.experiments.settings import without_effect
from kit.learning.tuning.dimensions import Choice, Dimension, Range
from kit.learning.tuning.typed import FORMS, dimension_of

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
        typed: `field=low:high` and `field=a,b`, over the usual ones; of a model of the user's own its arguments
            too.
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
    own = [dimension_of(one, text) for text in typed]
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
        raise UsageError(f"Nothing is left to tune for {one.name}. {FORMS}: --space learning_rate=1e-4:1e-2")
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
