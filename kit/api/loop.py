"""A training loop of the user's own with kit's folds, boxes and fills: what a fold's model may see, and what it is to
predict. Knows no network and no optimizer.

Whatever comes from here carries fold and digests, so that values of one fold are not stored as those of another
(`kit.api.store`).
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np

from kit.core.workspace import FULL, Fold, PredictionSplit
from kit.data.prediction_store import photo_split
from kit.data.project import Project
from kit.data.scoring import rmse_of
from kit.errors import PredictionsError, UsageError

if TYPE_CHECKING:
    import torch

    from kit.data.index import PhotoRow
    from kit.data.pack import Pack
    from kit.learning.datasets import Batch, TrainingPhotos
    from kit.learning.experiments import Experiment
    from kit.learning.inference import Inputs as Prepared

PIECE = 32  # photos predicted at once


@dataclass(frozen=True)
class MadeFrom:
    """What batches, inputs and values were made from."""

    fold: Fold | None
    """None where it is the same for every fold's model."""
    index: str
    folds: str
    """Digests."""


def made_from(project: Project, fold: Fold | None) -> MadeFrom:
    """Return what things of this fold are made from. Raises `UsageError` where there is no such fold."""
    checked = None if fold is None else checked_fold(project, fold)
    return MadeFrom(checked, project.index.digest, project.folds.digest)


def checked_fold(project: Project, fold: Fold) -> Fold:
    """Return a fold as kit counts it, numpy's integers as Python's. Raises `UsageError` where there is no such fold."""
    if isinstance(fold, str):
        if fold == FULL:
            return FULL
    elif isinstance(fold, SupportsIndex):
        return project.folds.checked(operator.index(fold))
    raise UsageError(f"fold={fold!r}: a number from 0 to {project.folds.k - 1}, or {FULL!r}, is needed.")


class Batches:
    """The batches of a fold's training photos: each pass over it brings the next epochs, with fresh holes.

    An iterable with a length, as trainers of other libraries take for a data loader.
    """

    def __init__(self, made_from: MadeFrom, photos: TrainingPhotos, epochs: int, begin: int) -> None:
        self.made_from, self.epochs, self.epoch = made_from, epochs, begin
        self._photos = photos

    @property
    def positions(self) -> np.ndarray:
        """Return the photos that the model sees, `(n,)` int: their places among the training photos."""
        return self._photos.positions

    def __len__(self) -> int:
        """Return the number of batches in one pass."""
        return self.epochs * len(self._photos) * self._photos.passes

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the next epochs."""
        for _ in range(self.epochs):
            epoch, self.epoch = self.epoch, self.epoch + 1
            draws, order = self._photos.begin_epoch(epoch)
            for step in range(len(self._photos)):
                for number in range(self._photos.passes):
                    yield self._photos.batch(epoch, step, draws, order, number)

    def __repr__(self) -> str:
        """Return what they are of."""
        size = self._photos.settings.size
        return f"<{len(self)} batches of {len(self.positions)} photos, {size} px, fold {self.made_from.fold}>"


Network = Callable[..., "torch.Tensor"]


@dataclass(frozen=True, repr=False)
class Inputs:
    """Photos that a fold's model is to predict, each with its own hole, at the network's size S."""

    split: PredictionSplit
    made_from: MadeFrom
    prepared: Prepared
    pack: Pack

    @property
    def positions(self) -> np.ndarray:
        """Return the places of these photos among those of their split, `(n,)` int."""
        return self.prepared.positions

    @property
    def photo_rows(self) -> list[PhotoRow]:
        """Return the photos' rows of the index: id, class, boxes, size."""
        return list(self.prepared.photo_rows)

    @property
    def filled(self) -> torch.Tensor:
        """Return the photos with the base fill inside the holes, `(n, 3, S, S)` float32 in [0, 1]."""
        return self.prepared.filled

    @property
    def hole(self) -> torch.Tensor:
        """Return the share of each pixel that is hidden, `(n, 1, S, S)` float32."""
        return self.prepared.hole

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.prepared.photo_rows)

    def __repr__(self) -> str:
        """Return what they are."""
        which = "test photos" if self.split == "test" else f"photos of fold {self.made_from.fold}"
        return f"<{len(self)} {which}, {self.filled.shape[-1]} px>"

    def to_values(self, residual: torch.Tensor | Network) -> Values:
        """Return what is to be stored: the fill and a residual over it, on the hidden pixels at full size.

        Args:
            residual: prediction less `filled`, `(n, 3, R, R)` of any size R, full size included; or a function or
                `torch.nn.Module` that is called with pieces of `filled` and `hole` (and a network's condition, where it
                takes one) and returns theirs, on any device; without gradients, a module in its `eval()` mode, and only
                when the values are stored.

        Raises:
            PredictionsError: a residual of another shape.
        """
        if not callable(residual):
            self._check(residual.shape, len(self))
            whole = residual
            return Values(self, lambda start: whole[start : start + PIECE])
        network = residual

        def piece(start: int) -> torch.Tensor:
            import torch

            here = slice(start, start + PIECE)
            more = [] if self.prepared.condition is None else [self.prepared.condition[here]]
            with torch.no_grad(), _evaluating(network):
                found = network(self.filled[here], self.hole[here], *more)
            self._check(getattr(found, "shape", found), len(self.filled[here]))
            return found

        return Values(self, piece)

    def rmse(self, residual: torch.Tensor | Network) -> float:
        """Return the RMSE of these photos as it would be stored, in score space at full size, to watch a training by.

        Args:
            residual: as for `to_values`.

        Raises:
            UsageError: of test photos the truth is not known.
            PredictionsError: a residual of another shape, or one that is not finite.
        """
        if self.split == "test":
            raise UsageError("Test photos have no truth here: measure on project.validation(...).")
        found = rmse_of(self.to_values(residual), self.positions, self.photo_rows, self.pack)
        if not math.isfinite(found):
            raise PredictionsError("The residual holds values that are not finite: the network has diverged.")
        return found

    def _check(self, shape: object, count: int) -> None:
        if not isinstance(shape, tuple):
            raise PredictionsError(f"A residual is a tensor ({count}, 3, R, R), not {type(shape).__name__}.")
        if len(shape) != 4 or shape[0] != count or shape[1] != 3:
            raise PredictionsError(f"A residual of {count} photos is ({count}, 3, R, R), not {tuple(shape)}.")


