"""The files that jobs of trainings and studies have to do with: settings that go along, and what they read and write
where they share no folder with the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.core.jobs import Cargo
from kit.core.storage import digest_file, digest_of

if TYPE_CHECKING:
    from pathlib import Path

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
    return Cargo(f"runs/{name}/fold_{fold}", _subject(project), workspace.root, reads, writes)


def trial_cargo(project: Project, study: str, number: int, experiment: Experiment) -> Cargo:
    """Return the files of one trial of a study, numbered from 0.

    Args:
        experiment: with the trial's settings: what was measured with others is another trial's.
    """
    home = f"tuning/{study}"
    reads = (*_reads(project, experiment), f"{home}/study.json", f"{home}/journal.log")
    writes = (f"{home}/trial_{number}/**/*",)
    stamp = digest_file(project.workspace.study(study) / "study.json")
    subject = digest_of([_subject(project), stamp, experiment.fields])
    return Cargo(f"{home}/trial_{number}", subject, project.workspace.root, reads, writes)


def settings_words(folder: Path, experiment: Experiment) -> list[str]:
    """Write an experiment's settings, and code of the user's own, into a folder that goes along with a job; returns the
    words that name them."""
    from kit.learning.experiments import CODE_FILES, save_code, toml_of

    path, code = folder / f"{experiment.name}.toml", folder / f"{experiment.name}.code"
    code.mkdir(exist_ok=True)
    save_code(code, experiment)  # the runs' own may be moved away before the child reads them (--force)
    copies = {setting: code / file for setting, file in CODE_FILES.items()}
    path.write_text(toml_of(experiment, copies=copies), encoding="utf-8")
    return ["--config", str(path)]


def _subject(project: Project) -> str:
    return digest_of([project.index.digest, project.folds.digest])


def _reads(project: Project, experiment: Experiment | None) -> tuple[str, ...]:
    workspace = project.workspace
    if experiment is None:
        return workspace.photo_files
    vectors = ("embeddings/**/*",) if experiment.conditioned else ()
    return (*workspace.photo_files, *workspace.source_files(experiment.base), *vectors)
