"""The arguments of a model of the user's own: plain numbers, from settings of that name or from `--set NAME=VALUE`.

An argument that has the name of a setting is that setting: `--set width=48` gives both 48, and the argument's default
is the setting's. All others are the model's alone, and stand in `model_arguments` where they are not their defaults.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from kit.errors import UnknownName, UsageError, closest_name
from kit.learning.experiments.code import called, failed, load
from kit.learning.experiments.groups import NetworkSettings
from kit.learning.experiments.limits import as_text
from kit.learning.experiments.settings import Experiment, fields_of, setting_fields

Plain = bool | int | float | str
_KINDS: Mapping[str, type] = {kind.__name__: kind for kind in (bool, int, float, str)}
_OF_ANY_NETWORK = ("method", "architecture", "model", "model_arguments", "standardise", "clip_model")
_NEEDED = {"bool": "true or false", "int": "a whole number", "float": "a finite number", "str": "text without comma"}
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def parameters_of(reference: str) -> dict[str, inspect.Parameter]:
    """Return the arguments that a model takes by name; its file is run.

    Raises:
        UsageError: it is no class or function, or takes something that has no name.
    """
    model = load(reference)
    if not callable(model):
        raise UsageError(f"{called(reference)} is {type(model).__name__}, not a class or function that gives a module.")
    try:
        found = inspect.signature(model).parameters
    except (TypeError, ValueError) as error:
        raise UsageError(f"{called(reference)}: its arguments cannot be told ({error}).") from None
    if unnamed := [name for name, one in found.items() if one.kind is one.POSITIONAL_ONLY]:
        raise UsageError(f"{called(reference)}: the argument {unnamed[0]} cannot be given by its name. Remove the /.")
    return {name: one for name, one in found.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}


def shared_defaults(reference: str) -> dict[str, str]:
    """Return, as text, the defaults of those arguments that are settings too."""
    found = {}
    for name, one in parameters_of(reference).items():
        if name in setting_fields() and one.default is not one.empty:
            if type(one.default) not in _KINDS.values():
                raise UsageError(
                    f"{called(reference)}: the default of its argument {name} is {one.default!r}, and no plain number."
                )
            found[name] = as_text(one.default)
    return found


def own_arguments(reference: str) -> dict[str, inspect.Parameter]:
    """Return the arguments that are no setting's."""
    return {name: one for name, one in parameters_of(reference).items() if name not in setting_fields()}


def not_taken(one: Experiment) -> dict[str, str]:
    """Return the settings of networks that a model of the user's has no argument for, with the reason; its file is
    run. Nothing for kit's own networks."""
    if one.model == "none":
        return {}
    taken = parameters_of(one.model)
    reason = f"{called(one.model)} takes no argument of that name. It takes {', '.join(taken) or 'none'}"
    return {name: reason for name in fields_of(NetworkSettings) if name not in taken and name not in _OF_ANY_NETWORK}


def unknown_argument(reference: str, name: str, option: str, text: str) -> UnknownName:
    """Return the error for `OPTION NAME=TEXT` where neither a setting nor an argument of the model has that name."""
    taken = list(parameters_of(reference))
    names = [*taken, *setting_fields()]
    meant = closest_name(name, names)
    return UnknownName(
        "setting or argument",
        name,
        names,
        suggestion=f"{option} {meant}={text}" if meant else None,
        listed_by=f"kit train --list; {called(reference)} takes {', '.join(taken) or 'none'}",
    )


def with_arguments(one: Experiment, given: Mapping[str, str]) -> Experiment:
    """Return the experiment with these arguments of its model, on top of those that it has.

    Raises:
        UnknownName: neither a setting nor an argument has such a name.
        UsageError: a value that cannot be.
    """
    known = own_arguments(one.model)
    for name, text in given.items():
        if name not in known:
            raise unknown_argument(one.model, name, "--set", text)
    values = {**_parsed(one), **{name: read_argument(one.model, known[name], text) for name, text in given.items()}}
    kept = {name: value for name, value in values.items() if not _is_default(known[name], value)}
    text = ",".join(f"{name}={as_text(kept[name])}" for name in sorted(kept))
    return dataclasses.replace(one, model_arguments=text or "none")


