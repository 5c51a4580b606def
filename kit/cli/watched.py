"""How trainings are watched: the pictures and trackers of `kit train`, as options of a training and as words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli import candidates

if TYPE_CHECKING:
    from kit.core.moments import Pictures
    from kit.core.workspace import Fold
    from kit.data.project import Project

LogOption = Annotated[
    list[str],
    typer.Option(
        "--log",
        autocompletion=candidates.trackers,
        help="Write numbers and pictures to tensorboard, wandb, mlflow or trackio; or to several.",
    ),
]
PicturesOption = Annotated[
    bool, typer.Option("--pictures/--no-pictures", help="Draw progress.png and strip.png beside log.csv.")
]


def watching(log: Sequence[str], *, board: bool, pictures: bool) -> dict[str, Any]:
    """Return the options of `kit.learning.training.Options` that show a training.

    Args:
        log: names of trackers, as they were typed.
        board: whether --tensorboard was.

    Raises:
        UnknownName, MissingPackage: see `kit.core.trackers.chosen_trackers`.
    """
    from kit.core.trackers import chosen_trackers

    trackers = chosen_trackers([*log, *(["tensorboard"] if board else [])])
    return {"trackers": trackers, "pictures": _drawn if pictures else None}


def _drawn(project: Project, source: str, fold: Fold, folder: Path) -> Pictures:
    from kit.report.training import TrainingPictures  # of no use where all is there already

    return TrainingPictures(project, source, fold, folder)
