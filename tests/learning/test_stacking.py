"""Stacks: small networks that blend beyond linear, nested by fold, stored like any source."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from support.toy import Toy, make_toy_workspace, noisy, write_toy_source

from kit.competitions import to_score_space
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import KitError, Mismatch, MissingStep, PredictionsError, UsageError
from kit.imaging.holes import scored_pixels
from kit.learning.stacking import StackSettings, stack_name, stack_recipe, train_stack
from kit.learning.stacking.inputs import open_inputs
from kit.learning.stacking.network import StackNetwork, Views
from kit.learning.stacking.train import new_network, stack_loss

SMALL = StackSettings(size=16, width=16, levels=2, maps=False, epochs=1, batch_size=8)
MEMBERS = ("left", "right")


pytestmark = pytest.mark.toy(  # two members, one of them made fold by fold
    sources=[
        {"name": "left", "noise": 0.05, "seed": 1, "recipe": {"kind": "import", "name": "left"}},
        {"name": "right", "noise": 0.08, "seed": 2, "by_fold": True},
    ],
)


def even(toy: Toy, members: Sequence[str] = MEMBERS) -> np.ndarray:
    """The plain mean under each fold's network."""
    return np.full((toy.folds.k, len(members)), 1 / len(members))


def project_of(toy: Toy) -> Project:
    """The toy's parts as a project: a test may have changed its pack."""
    project = Project(toy.workspace)
    project.__dict__.update(index=toy.index, pack=toy.pack, folds=toy.folds)
    return project


def stacked(toy: Toy, members: Sequence[str] = MEMBERS, base: np.ndarray | None = None, **options: object) -> str:
    """`train_stack` with settings for a second's work."""
    options = {"settings": SMALL, "device": "cpu", **options}
    base = even(toy, members) if base is None else base
    return train_stack(project_of(toy), members, base, **options)  # type: ignore[arg-type]


def read(toy: Toy, name: str, split: str = "oof") -> Predictions:
    """A source's predictions."""
    return project_of(toy).predictions.read(name, split)  # type: ignore[arg-type]


def values(toy: Toy, name: str, split: str = "oof") -> list[np.ndarray]:
    """Each photo's values."""
    found = read(toy, name, split)
    return [found.values(photo) for photo in range(len(found.counts))]


def score_error(toy: Toy, photo: int, predicted: np.ndarray) -> np.ndarray:
    """Errors of one training photo in score space, `(n, 3)`."""
    truth = toy.pack.train_target[photo][scored_pixels(toy.index.train[photo].boxes)] / 255.0
    estimated_range, value_range = toy.pack.train_estimated_range[photo], toy.pack.train_value_range[photo]
    return to_score_space(predicted, estimated_range) - to_score_space(truth, value_range)


def rmse(toy: Toy, predicted: Sequence[np.ndarray]) -> float:
    """Over the training photos, as blends are scored."""
    errors = np.concatenate([score_error(toy, photo, one) for photo, one in enumerate(predicted)])
    return float(np.sqrt((errors**2).mean()))


def prediction_bytes(toy: Toy, name: str) -> dict[str, bytes]:
    """Every file of values of a source."""
    folder = toy.workspace.predictions / name
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.npy"))}


# what it computes


@pytest.mark.parametrize("maps", [False, True])
def test_an_untrained_stack_is_the_linear_blend(toy: Toy, maps: bool) -> None:
    base = np.array([[0.3, 0.7], [1.2, -0.2], [0.0, 1.0]])
    frozen = dataclasses.replace(SMALL, learning_rate=1e-30, weight_decay=0.0, maps=maps)
    name = stacked(toy, base=base, settings=frozen)
    left, right, found = values(toy, "left"), values(toy, "right"), values(toy, name)
    for photo, fold in enumerate(toy.folds.fold):
        linear = np.clip(left[photo] * base[fold, 0] + right[photo] * base[fold, 1], 0, 1)
        assert np.abs(found[photo] - linear.astype(np.float16)).max() <= 1e-3  # one step of float16
    left, right, found = (values(toy, one, "test") for one in (*MEMBERS, name))
    for photo in range(len(toy.truth)):
        folds = [np.clip(left[photo] * a + right[photo] * b, 0, 1) for a, b in base]
        assert np.abs(found[photo] - np.mean(folds, axis=0)).max() < 1e-3


@pytest.mark.parametrize("maps", [False, True])
def test_a_new_network_gives_zero_and_a_flipped_view_gives_the_flipped_residual_only_if_it_learnt_so(
    maps: bool,
) -> None:
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL, maps=maps)
    network = StackNetwork(3, settings).eval()
    views = Views(
        torch.rand(2, 3, 16, 16), torch.randn(2, 3, 3, 16, 16), torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    )
    output = network(views)
    assert output.shape == (2, 6 if maps else 3, 8, 8)
    assert not output.any()
    twice = views.flipped(torch.tensor([True, True])).flipped(torch.tensor([True, True]))
    assert torch.equal(twice.deviations, views.deviations) and torch.equal(twice.blend, views.blend)