def call_model(one: Experiment) -> Any:
    """Return what the model's class or function gives for the experiment's numbers.

    Raises:
        UsageError: it fails, or an argument has no value.
    """
    parameters, values = parameters_of(one.model), _parsed(one)
    for name, parameter in parameters.items():
        if name in setting_fields():
            values[name] = getattr(one, name)
        elif name not in values and parameter.default is parameter.empty:
            raise _without_value(one.model, name)
    try:
        return load(one.model)(**values)
    except (Exception, SystemExit) as error:  # whatever their code raises
        given = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise failed(error, one.model, f"making {called(one.model).rpartition(' ')[2]}({given})") from None


def _without_value(reference: str, name: str) -> UsageError:
    return UsageError(f"{called(reference)} needs {name}: give it a default, or --set {name}=VALUE.")


def _parsed(one: Experiment) -> dict[str, Any]:
    if one.model_arguments in ("none", ""):
        return {}
    known, found = own_arguments(one.model), {}
    for part in one.model_arguments.split(","):
        name, equals, text = part.partition("=")
        if not equals or name not in known:
            raise UsageError(f"model_arguments={one.model_arguments}: {called(one.model)} takes no {part!r}.")
        found[name] = read_argument(one.model, known[name], text)
    return found


def value_of(one: Experiment, name: str) -> Any:
    """Return what an experiment has for a setting, or for an argument that is its model's alone: what was given, or the
    default.

    Raises:
        UsageError: an argument has neither.
    """
    if name in setting_fields():
        return getattr(one, name)
    default = own_arguments(one.model)[name].default
    given = _parsed(one)
    if name not in given and default is inspect.Parameter.empty:
        raise _without_value(one.model, name)
    return given.get(name, default)


def kind_of_argument(reference: str, parameter: inspect.Parameter, option: str = "") -> str | None:
    """Return the type that an argument has by its annotation, else by its default; None where neither tells.

    Args:
        option: how a value was given, for messages.

    Raises:
        UsageError: its default is nothing that kit gives.
    """
    annotation = getattr(parameter.annotation, "__name__", parameter.annotation)
    if annotation in _KINDS:
        return str(annotation)
    if parameter.default is parameter.empty:
        return None
    kind = type(parameter.default).__name__
    if kind not in _KINDS:
        raise UsageError(
            f"{option or parameter.name}: {called(reference)} has {parameter.default!r} there, and kit gives plain "
            "numbers (int, float, bool, str)."
        )
    return kind


def read_argument(reference: str, parameter: inspect.Parameter, text: str, option: str = "") -> Plain:
    """Read a value as the argument's own type, or as what it looks like where the model does not tell.

    Args:
        option: how it was given, for messages; by default with --set.

    Raises:
        UsageError: it is of another type.
    """
    given = option or f"--set {parameter.name}={text}"
    kind = kind_of_argument(reference, parameter, given)
    try:
        return _guessed(text) if kind is None else _as(kind, text)
    except (KeyError, ValueError):
        raise UsageError(f"{given}: {_NEEDED[kind or 'str']} is needed, as {called(reference)} has it.") from None


def _as(kind: str, text: str) -> Plain:
    if kind == "bool":
        return _TRUTH[text.lower()]
    value: Plain = _KINDS[kind](text)
    if (isinstance(value, float) and not abs(value) < float("inf")) or "," in text:
        raise ValueError(text)
    return value


def _guessed(text: str) -> Plain:
    for kind in ("int", "float"):
        try:
            return _as(kind, text)
        except ValueError:
            continue
    return _TRUTH[text] if text in ("true", "false") else _as("str", text)


def _is_default(parameter: inspect.Parameter, value: Plain) -> bool:
    return type(parameter.default) is type(value) and parameter.default == value
