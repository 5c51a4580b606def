"""The rule that divides groups over folds: a contract, so its results are pinned; and how even it is."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.core.storage import read_json
from kit.core.workspace import Workspace
from kit.data.fetch import fetch
from kit.data.project import Project
from kit.data.splitting import ensure_folds
from kit.data.stratified_groups import METHOD, stratified_groups

SAMPLE_FOLDS = "8a007c3b73388446"
"""Digest of the folds that `kit fetch --sample; kit folds` gives."""


def photos(seed: int, count: int, classes: int, grouped: float) -> tuple[list[str], list[str], np.ndarray]:
    """Names, classes of unequal sizes, and groups: a share of the photos is a near duplicate of another one."""
    rng = np.random.default_rng(seed)
    klass = rng.choice(classes, count, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    group = np.arange(count)
    for position in np.flatnonzero(rng.random(count) < grouped):
        group[position] = group[rng.integers(count)]
    order = rng.permutation(10 * count)[:count]
    return [f"photo {number}" for number in order], [f"class {number}" for number in klass], group


def counts_of(fold: np.ndarray, classes: list[str], k: int) -> np.ndarray:
    """`(K, C)`: photos of each class in each fold."""
    names = sorted(set(classes))
    return np.array([[np.sum((fold == number) & (np.array(classes) == name)) for name in names] for number in range(k)])


sizes = {"count": st.integers(5, 120), "classes": st.integers(1, 6), "k": st.integers(2, 5), "seed": st.integers(0, 99)}


@given(**sizes, grouped=st.floats(0, 0.9))
def test_groups_stay_together_and_no_fold_is_empty(count: int, classes: int, k: int, seed: int, grouped: float) -> None:
    names, klass, group = photos(seed, count, classes, grouped)
    fold = stratified_groups(names, klass, group, k=k, seed=seed)
    for number in np.unique(group):
        assert len(set(fold[group == number].tolist())) == 1
    assert len(set(fold.tolist())) == min(k, len(np.unique(group)))
    assert fold.min() >= 0 and fold.max() < k


@given(**sizes)
def test_without_near_duplicates_folds_differ_by_one_photo_in_number_and_in_each_class(
    count: int, classes: int, k: int, seed: int
) -> None:
    names, klass, group = photos(seed, count, classes, 0)
    held = counts_of(stratified_groups(names, klass, group, k=k, seed=seed), klass, k)
    assert np.ptp(held, axis=0).max() <= 1 and np.ptp(held.sum(1)) <= 1


@given(**sizes, grouped=st.floats(0, 0.9))
def test_neither_order_nor_the_numbers_of_groups_have_influence(
    count: int, classes: int, k: int, seed: int, grouped: float
) -> None:
    names, klass, group = photos(seed, count, classes, grouped)
    fold = stratified_groups(names, klass, group, k=k, seed=seed)
    order = np.random.default_rng(seed).permutation(count)
    mixed = [[column[one] for one in order] for column in (names, klass)]
    shuffled = stratified_groups(*mixed, 7 - group[order], k=k, seed=seed)
    np.testing.assert_array_equal(shuffled, fold[order])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(count=st.integers(60, 300), classes=st.integers(1, 6), k=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_are_as_even_as_those_of_scikit_learn(count: int, classes: int, k: int, seed: int) -> None:
    split = pytest.importorskip("sklearn.model_selection").StratifiedGroupKFold
    names, klass, group = photos(seed, count, classes, 0.2)
    theirs = np.zeros(count, int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes smaller than the number of folds
        if max(klass.count(name) for name in klass) < k:
            return
        for number, (_, valid) in enumerate(split(k, shuffle=True, random_state=seed).split(names, klass, group)):
            theirs[valid] = number
    ours = counts_of(stratified_groups(names, klass, group, k=k, seed=seed), klass, k)
    other = counts_of(theirs, klass, k)
    assert np.ptp(ours, axis=0).sum() <= np.ptp(other, axis=0).sum()
    assert np.ptp(ours.sum(1)) <= np.ptp(other.sum(1))


def test_seeds_differ_and_one_seed_never_does() -> None:
    names, klass, group = photos(0, 100, 3, 0.1)
    split = [stratified_groups(names, klass, group, k=5, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(split[0], split[1])
    assert (split[0] != split[2]).mean() > 0.5


def test_the_rule_is_pinned() -> None:
    """Change this, and every team's folds change: a new rule needs a new `METHOD`."""
    names = [f"Cat ({number}).jpeg" for number in range(12)] + ["Übung.png", "b.jpg"]
    klass = ["Cat"] * 7 + ["Dog"] * 5 + ["Étude"] * 2
    group = np.array([0, 0, 0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10])
    assert METHOD == "stratified-groups-1"
    assert stratified_groups(names, klass, group, k=3, seed=7).tolist() == [0, 0, 0, 2, 1, 1, 2, 1, 1, 2, 2, 0, 0, 1]


def test_the_folds_of_the_sample_competition_are_pinned(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    workspace = Workspace(tmp_path)
    fetch(workspace, sample=True)
    made, folds = ensure_folds(Project(workspace))
    recipe = read_json(workspace.folds.with_suffix(".json"), made_by="")
    assert made and recipe["method"] == METHOD == folds.method
    assert hashlib.sha256(bytes(folds.fold.tolist())).hexdigest()[:16] == SAMPLE_FOLDS


def test_splitting_imports_no_scikit_learn() -> None:
    code = "import sys, kit.data.splitting; assert 'sklearn' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
