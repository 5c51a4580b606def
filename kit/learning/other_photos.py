"""What a workspace has learnt, used on photos that it was not fetched with: other test photos, or one's own pictures.

A source can predict them if all it takes is here: a fill, trained networks, a mean of such, a stack over such. Samples
of Stable Diffusion, imported files and neighbours exist for the fetched photos alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from kit.core.progress import track
from kit.core.storage import digest_file, read_json
from kit.core.workspace import FULL, Fold
from kit.data.fill_sources import make_fill_source
from kit.data.mean_source import make_test_mean
from kit.data.prediction_store import SourceKind
from kit.data.project import Project
from kit.errors import Mismatch, MissingStep, UnknownName, UsageError
from kit.imaging.fills import FILLS
from kit.learning.conditions import conditions_of
from kit.learning.experiments import Experiment
from kit.learning.inference import predict, prepare_inputs
from kit.learning.stacking.stack import stack_other_tests
from kit.learning.training import load_generator
from kit.learning.training.fit import check_trained_here

_CANNOT = {
    SourceKind.IMPORT: "imported for the fetched photos",
    SourceKind.DIFFUSION: "its samples are of the fetched photos",
    SourceKind.LOOP: "written by your own loop",
    SourceKind.NEIGHBOURS: "knows the neighbours of the fetched photos alone",
    SourceKind.BLEND: "a blend",
}


def applicable(project: Project, names: Sequence[str], *, called: str, stacks: bool = True) -> dict[str, SourceKind]:
    """Return the kind of each source, members of means and stacks before them, if all can predict other photos.

    Args:
        called: what is to be predicted, for the message: `blend NAME`, or the source.
        stacks: whether stacks can.

    Raises:
        UnknownName: no such source.
        UsageError: some cannot; names them, and what can be done.
    """
    found: dict[str, SourceKind] = {}
    cannot: dict[str, str] = {}
    for name in names:
        _add(project, name, found, cannot, stacks)
    if cannot:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in cannot.items())
        rest = [name for name in names if name in found]
        blend = f"Blend the others, and predict by that: kit blend {' '.join(rest)} --name others" if rest else ""
        what = blend or "Take a fill, a trained source, or a blend of such (kit sources)."
        raise UsageError(f"{called} cannot predict other photos, because of {reasons}. {what}")
    return found


def _add(project: Project, name: str, found: dict[str, SourceKind], cannot: dict[str, str], stacks: bool) -> None:
    """Add a source to `found`, after what it is made of, or to `cannot`."""
    kind = project.predictions.kind_of(name)
    if kind is None:
        raise UnknownName("source or blend", name, known_names(project))
    if kind in _CANNOT or (kind is SourceKind.STACK and not stacks):
        cannot[name] = _CANNOT.get(kind, "a stack predicts test photos alone: --input")
        return
    for member in _members(project, name, kind):
        _add(project, member, found, cannot, stacks)
        if member in cannot:
            cannot[name] = f"made of {member}"
            return
    found[name] = kind


def known_names(project: Project) -> set[str]:
    """Return the names of all that may predict: fills, sources, trainings, blends."""
    workspace = project.workspace
    trained = {path.parent.parent.name for path in workspace.runs.glob("*/fold_*/run.json")}
    return {*FILLS, *project.predictions.sources(), *trained, *(path.stem for path in workspace.blends.glob("*.json"))}


def _members(project: Project, name: str, kind: SourceKind) -> list[str]:
    if kind is SourceKind.MEAN:
        return mean_members(project, name)
    if kind is SourceKind.STACK:
        path = project.workspace.run(name, 0) / "stack.json"
        return sorted(read_json(path, made_by="kit blend --stack").get("members", ()))
    return []


def mean_members(project: Project, name: str) -> list[str]:
    """Return the sources of which a source is the mean."""
    # its manifests tell it, also where the predictions themselves were not carried along
    manifests = sorted((project.workspace.predictions / name).glob("*/*.json"))
    if not manifests:
        raise MissingStep(f"{name} lacks its manifests, which say what it is the mean of. Run: kit sources")
    return list(read_json(manifests[0], made_by="kit sources")["recipe"]["members"])


def trained_folds(project: Project, name: str) -> list[Fold]:
    """Return the folds of a source, and its full model where there is one.

    Raises:
        MissingStep: one of the folds has no weights here.
    """
    has_full = (project.workspace.run(name, FULL) / "run.json").is_file()
    folds: list[Fold] = [*range(project.folds.k), *([FULL] if has_full else [])]
    absent = [fold for fold in folds if not (project.workspace.run(name, fold) / "model.safetensors").is_file()]
    if absent:
        flags = ",".join(map(str, absent))
        raise MissingStep(f"{name} has no weights of fold {flags} here. Run: kit train {name} --fold {flags}")
    return folds


def load_checked(project: Project, name: str, fold: Fold, device: torch.device) -> tuple[Experiment, nn.Module]:
    """Load one fold's network, if it was trained on this index and these folds."""
    experiment, generator = load_generator(project.workspace, name, fold, device)
    check_trained_here(project, experiment, fold)
    return experiment, generator