def test_a_network_sees_brightness_and_contrast_taken_away(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = StackNetwork(2, SMALL).eval()
    torch.nn.init.normal_(network.head.weight)
    blend, deviations = torch.rand(1, 3, 16, 16), torch.randn(1, 2, 3, 16, 16)
    hole = torch.ones(1, 1, 16, 16)
    plain = network(Views(blend, deviations, hole, hole))
    half = network(Views(blend * 0.5 + 0.3, deviations * 0.5, hole, hole))
    assert torch.allclose(half, plain * 0.5, rtol=0.1, atol=0.02)


def cue_predictor(bright: bool, noise: float = 0.15) -> Callable[..., np.ndarray]:
    """A member that is good in bright photos, or in dark ones, and badly noisy in the others."""

    def predict(split: str, photo: int, truth: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng([bright, split == "test", photo])
        good = (truth[:, 0].mean() > truth[:, 2].mean()) == bright
        return truth + rng.normal(0, 0.01 if good else noise, 3)

    return predict


def tint(toy: Toy) -> Toy:
    """Photos that are warm or cold all over: what a member is good at can be seen around the holes."""
    warm = np.random.default_rng(0).random(len(toy.index.train) + len(toy.index.test)) < 0.5
    shift = np.where(warm[:, None], [40, 0, -40], [-40, 0, 40])[:, None, None]
    n = len(toy.index.train)
    target = np.clip(toy.pack.train_target * 0.6 + 50 + shift[:n], 0, 255).astype(np.uint8)
    truth = np.clip(toy.truth * 0.6 + 50 + shift[n:], 0, 255).astype(np.uint8)
    hole = np.stack([photo_row.hole for photo_row in toy.index.train])[..., None]
    test_hole = np.stack([photo_row.hole for photo_row in toy.index.test])[..., None]
    value_range = np.stack([toy.layout.value_range(photo, None) for photo in target])
    pack = dataclasses.replace(
        toy.pack,
        train_target=target,
        train_image=np.where(hole, 0, target).astype(np.uint8),
        test_image=np.where(test_hole, 0, truth).astype(np.uint8),
        train_value_range=value_range,
        train_estimated_range=value_range,
    )
    return dataclasses.replace(toy, pack=pack, truth=truth)


def test_which_member_is_right_is_seen_from_the_photo_around(tmp_path: Path) -> None:
    toy = tint(make_toy_workspace(tmp_path, photos=72, test=2, k=2))
    write_toy_source(toy, "warm", predict=cue_predictor(True))
    write_toy_source(toy, "cold", predict=cue_predictor(False))
    members = ["cold", "warm"]
    # the cue is a colour, so the colours keep their order
    plain = {"shrink": 1.0, "dropout": 0.0, "member_dropout": 0.0, "permute": False, "flip": False}
    settings = dataclasses.replace(SMALL, maps=True, epochs=8, learning_rate=2e-2, ema=0.8, **plain)
    name = stacked(toy, members, settings=settings)
    cold, warm = (values(toy, one) for one in members)
    every = [rmse(toy, [a * x + b * (1 - x) for a, b in zip(cold, warm, strict=True)]) for x in np.linspace(0, 1, 21)]
    assert rmse(toy, values(toy, name)) < 0.7 * min(every)


@pytest.mark.parametrize("maps", [False, True])
def test_the_loss_of_a_new_network_is_the_linear_blends_error_in_score_space(toy: Toy, maps: bool) -> None:
    settings = dataclasses.replace(SMALL, size=32, maps=maps)
    base = np.array([0.4, 0.6])
    folder = toy.workspace.root / "inputs"
    inputs = open_inputs(project_of(toy), MEMBERS, folder, settings.size)["oof"]
    # where boxes overlap, the toy's members say two things of one pixel
    photos = np.array([n for n, one in enumerate(toy.index.train) if one.hole.sum() == one.scored])
    network = new_network(2, settings, 0, torch.device("cpu"))
    scale = torch.from_numpy(inputs.scale[photos]).float()
    left, right = values(toy, "left"), values(toy, "right")
    errors = [score_error(toy, photo, left[photo] * 0.4 + right[photo] * 0.6) for photo in photos]
    for draws in (torch.zeros, torch.ones, torch.rand):  # mirrored or not, in all orders of the channels
        drawn = draws(len(photos), 4) * 0.999
        stored = inputs.read(photos)
        loss = stack_loss(network, stored, torch.from_numpy(base).float(), scale, drawn, settings).item()
        assert loss == pytest.approx(np.mean([np.mean(one**2) for one in errors]), rel=2e-3)


# what it may see


def test_a_photo_is_never_predicted_by_a_network_that_saw_its_truth(toy: Toy) -> None:
    name = stacked(toy)
    before = values(toy, name)
    fold = 1
    target = np.array(toy.pack.train_target)
    hidden = toy.folds.valid_positions(fold)
    target[hidden] = 255 - target[hidden]
    other = dataclasses.replace(toy, pack=dataclasses.replace(toy.pack, train_target=target))
    assert stacked(other, force=True) == name
    after = values(toy, name)
    changed = np.array([not np.array_equal(a, b) for a, b in zip(before, after, strict=True)])
    assert not changed[hidden].any()
    assert changed[toy.folds.train_positions(fold)].all()


def test_nothing_depends_on_what_lies_under_the_holes(toy: Toy) -> None:
    name = stacked(toy)
    before = prediction_bytes(toy, name)
    rng = np.random.default_rng(0)
    images = {}
    for field, photo_rows in (("train_image", toy.index.train), ("test_image", toy.index.test)):
        image = np.array(getattr(toy.pack, field))
        hole = np.stack([photo_row.hole for photo_row in photo_rows])
        image[hole] = rng.integers(0, 256, (int(hole.sum()), 3))
        images[field] = image
    stacked(dataclasses.replace(toy, pack=dataclasses.replace(toy.pack, **images)), force=True)
    assert prediction_bytes(toy, name) == before


# what is on disk


def test_a_stack_is_a_source_with_a_recipe(toy: Toy) -> None:
    name = stacked(toy)
    assert re.fullmatch(r"stack-[0-9a-f]{8}", name)
    recipe = stack_recipe(project_of(toy), MEMBERS, even(toy), settings=SMALL)
    assert stack_name(recipe) == name
    for split in ("oof", "test"):
        for fold in range(toy.folds.k):
            manifest = project_of(toy).predictions.manifest(name, split, fold)  # type: ignore[arg-type]
            assert manifest is not None and manifest["recipe"] == recipe
            assert manifest["made_by"] == "kit blend --stack"
    assert recipe["kind"] == "stack"
    assert recipe["members"] == {one: [read(toy, one).digest, read(toy, one, "test").digest] for one in MEMBERS}
    folder = toy.workspace.run(name, 0)
    assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors", "stack.json"]
    assert not (toy.workspace.runs / name / "inputs").exists()


def test_the_order_of_members_and_the_last_digits_of_weights_make_no_difference(toy: Toy) -> None:
    base = np.array([[0.25, 0.75], [0.5, 0.5], [1.5, -0.5]])
    project = project_of(toy)
    one = stack_recipe(project, MEMBERS, base)
    assert one == stack_recipe(project, MEMBERS[::-1], base[:, ::-1] + np.array([1e-12, -1e-12]))
    assert np.array_equal(np.sum(one["base"], axis=1), np.ones(3))
    assert one != stack_recipe(project, MEMBERS, base, seed=1)
    assert one != stack_recipe(project, MEMBERS, base[::-1])


def test_same_seed_same_bytes_and_another_seed_other_bytes(toy: Toy) -> None:
    name = stacked(toy)
    before = prediction_bytes(toy, name)
    assert stacked(toy, force=True) == name
    assert prediction_bytes(toy, name) == before
    other = prediction_bytes(toy, stacked(toy, seed=1))
    assert all(other[part] != data for part, data in before.items())


def test_what_is_done_is_skipped_and_what_is_missing_is_made_again(toy: Toy) -> None:
    name = stacked(toy)
    before = prediction_bytes(toy, name)
    folder = toy.workspace.predictions / name
    stamps = {path: path.stat().st_mtime_ns for path in toy.workspace.runs.rglob("*.*")}
    assert stacked(toy) == name
    assert {path: path.stat().st_mtime_ns for path in toy.workspace.runs.rglob("*.*")} == stamps
    (folder / "oof" / "fold_1.json").unlink()  # killed before it had predicted: trained weights are kept
    stacked(toy)
    assert {path: path.stat().st_mtime_ns for path in toy.workspace.runs.rglob("*.*")} == stamps
    (toy.workspace.run(name, 2) / "model.safetensors").write_bytes(b"damaged")
    (folder / "test" / "fold_2.npy").unlink()
    stacked(toy)
    assert prediction_bytes(toy, name) == before


class Killed(Exception):
    """Stands in for a kill."""


@pytest.mark.parametrize("after", [1, 4])
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    settings = dataclasses.replace(SMALL, epochs=3)
    name = stacked(toy, settings=settings)
    before = prediction_bytes(toy, name)
    weights = toy.workspace.run(name, 1).joinpath("model.safetensors").read_bytes()
    import kit.learning.stacking.train as training

    saved, calls = training.save_checkpoint, []

    def save_and_die(*arguments: object) -> None:
        saved(*arguments)  # type: ignore[arg-type]
        calls.append(arguments)
        if len(calls) == after:
            raise Killed

    monkeypatch.setattr(training, "save_checkpoint", save_and_die)
    with pytest.raises(Killed):
        stacked(toy, settings=settings, force=True)
    monkeypatch.undo()
    stacked(toy, settings=settings, force=False)
    # the old predictions are whole and of the same recipe, so they still count as done
    assert prediction_bytes(toy, name) == before
    for path in (toy.workspace.predictions / name).rglob("*.json"):
        path.unlink()
    stacked(toy, settings=settings)
    assert prediction_bytes(toy, name) == before
    assert toy.workspace.run(name, 1).joinpath("model.safetensors").read_bytes() == weights


def test_a_changed_member_makes_another_stack(toy: Toy) -> None:
    name = stacked(toy)
    write_toy_source(toy, "left", noise=0.06, seed=5)
    assert stacked(toy) != name


def test_a_name_of_its_own(toy: Toy) -> None:
    assert stacked(toy, name="deep") == "deep"
    assert stacked(toy, name="deep") == "deep"
    with pytest.raises(Mismatch, match=r"deep is a stack of other members, weights or settings\. .*--force"):
        stacked(toy, name="deep", seed=1)
    assert stacked(toy, name="deep", seed=1, force=True) == "deep"
    with pytest.raises(UsageError, match=r"left is the name of .*\. Store the stack under another name"):
        stacked(toy, name="left", force=True)


# what is refused


def test_bad_members_and_weights(toy: Toy) -> None:
    write_toy_source(toy, "half", by_fold=True, present=[0, 2])
    with pytest.raises(MissingStep, match="half lacks the oof predictions of folds 1"):
        stacked(toy, ["left", "half"])
    for members in (["left"], ["left", "left"], []):
        with pytest.raises(UsageError, match="at least two different sources"):
            stacked(toy, members, base=np.ones((3, len(members))))
    with pytest.raises(UsageError, match=r"weights of shape \(3, 2\), got \(2,\)"):
        stacked(toy, base=np.array([0.5, 0.5]))
    with pytest.raises(UsageError, match="sum to one"):
        stacked(toy, base=np.full((3, 2), 0.4))
    with pytest.raises(UsageError, match="finite"):
        stacked(toy, base=np.full((3, 2), np.nan))
    with pytest.raises(UsageError, match="There is no source 'nothing'"):
        stacked(toy, ["left", "nothing"])
    assert not toy.workspace.runs.exists() and "stack" not in " ".join(project_of(toy).predictions.sources())


def test_bad_settings(toy: Toy) -> None:
    with pytest.raises(UsageError, match="size of 64 is larger than a photo's side of 32"):
        stacked(toy, settings=StackSettings(size=64))
    for wrong in ({"size": 18}, {"epochs": 0}, {"dropout": 1.0}, {"learning_rate": float("nan")}, {"width": -1}):
        with pytest.raises(UsageError, match="A stack's"):
            StackSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--device nowhere"):
        stacked(toy, device="nowhere")


def test_a_member_with_values_that_are_no_numbers(toy: Toy) -> None:
    path = toy.workspace.source("left", "oof") / "all.npy"
    array = np.lib.format.open_memmap(path, "r+")
    array[100] = np.nan
    array.flush()
    with pytest.raises(PredictionsError, match="not finite"):
        stacked(toy)
    assert not [path for path in toy.workspace.runs.rglob("*") if path.is_file()]


def test_a_training_that_diverges_is_said_in_one_line(toy: Toy) -> None:
    with pytest.raises(KitError, match=r"loss is no longer finite in epoch \d") as caught:
        stacked(toy, settings=dataclasses.replace(SMALL, learning_rate=1e30, epochs=3, clip=1e30))
    assert "\n" not in str(caught.value)
    assert not any("stack" in one for one in project_of(toy).predictions.sources())


def test_noise_alone_teaches_little(toy: Toy) -> None:
    write_toy_source(toy, "third", predict=noisy(0.05, seed=9))
    members = ["left", "right", "third"]
    name = stacked(toy, members)
    linear = [sum(parts) / 3 for parts in zip(*(values(toy, one) for one in members), strict=True)]
    assert rmse(toy, values(toy, name)) < 1.1 * rmse(toy, linear)  # type: ignore[arg-type]
