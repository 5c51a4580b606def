"""Delete what has a name, with all that belongs to it. Knows where things lie, and asks nobody."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.blending import read_blend
from kit.core.storage import holder
from kit.core.tables import Shown
from kit.core.workspace import Workspace, checked_name
from kit.errors import Busy, KitError, UnknownName


@dataclass(frozen=True)
class Removal(Shown):
    """What goes when a name goes."""

    name: str
    paths: tuple[Path, ...]
    """Folders and files that there are."""
    bytes: int
    needed_by: tuple[str, ...]
    """Blends that have it as a member: they could not be applied any more."""


def plan_removal(workspace: Workspace, name: str) -> Removal:
    """Find what belongs to a source, a training, a study, a blend or a submission.

    The ledger keeps what was sent. Samples of Stable Diffusion and vectors go by no source's name, and stay.

    Raises:
        UnknownName: nothing has that name.
        Busy: a process is training it.
    """
    checked_name("The name", name)
    candidates = [
        *(workspace.predictions / name, workspace.runs / name, workspace.study(name), workspace.tuned(name)),
        *(workspace.blend(name), workspace.report / name, workspace.submission(name)),
        *(workspace.submissions / f"{name}.zip", workspace.root / "bundles" / name),
    ]
    paths = tuple(path for path in candidates if path.exists())
    if not paths:
        raise UnknownName("source, training, study, blend or submission", name, _names(workspace))
    for folder in sorted((workspace.runs / name).glob("fold_*")):
        if (by := holder(folder)) is not None:
            raise Busy(f"{folder} is being trained ({by}). Stop that first, or wait for it.")
    files = itertools.chain(*(path.rglob("*") if path.is_dir() else [path] for path in paths))
    size = sum(path.lstat().st_size for path in files if not path.is_dir())
    is_source = (workspace.predictions / name).is_dir()
    return Removal(name, paths, size, tuple(_blends_with(workspace, name)) if is_source else ())


def remove(removal: Removal) -> None:
    """Delete it: manifests first, so that a kill leaves nothing that passes for whole."""
    for path in removal.paths:
        if path.is_dir():
            manifests = itertools.chain(path.rglob("*.json"), path.rglob("*.safetensors"))
            for manifest in sorted(manifests):
                manifest.unlink(missing_ok=True)
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _names(workspace: Workspace) -> Sequence[str]:
    folders = (workspace.predictions, workspace.runs, workspace.root / "tuning")
    found = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}
    tables = itertools.chain(workspace.blends.glob("*.json"), workspace.submissions.glob("*.csv"))
    return sorted(name for name in found | {path.stem for path in tables} - {"ledger"} if not name.startswith("."))


def _blends_with(workspace: Workspace, name: str) -> Iterable[str]:
    for path in sorted(workspace.blends.glob("*.json")):
        try:
            members = [row.name for row in read_blend(workspace, path.stem).members]
        except KitError:
            continue
        if name in members:
            yield path.stem
