"""Stored weights that predict side by side: a job a fold, in slots or on a cluster. Predicts nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kit.core import deadline
from kit.core.bucket import take_leftovers
from kit.core.jobs import Cluster, Job, Slot
from kit.core.queue import failed_jobs, global_words, run_queue
from kit.data.fill_sources import fill_processes, make_fill_source
from kit.errors import KitError, NotFinished
from kit.learning.experiments import stored_experiment
from kit.learning.job_files import fold_cargo

if TYPE_CHECKING:
    from kit.core.workspace import Fold
    from kit.data.project import Project


def predict_side_by_side(
    project: Project, source: str, folds: Sequence[Fold], words: Sequence[str], where: Sequence[Slot] | Cluster
) -> list[str]:
    """Predict folds of a source in child processes, as `kit predict SOURCE --fold K` does; the base fill is made here.
    Prints and returns what they say they have done.

    Args:
        words: what each of them is told beside.
        where: see `run_queue`.

    Raises:
        KitError: some have failed; their own lines have said why.
        NotFinished: the time is over.
    """
    if (stored := stored_experiment(project.workspace, source)) is not None:
        make_fill_source(project, stored.base, processes=fill_processes(project))
    cargos = {fold: fold_cargo(project, source, fold, stored) for fold in folds}
    take_leftovers(where, list(cargos.values()))
    command = (*global_words(project.workspace), "predict", source, *words)
    jobs = [
        Job(f"{source}, fold {fold}", (*command, "--fold", str(fold)), cargo=cargo) for fold, cargo in cargos.items()
    ]
    said: list[str] = []

    def spoken(line: str) -> str:
        said.append(line)
        return line

    ended = run_queue(jobs, where, spoken=spoken)
    if failed := failed_jobs(ended):
        raise KitError(f"{len(failed)} of {len(jobs)} predictions failed: {'; '.join(failed)}.")
    done = {one.job for one in ended if one.code == 0}
    if (left := [job.name for job in jobs if job not in done]) and deadline.is_over():
        raise NotFinished(f"{len(done)} of {len(jobs)} predictions done; left: {'; '.join(left)}")
    return said
