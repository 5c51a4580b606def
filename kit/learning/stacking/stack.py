"""All folds of a stack: trained, and their predictions stored like any source's."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import nn

from kit.core.storage import digest_file, digest_of, only_one, read_json, write_json, writing
from kit.core.workspace import PredictionSplit
from kit.data.prediction_store import SPLITS
from kit.data.project import Project
from kit.errors import MissingStep, StoreError, TrainingError, UsageError
from kit.learning.stacking.inputs import StackInputs, open_inputs
from kit.learning.stacking.settings import (
    KIND,
    MADE_BY,
    StackSettings,
    claim_stack_name,
    sorted_members,
    stack_name,
    stack_recipe,
)
from kit.learning.stacking.train import new_network, predict, train_network
from kit.learning.training.checkpoints import drop_checkpoints
from kit.pretrained.devices import device_named


def train_stack(
    project: Project,
    members: Sequence[str],
    base: np.ndarray,
    *,
    name: str | None = None,
    settings: StackSettings = StackSettings(),
    seed: int = 0,
    device: str | None = None,
    force: bool = False,
) -> str:
    """Train a stack over these members and store its predictions; return the source's name.

    Fold f's network learns from the other folds' photos, and predicts the photos of fold f and all test photos. What is
    done is skipped, a fold that was killed goes on where it was.

    Args:
        base: `(k, K)` float64, for each fold weights of the members that were fitted on the other folds: the linear
            blend that its network adds to. Each row sums to one.
        name: of the source, by default `stack-` and eight digits of its recipe's digest.
        device: `cpu`, `cuda` ...; by default a GPU where there is one.

    Raises:
        UsageError: members, weights, size or device that cannot be, or the name belongs to something else.
        MissingStep: a member lacks folds.
        PredictionsError: a member's value is not finite.
        Mismatch: the name is that of another stack.
        TrainingError: the loss is no longer finite.
    """
    recipe = stack_recipe(project, members, base, settings=settings, seed=seed)
    smallest = min(min(photo_row.height, photo_row.width) for photo_row in (*project.index.train, *project.index.test))
    if settings.size > smallest:
        raise UsageError(f"A stack's size of {settings.size} is larger than a photo's side of {smallest}.")
    name = name or stack_name(recipe)
    claim_stack_name(project, name, recipe, force=force)
    names, weights = sorted_members(members, base, project.folds)
    stack = _Stack(project, name, recipe, settings, seed, device_named(device or "auto"))
    with only_one(stack.folder, MADE_BY):
        todo = [fold for fold in range(project.folds.k) if force or not stack.is_done(fold)]
        if todo:
            if force:
                stack.forget()
            inputs = open_inputs(project, names, stack.folder / "inputs", settings.size)
            try:
                for fold in todo:
                    stack.make(fold, inputs, weights[fold])
            except TrainingError:  # it would diverge again
                shutil.rmtree(stack.folder / "inputs", ignore_errors=True)
                raise
        shutil.rmtree(stack.folder / "inputs", ignore_errors=True)  # gigabytes that can be made again
    return name


@dataclass(frozen=True)
class _Stack:
    """One stack and where it lives."""

    project: Project
    name: str
    recipe: dict[str, Any]
    settings: StackSettings
    seed: int
    device: torch.device

    @property
    def folder(self) -> Path:
        return self.project.workspace.runs / self.name

    def is_done(self, fold: int) -> bool:
        store = self.project.predictions
        return all(store.is_done(self.name, split, self.recipe, fold=fold) for split in SPLITS)

    def forget(self) -> None:
        """Delete what was trained under this name, and what that predicted: it must not pass for the new one's."""
        for fold in range(self.project.folds.k):
            self.project.predictions.delete(self.name, fold)
            shutil.rmtree(self.project.workspace.run(self.name, fold), ignore_errors=True)

    def make(self, fold: int, inputs: dict[PredictionSplit, StackInputs], base: np.ndarray) -> None:
        """Train one fold and store what it predicts."""
        started, folds = time.perf_counter(), self.project.folds
        network = self._network(fold, inputs["oof"], base)
        for split in SPLITS:
            photos = folds.valid_positions(fold) if split == "oof" else np.arange(len(self.project.index.test))
            title = f"Stacking {self.name}, fold {fold} ({split})"
            self.project.predictions.write(
                self.name,
                split,
                predict(network, inputs[split], photos, base, settings=self.settings, title=title),
                made_by=MADE_BY,
                recipe=self.recipe,
                fold=fold,
                seconds=functools.partial(_since, started),
            )

    def _network(self, fold: int, inputs: StackInputs, base: np.ndarray) -> nn.Module:
        """Train the network, or load it after a run that was killed before it had predicted."""
        project, folder = self.project, self.project.workspace.run(self.name, fold)
        digests = {"index": project.index.digest, "folds": project.folds.digest}
        stamp = {"recipe": digest_of(self.recipe), **digests, "fold": fold}
        network = new_network(len(base), self.settings, self.seed, self.device)
        if _load(network, folder, stamp):
            return network
        if _stored(folder / "stack.json").get("stamp") != stamp:  # checkpoints of another training
            shutil.rmtree(folder, ignore_errors=True)
            write_json(folder / "stack.json", {"stamp": stamp, **self.recipe})
        title = f"Training {self.name}, fold {fold}"
        trained = train_network(
            inputs,
            project.folds.train_positions(fold),
            base,
            settings=self.settings,
            seed=self.seed,
            device=self.device,
            folder=folder,
            title=title,
        )
        with writing(folder / "model.safetensors") as file:
            file.write(save({key: value.detach().cpu().contiguous() for key, value in trained.state_dict().items()}))
        weights = digest_file(folder / "model.safetensors")
        write_json(folder / "stack.json", {"stamp": stamp, "weights": weights, **self.recipe})
        drop_checkpoints(folder)
        return trained


