"""What a prediction may depend on. Hidden truth is exchanged, the whole chain runs again, and bits are compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.command import ok
from support.toy import SLUG
from support.trainings import flags, project_at

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.imaging.holes import scored_pixels

FOLD = 0
CHAIN = [
    "fill all",
    f"train regress --fold all {flags('regress')} --epochs 1 --device cpu --seeds 2 --mean",
    f"train pix2pix --fold all {flags('pix2pix')} --epochs 1 --device cpu",
    "clip embed --model thumbnail",
    f"train regress --fold all {flags('regress')} --epochs 1 --device cpu --set clip_model=thumbnail --as told",
    "clip neighbours",
    "blend mean harmonic fractional --stack --name deep --plots none",
]
"""Every kind of source that kit makes of a competition's photos.

The stack is over fills: over trained members it depends on a fold's truth at second hand, as every stack does, for the
members' predictions of the other folds, from which it learns, come from models that have seen this one.
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The chain as it is."""
    return after_the_chain(project_at(tmp_path_factory.mktemp("leaks") / "w"))


def after_the_chain(project: Project) -> Project:
    for line in CHAIN:
        ok(f"-w {project.workspace.root} {line}")
    return Project(Workspace(project.workspace.root, SLUG))


def with_other_truth(folder: Path, positions: np.ndarray) -> Project:
    """A fresh toy competition in which other things are hidden in some training photos. What is known is the same."""
    project = project_at(folder)
    path = project.workspace.pack / "train_target.npy"
    targets, rng = np.load(path), np.random.default_rng(9)
    for position in positions:
        hidden = scored_pixels(project.index.train[position].boxes)
        targets[position][hidden] = rng.integers(0, 256, targets[position][hidden].shape)
    np.save(path, targets)
    return Project(Workspace(folder, SLUG))


@pytest.mark.slow
def test_oof_predictions_of_a_fold_do_not_depend_on_what_is_hidden_in_its_photos(
    plain: Project, tmp_path: Path
) -> None:
    fold = plain.folds.valid_positions(FOLD)
    others = [position for position in range(len(plain.index.train)) if position not in set(fold.tolist())]
    changed = after_the_chain(with_other_truth(tmp_path / "w", fold))
    sources = plain.predictions.sources()
    assert {"fractional", "regress", "regress-s1", "regress-mean", "pix2pix", "told", "clip-neighbours"} <= set(sources)
    again = changed.predictions.sources()  # a stack is named by its weights, the other folds' among them
    assert [name.partition("-")[0] for name in sources] == [name.partition("-")[0] for name in again]
    learnt = set()
    for name, other in zip(sources, again, strict=True):
        before, after = plain.predictions.read(name, "oof"), changed.predictions.read(other, "oof")
        for position in fold:
            np.testing.assert_array_equal(
                before.values(position), after.values(position), err_msg=f"{name}, {position}"
            )
        if any((before.values(position) != after.values(position)).any() for position in others):
            learnt.add(name)  # the exchange reached what its other folds' models learnt from
    trained = {"regress", "regress-s1", "regress-mean", "pix2pix", "told", "clip-neighbours"}
    assert {name for name in learnt if not name.startswith("stack-")} == trained


def test_no_near_duplicate_lies_in_another_fold_and_no_model_sees_its_own_fold(tmp_path: Path) -> None:
    from support.toy import make_toy_workspace

    project = make_toy_workspace(tmp_path, photos=24, test=4, duplicates=4).project
    folds = project.folds
    for fold in range(folds.k):
        seen, asked = folds.train_positions(fold), folds.valid_positions(fold)
        assert not set(seen.tolist()) & set(asked.tolist())
        assert not set(folds.group[seen].tolist()) & set(folds.group[asked].tolist())


@pytest.mark.slow
def test_every_picture_that_is_written_keeps_its_known_pixels(plain: Project, tmp_path: Path) -> None:
    from kit.imaging.images import load_image, save_image

    pictures, masks = tmp_path / "pictures", tmp_path / "masks"
    for position, row in enumerate(plain.index.test):
        image = plain.pack.test_image[position]
        save_image(pictures / f"{position}.png", np.array(image))
        save_image(masks / f"{position}.png", np.repeat(row.hole[..., None], 3, axis=2).astype(np.uint8) * 255)
    for source in ("fractional", "regress", "pix2pix"):
        out = tmp_path / source
        ok(f"-w {plain.workspace.root} predict {source} --images {pictures} --masks {masks} --out {out} --device cpu")
        for position, row in enumerate(plain.index.test):
            known = ~row.hole.astype(bool)
            found = load_image(out / f"{position}.png")
            np.testing.assert_array_equal(found[known], plain.pack.test_image[position][known])
    shutil.rmtree(tmp_path / "fractional")
