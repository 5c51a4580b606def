"""`kit demo`: the chain on the built-in competition, in the order in which a user would type it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.cli.results import change, interval
from kit.core.speech import say
from kit.core.tables import table
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.imaging.fills import FILLS

if TYPE_CHECKING:
    from kit.submission.grade import Grade

FOLDS = 2
ORIGINAL = "original"
"""Folder of the archive and the whole test photos: only the demo makes it."""


def run_demo(folder: Path, *, seed: int = 0, force: bool = False) -> str:
    """Run it in `folder` and return the closing table.

    Raises:
        UsageError: the folder holds work that the demo has not made.
    """
    from kit.blending import make_blend, score_sources
    from kit.data.fetch import fetch
    from kit.data.fill_sources import fills_named, make_fill_source
    from kit.data.origin import Origin, write_origin
    from kit.data.sample_competition import make_demo_archive
    from kit.data.splitting import ensure_folds
    from kit.learning.training.fit import fit_fold  # noqa: F401  # what it needs is missed at once, not after the fills
    from kit.report.page import write_report

    started = time.monotonic()
    _check_own(folder)
    workspace = Workspace(folder)
    _say("The built-in competition", "kit demo")
    built = make_demo_archive(folder / ORIGINAL, seed=seed)
    _say("Unpack, index, pack", f"kit fetch --from {built.archive}")
    fetch(workspace, source=built.archive, force=force or _is_other(workspace, seed))
    write_origin(workspace, Origin(sample=True, source=built.archive))  # so that none of it is sent anywhere
    project = Project(workspace)
    _say("Folds", f"kit folds --k {FOLDS}")
    ensure_folds(project, k=FOLDS, seed=seed, force=force)
    _say("Classical fills", "kit fill all")
    for name in fills_named(["all"]):
        make_fill_source(project, name, force=force)
    experiment = _train(project, seed, force)
    _say("Blend", "kit blend")
    blend = make_blend(project, seed=seed)
    scores = score_sources(project)
    _say("Submissions and grades", f"kit upload --dry-run; kit grade ... --truth {built.truth}")
    graded = {name: _grade(project, name, built.truth) for name in [*(score.name for score in scores), blend.name]}
    best_fill = next(score.name for score in scores if score.name in FILLS)
    gains = _gains(graded, over=best_fill)
    _say("A picture", f"kit figure --truth {built.truth}")
    picture = _figure(project, blend.name, experiment, built.truth)
    _say("A page of it all", "kit report")
    page = write_report(project).path
    weights = blend.weights
    rows = [
        [score.name, interval(score.score), f"{weights.get(score.name, 0.0):.3f}", *gains[score.name]]
        for score in scores
    ]
    rows.append(["blend", interval(blend.cv), "", *gains[blend.name]])
    return "\n".join(
        [
            closing_table(rows),
            f"test RMSE: on the hidden truth; gain: over {best_fill} there, paired by photo.",
            blend.reason,
            f"Submission: {workspace.submission(blend.name)}",
            f"Picture:    {picture}",
            f"Page:       {page}",
            f"Everything: {folder}   ({time.monotonic() - started:.0f} s)",
            f"Go on with: kit --workspace {folder} train regress --fold all",
        ]
    )


def closing_table(rows: Sequence[Sequence[str]]) -> str:
    """Return the table of what each source, and the blend, has reached."""
    return table(["source", "CV RMSE [95 %]", "weight", "test RMSE", "gain [95 %]"], rows, bare=["CV RMSE [95 %]"])


def _check_own(folder: Path) -> None:
    """Refuse to work, and to replace data, in somebody's own workspace."""
    from kit.errors import UsageError

    work = [name for name in ("data", "folds", "predictions", "runs", "blends") if (folder / name).exists()]
    if work and not (folder / ORIGINAL).is_dir():
        raise UsageError(
            f"{folder} holds work that kit demo has not made ({', '.join(work)}). Choose another folder: "
            "kit demo --folder DIR"
        )


def _say(title: str, command: str) -> None:
    say(f"== {title}   [{command}]")


def _is_other(workspace: Workspace, seed: int) -> bool:
    """Return whether the folder holds the demo of another seed."""
    from kit.core.storage import read_json
    from kit.data.folds import read_folds
    from kit.data.index import read_index
    from kit.errors import KitError

    try:
        read_folds(workspace, read_index(workspace))
        return bool(read_json(workspace.folds.with_suffix(".json"), made_by="kit folds").get("seed") != seed)
    except KitError:
        return True


def _train(project: Project, seed: int, force: bool) -> str:
    from kit.learning.experiments import DEFAULT, demo_settings, experiment
    from kit.learning.training.fit import fit_fold

    settings = [*demo_settings(), f"seed={seed}"]
    flags = " ".join(f"--set {setting}" for setting in settings)
    _say("A network that has seen ImageNet, on two folds", f"kit train --fold all {flags}")
    chosen = experiment(DEFAULT, settings)
    for fold in range(FOLDS):
        fit_fold(project, chosen, fold, device="cpu", force=force)
    return chosen.name


def _gains(graded: dict[str, Grade], *, over: str) -> dict[str, tuple[str, str]]:
    """Return each source's RMSE on the hidden truth, and by how much it is below that of another one."""
    from kit.blending.evaluation.intervals import Bootstrap

    counts = np.array([photo.rows for photo in graded[over].photos])
    errors = {name: counts * np.square([photo.score for photo in grade.photos]) for name, grade in graded.items()}
    bootstrap = Bootstrap(errors, counts, np.arange(len(counts)))
    return {
        name: (f"{grade.score.value:.4f}", change(bootstrap.difference(over, name)) if name != over else "-")
        for name, grade in graded.items()
    }


def _grade(project: Project, name: str, truth: Path) -> Grade:
    from kit.submission.grade import grade_submission
    from kit.submission.upload import prepare

    prepared = prepare(project, name)
    return grade_submission(prepared.path, truth, project.index, project.layout)


def _figure(project: Project, blend: str, experiment: str, truth: Path) -> Path:
    from kit.report.figure import save_figure, side_by_side
    from kit.report.picking import pick_photos

    image = side_by_side(
        project,
        photos=[*pick_photos(project.index, "test", 4)],
        columns=["harmonic", "fractional", experiment, blend],
        split="test",
        truth=truth,
    )
    path = project.workspace.report / "figure.png"
    save_figure(path, image)
    return path
