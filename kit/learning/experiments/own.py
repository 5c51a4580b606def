"""Experiments of the user's own: a model or a whole experiment in a Python file or an installed package."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.core.parallel import is_main_process
from kit.core.speech import say_once
from kit.core.workspace import Workspace, checked_source_name
from kit.errors import StoreError, UnknownName, UsageError
from kit.learning.experiments.arguments import not_taken, shared_defaults
from kit.learning.experiments.catalog import EXPERIMENTS
from kit.learning.experiments.code import (
    GROUPS,
    called,
    digest_in,
    entry_points,
    failed,
    is_file,
    load,
    name_in,
    reference_of,
)
from kit.learning.experiments.groups import CODE_FILES, NetworkSettings
from kit.learning.experiments.limits import as_text
from kit.learning.experiments.parse import drop_unused, is_set, settings_of, stored_experiment, with_settings
from kit.learning.experiments.settings import Experiment, fields_of


def is_own(workspace: Workspace, name: str, *, anew: bool = False) -> bool:
    """Return whether a name means a file's or, where neither the catalog nor a training has it, a package's.

    Args:
        anew: a training of that name is not meant, for another name is given (`--as`).
    """
    if is_file(name):
        return True
    if name in EXPERIMENTS or (not anew and any((workspace.runs / name).glob("fold_*/experiment.json"))):
        return False
    return any(name in entry_points(kind) for kind in ("model", "experiment"))


def own_experiment(
    workspace: Workspace,
    typed: str,
    settings: Sequence[str] = (),
    *,
    rename: str | None = None,
    config: Sequence[str] = (),
    goes_on: bool = True,
) -> Experiment:
    """Return what `FILE.py:NAME`, or the name of an entry point, means; the file is run.

    Args:
        goes_on: without settings, a source of that name and of the same code goes on with its own.

    Raises:
        UsageError: the file cannot be run, or holds no model or experiment of that name; a setting that cannot be.
    """
    is_experiment = _is_experiment(typed)
    reference = reference_of(typed, "experiment" if is_experiment else "model")
    made = _from_function(typed, reference) if is_experiment else of_model(reference, _called_after(typed, reference))
    if rename is not None:
        made = dataclasses.replace(made, name=checked_source_name("--as", rename))
    elif made.name in EXPERIMENTS:
        raise UsageError(f"{typed} would be called {made.name}, which is an experiment of kit. Add --as NAME")
    if goes_on and not settings and not config and (stored := _stored(workspace, made)) is not None:
        others = [setting for setting in settings_of(stored) if setting not in settings_of(made)]
        if others and is_main_process():
            say_once(f"{made.name} goes on with the settings it has: {' '.join(others)}")
        return stored
    _check_taken(made, settings)
    return drop_unused(with_settings(made, config), settings)


def of_model(reference: str, name: str) -> Experiment:
    """Return the experiment that trains a model of the user's, with the defaults of its own arguments."""
    made = Experiment(checked_source_name("The source", name), architecture="own", model=reference)
    defaults = [f"{field}={text}" for field, text in shared_defaults(reference).items()]
    try:
        return with_settings(made, defaults)
    except UsageError as error:
        raise UsageError(
            f"{called(reference)} has an argument with the name of a setting, which its default cannot be: {error}"
        ) from None


def list_packages() -> list[str]:
    """Return a line for each model, experiment and loss of the installed packages. Imports none of them."""
    return [
        f"{name}: {kind} of {reference.rpartition('@')[2].replace('==', ' ')} ({reference.partition('@')[0]})"
        for kind in GROUPS
        for name, reference in sorted(entry_points(kind).items())
    ]


def _is_experiment(typed: str) -> bool:
    """Return whether a function gives a whole experiment: its name says so, or its entry point's group."""
    if is_file(typed):
        name = typed.rpartition(":")[2].partition("@")[0]
        return name == "experiment" or name.endswith("_experiment")
    return typed not in entry_points("model")


def _called_after(typed: str, reference: str) -> str:
    return name_in(reference).lower() if is_file(typed) else typed