def stack_other_tests(project: Project, name: str, *, device: torch.device) -> bool:
    """Predict other test photos by a trained stack, whose members have predicted them; False when it was done.

    Raises:
        MissingStep: a fold's network is not there.
    """
    trained = project.trained
    assert trained is not None
    folds: list[dict[str, Any]] = [
        _stored(trained.workspace.run(name, fold) / "stack.json") for fold in range(trained.folds.k)
    ]
    if not all(fold.get("weights") for fold in folds):
        raise MissingStep(f"{name} has no trained network of some fold. Run: {MADE_BY}")
    settings, names = StackSettings(**folds[0]["settings"]), sorted(folds[0]["members"])
    base = np.array(folds[0]["base"], np.float64)
    digests = [project.predictions.read(member, "test").digest for member in names]
    recipe = {
        "kind": KIND,
        "weights": [fold["weights"] for fold in folds],
        "members": dict(zip(names, digests, strict=True)),
    }
    todo = [fold for fold in range(len(folds)) if not project.predictions.is_done(name, "test", recipe, fold=fold)]
    place = project.workspace.runs / name / "inputs"
    inputs = open_inputs(project, names, place, settings.size, ("test",)) if todo else {}
    for fold in todo:
        network = new_network(len(names), settings, folds[fold]["seed"], device)
        if not _load(network, trained.workspace.run(name, fold), folds[fold]["stamp"]):
            raise MissingStep(f"The network of fold {fold} of {name} is damaged. Run: {MADE_BY} --force")
        title = f"Stacking {name}, fold {fold} (test)"
        photos = np.arange(len(project.index.test))
        values = predict(network, inputs["test"], photos, base[fold], settings=settings, title=title)
        project.predictions.write(name, "test", values, made_by=MADE_BY, recipe=recipe, fold=fold)
    shutil.rmtree(place.parent, ignore_errors=True)
    return bool(todo)


def _load(network: nn.Module, folder: Path, stamp: dict[str, Any]) -> bool:
    """Load the weights of a fold that was trained to the end; False when there are none."""
    path = folder / "model.safetensors"
    stored = _stored(folder / "stack.json")
    if stored.get("stamp") != stamp or not path.is_file() or stored.get("weights") != digest_file(path):
        return False
    network.load_state_dict(load_file(path))
    return True


def _stored(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, made_by=MADE_BY)
    except StoreError:  # absent or damaged: trained anew
        return {}


def _since(started: float) -> float:
    return time.perf_counter() - started
