"""`kit train --try`: does it run, and how long would it take? Writes no source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kit.core.bar_line import time_text

if TYPE_CHECKING:
    from kit.core.workspace import Fold
    from kit.data.project import Project
    from kit.learning.experiments import Experiment


def try_all(
    project: Project, chosen: Sequence[Experiment], fold: Fold, device: str, options: dict[str, Any]
) -> list[dict[str, object]]:
    """Train one epoch of each experiment, say what it took and scored, and keep nothing; return the same as data."""
    from kit.learning.training import Options
    from kit.learning.training.trial import try_fold

    tried: list[dict[str, object]] = []
    for one in chosen:
        run = try_fold(project, one, fold, device=device, options=Options(**options))
        scored = f", fold RMSE {run.rmse:.4f} ({one.base} alone {run.fill_rmse:.4f})" if run.rmse == run.rmse else ""
        whole = run.seconds * one.epochs
        print(
            f"Tried: {one.name}, fold {fold}: one epoch in {time_text(run.seconds)}{scored}; its {one.epochs} epochs "
            f"take about {time_text(whole)} a fold, {time_text(whole * project.folds.k)} all {project.folds.k}. "
            "Nothing was stored."
        )
        took = {"seconds": run.seconds, "seconds_of_a_fold": whole, "seconds_of_all_folds": whole * project.folds.k}
        tried.append({"source": one.name, "fold": fold, "rmse": run.rmse, "fill_rmse": run.fill_rmse, **took})
    return tried