@dataclass(frozen=True, repr=False)
class Values:
    """Hidden pixels of each photo of some inputs in order, `(n, 3)` float32 RGB in [0, 1]; made when iterated over."""

    inputs: Inputs
    piece: Callable[[int], torch.Tensor]

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.inputs)

    def __repr__(self) -> str:
        """Return of what they are."""
        return f"<values of {repr(self.inputs)[1:]}"

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the values of each photo."""
        from kit.learning.inference import residual_values

        for start in range(0, len(self), PIECE):
            yield from residual_values(self.piece(start), self.inputs.prepared, start)


@contextlib.contextmanager
def _evaluating(network: Network) -> Iterator[None]:
    """Let a network drop nothing and learn no statistics meanwhile; what a plain function does inside is its own."""
    from torch import nn

    if not isinstance(network, nn.Module):
        yield
        return
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


def batches(project: Project, experiment: Experiment, fold: Fold, *, epochs: int, begin: int, device: str) -> Batches:
    """Return the batches of what the model of a fold may see."""
    from kit.learning.conditions import conditions_of
    from kit.learning.training import device_named, training_photos

    fold = checked_fold(project, fold)
    if epochs < 1 or begin < 0:
        raise UsageError(f"epochs={epochs}, begin={begin}: at least one epoch is needed, and they count from 0.")
    where = device_named(device)
    conditions = conditions_of(project, experiment, fold, where)
    photos = training_photos(project, experiment, fold, conditions, where)
    return Batches(made_from(project, fold), photos, epochs, begin)


def inputs(project: Project, experiment: Experiment, split: PredictionSplit, fold: Fold | None) -> Inputs:
    """Return the photos of a fold, or the test photos, as a network is to predict them."""
    from kit.learning.conditions import conditions_of
    from kit.learning.inference import prepare_inputs
    from kit.learning.training.fit import base_fills

    fold = None if fold is None else checked_fold(project, fold)
    if split == "oof" and (fold is None or fold == FULL):
        raise UsageError("A model of all training photos has seen each of them: only a fold has photos to validate on.")
    if experiment.conditioned and fold is None:
        raise UsageError("Conditions are fitted on the photos that a model sees: say of which fold it is, fold=0.")
    fill, photo_rows = base_fills(project, experiment)[split], project.index.split(photo_split(split))
    origin = made_from(project, fold if split == "oof" or experiment.conditioned else None)
    positions = project.folds.valid_positions(fold) if split == "oof" and fold is not None else None
    conditions = None if fold is None else conditions_of(project, experiment, fold)
    condition = None if conditions is None else conditions.train if split == "oof" else conditions.test
    places = np.arange(len(photo_rows)) if positions is None else positions
    images = project.pack.image(photo_split(split))
    prepared = prepare_inputs(experiment, images, photo_rows, places, fill, condition)
    return Inputs(split, origin, prepared, project.pack)
