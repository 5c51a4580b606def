"""Folds: which model may predict which training photo. Knows no model, and not how photos were split."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.core.numbers import counted
from kit.core.storage import digest_bytes, read_json
from kit.core.workspace import FULL, Fold, Workspace
from kit.data.index import Index
from kit.data.stratified_groups import METHOD
from kit.errors import Mismatch, MissingStep, TableError, UsageError

BEFORE_METHODS = "scikit-learn's StratifiedGroupKFold"
"""What split the folds whose recipe names no method."""


@dataclass(frozen=True)
class Folds:
    """Fold and group of each training photo, in index order."""

    fold: np.ndarray
    """`(N,)` int."""
    group: np.ndarray
    """`(N,)` int; near duplicates share a number."""
    k: int
    digest: str
    method: str = METHOD
    """The rule that split them; folds of earlier versions keep theirs."""

    def __repr__(self) -> str:
        """Return how many they are, and of what."""
        return f"<{self.k} folds of {len(self.fold)} photos, {self.digest}>"

    def train_positions(self, fold: Fold) -> np.ndarray:
        """Return photos that the model of `fold` may see: the full one every photo."""
        if fold == FULL:
            return np.arange(len(self.fold))
        return np.flatnonzero(self.fold != self.checked(fold))

    def valid_positions(self, fold: Fold) -> np.ndarray:
        """Return photos that the model of `fold` predicts: the full one none, for it has seen them."""
        if fold == FULL:
            return np.arange(0)
        return np.flatnonzero(self.fold == self.checked(fold))

    def chosen(self, texts: Sequence[str]) -> list[Fold]:
        """Read `--fold` texts: `all` (every fold), `full` (the model of all photos), or numbers, also several with
        commas between, in the order given, each once; the full model after all folds.

        Raises:
            UsageError: not a number, or there is no such fold.
        """
        parts = [part for text in texts for part in text.split(",")]
        if "all" in parts:
            return [*range(self.k), *([FULL] if FULL in parts else [])]
        for text in texts:
            if not all(part.isdecimal() or part == FULL for part in text.split(",")):
                raise UsageError(
                    f"--fold {shlex.quote(text)}: a number from 0 to {self.k - 1}, or all, or {FULL}, is needed."
                )
        return list(dict.fromkeys(FULL if part == FULL else self.checked(int(part)) for part in parts))

    def checked(self, fold: int) -> int:
        """Return `fold` if there is such a fold. Raises `UsageError`."""
        if not 0 <= fold < self.k:
            raise UsageError(f"There is no fold {fold}: the folds are 0 to {self.k - 1}. Use --fold N or --fold all.")
        return fold


def remake_command(workspace: Workspace) -> str:
    """Return the command that makes the folds again when their recipe is lost: with the k of the table, if it tells."""
    try:
        with workspace.folds.open(encoding="utf-8", newline="") as file:
            k = len({int(row["fold"]) for row in csv.DictReader(file)})
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        k = 0
    return f"kit folds{f' --k {k}' if k > 1 else ''} --force"


def read_folds(workspace: Workspace, index: Index) -> Folds:
    """Read the folds of `index`.

    Raises:
        MissingStep: `kit folds` has not been run.
        Mismatch: they were made for other photos.
        TableError: a hand-made file with wrong columns or values.
    """
    path = workspace.folds
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingStep(f"{path} is missing. Run: kit folds") from None
    recipe = read_json(path.with_suffix(".json"), made_by=remake_command(workspace))
    again = f"kit folds --k {recipe.get('k', 5)} --seed {recipe.get('seed', 0)} --force"
    if recipe.get("index") != index.digest:
        raise Mismatch(f"{path} was made for another index ({recipe.get('index')}, here {index.digest}). Run: {again}")
    if recipe.get("digest") != digest_bytes(data):
        data = data.replace(b"\r\n", b"\n")  # git may have brought it with the line ends of Windows
    digest = digest_bytes(data)
    if recipe.get("digest") != digest:
        raise Mismatch(f"{path} was changed after kit wrote it. Bring it back from git, or make it again: {again}")
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
        fold, group = (np.array([int(row[column]) for row in rows], np.int64) for column in ("fold", "group"))
        ids = [row["id"] for row in rows]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise TableError(f"{path} is not a table of id,fold,group ({error}). Make it again: {again}") from None
    if ids != [photo_row.id for photo_row in index.train]:
        raise Mismatch(f"{path} does not list the photos of the index. Make it again: {again}")
    if set(fold.tolist()) != set(range(recipe["k"] if isinstance(recipe.get("k"), int) else 0)):
        again = f"kit folds --k {len(set(fold.tolist()))} --seed {recipe.get('seed', 0)} --force"
        raise Mismatch(f"{path} does not hold the folds that its recipe says. Make it again: {again}")
    return Folds(fold, group, recipe["k"], digest, str(recipe.get("method", BEFORE_METHODS)))


def describe_folds(folds: Folds, index: Index) -> str:
    """Describe the photos by fold and class, and how many near duplicates were kept together."""
    classes = np.array([photo_row.klass for photo_row in index.train])
    lines = []
    for fold in range(folds.k):
        members = classes[folds.fold == fold]
        counts = ", ".join(f"{klass} {int((members == klass).sum())}" for klass in index.classes)
        lines.append(f"fold {fold}: {len(members)} photos{f' ({counts})' if any(index.classes) else ''}")
    together = len(folds.group) - len(np.unique(folds.group))
    lines.append(f"{counted(together, 'near duplicate')} kept with the original")
    return "\n".join(lines)
