"""A team mate's folds against ours: who has seen what. Knows tables of photos and folds; knows no predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kit.data.index import Index
from kit.data.project import Project
from kit.errors import TableError
from kit.exchange.values import few

NAMES = ("id", "filename", "name")  # what the column of photos may be called


def compare_folds(project: Project, path: Path) -> list[str]:
    """Return what a person should know when OOF predictions were made by the folds in this CSV; one line a finding.

    Raises:
        TableError: no table of photos and folds, or not of these photos.
        MissingStep: there are no folds here to compare with.
    """
    ours = project.folds
    theirs = _read(path, project.index)
    notes = []
    pairs = np.unique(np.stack([theirs, ours.fold]), axis=1).shape[1]
    if pairs == ours.k == len(np.unique(theirs)):
        notes.append(f"{path}: the folds are those of {project.workspace.folds}.")
    else:
        notes.append(
            f"{path}: the folds are not those of {project.workspace.folds}. OOF predictions stay honest; weights "
            "fitted on other folds have seen a little of the photos that they are judged on."
        )
    spread = [group for group in np.unique(ours.group) if len(np.unique(theirs[ours.group == group])) > 1]
    if spread:
        first = project.index.train[int(np.flatnonzero(ours.group == spread[0])[0])].id
        notes.append(
            f"{path}: {len(spread)} groups of near duplicates lie in more than one of these folds, first that of "
            f"{first}: models have seen almost the photos that they predict, and the CV score flatters them."
        )
    return notes


def _read(path: Path, index: Index) -> np.ndarray:
    """Return the fold of each training photo in index order, as numbers that mean nothing."""
    again = "Give a CSV with the columns id and fold: --folds FILE"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise TableError(f"{path} is not a file. {again}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise TableError(f"{path} is not a CSV table ({error}). {again}") from None
    column = next((name for name in NAMES if name in table.columns), None)
    if column is None or "fold" not in table.columns:
        raise TableError(f"{path} has the columns {', '.join(map(str, table.columns))}. {again}")
    twice = table[column].duplicated()
    if twice.any():
        raise TableError(f"{path} lists {table[column][twice].iloc[0]!r} twice. {again}")
    folds = dict(zip(table[column], table["fold"], strict=True))
    keys = [photo_row.id if photo_row.id in folds else photo_row.name for photo_row in index.train]
    shared = pd.Series(keys).duplicated()
    if shared.any():
        raise TableError(
            f"{path}: {keys[int(np.flatnonzero(shared)[0])]!r} is the name of two photos. Name them by id."
        )
    missing = [photo_row.id for photo_row, key in zip(index.train, keys, strict=True) if key not in folds]
    if missing:
        raise TableError(f"{path} lacks {len(missing)} of the {len(keys)} training photos: {few(missing)}.")
    return np.unique([folds[key] for key in keys], return_inverse=True)[1].reshape(-1)
