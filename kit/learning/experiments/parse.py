"""From text (`--set field=value`, a name, `experiment.json`) to an experiment and back."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kit.core.storage import read_json
from kit.core.workspace import Workspace, checked_name, checked_source_name
from kit.errors import DamagedStore, KitError, StoreError, UnknownName, UsageError, closest_name
from kit.learning.experiments.aliases import USUAL_NAMES
from kit.learning.experiments.arguments import with_arguments
from kit.learning.experiments.catalog import EXPERIMENTS
from kit.learning.experiments.code import entry_points, reference_of
from kit.learning.experiments.copies import recall
from kit.learning.experiments.groups import ARCHITECTURES, CODE_FILES
from kit.learning.experiments.limits import as_text, kind_of, wanted_kind
from kit.learning.experiments.settings import Experiment, setting_fields, stored_names, without_effect


def settings_of(experiment: Experiment) -> list[str]:
    """Return every setting as `field=value`, the inverse of `with_settings`."""
    return [f"{name}={as_text(getattr(experiment, name))}" for name in setting_fields()]


def experiment(
    name: str, settings: Sequence[str] = (), *, rename: str | None = None, config: Sequence[str] = ()
) -> Experiment:
    """Look an experiment up and apply `field=value` settings.

    Args:
        config: settings of a file: they come first, and stay as they are also where nothing reads them.
        rename: store the source under this name instead (`--as`).

    Raises:
        UnknownName: no such experiment or field.
        UsageError: a value that cannot be.
    """
    if name not in EXPERIMENTS:
        raise UnknownName("experiment", name, EXPERIMENTS)
    found = drop_unused(with_settings(EXPERIMENTS[name](), config), settings)
    return found if rename is None else dataclasses.replace(found, name=checked_source_name("--as", rename))


def chosen_experiment(
    workspace: Workspace,
    name: str,
    settings: Sequence[str] = (),
    *,
    rename: str | None = None,
    force: bool = False,
    config: Sequence[str] = (),
) -> Experiment:
    """Return what `kit train NAME` means: a source that is there goes on with its settings, unless others are given.

    With another name (`--as`), a trained source whose name is not the catalog's begins as it was trained.

    Args:
        config: settings of a file, see `experiment`.
        force: a damaged `experiment.json` is about to be replaced, and does not matter where the catalog has the name.

    Raises:
        UnknownName, UsageError: see `experiment`.
        DamagedStore: see `stored_experiment`.
    """
    if ":" in name:
        raise UsageError(f"{name} is no experiment. A model of your own is FILE.py:NAME, such as mine.py:Net")
    if name in EXPERIMENTS and (rename is not None or settings or config):
        return experiment(name, settings, rename=rename, config=config)
    try:
        stored = stored_experiment(workspace, name)
    except DamagedStore:
        if not (force and name in EXPERIMENTS):
            raise
        stored = None
    if stored is None and name not in EXPERIMENTS:
        trained = {path.parent.parent.name for path in workspace.runs.glob("*/fold_*/experiment.json")}
        packages = [*entry_points("model"), *entry_points("experiment")]
        raise UnknownName("experiment", name, [*EXPERIMENTS, *sorted(trained - EXPERIMENTS.keys()), *packages])
    if stored is None:
        return experiment(name, settings)
    found = drop_unused(with_settings(stored, config), settings)
    return found if rename is None else dataclasses.replace(found, name=checked_source_name("--as", rename))


def stored_experiment(workspace: Workspace, name: str) -> Experiment | None:
    """Return the settings with which a fold of this source was trained before, or None.

    Raises:
        DamagedStore: none of its `experiment.json` is one that kit wrote.
    """
    damaged: DamagedStore | None = None
    for path in sorted(workspace.runs.glob(f"{checked_name('The experiment', name)}/fold_*/experiment.json")):
        again = f"rm -r {shlex.quote(str(path.parent))}"
        try:
            found = experiment_from(read_json(path, made_by=again))
            recall(path.parent.parent, found)
            return found
        except (StoreError, KeyError, TypeError, ValueError, UsageError) as error:
            what = f"{path} holds no experiment of this version ({error!r})"
            what = str(error).split(". ")[0] if isinstance(error, StoreError) else what
            damaged = DamagedStore(f"{what}. Give that training up, then train as at first: {again}")
    if damaged is not None:
        raise damaged
    return None


def experiment_from(stamp: dict[str, Any]) -> Experiment:
    """Return the experiment in an `experiment.json`. KeyError, TypeError, ValueError or UsageError: it holds none."""
    own_names = stored_names()
    stored: dict[str, Any] = dict(stamp["experiment"])
    settings = {own_names.get(name, name): value for name, value in stored.items()}
    settings["decoder_channels"] = tuple(settings["decoder_channels"])  # JSON has lists alone
    return Experiment(**settings)


def with_settings(base: Experiment, settings: Sequence[str]) -> Experiment:
    """Apply `field=value` texts, each value read as the field's own type; of a model of the user's own, its arguments
    too."""
    values: dict[str, Any] = {}
    arguments: dict[str, str] = {}
    for setting in map(_resolve_alias, settings):
        field, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r} is not of the form field=value, such as --set size=128.")
        if field in setting_fields():
            values[field] = read_value(field, text)
        elif base.model != "none":
            arguments[field] = text
        else:
            raise _unknown_setting(field, text)
    made = dataclasses.replace(base, **values)
    return with_arguments(made, arguments) if arguments else made


def with_seeds(one: Experiment, count: int) -> list[Experiment]:
    """Return so many experiments that differ in their seed: this one, then NAME-s1, NAME-s2 ... with the seeds after
    its own."""
    others = range(1, count)
    names = [checked_source_name("The source", f"{one.name}-s{number}") for number in others]
    return [
        one,
        *(dataclasses.replace(one, name=name, seed=one.seed + n) for name, n in zip(names, others, strict=True)),
    ]


def suggested_setting(name: str) -> str | None:
    """Return the setting that is probably meant by a name or an option that there is none of."""
    plain = name.strip("-").replace("-", "_").lower()
    if plain in setting_fields():
        return plain
    nearest = plain if plain in USUAL_NAMES else closest_name(plain, [*setting_fields(), *USUAL_NAMES])
    return USUAL_NAMES.get(nearest, nearest) if nearest else None


def _unknown_setting(name: str, value: str) -> UnknownName:
    meant = suggested_setting(name)
    suggestion = f"--set {meant}={value}" if meant else None
    return UnknownName("setting", name, setting_fields(), suggestion=suggestion, listed_by="kit train --list")


def drop_unused(base: Experiment, settings: Sequence[str]) -> Experiment:
    """Apply settings but for those that nothing reads: an experiment is the same whether they are given or not, as they
    are where one command trains several experiments."""
    made = with_settings(base, settings)
    return dataclasses.replace(made, **{field: getattr(base, field) for field in without_effect(made)})


def check_effect(chosen: Sequence[Experiment], settings: Sequence[str]) -> None:
    """Raise `UsageError` when a `field=value` is read by none of the experiments: another one was meant."""
    useless = [without_effect(one) for one in chosen]
    for setting in settings:
        field = _resolve_alias(setting).partition("=")[0]
        if all(field in reasons for reasons in useless):
            raise UsageError(f"--set {setting} changes nothing: {useless[0][field]}.")


def renamed_settings(settings: Sequence[str]) -> list[str]:
    """Return, for each setting that is given by a name of before, a line with its name of today."""
    return [
        f"--set {setting} is now --set {now}" for setting in settings if (now := _resolve_alias(setting)) != setting
    ]


def is_set(field: str, settings: Sequence[str]) -> bool:
    """Return whether one of `field=value` gives this field, by its name of today or of before."""
    return any(_resolve_alias(setting).partition("=")[0] == field for setting in settings)


def _resolve_alias(setting: str) -> str:
    """Return the setting by its name of today."""
    field, equals, text = setting.partition("=")
    return f"{current_name(field, text)}={text}" if equals else setting


def current_name(field: str, text: str) -> str:
    """Return a setting's name of today: `clip` was the gradient's with a number, and otherwise the CLIP."""
    if field != "clip":
        return field
    try:
        float(text)
    except ValueError:
        return "clip_model"
    return "gradient_clip"


def read_value(field: str, text: str, *, option: str = "") -> Any:
    """Read a setting's value as its own type; its limits are not checked.

    Args:
        option: how it was given, for messages; by default with --set.

    Raises:
        UsageError: it is of another type, or names no CLIP.
    """
    given = option or f"--set {field}={text}"
    declared = setting_fields()[field]
    kind = kind_of(declared)
    try:
        value = _READERS[kind](text)
    except (KeyError, ValueError):
        raise UsageError(f"{given}: {wanted_kind(declared)} is needed.") from None
    if field in _PATHS and value not in _PATHS[field]:
        return _path(field, value, given)
    if field in CODE_FILES and value != "none":
        if value in ARCHITECTURES:
            raise UsageError(f"{given}: that is an architecture of kit. Give it with --set architecture={value}")
        try:
            return reference_of(value, field)
        except UsageError as error:
            raise UsageError(f"{given}: {error}") from None
    if field == "clip_model" and value != "none":
        from kit.pretrained.clip.model import pinned  # a clip is asked for by few

        try:
            return pinned(value)
        except KitError as error:
            raise UsageError(f"{given}: {error}") from None
    if kind is float and not abs(value) < float("inf"):
        raise UsageError(f"{given}: a finite number is needed.")
    return value


_PATHS = {"encoder_weights": ("none", "imagenet"), "extra": ("none",)}
"""Settings that are a path or one of a few words."""


def _path(field: str, text: str, given: str) -> str:
    """Return a path as it is stored. Raises `UsageError` for what is no path and resembles a word."""
    path = Path(text)
    with contextlib.suppress(RuntimeError):  # a home folder that cannot be told
        path = path.expanduser()
    if not text:
        raise UsageError(f"{given} is empty. Give {', '.join(_PATHS[field])}, or a path.")
    if (meant := closest_name(text, _PATHS[field])) and not path.exists():
        raise UsageError(f"{given}: there is no such file. Did you mean {field}={meant}?")
    return str(path.absolute())  # another folder may be the current one when it goes on


_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_READERS: dict[type, Callable[[str], Any]] = {
    bool: lambda text: _TRUTH[text.lower()],
    int: int,
    float: float,
    str: str,
    tuple: lambda text: tuple(int(part) for part in text.split(",")),
}
