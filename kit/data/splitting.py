"""Splitting the training photos into folds. Knows the project and its photos; no model.

Near duplicates (`kit.data.duplicates`: turned, mirrored, cropped or not) form a group and stay in one fold; classes are
spread evenly (`kit.data.stratified_groups`).
"""

from __future__ import annotations

import numpy as np

from kit.core.storage import digest_bytes, read_json, write_json, write_text
from kit.data.cropped import grey_pictures
from kit.data.duplicates import duplicate_groups
from kit.data.folds import Folds, remake_command
from kit.data.likeness import thumbnails_of
from kit.data.project import Project
from kit.data.stratified_groups import METHOD, stratified_groups
from kit.errors import Mismatch, UsageError


def make_folds(project: Project, *, k: int = 5, seed: int = 0) -> Folds:
    """Make, write and return the folds. A project that has read its folds before still has the old ones.

    Raises:
        UsageError: fewer groups than folds, or `k` below 2.
    """
    if k < 2:
        raise UsageError(f"--k {k}: at least 2 folds are needed.")
    train, targets = project.index.train, project.pack.train_target
    hashes = np.array([int(photo_row.phash, 16) for photo_row in train], np.uint64)
    small, greys = thumbnails_of(targets, len(train)), grey_pictures(targets, len(train))
    group = duplicate_groups(hashes, small, greys)
    if group.max() + 1 < k:
        groups = int(group.max()) + 1
        if groups < 2:
            raise UsageError(
                f"All {len(train)} training photos are near duplicates of one another: folds need two groups. "
                "Give the competition more photos: kit fetch --force"
            )
        raise UsageError(f"--k {k}: there are only {groups} groups of photos. Use fewer folds: kit folds --k {groups}")
    names, classes = [photo_row.id for photo_row in train], [photo_row.klass for photo_row in train]
    fold = stratified_groups(names, classes, group, k=k, seed=seed)
    return _write_folds(project, fold, group, k, seed)


def _write_folds(project: Project, fold: np.ndarray, group: np.ndarray, k: int, seed: int) -> Folds:
    import pandas as pd

    workspace, index = project.workspace, project.index
    table = pd.DataFrame({"id": [photo_row.id for photo_row in index.train], "fold": fold, "group": group})
    text = table.to_csv(index=False, lineterminator="\n")
    digest = digest_bytes(text.encode())
    recipe = {"k": k, "seed": seed, "method": METHOD, "index": index.digest, "digest": digest}
    write_text(workspace.folds, text)
    write_json(workspace.folds.with_suffix(".json"), recipe)
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
