"""Settings as a TOML file (`kit train --config FILE`) and back (`--print-config`). Knows settings, and trains nothing.

A file holds `field = value` lines, flat or in tables named as the groups (network, loss, optimizer, schedule, data). It
may say which `experiment` it begins with and under which `name` the source is stored. Values are read as `--set` reads
them, so that both ways give the same experiment.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from kit.errors import UsageError, closest_name
from kit.learning.experiments.catalog import EXPERIMENTS
from kit.learning.experiments.code import typed
from kit.learning.experiments.groups import CODE_FILES, GROUPS
from kit.learning.experiments.limits import as_text, kind_of, limits_text, wanted_kind
from kit.learning.experiments.parse import current_name, suggested_setting
from kit.learning.experiments.settings import Experiment, fields_of, setting_fields, without_effect

TABLES: Mapping[str, type] = {group.__name__.removesuffix("Settings").lower(): group for group in GROUPS}
_WORDS = ("experiment", "name")  # what a file may say besides settings


@dataclass(frozen=True)
class Config:
    """What a file says."""

    path: Path
    experiment: str | None
    """The experiment that the settings change."""
    name: str | None
    """The source's name."""
    settings: tuple[str, ...]
    """`field=value`, as `--set` takes them."""


def read_config(path: Path) -> Config:
    """Read a file of settings.

    Raises:
        UsageError: it is not there, is not TOML, or has a key or a value that cannot be; names the file and the key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path} is not there. Write one: kit train regress --print-config > FILE.toml") from None
    except (IsADirectoryError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}") from None
    words = {word: document.pop(word) for word in _WORDS if word in document}
    for word, value in words.items():
        if not isinstance(value, str):
            raise UsageError(f'{path}: {word} = {_shown(value)}: text is needed, such as {word} = "regress".')
    given: dict[str, str] = {}
    for key, value in _entries(path, document):
        setting = _setting(path, key, value)
        field = setting.partition("=")[0]
        if field in given:
            raise UsageError(f"{path}: {field} is there twice. Keep one of them.")
        given[field] = setting
    return Config(path, words.get("experiment"), words.get("name"), tuple(given.values()))


def check_config_effect(config: Config, chosen: Iterable[Experiment]) -> None:
    """Raise `UsageError` when a setting of the file is read by none of the experiments and is not their own value.

    A file with every setting, as `toml_of` writes it, is taken as it is.
    """
    fields = [setting.partition("=")[0] for setting in config.settings]
    if set(fields) == setting_fields().keys():
        return
    useless = [(without_effect(one), EXPERIMENTS.get(config.experiment or one.name), one) for one in chosen]
    for field in fields:
        usual = [getattr(base() if base else one, field) == getattr(one, field) for _, base, one in useless]
        if all(field in reasons for reasons, *_ in useless) and not any(usual):
            raise UsageError(f"{config.path}: {field} changes nothing: {useless[0][0][field]}.")


def toml_of(one: Experiment, *, begins: str | None = None, copies: Mapping[str, Path] = {}) -> str:
    """Return every setting of an experiment in its table; `read_config` of it gives the same experiment.

    Args:
        begins: the experiment that the file names as its beginning; by default the nearest one.
        copies: for settings that name code of the user's own, the copy that the file names.
    """
    values = {field: getattr(one, field) for field in setting_fields()}
    values |= {setting: typed(values[setting], copies.get(setting)) for setting in CODE_FILES}
    begins = begins or (one.name if one.name in EXPERIMENTS else _nearest(one))
    lines = [f"experiment = {_shown(begins)}"]
    lines += [f"name = {_shown(one.name)}"] if one.name != begins else []
    for table, group in TABLES.items():
        lines += ["", f"[{table}]", *(f"{field} = {_shown(values[field])}" for field in fields_of(group))]
    return "\n".join(lines) + "\n"


def problem_of(field: FieldInfo, value: object) -> str:
    """Say why a setting cannot have a value; "" when it can."""
    kind = kind_of(field)
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits or (kind is tuple and any(type(part) is not int for part in _parts(value))):
        return f"{wanted_kind(field)} is needed"
    try:
        declared: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        TypeAdapter(declared, config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        is_number = error.errors(include_url=False)[0]["type"] != "finite_number"
        return (limits_text(field) if is_number else "") or "a finite number is needed"
    return ""


def _parts(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()


def _entries(path: Path, document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if not isinstance(value, dict):
            yield key, value
            continue
        if key not in TABLES:
            meant = closest_name(key, TABLES)
            raise UsageError(
                f"{path}: there is no table [{key}].{f' Did you mean [{meant}]?' if meant else ''} "
                f"Known: {', '.join(TABLES)}."
            )
        for field, own in value.items():
            home = next((table for table, group in TABLES.items() if field in fields_of(group)), key)
            if home != key:
                raise UsageError(f"{path}: {field} is in the table [{key}]. Did you mean [{home}]?")
            yield field, own


def _setting(path: Path, key: str, value: object) -> str:
    """Return one entry as `field=value`."""
    value = tuple(value) if isinstance(value, list) else value
    field = current_name(key, str(value))
    declared = setting_fields().get(field)
    if declared is None:
        meant = suggested_setting(key) or closest_name(key, _WORDS)
        hint = f" Did you mean {meant} = {_shown(value)}?" if meant else ""
        raise UsageError(f"{path}: there is no setting {key!r}.{hint} All of them: kit train --list")
    if problem := problem_of(declared, value):
        raise UsageError(f"{path}: {key} = {_shown(value)}: {problem}.")
    return f"{field}={as_text(value)}"


def _nearest(one: Experiment) -> str:
    """Return the experiment of the catalog with the fewest other settings."""

    def others(name: str) -> int:
        base = EXPERIMENTS[name]()
        return sum(getattr(base, field) != getattr(one, field) for field in setting_fields())

    return min(EXPERIMENTS, key=others)


def _shown(value: object) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, str):  # a TOML string is a JSON one, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else str(value)
