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
from kit.core.workspace import PredictionSplit, Workspace
from kit.data.folds import Folds
from kit.data.index import Index
from kit.data.pack import Pack
from kit.data.prediction_store import is_done, write_part
from kit.errors import StoreError, TrainingError, UsageError
from kit.learning.stacking.inputs import SPLITS, Split, open_inputs
from kit.learning.stacking.settings import (
    MADE_BY,
    StackSettings,
    check_name_is_free,
    sorted_members,
    stack_name,
    stack_recipe,
)
from kit.learning.stacking.train import new_network, predict, train_network
from kit.learning.training.checkpoints import drop_checkpoints
from kit.learning.training.memory import keep_freed_memory
from kit.pretrained.devices import device_named


def train_stack(
    workspace: Workspace,
    index: Index,
    folds: Folds,
    pack: Pack,
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
        UsageError: members, weights or size that cannot be.
        MissingStep: a member lacks folds.
        PredictionsError: a member's value is not finite.
        Mismatch: the name is another source's.
        TrainingError: the loss is no longer finite, or there is no such device.
    """
    recipe = stack_recipe(workspace, index, folds, members, base, settings=settings, seed=seed)
    smallest = min(min(sample.height, sample.width) for sample in (*index.train, *index.test))
    if settings.size > smallest:
        raise UsageError(f"A stack's size of {settings.size} is larger than a photo's side of {smallest}.")
    name = name or stack_name(recipe)
    check_name_is_free(workspace, folds, name, recipe, force=force)
    names, weights = sorted_members(members, base, folds)
    one = _Stack(workspace, index, folds, name, recipe, settings, seed, device_named(device or "auto"))
    with only_one(one.folder, MADE_BY):
        todo = [fold for fold in range(folds.k) if force or not one.is_done(fold)]
        if todo:
            inputs = open_inputs(workspace, index, folds, pack, names, one.folder / "inputs", settings.size)
            if force:
                one.forget()
            try:
                for fold in todo:
                    one.make(fold, inputs, weights[fold])
            except TrainingError:  # it would diverge again
                shutil.rmtree(one.folder / "inputs", ignore_errors=True)
                raise
        shutil.rmtree(one.folder / "inputs", ignore_errors=True)  # gigabytes that can be made again
    return name


@dataclass(frozen=True)
class _Stack:
    """One stack and where it lives."""

    workspace: Workspace
    index: Index
    folds: Folds
    name: str
    recipe: dict[str, Any]
    settings: StackSettings
    seed: int
    device: torch.device

    @property
    def folder(self) -> Path:
        return self.workspace.runs / self.name

    def is_done(self, fold: int) -> bool:
        return all(
            is_done(self.workspace, self.index, self.name, split, self.recipe, folds=self.folds, fold=fold)
            for split in SPLITS
        )

    def forget(self) -> None:
        """Give up what was trained under this name."""
        for fold in range(self.folds.k):
            shutil.rmtree(self.workspace.run(self.name, fold), ignore_errors=True)

    def make(self, fold: int, inputs: dict[PredictionSplit, Split], base: np.ndarray) -> None:
        """Train one fold and store what it predicts."""
        started = time.perf_counter()
        network = self._network(fold, inputs["oof"], base)
        for split in SPLITS:
            photos = self.folds.valid_positions(fold) if split == "oof" else np.arange(len(self.index.test))
            title = f"Stacking {self.name}, fold {fold} ({split})"
            write_part(
                self.workspace,
                self.index,
                self.name,
                split,
                predict(network, inputs[split], photos, base, settings=self.settings, title=title),
                made_by=MADE_BY,
                recipe=self.recipe,
                folds=self.folds,
                fold=fold,
                seconds=functools.partial(_since, started),
            )

    def _network(self, fold: int, split: Split, base: np.ndarray) -> nn.Module:
        """Trained now, or by a run that was killed before it had predicted."""
        folder = self.workspace.run(self.name, fold)
        stamp = {"recipe": digest_of(self.recipe), "index": self.index.digest, "folds": self.folds.digest, "fold": fold}
        network = new_network(len(base), self.settings, self.seed, self.device)
        if _load(network, folder, stamp):
            return network
        if _stored(folder / "stack.json").get("stamp") != stamp:  # checkpoints of another training
            shutil.rmtree(folder, ignore_errors=True)
            write_json(folder / "stack.json", {"stamp": stamp, **self.recipe})
        if self.device.type == "cpu":
            keep_freed_memory()
        title = f"Training {self.name}, fold {fold}"
        trained = train_network(
            split,
            self.folds.train_positions(fold),
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


def _load(network: nn.Module, folder: Path, stamp: dict[str, Any]) -> bool:
    """Load the weights of a fold that was trained to the end; False when there are none."""
    path = folder / "model.safetensors"
    found = _stored(folder / "stack.json")
    if found.get("stamp") != stamp or not path.is_file() or found.get("weights") != digest_file(path):
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
