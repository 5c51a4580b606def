"""From text (`--set field=value`, a name, `experiment.json`) to an experiment and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from kit.errors import DamagedStore, UnknownName, UsageError
from kit.experiments.catalog import EXPERIMENTS, as_text
from kit.experiments.settings import Experiment
from kit.storage import read_json
from kit.workspace import Workspace, checked_name


def settings_of(experiment: Experiment) -> list[str]:
    """Every field but the name as `field=value`, the inverse of `with_settings`."""
    names = [field.name for field in fields(Experiment) if field.name != "name"]
    return [f"{name}={as_text(getattr(experiment, name))}" for name in names]


def experiment(name: str, settings: Sequence[str] = (), *, rename: str | None = None) -> Experiment:
    """Look an experiment up and apply `field=value` settings.

    Args:
        rename: store the source under this name instead (`--as`).

    Raises:
        UnknownName: no such experiment or field.
        UsageError: a value that cannot be.
    """
    if name not in EXPERIMENTS:
        raise UnknownName("experiment", name, EXPERIMENTS)
    found = with_settings(EXPERIMENTS[name](), settings)
    return dataclasses.replace(found, name=rename) if rename else found


def stored_experiment(workspace: Workspace, name: str) -> Experiment | None:
    """The settings with which a fold of this source was trained before, or None: what `--as` made goes on by its name.

    Raises:
        DamagedStore: an `experiment.json` that kit did not write.
    """
    for path in sorted(workspace.runs.glob(f"{checked_name('The experiment', name)}/fold_*/experiment.json")):
        stamp = read_json(path, made_by=f"kit train {name} --force")
        try:
            return experiment_from(stamp)
        except (KeyError, TypeError, ValueError, UsageError) as error:
            again = f"Delete {path.parent}"
            raise DamagedStore(f"{path} holds no experiment of this version ({error!r}). {again}") from None
    return None


def experiment_from(stamp: dict[str, Any]) -> Experiment:
    """The experiment in an `experiment.json`. KeyError, TypeError, ValueError or UsageError: it holds none."""
    settings = dict(stamp["experiment"])
    settings["decoder_channels"] = tuple(settings["decoder_channels"])  # JSON has lists alone
    return Experiment(**settings)


def with_settings(base: Experiment, settings: Sequence[str]) -> Experiment:
    """Apply `field=value` texts, each value read as the field's own type."""
    types_of = typing.get_type_hints(Experiment)
    known = [field.name for field in fields(Experiment) if field.name != "name"]
    values: dict[str, Any] = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r} is not of the form field=value, such as --set size=128.")
        if field not in known:
            raise UnknownName("setting", field, known)
        values[field] = _read_as(types_of[field], field, text)
    return dataclasses.replace(base, **values)


def _read_as(kind: Any, field: str, text: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if isinstance(kind, types.GenericAlias):
            return tuple(int(part) for part in text.split(","))
        value = kind(text)
    except (KeyError, ValueError):
        names = {bool: "true or false", int: "a whole number", float: "a number"}
        wanted = names.get(kind, "whole numbers with commas between")
        raise UsageError(f"--set {field}={text}: {wanted} is needed.") from None
    if kind is float and not abs(value) < float("inf"):
        raise UsageError(f"--set {field}={text}: a finite number is needed.")
    return value
