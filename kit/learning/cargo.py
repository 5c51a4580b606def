"""The files that trainings and studies have to do with, where their jobs share no folder with the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.core.jobs import Cargo

if TYPE_CHECKING:
    from kit.core.workspace import Fold
    from kit.data.project import Project
    from kit.learning.experiments import Experiment


def fold_cargo(project: Project, name: str, fold: Fold, experiment: Experiment | None) -> Cargo:
    """Return the files of a source's training on one fold, or of its prediction.

    Args:
        experiment: what it trains; None: nothing is known of it.
    """
    workspace = project.workspace
    reads, writes = _reads(project, experiment), workspace.fold_files(name, fold)
    return Cargo(f"runs/{name}/fold_{fold}", workspace.root, reads, writes)


def study_cargo(project: Project, name: str, experiment: Experiment) -> Cargo:
    """Return the files of a study of settings."""
    writes = (f"tuning/{name}/**/*", f"tuning/{name}.toml")
    return Cargo(f"tuning/{name}", project.workspace.root, _reads(project, experiment), writes)


def _reads(project: Project, experiment: Experiment | None) -> tuple[str, ...]:
    workspace = project.workspace
    if experiment is None:
        return workspace.photo_files
    vectors = ("embeddings/**/*",) if experiment.conditioned else ()
    return (*workspace.photo_files, *workspace.source_files(experiment.base), *vectors)
