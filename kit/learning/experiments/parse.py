"""From text (`--set field=value`, a name, `experiment.json`) to an experiment and back."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import types
import typing
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from kit.core.storage import read_json
from kit.core.workspace import Workspace, checked_name
from kit.errors import DamagedStore, KitError, StoreError, UnknownName, UsageError
from kit.learning.experiments.catalog import EXPERIMENTS, as_text
from kit.learning.experiments.settings import Experiment, without_effect


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
    found = _as_read(EXPERIMENTS[name](), settings)
    return found if rename is None else dataclasses.replace(found, name=_free_name(rename))


def chosen_experiment(
    workspace: Workspace, name: str, settings: Sequence[str] = (), *, rename: str | None = None, force: bool = False
) -> Experiment:
    """What `kit train NAME` means: a source that is there goes on with the settings it has, unless others are given.

    Args:
        force: a damaged `experiment.json` is about to be replaced, and does not matter where the catalog has the name.

    Raises:
        UnknownName, UsageError: see `experiment`.
        DamagedStore: see `stored_experiment`.
    """
    if rename is not None or (settings and name in EXPERIMENTS):
        return experiment(name, settings, rename=rename)
    try:
        stored = stored_experiment(workspace, name)
    except DamagedStore:
        if not (force and name in EXPERIMENTS):
            raise
        stored = None
    if stored is None and name not in EXPERIMENTS:
        trained = {path.parent.parent.name for path in workspace.runs.glob("*/fold_*/experiment.json")}
        raise UnknownName("experiment", name, [*EXPERIMENTS, *sorted(trained - EXPERIMENTS.keys())])
    return _as_read(stored, settings) if stored else experiment(name, settings)


def stored_experiment(workspace: Workspace, name: str) -> Experiment | None:
    """The settings with which a fold of this source was trained before, or None.

    Raises:
        DamagedStore: none of its `experiment.json` is one that kit wrote.
    """
    damaged: DamagedStore | None = None
    for path in sorted(workspace.runs.glob(f"{checked_name('The experiment', name)}/fold_*/experiment.json")):
        again = f"rm -r {shlex.quote(str(path.parent))}"
        try:
            return experiment_from(read_json(path, made_by=again))
        except (StoreError, KeyError, TypeError, ValueError, UsageError) as error:
            what = f"{path} holds no experiment of this version ({error!r})"
            what = str(error).split(". ")[0] if isinstance(error, StoreError) else what
            damaged = DamagedStore(f"{what}. Give that training up, then train as at first: {again}")
    if damaged is not None:
        raise damaged
    return None


def _free_name(name: str) -> str:
    if checked_name("--as", name) == "all":
        raise UsageError("--as all: all is the word for every source. Take another name.")
    return name


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
    for setting in map(_meant, settings):
        field, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r} is not of the form field=value, such as --set size=128.")
        if field not in known:
            raise UnknownName("setting", field, known)
        values[field] = _read_as(types_of[field], field, text)
    return dataclasses.replace(base, **values)


def _as_read(base: Experiment, settings: Sequence[str]) -> Experiment:
    """With these settings, but for those that nothing reads: an experiment is the same whether they are given or not,
    as they are where one command trains several experiments."""
    made = with_settings(base, settings)
    return dataclasses.replace(made, **{field: getattr(base, field) for field in without_effect(made)})


def check_effect(chosen: Sequence[Experiment], settings: Sequence[str]) -> None:
    """Raise `UsageError` when a `field=value` is read by none of the experiments: another one was meant."""
    useless = [without_effect(one) for one in chosen]
    for setting in settings:
        field = _meant(setting).partition("=")[0]
        if all(field in reasons for reasons in useless):
            raise UsageError(f"--set {setting} changes nothing: {useless[0][field]}.")


def _meant(setting: str) -> str:
    """`clip` was the name of the largest gradient norm before there was a CLIP: with a number it still is."""
    field, equals, text = setting.partition("=")
    if field != "clip" or not equals:
        return setting
    try:
        float(text)
    except ValueError:
        return f"clip_model={text}"
    return setting


def _read_as(kind: Any, field: str, text: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if isinstance(kind, types.GenericAlias):
            return tuple(int(part) for part in text.split(","))
        value = kind(text)
    except (KeyError, ValueError):
        names = {bool: "true or false", int: "a whole number", float: "a number"}
        wanted = names.get(kind, "a list of whole numbers with commas between")
        raise UsageError(f"--set {field}={text}: {wanted} is needed.") from None
    if field == "encoder_weights" and value not in ("none", "imagenet"):
        path = Path(value)
        with contextlib.suppress(RuntimeError):  # a home folder that cannot be told
            path = path.expanduser()
        return str(path.absolute())  # another folder may be the current one when it goes on
    if field == "clip_model" and value != "none":
        from kit.pretrained.clip.model import pinned  # a clip is asked for by few

        try:
            return pinned(value)
        except KitError as error:
            raise UsageError(f"--set clip_model={text}: {error}") from None
    if kind is float and not abs(value) < float("inf"):
        raise UsageError(f"--set {field}={text}: a finite number is needed.")
    return value
