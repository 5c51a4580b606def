"""Splitting the training photos into folds. Knows the project and its photos; no model.

Near duplicates (perceptual hash, mirrored or not, confirmed on small pictures) form a group and stay in one fold;
classes are spread evenly by scikit-learn's StratifiedGroupKFold.
"""

from __future__ import annotations

import warnings

import cv2
import numpy as np

from kit.core.storage import digest_bytes, read_json, write_json, write_text
from kit.data.folds import Folds, remake_command
from kit.data.pack import HASH_SIZE
from kit.data.project import Project
from kit.errors import Mismatch, UsageError
from kit.imaging.images import resize

MAX_HASH_DISTANCE = 10  # of 63 signs; unrelated photos differ in about 32
MIN_CORRELATION = 0.95  # of 32x32 grey pictures; what makes a hash candidate a near duplicate


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


def make_folds(project: Project, *, k: int = 5, seed: int = 0) -> Folds:
    """Make, write and return the folds. A project that has read its folds before still has the old ones.

    Raises:
        UsageError: fewer groups than folds, or `k` below 2.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if k < 2:
        raise UsageError(f"--k {k}: at least 2 folds are needed.")
    train, targets = project.index.train, project.pack.train_target
    hashes = np.array([int(photo_row.phash, 16) for photo_row in train], np.uint64)
    thumbnails = np.stack([resize(cv2.cvtColor(np.asarray(photo), cv2.COLOR_RGB2GRAY), 32, 32) for photo in targets])
    group = duplicate_groups(hashes, thumbnails.astype(np.float32))
    if group.max() + 1 < k:
        groups = int(group.max()) + 1
        if groups < 2:
            raise UsageError(
                f"All {len(train)} training photos are near duplicates of one another: folds need two groups. "
                "Give the competition more photos: kit fetch --force"
            )
        raise UsageError(f"--k {k}: there are only {groups} groups of photos. Use fewer folds: kit folds --k {groups}")
    fold = np.zeros(len(train), np.int64)
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    classes = np.array([photo_row.klass for photo_row in train])
    if np.unique(classes, return_counts=True)[1].max() < k:  # the splitter refuses when no class can be in every fold
        classes = np.full(len(classes), "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class with fewer photos than folds is said by its own count below
        for number, (_, valid) in enumerate(splitter.split(hashes, classes, group)):
            fold[valid] = number
    return _write_folds(project, fold, group, k, seed)


def _write_folds(project: Project, fold: np.ndarray, group: np.ndarray, k: int, seed: int) -> Folds:
    import pandas as pd

    workspace, index = project.workspace, project.index
    table = pd.DataFrame({"id": [photo_row.id for photo_row in index.train], "fold": fold, "group": group})
    text = table.to_csv(index=False, lineterminator="\n")
    digest = digest_bytes(text.encode())
    write_text(workspace.folds, text)
    write_json(workspace.folds.with_suffix(".json"), {"k": k, "seed": seed, "index": index.digest, "digest": digest})
    return Folds(fold, group, k, digest)


def ensure_folds(project: Project, *, k: int = 5, seed: int = 0, force: bool = False) -> tuple[bool, Folds]:
    """Return the folds with this `k` and `seed`, made unless they are there; and whether they were made now.

    Raises:
        Mismatch: other folds are there. Models and predictions hang on them, so only `force` replaces them.
        MissingStep, DamagedStore: of the index and the pack, also where the folds are there.
    """
    _ = project.pack  # a damaged pack is told of here, not at the first training
    if k < 2:
        raise UsageError(f"--k {k}: at least 2 folds are needed.")
    path = project.workspace.folds
    recipe_path = path.with_suffix(".json")
    if force or not (path.is_file() and recipe_path.is_file()):
        return True, make_folds(project, k=k, seed=seed)
    recipe = read_json(recipe_path, made_by=remake_command(project.workspace))
    if recipe.get("index") != project.index.digest:
        return True, make_folds(project, k=k, seed=seed)
    if (recipe.get("k"), recipe.get("seed")) != (k, seed):
        raise Mismatch(
            f"{path} holds {recipe.get('k')} folds of seed {recipe.get('seed')}, asked for are {k} of seed "
            f"{seed}. What was trained on the old ones would be refused. Replace them: kit folds --k {k} --seed {seed} "
            "--force"
        )
    return False, project.folds
