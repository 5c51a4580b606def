"""What a fold's model may see while it is trained, and what it predicts then. Knows no network.

The engine teaches by it, and so does a loop of the user's own (`kit.api.loop`).
"""

from __future__ import annotations

import torch

from kit.core.workspace import Fold
from kit.data.extra_photos import extra_photos
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.learning.conditions import Conditions
from kit.learning.datasets import BatchShard, MaskedPhotos, TrainingPhotos, fresh_holes
from kit.learning.experiments import Experiment
from kit.learning.inference import Inputs, prepare_inputs


def training_photos(
    project: Project,
    experiment: Experiment,
    fold: Fold,
    conditions: Conditions | None = None,
    device: torch.device = torch.device("cpu"),
    shard: BatchShard = BatchShard(),
) -> TrainingPhotos:
    """Return the photos that the model of `fold` may see, as batches.

    Args:
        conditions: of all photos, where the network takes them (`kit.learning.conditions`).
        device: where photos are kept and batches made.
        shard: of each step's photos, those of this process.
    """
    index, pack, positions = project.index, project.pack, project.folds.train_positions(fold)
    condition = None
    if conditions is not None:
        used = len(index.test) * experiment.test_photos
        condition = torch.cat([conditions.train[positions], conditions.test[:used]])
    test = MaskedPhotos(pack.test_image, [photo_row.boxes for photo_row in index.test])
    return TrainingPhotos(
        experiment,
        pack.train_target,
        positions,
        fresh_holes([index.train[position] for position in positions], experiment.size),
        extra=None if experiment.extra == "none" else extra_photos(project, experiment.extra),
        test_photos=test if experiment.test_photos else None,
        condition=condition,
        device=device,
        shard=shard,
    )


def validation_inputs(
    project: Project, experiment: Experiment, fold: Fold, fill: Predictions, conditions: Conditions | None = None
) -> Inputs:
    """Return the photos that the model of `fold` predicts, at the network's size.

    Args:
        fill: OOF predictions of the experiment's base fill.
    """
    condition = conditions.train if conditions else None
    positions = project.folds.valid_positions(fold)
    return prepare_inputs(experiment, project.pack.train_image, project.index.train, positions, fill, condition)