def _stored(workspace: Workspace, made: Experiment) -> Experiment | None:
    """Return the settings of a source of that name, if its code is the same: a changed file says what it wants anew."""
    try:
        stored = stored_experiment(workspace, made.name)
    except StoreError:  # which is said where it is needed
        return None
    same = stored is not None and all(getattr(stored, setting) == getattr(made, setting) for setting in CODE_FILES)
    return stored if same else None


def _check_taken(made: Experiment, settings: Sequence[str]) -> None:
    """Raise `UsageError` for a setting of networks that this model has no argument for."""
    for field, reason in not_taken(made).items():
        if is_set(field, settings):
            raise UsageError(f"--set {field} changes nothing: {reason}.")


def _from_function(typed: str, reference: str) -> Experiment:
    """Return what an experiment function says."""
    said = _said(reference)
    base = said.pop("base_experiment", None)
    if base is not None and str(base) not in EXPERIMENTS:
        raise UnknownName("experiment", str(base), EXPERIMENTS)
    name = str(said.pop("name", "") or _name_of_function(typed, reference))
    code = {setting: _code(said.pop(setting), setting, reference, typed) for setting in CODE_FILES if setting in said}
    made = EXPERIMENTS[str(base)]() if base else Experiment("plain")
    if "model" in code:
        made = _with_model(made, code["model"])
    if "loss" in code:
        made = dataclasses.replace(made, loss=code["loss"])
    made = dataclasses.replace(made, name=checked_source_name("The source", name))
    settings = [f"{field}={_text(field, value, reference)}" for field, value in said.items()]
    try:
        return with_settings(made, settings)
    except UsageError as error:
        raise UsageError(f"{called(reference)}: {error}") from None


def _with_model(base: Experiment, reference: str) -> Experiment:
    """Return an experiment of kit with a model of the user's in place of its network."""
    plain = Experiment("plain")
    usual = {field: getattr(plain, field) for field in fields_of(NetworkSettings) if field != "standardise"}
    usual |= {"encoder_rate": plain.encoder_rate, "architecture": "own", "model": reference}
    defaults = [f"{field}={text}" for field, text in shared_defaults(reference).items()]
    return with_settings(dataclasses.replace(base, **usual), defaults)


def _said(reference: str) -> dict[str, Any]:
    function: Callable[[], object] = load(reference)
    try:
        said = function()
    except (Exception, SystemExit) as error:  # whatever their code raises
        raise failed(error, reference, f"{name_in(reference)}()") from None
    if not isinstance(said, Mapping) or not all(isinstance(key, str) for key in said):
        raise UsageError(
            f'{called(reference)} gives {type(said).__name__}, not settings by name: {{"model": Net, "size": 128}}.'
        )
    return dict(said)


def _name_of_function(typed: str, reference: str) -> str:
    if not is_file(typed):
        return typed
    name = name_in(reference)
    return Path(typed.rpartition(":")[0]).stem if name == "experiment" else name.removesuffix("_experiment")


def _code(value: object, setting: str, reference: str, typed: str) -> str:
    """Return the reference of a class or function that an experiment function gave: of the same file, or as text, with
    a path from the folder of the file."""
    if isinstance(value, str):
        folder = Path(typed.rpartition(":")[0]).parent if is_file(typed) and is_file(value) else None
        return reference_of(value if folder is None else str(folder / value), setting)
    name = getattr(value, "__qualname__", "")
    place = reference.partition("@")
    if (
        name.isidentifier()
        and digest_in(reference) is not None
        and getattr(inspect.getmodule(value), "__name__", "").endswith(place[2])
    ):
        return f"{name}@{place[2]}"
    if digest_in(reference) is None and name.isidentifier():
        return f"{getattr(value, '__module__', '')}:{name}@{place[2]}"
    raise UsageError(
        f"{called(reference)}: {setting} is {value!r}. Give a class or function of the same file, or text: "
        '"other.py:NAME".'
    )


def _text(field: str, value: object, reference: str) -> str:
    plain = (bool, int, float, str)
    if isinstance(value, plain) or (isinstance(value, tuple | list) and all(isinstance(one, int) for one in value)):
        return as_text(tuple(value) if isinstance(value, list) else value)
    raise UsageError(f"{called(reference)}: {field} is {value!r}, and no plain number or text.")
