"""`clip-neighbours`: what a neighbour can give is found, nothing leaks between folds, a source like any other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.command import kit, ok
from support.toy import Toy, make_toy_workspace, write_toy_source

from kit.core.workspace import PredictionSplit
from kit.data.project import Project
from kit.errors import Mismatch, UsageError
from kit.imaging.holes import scored_pixels
from kit.learning.neighbours.analogues import Library, Ridge, align_neighbours, surroundings, unit_vectors
from kit.learning.neighbours.source import NAME, make_neighbours
from kit.pretrained.clip.model import find_model

pytestmark = pytest.mark.toy(photos=15, test=4)


def project_of(toy: Toy) -> Project:
    return Project(toy.workspace)


def stored(toy: Toy, split: PredictionSplit, name: str = NAME) -> list[np.ndarray]:
    found = Project(toy.workspace).predictions.read(name, split)
    return [found.values(photo) for photo in range(len(found.counts))]


# --- the mathematics


def test_the_same_scene_in_another_light_is_brought_to_the_photos_own() -> None:
    photo = torch.from_numpy(np.random.default_rng(0).uniform(0.2, 0.8, (3, 32, 32)).astype(np.float32))
    hole = torch.zeros(1, 32, 32)
    hole[:, 10:20, 8:18] = 1
    darker = (0.5 * photo + torch.tensor([0.1, 0.2, 0.3])[:, None, None])[None]
    found = align_neighbours(photo, hole, darker, torch.ones(1))
    around = surroundings(hole[None])[0, 0]
    own = photo - photo[:, around].mean(1)[:, None, None]
    slope = (found[:3] * own).sum() / own.square().sum()
    assert 0.6 < float(slope) < 1.0  # shrunk towards none
    torch.testing.assert_close(found[:3], slope * own, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[3], torch.ones(32, 32), atol=1e-4, rtol=0)


def test_what_is_under_the_hole_does_not_matter_and_a_stranger_gives_little() -> None:
    rng = np.random.default_rng(0)
    photo, stranger = (torch.from_numpy(rng.uniform(0, 1, (3, 32, 32)).astype(np.float32)) for _ in range(2))
    hole = torch.zeros(1, 32, 32)
    hole[:, 10:20, 8:18] = 1
    found = align_neighbours(photo, hole, stranger[None], torch.ones(1))
    changed = torch.where(hole > 0, 1 - photo, photo)
    torch.testing.assert_close(align_neighbours(changed, hole, stranger[None], torch.ones(1)), found)
    assert float(found[3].max()) < 0.2 and float(found[:3].abs().mean()) < 0.1


@pytest.mark.parametrize("hidden", [0, 1])
def test_surroundings_of_nothing_and_of_everything_are_all_pixels(hidden: int) -> None:
    assert surroundings(torch.full((2, 1, 8, 8), float(hidden))).all()


def test_the_most_similar_come_first_and_weights_sum_to_one() -> None:
    vectors = unit_vectors(np.array([[1, 0.1], [1, 0], [0, 1], [-1, 0]], np.float32), np.zeros(2, np.float32))
    library = Library(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), vectors)
    nearest, weights = library.nearest(vectors[1], np.array([0, 2, 3]), 2)
    assert nearest.tolist() == [0, 2]
    assert float(weights.sum()) == pytest.approx(1) and weights[0] > weights[1]
    nearest, _ = library.nearest(vectors[1], np.array([2, 3]), 5)
    assert nearest.tolist() == [2, 3]


def test_ridge_finds_the_coefficients_and_is_zero_without_photos() -> None:
    seen = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 2, 3, 8, 8)).astype(np.float32))
    wanted = 0.5 * seen[:, 0] - 0.25 * seen[:, 1]
    ridge = Ridge()
    assert not ridge.coefficients().any()
    ridge.add(seen[:2], wanted[:2], torch.ones(2, 3))
    ridge.add(seen[2:], wanted[2:], torch.full((2, 3), 3.0))
    torch.testing.assert_close(ridge.coefficients(), torch.tensor([[0.5, -0.25]] * 3), atol=2e-3, rtol=0)


# --- the source


def test_a_source_like_any_other_that_is_made_once(toy: Toy) -> None:
    model = find_model("thumbnail")
    assert make_neighbours(project_of(toy), model, k=3)
    first = stored(toy, "oof")
    assert [len(values) for values in first] == [photo_row.scored for photo_row in toy.index.train]
    assert len(stored(toy, "test")) == 4
    assert not make_neighbours(project_of(toy), model, k=3)
    assert make_neighbours(project_of(toy), model, k=3, force=True)
    for one, other in zip(first, stored(toy, "oof"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert NAME in ok(f"-w {toy.workspace.root} sources")


def with_changed(toy: Toy, photos: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> Project:
    """The project, as if these training photos were others under their holes."""
    targets = np.array(toy.pack.train_target)
    for photo in photos:
        hole = toy.index.train[photo].hole
        targets[photo][hole] = change(targets[photo])[hole]
    project = project_of(toy)
    object.__setattr__(project, "pack", dataclasses.replace(toy.pack, train_target=targets))
    return project


def test_nothing_of_a_folds_own_truth_reaches_its_predictions(toy: Toy) -> None:
    model = find_model("thumbnail")
    make_neighbours(project_of(toy), model, k=3)
    before: dict[Any, list[np.ndarray]] = {split: stored(toy, split) for split in ("oof", "test")}
    parts = Project(toy.workspace).predictions.read(NAME, "test").parts
    of_fold = np.array(parts[1].mapped())
    own = toy.folds.valid_positions(1)
    make_neighbours(with_changed(toy, own, lambda photo: 255 - photo), model, k=3, force=True)
    after = stored(toy, "oof")
    for photo in own:
        np.testing.assert_array_equal(after[photo], before["oof"][photo])
    parts = Project(toy.workspace).predictions.read(NAME, "test").parts
    np.testing.assert_array_equal(np.array(parts[1].mapped()), of_fold)
    others = [photo for photo in range(15) if photo not in own]
    assert any((after[photo] != before["oof"][photo]).any() for photo in others)  # they do learn from it


def test_photos_with_a_twin_in_another_light_gain(tmp_path: Path) -> None:
    """Three scenes, each seen many times with grain: a neighbour shows what is hidden."""
    toy = make_toy_workspace(tmp_path, photos=15, test=4, k=3)
    rng, targets, images = np.random.default_rng(0), np.array(toy.pack.train_target), np.array(toy.pack.train_image)
    scenes = [np.kron(rng.uniform(0, 255, (8, 8, 3)), np.ones((4, 4, 1))) for _ in range(3)]
    for photo, photo_row in enumerate(toy.index.train):
        scene = scenes[photo % 3] * rng.uniform(0.6, 1.0) + rng.normal(0, 3, (32, 32, 3))
        targets[photo] = np.clip(scene, 0, 255)
        images[photo] = np.where(photo_row.hole[..., None], 0, targets[photo])
    project = project_of(toy)
    changed = dataclasses.replace(toy.pack, train_target=targets, train_image=images)
    object.__setattr__(project, "pack", changed)
    make_neighbours(project, find_model("thumbnail"), k=3)
    ours = Project(toy.workspace).predictions.read(NAME, "oof")
    fill = Project(toy.workspace).predictions.read("fractional", "oof")
    errors = []
    for source in (ours, fill):
        truth = [
            targets[photo][scored_pixels(photo_row.boxes)] / 255 for photo, photo_row in enumerate(toy.index.train)
        ]
        errors.append(np.mean([np.square(source.values(i) - one).mean() for i, one in enumerate(truth)]) ** 0.5)
    assert errors[0] < 0.9 * errors[1], errors


def test_two_folds_and_near_duplicates_are_enough(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path, photos=8, test=2, k=2, duplicates=3)
    make_neighbours(project_of(toy), find_model("thumbnail"))
    assert len(stored(toy, "oof")) == 8


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--k 0", "--k 0: at least one"),
        ("--as harmonic", "name of a fill"),
        ("--as a/b", "cannot be a file name"),
        ("--as good", "good is the name of an imported source"),
        ("--k 2", "another encoder or k"),
    ],
)
def test_what_cannot_be_is_one_line(line: str, said: str, toy: Toy) -> None:
    write_toy_source(toy, "good", recipe={"kind": "import"})
    make_neighbours(project_of(toy), find_model("thumbnail"), k=3)
    done = kit(f"-w {toy.workspace.root} clip neighbours {line}")
    assert done.is_one_error_line and said in done.err, done.err


def test_refusals_are_of_the_right_kind(toy: Toy) -> None:
    with pytest.raises(UsageError):
        make_neighbours(project_of(toy), find_model("thumbnail"), k=0)
    write_toy_source(toy, "good", by_fold=True, recipe={"kind": "experiment"})
    with pytest.raises(UsageError):
        make_neighbours(project_of(toy), find_model("thumbnail"), name="good", force=True)
    make_neighbours(project_of(toy), find_model("thumbnail"), k=3)
    with pytest.raises(Mismatch):
        make_neighbours(project_of(toy), find_model("thumbnail"), k=2)
