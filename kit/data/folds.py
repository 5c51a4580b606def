"""Folds: which model may predict which training photo. Knows no model.

Near duplicates (perceptual hash, mirrored or not, confirmed on small pictures) form a group and stay in one fold;
classes are spread evenly by scikit-learn's StratifiedGroupKFold.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kit.core.storage import digest_bytes, read_json, write_json, write_text
from kit.core.workspace import Workspace
from kit.data.index import Index
from kit.data.pack import HASH_SIZE
from kit.errors import Mismatch, MissingStep, TableError, UsageError
from kit.imaging.images import resize

MAX_HASH_DISTANCE = 10  # of 63 signs; unrelated photos differ in about 32
MIN_CORRELATION = 0.95  # of 32x32 grey pictures; what makes a hash candidate a near duplicate


@dataclass(frozen=True)
class Folds:
    """Fold and group of each training photo, in index order."""

    fold: np.ndarray
    """`(N,)` int."""
    group: np.ndarray
    """`(N,)` int; near duplicates share a number."""
    k: int
    digest: str

    def train_positions(self, fold: int) -> np.ndarray:
        """Return photos that the model of `fold` may see."""
        return np.flatnonzero(self.fold != self.checked(fold))

    def valid_positions(self, fold: int) -> np.ndarray:
        """Return photos that the model of `fold` predicts."""
        return np.flatnonzero(self.fold == self.checked(fold))

    def chosen(self, texts: Sequence[str]) -> list[int]:
        """Read `--fold` texts: `all`, or numbers, also several with commas between, in the order given, each once.

        Raises:
            UsageError: not a number, or there is no such fold.
        """
        parts = [part for text in texts for part in text.split(",")]
        if "all" in parts:
            return list(range(self.k))
        for text in texts:
            if not all(part.isdecimal() for part in text.split(",")):
                raise UsageError(f"--fold {text}: a number from 0 to {self.k - 1}, or all, is needed.")
        return list(dict.fromkeys(self.checked(int(part)) for part in parts))

    def checked(self, fold: int) -> int:
        """Return `fold` if there is such a fold. Raises `UsageError`."""
        if not 0 <= fold < self.k:
            raise UsageError(f"There is no fold {fold}: the folds are 0 to {self.k - 1}. Use --fold N or --fold all.")
        return fold


def duplicate_groups(hashes: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """Number the groups of near duplicates, `(N,)` int, mirrored copies included.

    Args:
        hashes: `(N,)` uint64, see `kit.data.pack.perceptual_hash`.
        thumbnails: `(N, S, S)` float32 grey.
    """
    count = len(hashes)
    pairs: list[tuple[int, int]] = []
    flips = _flip_patterns()
    for start in range(0, count, 256):  # 256 rows at a time keep the distance table small
        block = hashes[start : start + 256, None]
        for (vertical, horizontal), pattern in flips.items():
            near = np.bitwise_count((block ^ pattern) ^ hashes[None, :]) <= MAX_HASH_DISTANCE
            for first, second in np.argwhere(near) + np.array([start, 0]):
                if first < second and _alike(thumbnails[first], thumbnails[second], vertical, horizontal):
                    pairs.append((int(first), int(second)))
    rows = [pair[0] for pair in pairs]
    columns = [pair[1] for pair in pairs]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def _flip_patterns() -> dict[tuple[bool, bool], np.uint64]:
    """Return the signs that change when a photo is mirrored (vertically, horizontally): those of odd frequency."""
    odd = np.arange(HASH_SIZE) % 2 == 1
    patterns = {}
    for vertical in (False, True):
        for horizontal in (False, True):
            changes = (odd[:, None] & vertical) ^ (odd[None, :] & horizontal)
            patterns[vertical, horizontal] = np.packbits(changes.reshape(-1)).view(">u8").astype(np.uint64)[0]
    return patterns


def _alike(first: np.ndarray, second: np.ndarray, vertical: bool, horizontal: bool) -> bool:
    mirrored = first[:: -1 if vertical else 1, :: -1 if horizontal else 1]
    a, b = mirrored - mirrored.mean(), second - second.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    # two blank photos have no correlation, and are duplicates of each other
    return float((a * b).sum()) >= MIN_CORRELATION * scale


def make_folds(workspace: Workspace, index: Index, targets: np.ndarray, *, k: int = 5, seed: int = 0) -> Folds:
    """Make, write and return the folds.

    Args:
        targets: `(N, H, W, 3)` uint8, the whole training photos.

    Raises:
        UsageError: fewer groups than folds, or `k` below 2.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if k < 2:
        raise UsageError(f"--k {k}: at least 2 folds are needed.")
    hashes = np.array([int(photo_row.phash, 16) for photo_row in index.train], np.uint64)
    thumbnails = np.stack([resize(cv2.cvtColor(np.asarray(photo), cv2.COLOR_RGB2GRAY), 32, 32) for photo in targets])
    group = duplicate_groups(hashes, thumbnails.astype(np.float32))
    if group.max() + 1 < k:
        groups = int(group.max()) + 1
        if groups < 2:
            raise UsageError(
                f"All {len(index.train)} training photos are near duplicates of one another: folds need two groups. "
                "Give the competition more photos: kit fetch --force"
            )
        raise UsageError(f"--k {k}: there are only {groups} groups of photos. Use fewer folds: kit folds --k {groups}")
    fold = np.zeros(len(index.train), np.int64)
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    classes = np.array([photo_row.klass for photo_row in index.train])
    if np.unique(classes, return_counts=True)[1].max() < k:  # the splitter refuses when no class can be in every fold
        classes = np.full(len(classes), "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class with fewer photos than folds is said by its own count below
        for number, (_, valid) in enumerate(splitter.split(hashes, classes, group)):
            fold[valid] = number
    return _write_folds(workspace, index, fold, group, k, seed)


def _write_folds(workspace: Workspace, index: Index, fold: np.ndarray, group: np.ndarray, k: int, seed: int) -> Folds:
    import pandas as pd

    table = pd.DataFrame({"id": [photo_row.id for photo_row in index.train], "fold": fold, "group": group})
    text = table.to_csv(index=False, lineterminator="\n")
    digest = digest_bytes(text.encode())
    write_text(workspace.folds, text)
    write_json(workspace.folds.with_suffix(".json"), {"k": k, "seed": seed, "index": index.digest, "digest": digest})
    return Folds(fold, group, k, digest)


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
    recipe = read_json(path.with_suffix(".json"), made_by="kit folds --force")
    again = f"kit folds --k {recipe.get('k', 5)} --seed {recipe.get('seed', 0)} --force"
    if recipe.get("index") != index.digest:
        raise Mismatch(f"{path} was made for another index ({recipe.get('index')}, here {index.digest}). Run: {again}")
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
    return Folds(fold, group, recipe["k"], digest)


def ensure_folds(
    workspace: Workspace, index: Index, targets: np.ndarray, *, k: int = 5, seed: int = 0, force: bool = False
) -> tuple[bool, Folds]:
    """Return the folds with this `k` and `seed`, made unless they are there; and whether they were made now.

    Raises:
        Mismatch: other folds are there. Models and predictions hang on them, so only `force` replaces them.
    """
    if k < 2:
        raise UsageError(f"--k {k}: at least 2 folds are needed.")
    recipe_path = workspace.folds.with_suffix(".json")
    if force or not (workspace.folds.is_file() and recipe_path.is_file()):
        return True, make_folds(workspace, index, targets, k=k, seed=seed)
    recipe = read_json(recipe_path, made_by="kit folds --force")
    if recipe.get("index") != index.digest:
        return True, make_folds(workspace, index, targets, k=k, seed=seed)
    if (recipe.get("k"), recipe.get("seed")) != (k, seed):
        raise Mismatch(
            f"{workspace.folds} holds {recipe.get('k')} folds of seed {recipe.get('seed')}, asked for are {k} of seed "
            f"{seed}. What was trained on the old ones would be refused. Replace them: kit folds --k {k} --seed {seed} "
            "--force"
        )
    return False, read_folds(workspace, index)


def describe_folds(folds: Folds, index: Index) -> str:
    """Describe the photos by fold and class, and how many near duplicates were kept together."""
    classes = np.array([photo_row.klass for photo_row in index.train])
    lines = []
    for fold in range(folds.k):
        members = classes[folds.fold == fold]
        counts = ", ".join(f"{klass} {int((members == klass).sum())}" for klass in index.classes)
        lines.append(f"fold {fold}: {len(members)} photos ({counts})")
    together = len(folds.group) - len(np.unique(folds.group))
    lines.append(f"{together} near duplicates kept with their originals")
    return "\n".join(lines)
