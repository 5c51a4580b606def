"""One photo of any size and with a hole of any shape, predicted by sources that need no store. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from kit.core.workspace import FULL, Fold
from kit.data.index import PhotoRow
from kit.data.prediction_store import SourceKind
from kit.data.project import Project
from kit.errors import MissingStep
from kit.imaging.fills import fill_photo
from kit.imaging.holes import scored_pixels
from kit.learning.conditions import principal
from kit.learning.datasets import area_share, coverage
from kit.learning.experiments import Experiment
from kit.learning.inference import residuals
from kit.learning.other_photos import load_checked, mean_members
from kit.pretrained.clip.embeddings import photo_embeddings, visible_photos
from kit.pretrained.clip.encoders import open_encoder
from kit.pretrained.clip.model import find_model


class PhotoModels:
    """Sources that predict one photo after the other, their networks loaded once."""

    def __init__(self, project: Project, kinds: dict[str, SourceKind], device: torch.device) -> None:
        """
        Args:
            kinds: what `kit.learning.other_photos.applicable` gave.
        """
        self.project, self.kinds, self.device = project, kinds, device
        self.networks = {
            name: {fold: load_checked(project, name, fold, device) for fold in _folds_there(project, name)}
            for name, kind in kinds.items()
            if kind is SourceKind.EXPERIMENT
        }
        self._encoders: dict[str, object] = {}

    def absent_folds(self) -> dict[str, list[Fold]]:
        """Return the folds of each trained source that have no network here, where some have."""
        every = range(self.project.folds.k)
        absent = {name: [fold for fold in every if fold not in folds] for name, folds in self.networks.items()}
        return {name: list(folds) for name, folds in absent.items() if folds}

    def values(self, image: np.ndarray, row: PhotoRow, names: Sequence[str]) -> np.ndarray:
        """Return `(K, n, 3)` float32, what these sources predict for the scored pixels of one photo.

        Args:
            image: uint8 RGB `(H, W, 3)`, hidden pixels 0.
        """
        done: dict[str, dict[Fold | None, np.ndarray]] = {}
        for name, kind in self.kinds.items():  # members before what is made of them
            if kind is SourceKind.FILL:
                self._fill(name, image, row, done)
            elif kind is SourceKind.MEAN:
                done[name] = _mean([done[member] for member in mean_members(self.project, name)])
            else:
                done[name] = self._networks(name, image, row, done)
        return np.stack([_average(list(done[name].values())) for name in names])

    def _fill(
        self, name: str, image: np.ndarray, row: PhotoRow, done: dict[str, dict[Fold | None, np.ndarray]]
    ) -> np.ndarray:
        if name not in done:
            values = fill_photo(name, image, row.hole)[scored_pixels(row.boxes)]
            done[name] = {None: values.astype(np.float16)}  # as it would be stored
        return _average(list(done[name].values()))

    def _networks(
        self, name: str, image: np.ndarray, row: PhotoRow, done: dict[str, dict[Fold | None, np.ndarray]]
    ) -> dict[Fold | None, np.ndarray]:
        found: dict[Fold | None, np.ndarray] = {}
        for fold, (experiment, generator) in self.networks[name].items():
            base = self._fill(experiment.base, image, row, done)
            condition = self._condition(experiment, fold, image, row)
            found[fold] = _predicted(generator, experiment, image, row, base, condition, self.device).astype(np.float16)
        return found

    def _condition(self, experiment: Experiment, fold: Fold, image: np.ndarray, row: PhotoRow) -> torch.Tensor | None:
        """Return the photo's vector as the network of this fold takes it, `(1, D)`."""
        if not experiment.conditioned:
            return None
        model = experiment.clip_model
        if model not in self._encoders:
            self._encoders[model] = open_encoder(find_model(model), self.device)
        train = photo_embeddings(self.project, model, "train", device=self.device)
        centre, directions = principal(train[self.project.folds.train_positions(fold)])
        seen = visible_photos(image[None], [row], np.arange(1))
        vector = self._encoders[model].images(seen).numpy()  # type: ignore[attr-defined]
        return torch.from_numpy(((vector - centre) @ directions).astype(np.float32))


def _folds_there(project: Project, name: str) -> list[Fold]:
    """Return the folds whose networks are here: all that there are predict, for nothing is scored."""
    every: list[Fold] = [*range(project.folds.k), FULL]
    found = [fold for fold in every if (project.workspace.run(name, fold) / "run.json").is_file()]
    if not found:
        raise MissingStep(f"{name} has not been trained to the end. Run: kit train {name} --fold all")
    return found


def _predicted(
    generator: nn.Module,
    experiment: Experiment,
    image: np.ndarray,
    row: PhotoRow,
    base: np.ndarray,
    condition: torch.Tensor | None,
    device: torch.device,
) -> np.ndarray:
    """Return `(n, 3)` float32: the network's residual at its own size, over the base fill at the photo's."""
    side, scored = experiment.size_predicted_at, scored_pixels(row.boxes)
    photo = image.astype(np.float32) / 255
    photo[scored] = base
    filled = F.interpolate(torch.from_numpy(photo.transpose(2, 0, 1))[None], size=(side, side), mode="area")
    extra = None if condition is None else condition.to(device)
    hole = _hidden_share(row, side)
    residual = residuals(generator, experiment, filled.to(device), hole.to(device), extra).cpu()
    full = F.interpolate(residual, size=(row.height, row.width), mode="bilinear")[0]
    values: np.ndarray = np.clip(full.numpy()[:, scored[0], scored[1]].T + base, 0.0, 1.0)
    return values


def _hidden_share(row: PhotoRow, size: int) -> torch.Tensor:
    """Return the share of each pixel that is hidden, `(1, 1, S, S)`: for boxes apart as in training, else by area."""
    hole = row.hole
    if cv2.connectedComponents(hole.astype(np.uint8))[0] - 1 == len(row.boxes):
        return coverage(row.boxes, hole.shape, size)
    return area_share(hole, size)


def _mean(members: Sequence[dict[Fold | None, np.ndarray]]) -> dict[Fold | None, np.ndarray]:
    """Return the members' mean fold by fold, of the folds that all have."""
    folds = [fold for fold in members[0] if all(fold in member for member in members)]
    return {fold: np.mean([m[fold].astype(np.float32) for m in members], axis=0).astype(np.float16) for fold in folds}


def _average(copies: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean as `Predictions.values` has it, float32."""
    values = copies[0].astype(np.float32)
    for copy in copies[1:]:
        values += copy
    return values / len(copies) if len(copies) > 1 else values
