"""`kit train --try`: one epoch in a folder of its own, with the workspace's data, folds and fills. Stores nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kit.core.workspace import Fold, Workspace
from kit.data.prediction_store import SourceKind
from kit.data.project import Project
from kit.learning.experiments import Experiment
from kit.learning.training.engine import Options
from kit.learning.training.fit import base_fills, fit_fold
from kit.learning.training.run_folder import Run

_OWN = ("runs", "predictions", "blends", "submissions", "report")  # what a training and its readers write to


def try_fold(project: Project, experiment: Experiment, fold: Fold, *, device: str, options: Options) -> Run:
    """Train one epoch of an experiment, predict, and forget it all but what it took and scored.

    The base fill is stored in the workspace, where a training would put it too.

    Raises:
        UsageError, TrainingError: as `fit_fold`.
    """
    base_fills(project, experiment)
    with _borrowed(project) as borrowed:
        return fit_fold(borrowed, dataclasses.replace(experiment, epochs=1), fold, device=device, options=options)


@contextlib.contextmanager
def _borrowed(project: Project) -> Iterator[Project]:
    """Give a project in a temporary folder in which all that a training reads is the workspace's own, by links."""
    workspace, predictions = project.workspace, project.predictions
    fills = [name for name in predictions.sources() if predictions.kind_of(name) is SourceKind.FILL]
    with tempfile.TemporaryDirectory(prefix="kit-try-") as folder:
        root = Path(folder)
        for path in workspace.root.resolve().iterdir():
            if path.is_dir() and path.name not in _OWN:
                (root / path.name).symlink_to(path, target_is_directory=True)
        (root / "predictions").mkdir()
        for name in fills:
            (root / "predictions" / name).symlink_to(workspace.predictions.resolve() / name, target_is_directory=True)
        yield Project(Workspace(root, workspace.slug))
