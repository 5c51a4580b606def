"""What a workspace holds, what of it is stale and why, what runs now, and what to type next. Changes nothing.

Reads manifests alone: no photo, no prediction, no network, so that it answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kit.blending import Blend, read_blend
from kit.blending.apply import check_made_here, check_members
from kit.core.storage import holder
from kit.core.workspace import FULL, Fold, PredictionSplit, Workspace
from kit.data.origin import read_origin
from kit.data.prediction_store import ALL, CALLED, SPLITS, SourceKind, fold_part
from kit.data.project import Project
from kit.errors import KitError, MissingStep
from kit.imaging.fills import FILLS
from kit.learning.experiments.progress import Training, list_trainings
from kit.submission.formats import submission_path
from kit.submission.ledger import LedgerRow, now, read_ledger
from kit.submission.refresh import UNCLEAR

PENDING = ("pending", *UNCLEAR)


@dataclass(frozen=True)
class SourceState:
    """A source with stored predictions."""

    name: str
    kind: str
    parts: str
    """`all`, `all+full`, or the folds that are there: `folds 0,2`."""
    problem: str
    """Why a blend would not take it, "" where it would."""


@dataclass(frozen=True)
class TrainingState:
    """A training that has not come to its end."""

    name: str
    fold: Fold
    epoch: int
    epochs: int | None
    held_by: str | None
    """The process that trains it now; None: it was interrupted."""


@dataclass(frozen=True)
class BlendState:
    """A blend."""

    name: str
    members: tuple[str, ...]
    rung: str
    cv: float | None
    when: str
    public: float | None
    """The best public score that was sent from it."""
    problem: str
    """Why it cannot be applied as it stands, "" where it can."""


@dataclass(frozen=True)
class Status:
    """All of it."""

    competition: str
    folder: Path
    data: str
    """`2,040 training and 200 test photos, from Kaggle`; "" before `kit fetch`."""
    folds: int | None
    problems: tuple[str, ...]
    """What is wrong with index, pack, folds or ledger, a line each."""
    running: tuple[str, ...]
    """What other processes are doing here."""
    sources: tuple[SourceState, ...]
    trainings: tuple[TrainingState, ...]
    blends: tuple[BlendState, ...]
    sent: int
    today: int
    """Of them since 00:00 UTC, when Kaggle's day begins."""
    pending: int
    best_public: float | None
    megabytes: dict[str, float]
    """Disk by folder of the workspace."""
    following: str
    """What to type next."""


def read_status(project: Project) -> Status:
    """Read the state of a workspace. Damaged files are named in it and stop nothing."""
    workspace, problems = project.workspace, list[str]()
    data = _data(project, problems)
    folds = _folds(project, problems) if data else None
    rows = _ledger(workspace, problems)
    sources = _sources(project) if data else ()
    trainings = [one for one in list_trainings(workspace) if not one.is_done or one.held_by]
    blends = list_blends(project, rows) if data else ()
    scores = [row.public_score for row in rows if row.public_score is not None]
    unfinished = tuple(TrainingState(one.name, one.fold, one.epoch, one.epochs, one.held_by) for one in trainings)
    return Status(
        competition=workspace.slug,
        folder=workspace.root,
        data=data,
        folds=folds,
        problems=tuple(problems),
        running=tuple(_running(workspace, trainings)),
        sources=sources,
        trainings=unfinished,
        blends=blends,
        sent=len([row for row in rows if row.ref]),
        today=len([row for row in rows if row.ref and row.when[:10] == now()[:10]]),
        pending=len([row for row in rows if row.status in PENDING]),
        best_public=min(scores, default=None),
        megabytes=_sizes(workspace.root),
        following=_next(project, data, folds, sources, unfinished, blends, rows, problems),
    )