def predict_other_tests(
    project: Project, kinds: dict[str, SourceKind], device: torch.device
) -> Iterator[tuple[str, bool]]:
    """Predict other test photos by these sources, in this order; yield each name, and whether anything was to be done.

    Args:
        project: of `kit.data.other_tests`.
        kinds: what `applicable` gave for the project that is trained.
    """
    trained = project.trained
    assert trained is not None
    for name, kind in kinds.items():
        if kind is SourceKind.FILL:
            yield name, make_fill_source(project, name)
        elif kind is SourceKind.MEAN:
            members = mean_members(trained, name)
            folds = trained_folds(trained, members[0])
            if not all(trained_folds(trained, member) == folds for member in members):
                folds = folds[: trained.folds.k]
            yield name, make_test_mean(project, name, members, folds, made_by=_made_by(name))
        elif kind is SourceKind.STACK:
            yield name, stack_other_tests(project, name, device=device)
        else:
            folds = trained_folds(trained, name)
            recipe = _recipe(trained, name, folds)
            made = [_predict_fold(project, name, fold, recipe, device) for fold in folds]
            yield name, any(made)


def _made_by(name: str) -> str:
    return f"kit predict {name} --input FOLDER"


def _recipe(trained: Project, name: str, folds: Sequence[Fold]) -> dict[str, Any]:
    """Return what makes the predictions: the same for all parts, so the weights and settings of all of them."""
    folders = [trained.workspace.run(name, fold) for fold in folds]
    again = f"kit train {name} --fold all --force"
    settings = [read_json(folder / "experiment.json", made_by=again).get("experiment") for folder in folders]
    if any(other != settings[0] for other in settings):
        raise Mismatch(f"The folds of {name} were trained with different settings. Train them alike: {again}")
    weights = [digest_file(folder / "model.safetensors") for folder in folders]
    return {"kind": SourceKind.EXPERIMENT.value, "experiment": settings[0], "weights": weights}


def _predict_fold(project: Project, name: str, fold: Fold, recipe: dict[str, Any], device: torch.device) -> bool:
    """Predict the photos by one fold's network; False when it was done."""
    if project.predictions.is_done(name, "test", recipe, fold=fold):
        return False
    assert project.trained is not None
    started = time.perf_counter()
    experiment, generator = load_checked(project.trained, name, fold, device)
    make_fill_source(project, experiment.base)
    fill = project.predictions.read(experiment.base, "test")
    conditions = conditions_of(project, experiment, fold, device)
    photo_rows = project.index.test

    def values() -> Iterator[np.ndarray]:
        images, positions = project.pack.test_image, np.arange(len(photo_rows))
        condition = None if conditions is None else conditions.test
        inputs = prepare_inputs(experiment, images, photo_rows, positions, fill, condition)
        title = f"Predicting {name}, fold {fold}"
        yield from track(predict(generator, experiment, inputs, device), title, len(positions), "photos")

    project.predictions.write(
        name,
        "test",
        values(),
        made_by=_made_by(name),
        recipe=recipe,
        fold=fold,
        seconds=lambda: time.perf_counter() - started,
    )
    return True
