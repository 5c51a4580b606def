"""Which experiments are meant by names, a file of settings, and settings over it, typed or given. Trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kit.core.parallel import is_main_process
from kit.core.speech import say, warn

if TYPE_CHECKING:
    from kit.core.workspace import Workspace
    from kit.learning.experiments import Config, Experiment


def read_document(path: Path | None) -> Config | None:
    """Read the file of --config, if it is given."""
    from kit.learning.experiments import read_config

    return None if path is None else read_config(path)


def names_of(typed: Sequence[str], document: Config | None) -> list[str]:
    """Return the experiments that were typed, or else the one that the file begins with; [] when there are neither."""
    from kit.errors import UsageError

    names = list(dict.fromkeys(typed))
    if document is None:
        return names
    begins = document.experiment
    if names and begins is not None and names != [begins]:
        raise UsageError(
            f'{document.path} says experiment = "{begins}", and the command {", ".join(names)}. Leave one of them out.'
        )
    if not names and begins is None:
        raise UsageError(
            f'{document.path} does not say with which experiment it begins. Put experiment = "regress" into it, or '
            f"run: kit train regress --config {document.path}"
        )
    return names or [str(begins)]


def choose(
    workspace: Workspace,
    names: Sequence[str],
    settings: Sequence[str],
    document: Config | None,
    *,
    rename: str | None = None,
    force: bool = False,
) -> list[Experiment]:
    """Return what the experiments are with the settings of the file and, over them, those that were given."""
    from kit.errors import UsageError
    from kit.learning.experiments import (
        EXPERIMENTS,
        check_config_effect,
        check_effect,
        chosen_experiment,
        is_own,
        own_experiment,
    )

    for name in names:
        if name not in EXPERIMENTS and (workspace.predictions / name).is_dir():
            from kit.data.mean_source import check_not_a_mean  # most names are the catalog's

            check_not_a_mean(workspace, name)
    called = f"--as {rename}"
    if rename is None and document is not None and document.name is not None:
        rename, called = document.name, f'{document.path}: name = "{document.name}"'
    if rename is not None and len(names) > 1:
        raise UsageError(f"{called} names one source, but {len(names)} experiments are given.")
    if rename is not None:
        check_not_in_catalog(workspace, called, rename, names[0])
    config = document.settings if document else ()

    def one_of(name: str, more: Sequence[str]) -> Experiment:
        if is_own(workspace, name, anew=rename is not None):
            return own_experiment(workspace, name, more, rename=rename, config=config)
        return chosen_experiment(workspace, name, more, rename=rename, force=force, config=config)

    def chosen(more: Sequence[str]) -> list[Experiment]:
        return [one_of(name, more) for name in names]

    try:
        made = chosen(settings)
    except UsageError:
        if document is not None:
            _check_file_alone(document, chosen)
        raise
    if document is not None:
        check_config_effect(document, made)
    check_effect(made, settings)
    _say_renamed(settings)
    return made


def check_not_in_catalog(workspace: Workspace, called: str, rename: str, name: str) -> None:
    """Raise `UsageError` for a new source that would have the name of another experiment than the one it is trained
    from; what is stored under such a name goes on."""
    from kit.core.workspace import checked_source_name
    from kit.errors import UsageError
    from kit.learning.experiments import EXPERIMENTS

    checked_source_name("--as", rename)
    stored = any((folder / rename).is_dir() for folder in (workspace.runs, workspace.predictions))
    if rename in EXPERIMENTS and rename != name and not stored:
        raise UsageError(f"{called}: {rename} is the name of another experiment. Take another name.")


def study_name(workspace: Workspace, name: str | None, base: Experiment) -> str:
    """Return the name of a study of an experiment's settings. Raises `UsageError` for that of another experiment."""
    from kit.errors import UsageError

    called = name or f"{base.name}-tuned"
    check_not_in_catalog(workspace, f"--as {called}", called, base.name)
    if called == base.name:
        raise UsageError(f"--as {called} is the name of what is tuned. Take another name.")
    return called


def with_weights_at_hand(
    workspace: Workspace, chosen: Sequence[Experiment], settings: Sequence[str], *, force: bool = False
) -> list[Experiment]:
    """Return the experiments, from random weights where ImageNet's were not asked for by name and cannot be had.

    Random weights are not frozen. What has begun from ImageNet's goes on from them, or says that they are gone.
    """
    from kit.learning.experiments import is_set

    stored = {one.name: None if force else _stored(workspace, one.name) for one in chosen}
    began = [name for name, before in stored.items() if before is not None and before.encoder_weights == "imagenet"]
    reasons = {
        one.encoder: _why_not(one.encoder)
        for one in chosen
        if one.has_timm_encoder and one.encoder_weights == "imagenet"
        if one.name not in began and not is_set("encoder_weights", settings)
    }
    for encoder, reason in reasons.items() if is_main_process() else []:
        if reason:
            warn(f"{encoder} starts from random weights (--set encoder_weights=none): {reason}")
    made = []
    for one in chosen:
        before = stored[one.name]
        if one.name not in began and reasons.get(one.encoder):
            one = replace(one, encoder_weights="none")
        if one.has_timm_encoder and one.encoder_weights == "none" and not is_set("frozen", settings):
            one = replace(one, frozen=0 if before is None else before.frozen)
        made.append(one)
    return made


def _stored(workspace: Workspace, name: str) -> Experiment | None:
    """Return what a source was trained with before, if it can be read; what is damaged is told where it is needed."""
    from kit.errors import StoreError
    from kit.learning.experiments import stored_experiment

    try:
        return stored_experiment(workspace, name)
    except StoreError:
        return None


def _why_not(encoder: str) -> str:
    """Return why ImageNet's weights of an encoder cannot be had, or nothing where they can."""
    from kit.pretrained.weights.places import at_hand

    if at_hand(encoder.removeprefix("tu-")):
        return ""
    from kit.pretrained.weights.finding import why_not_from_hub  # brings torch and timm

    return why_not_from_hub(encoder)


def _check_file_alone(document: Config, chosen: Callable[[Sequence[str]], list[Experiment]]) -> None:
    """Raise `UsageError` that names the file where what is wrong stands in it."""
    from kit.errors import UsageError

    try:
        chosen(())
    except UsageError as error:
        raise UsageError(f"{document.path}: {error}") from None


def _say_renamed(settings: Sequence[str]) -> None:
    from kit.learning.experiments import renamed_settings

    for line in renamed_settings(settings) if is_main_process() else []:
        say(line)