def list_blends(project: Project, rows: Iterable[LedgerRow] | None = None) -> tuple[BlendState, ...]:
    """Return the blends of a workspace, newest first."""
    workspace = project.workspace
    ledger = list(read_ledger(workspace) if rows is None else rows)
    paths = sorted(workspace.blends.glob("*.json"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    return tuple(_blend(project, path, ledger) for path in paths)


def _blend(project: Project, path: Path, rows: list[LedgerRow]) -> BlendState:
    scores = [row.public_score for row in rows if row.what == f"blend {path.stem}" and row.public_score is not None]
    when = datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", timespec="minutes")
    public = min(scores, default=None)
    try:
        blend = read_blend(project.workspace, path.stem)
    except KitError as error:
        return BlendState(path.stem, (), "", None, when, public, str(error))
    names = tuple(row.name for row in sorted(blend.members, key=lambda row: -row.weight))
    return BlendState(blend.name, names, blend.rung, blend.cv.value, when, public, _stale(project, blend))


def _stale(project: Project, blend: Blend) -> str:
    try:
        check_made_here(project, blend)
        check_members(project, blend, blend.members)
    except KitError as error:
        return str(error)
    return ""


def _data(project: Project, problems: list[str]) -> str:
    try:
        train, test = len(project.index.train), len(project.index.test)
    except MissingStep:
        return ""
    except KitError as error:
        problems.append(str(error))
        return ""
    try:
        project.pack  # noqa: B018  # opened, to see whether it can be
    except KitError as error:
        problems.append(str(error))
    return f"{train:,} training and {test:,} test photos, {_from(project.workspace)}"


def _from(workspace: Workspace) -> str:
    origin = read_origin(workspace)
    if origin is None:
        return "of unknown origin"
    if origin.sample:
        return "the built-in sample"
    if origin.source is None:
        return "from Kaggle"
    return f"{'used in place in' if origin.in_place else 'from'} {origin.source}"


def _folds(project: Project, problems: list[str]) -> int | None:
    try:
        return project.folds.k
    except MissingStep:
        return None
    except KitError as error:
        problems.append(str(error))
        return None


def _ledger(workspace: Workspace, problems: list[str]) -> list[LedgerRow]:
    try:
        return read_ledger(workspace)
    except (KitError, OSError) as error:
        problems.append(str(error))
        return []


def _sources(project: Project) -> tuple[SourceState, ...]:
    return tuple(_source(project, name) for name in project.predictions.sources())


def _source(project: Project, name: str) -> SourceState:
    problem, kind = "", ""
    try:
        kind = CALLED[project.predictions.kind_of(name) or SourceKind.FILL]
        for split in SPLITS:
            project.predictions.read(name, split)
    except KitError as error:
        problem = str(error)
    return SourceState(name, kind, _parts(project.workspace, name), problem)


def _parts(workspace: Workspace, name: str) -> str:
    """Return which parts of a source have their manifests in both splits."""
    splits: tuple[PredictionSplit, ...] = SPLITS
    found = [{path.stem for path in workspace.source(name, split).glob("*.json")} for split in splits]
    both = found[0] & found[1]
    full = "+full" if fold_part(FULL) in found[1] else ""
    if ALL in both:
        return f"all{full}"
    numbers = sorted(int(part.removeprefix("fold_")) for part in both if part.removeprefix("fold_").isdecimal())
    return f"folds {','.join(map(str, numbers)) or 'none'}{full}"


def _running(workspace: Workspace, trainings: Iterable[Training]) -> Iterable[str]:
    for one in trainings:
        if one.held_by:
            yield f"training of {one.name}, fold {one.fold} ({one.held_by})"
    for what, folder in (
        ("kit fetch", workspace.data),
        *((f"kit tune {path.name}", path) for path in (workspace.root / "tuning").glob("*/")),
    ):
        if (by := holder(folder)) is not None:
            yield f"{what} ({by})"


def _sizes(root: Path) -> dict[str, float]:
    """Return megabytes by folder; links are not followed."""
    names = ("data", "runs", "predictions", "sd", "embeddings", "tuning", "inputs", "submissions", "bundles", "report")
    found = {}
    for name in names:
        total = sum(path.lstat().st_size for path in (root / name).rglob("*") if not path.is_dir())
        if total:
            found[name] = total / 1e6
    return found


def _next(
    project: Project,
    data: str,
    folds: int | None,
    sources: tuple[SourceState, ...],
    trainings: tuple[TrainingState, ...],
    blends: tuple[BlendState, ...],
    rows: list[LedgerRow],
    problems: list[str],
) -> str:
    """Return the one command that most people would type now."""
    if not data:
        return "kit fetch --force" if problems else "kit fetch"
    if any("kit fetch" in problem for problem in problems):
        return "kit fetch --force"
    if folds is None:
        return "kit folds"
    interrupted = [one for one in trainings if one.held_by is None]
    if interrupted:
        chosen = ",".join(str(one.fold) for one in interrupted if one.name == interrupted[0].name)
        return f"kit train {interrupted[0].name} --fold {chosen}"
    whole = [one for one in sources if not one.problem]
    if not any(one.name in FILLS for one in whole):
        return "kit fill all"
    partly = [one for one in sources if one.problem and one.kind == CALLED[SourceKind.EXPERIMENT]]
    if partly and not trainings:
        return f"kit train {partly[0].name} --fold all"
    learnt = (CALLED[SourceKind.EXPERIMENT], CALLED[SourceKind.LOOP])
    if not any(one.kind in learnt for one in sources) and not trainings:
        return "kit train --fold all"
    if not blends or blends[0].problem or _is_newer(project.workspace, whole, blends[0].name):
        return "kit blend"
    if any(row.status in PENDING for row in rows):
        return "kit submissions"
    return "kit upload --dry-run" if not submission_path(project, blends[0].name).is_file() else "kit upload"


def _is_newer(workspace: Workspace, sources: Iterable[SourceState], blend: str) -> bool:
    """Return whether a source was made after the blend."""
    made = workspace.blend(blend).stat().st_mtime_ns
    return any(
        path.stat().st_mtime_ns > made for one in sources for path in workspace.source(one.name, "oof").glob("*.json")
    )
