"""Plain words for the limits of a setting, from what its field declares. Knows pydantic, and no setting by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import ValidationError
from pydantic.fields import FieldInfo

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def as_text(value: object) -> str:
    """Return a setting's value as it is typed."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def kind_of(field: FieldInfo) -> type:
    """Return the type of a setting's value: bool, int, float, str or tuple."""
    if get_origin(field.annotation) is tuple:
        return tuple
    if choices := choices_of(field):
        return type(choices[0])
    assert isinstance(field.annotation, type)
    return field.annotation


def choices_of(field: FieldInfo) -> tuple[Any, ...]:
    """Return the values that a setting can have, where they are few."""
    # a nested Literal is flattened; a tuple's arguments are types, and no choices
    return () if get_origin(field.annotation) is tuple else get_args(field.annotation)


def wanted_kind(field: FieldInfo) -> str:
    """Say of which type a setting's value is."""
    return _KINDS.get(kind_of(field), "a list of whole numbers with commas between")


def limits_text(field: FieldInfo) -> str:
    """Say which values a setting can have; empty where its type says all."""
    if choices := choices_of(field):
        return f"one of {', '.join(map(str, choices))}"
    if get_origin(field.annotation) is tuple:
        bounds = {type(bound): bound for bound in field.metadata}
        item = _range_text(_metadata_of(get_args(field.annotation)[0]))
        return f"{bounds[MinLen].min_length} to {bounds[MaxLen].max_length} numbers, each {item}, such as 128,64,32,16"
    return _range_text(field.metadata)


def _metadata_of(annotation: type) -> list[object]:
    assert get_origin(annotation) is Annotated
    return FieldInfo.from_annotation(annotation).metadata


def _range_text(metadata: Sequence[object]) -> str:
    low: float | None = None
    high: float | None = None
    inclusive = {"low": True, "high": True}
    for bound in metadata:
        if isinstance(bound, Ge | Gt):
            inclusive["low"] = isinstance(bound, Ge)
            low = bound.ge if isinstance(bound, Ge) else bound.gt  # type: ignore[assignment]
        if isinstance(bound, Le | Lt):
            inclusive["high"] = isinstance(bound, Le)
            high = bound.le if isinstance(bound, Le) else bound.lt  # type: ignore[assignment]
    if low is None:
        return ""
    if high is None:
        return "not negative" if inclusive["low"] and low == 0 else f"above {low:g}"
    least, most = f"{low:g}", f"{high:.10g}"
    return {
        (True, True): f"{least} to {most}",
        (True, False): f"from {least} to below {most}",
        (False, True): f"above {least}, at most {most}",
        (False, False): f"between {least} and {most}",
    }[inclusive["low"], inclusive["high"]]


def first_error(error: ValidationError, fields: dict[str, FieldInfo], values: dict[str, Any]) -> str:
    """Say in a few words what pydantic found first: `size=100: one of 32, 64, 128, 256`.

    Args:
        fields: the declared settings.
        values: what was given for them.
    """
    found = error.errors(include_url=False)[0]
    name = str(found["loc"][0]) if found["loc"] else "settings"
    field = fields.get(name)
    if field is None or name not in values:
        return f"{name}: {found['msg']}"
    wrong_type = found["type"].endswith("_type")
    reason = "" if wrong_type else limits_text(field)
    if found["type"] == "finite_number":
        reason = "a finite number"
    return f"{name}={as_text(values[name])}: {reason or f'{wanted_kind(field)} is needed'}"
