"""A source as one `.npz` to give away: an array a photo under its id, which `kit import` takes. Prints nothing.

Values are float16 as the store has them, so that OOF predictions come back bit for bit. Where folds are averaged (test
photos of a trained source), it is the mean that is written.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.core.progress import progress
from kit.core.storage import sweep, writing
from kit.core.workspace import PredictionSplit
from kit.data.prediction_store import SPLITS, photo_split
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import MissingStep, UsageError


@dataclass(frozen=True)
class Exported:
    """The file that was written."""

    path: Path
    photos: dict[PredictionSplit, int]
    """How many photos of each split that the source has."""


def export_source(project: Project, name: str, path: Path, *, force: bool = False) -> Exported:
    """Write the OOF and test predictions of a source, whole or not at all; of an import, what it has.

    Raises:
        UsageError: the file is there already, and `force` is not given; or its suffix is not `.npz`.
        UnknownName, MissingStep: no such source, or folds of it are absent.
    """
    path = path.expanduser()
    if path.suffix.lower() != ".npz":
        raise UsageError(f"{path}: an export is a .npz file. Use: kit export {name} --out {path.stem or name}.npz")
    if path.exists() and not force:
        raise UsageError(f"{path} is there already. Replace it: kit export {name} --out {path} --force")
    found = _open(project, name)
    sweep(path.parent)
    total = sum(len(one.counts) for one in found)
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
    return Exported(path, {one.split: len(one.counts) for one in found})


def _open(project: Project, name: str) -> list[Predictions]:
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
    return found
