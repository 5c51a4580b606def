"""A source or a blend as one `.npz` to give away: an array a photo under its id, which `kit import` takes. Prints
nothing.

Values are float16 as the store has them, so that OOF predictions come back bit for bit. Where folds are averaged (test
photos of a trained source), it is the mean that is written. A blend's OOF are by weights fitted on the other folds.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.blending import blend_oof_values, blend_values, read_blend
from kit.core.progress import progress
from kit.core.storage import sweep, writing
from kit.core.tables import Shown
from kit.core.workspace import PredictionSplit
from kit.data.prediction_store import SPLITS, SourceKind, photo_split
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import MissingStep, UsageError


@dataclass(frozen=True)
class Exported(Shown):
    """The file that was written."""

    path: Path
    photos: dict[PredictionSplit, int]
    """How many photos of each split that the source has."""


@dataclass(frozen=True)
class _Part:
    """What is written of one split."""

    split: PredictionSplit
    photos: int
    values: Callable[[int], np.ndarray]


def export_source(project: Project, name: str, path: Path, *, force: bool = False) -> Exported:
    """Write the OOF and test predictions of a source or a blend, whole or not at all; of an import, what it has.

    Raises:
        UsageError: the file is there already, and `force` is not given; or its suffix is not `.npz`.
        UnknownName, MissingStep: no such source or blend, or folds of it are absent.
        Mismatch: a blend whose members have changed.
    """
    path = path.expanduser()
    if path.suffix.lower() != ".npz":
        raise UsageError(f"{path}: an export is a .npz file. Use: kit export {name} --out {path.stem or name}.npz")
    if path.exists() and not force:
        raise UsageError(f"{path} is there already. Replace it: kit export {name} --out {path} --force")
    found = _of_blend(project, name) if _is_blend(project, name) else _of_source(project, name)
    sweep(path.parent)
    total = sum(one.photos for one in found)
    with (
        writing(path) as file,
        zipfile.ZipFile(file, "w") as archive,
        progress(f"Exporting {name}", total, "photos") as bar,
    ):
        for one in found:
            for position, photo_row in enumerate(project.index.split(photo_split(one.split))):
                # a fixed time, so that the same values give the same file
                member = zipfile.ZipInfo(f"{photo_row.id}.npy", (1980, 1, 1, 0, 0, 0))
                member.external_attr = 0o644 << 16
                with archive.open(member, "w") as out:
                    np.lib.format.write_array(out, one.values(position).astype("<f2"), allow_pickle=False)
                bar.update()
    return Exported(path, {one.split: one.photos for one in found})


def _is_blend(project: Project, name: str) -> bool:
    return name not in project.predictions.sources() and project.predictions.kind_of(name) is SourceKind.BLEND


def _of_blend(project: Project, name: str) -> list[_Part]:
    blend = read_blend(project.workspace, name)
    oof, test = blend_oof_values(project, blend), blend_values(project, blend, "test")
    return [
        _Part("oof", len(project.index.train), lambda photo: np.clip(oof(photo), 0.0, 1.0)),
        _Part("test", len(project.index.test), lambda photo: np.clip(test(photo), 0.0, 1.0)),
    ]


def _of_source(project: Project, name: str) -> list[_Part]:
    found: list[Predictions] = []
    problem: MissingStep | None = None
    for split in SPLITS:
        try:
            found.append(project.predictions.read(name, split))
        except MissingStep as error:
            # folds that were never trained are to be named; the other half of an import need not be there
            if list((project.workspace.predictions / name).glob("*/fold_*.json")):
                raise
            problem = error
    if not found:
        assert problem is not None
        raise problem
    return [_Part(one.split, len(one.counts), one.values) for one in found]
