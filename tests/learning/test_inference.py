"""From a generator to hidden pixels: independent of what is hidden, in order, and scored as the competition scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.toy import SLUG, make_toy_workspace
from torch import nn

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.imaging.holes import scored_pixels
from kit.imaging.images import composite, to_uint8
from kit.learning.experiments import Experiment, experiment
from kit.learning.inference import CHUNK, fold_rmse, predict, prepare_inputs, residuals
from kit.learning.models import build_generator
from kit.learning.models.layers.photo import PhotoGenerator
from kit.learning.training.fit import base_fills

CPU = torch.device("cpu")


def tiny(name: str = "regress", *settings: str) -> Experiment:
    """An experiment whose networks are built, and predict, in no time."""
    common = [
        "encoder=tu-test_efficientnet",
        "encoder_weights=none",
        "decoder_channels=16,16,16",
        "base=mean",
        "size=64",
        "width=16",
    ]
    return experiment(name, [*common, "blocks=1", "latent=8", "search_steps=3", *settings])


PAINTERS = {
    "paper-unet": tiny("pix2pix-paper"),
    "resnet": tiny("cyclegan"),
    "resnet of pairs": tiny("pix2pix", "architecture=resnet"),
    "dcgan": tiny("dcgan"),
}


def painter(one: Experiment) -> nn.Module:
    """A network that paints the whole photo, and strong colours."""
    torch.manual_seed(1)
    made = build_generator(one)
    for weights in made.parameters():
        weights.data *= 4
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A toy competition; not to be written to, but for its fills."""
    return Project(make_toy_workspace(tmp_path_factory.mktemp("inference"), photos=24, test=4).workspace)


@pytest.fixture(scope="module")
def generator() -> nn.Module:
    """A generator whose residual is not zero."""
    torch.manual_seed(0)
    generator = build_generator(tiny())
    nn.init.normal_(generator.network.network.segmentation_head[0].weight, std=0.3)
    return generator.eval()


def predicted(
    project: Project,
    generator: nn.Module,
    one: Experiment,
    images: np.ndarray | None = None,
    positions: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Predictions of all training photos, or of some."""
    images = project.pack.train_image if images is None else images
    positions = np.arange(len(images)) if positions is None else positions
    inputs = prepare_inputs(one, images, project.index.train, positions, base_fills(project, one)["oof"])
    return list(predict(generator, one, inputs, CPU))


@pytest.mark.parametrize("size", [64, 128])
def test_predictions_do_not_depend_on_what_is_under_the_holes(
    size: int, project: Project, generator: nn.Module
) -> None:
    one = tiny("regress", f"size={size}")
    other = np.array(project.pack.train_image)
    for image, photo_row in zip(other, project.index.train, strict=True):
        image[photo_row.hole] = np.random.default_rng(1).integers(0, 256, image[photo_row.hole].shape)
    assert not np.array_equal(other, project.pack.train_image)
    pairs = zip(predicted(project, generator, one), predicted(project, generator, one, other), strict=True)
    assert all(np.array_equal(first, second) for first, second in pairs)


def test_known_pixels_count(project: Project, generator: nn.Module) -> None:
    other = np.array(project.pack.train_image) // 2
    pairs = zip(predicted(project, generator, tiny()), predicted(project, generator, tiny(), other), strict=True)
    assert all(not np.array_equal(first, second) for first, second in pairs)


def test_a_composite_of_predictions_keeps_known_pixels_bit_for_bit(project: Project, generator: nn.Module) -> None:
    for position, values in enumerate(predicted(project, generator, tiny())):
        photo_row, image = project.index.train[position], project.pack.train_image[position]
        picture = np.zeros_like(image)
        picture[scored_pixels(photo_row.boxes)] = to_uint8(values)
        whole = composite(picture, image, photo_row.hole)
        assert np.array_equal(whole[~photo_row.hole], image[~photo_row.hole])
        assert np.array_equal(whole[~photo_row.hole], project.pack.train_target[position][~photo_row.hole])
        assert not np.array_equal(whole[photo_row.hole], image[photo_row.hole])


def test_there_is_one_value_in_range_for_each_scored_pixel(project: Project, generator: nn.Module) -> None:
    found = predicted(project, generator, tiny())
    assert [len(values) for values in found] == [photo_row.scored for photo_row in project.index.train]
    assert all(values.dtype == np.float32 and values.min() >= 0 and values.max() <= 1 for values in found)


def test_a_pixel_in_both_boxes_has_one_value_twice(project: Project, generator: nn.Module) -> None:
    position = 0  # its boxes overlap
    values = predicted(project, generator, tiny())[position]
    seen: dict[tuple[int, int], np.ndarray] = {}
    twice = 0
    for row, column, value in zip(*scored_pixels(project.index.train[position].boxes), values, strict=True):
        if (row, column) in seen:
            twice += 1
            assert np.array_equal(seen[row, column], value)
        seen[row, column] = value
    assert twice > 0


def test_an_untrained_generator_predicts_the_base_fill(project: Project) -> None:
    fill = base_fills(project, tiny())["oof"]
    for position, values in enumerate(predicted(project, build_generator(tiny()), tiny())):
        assert np.array_equal(values, fill.values(position))


def test_photos_are_predicted_alike_alone_and_among_others(project: Project, generator: nn.Module) -> None:
    fill = base_fills(project, tiny())["oof"]
    few = prepare_inputs(tiny(), project.pack.train_image, project.index.train, np.array([17, 3]), fill)
    every = predicted(project, generator, tiny())
    for values, position in zip(predict(generator, tiny(), few, CPU), (17, 3), strict=True):
        np.testing.assert_allclose(values, every[position], atol=1e-5)


def test_more_photos_than_fit_into_one_chunk_keep_their_order(
    project: Project, generator: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CHUNK > 5
    every = predicted(project, generator, tiny())
    monkeypatch.setattr("kit.learning.inference.CHUNK", 5)
    for first, second in zip(every, predicted(project, generator, tiny()), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


def test_the_residual_of_a_mirrored_photo_is_the_mirrored_residual(generator: nn.Module) -> None:
    filled, hole = torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64)
    both = residuals(generator, tiny(), filled, hole)
    mirrored = residuals(generator, tiny(), filled.flip(3), hole.flip(3))
    assert torch.allclose(mirrored.flip(3), both, atol=1e-5)
    plain = residuals(generator, tiny("regress", "flip=no"), filled, hole)
    assert not torch.allclose(plain, both, atol=1e-3)


def test_a_constant_residual_is_added_to_every_hidden_pixel(project: Project) -> None:
    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 3, 64, 64), 0.05)

    fill = base_fills(project, tiny())["oof"]
    for position, values in enumerate(predicted(project, Constant(), tiny())):
        np.testing.assert_allclose(values, np.clip(fill.values(position) + 0.05, 0, 1), atol=1e-6)


def test_inputs_hold_the_fill_in_the_hole_and_its_share(project: Project) -> None:
    fill = base_fills(project, tiny())["oof"]
    inputs = prepare_inputs(tiny(), project.pack.train_image, project.index.train, np.array([4]), fill)
    photo_row = project.index.train[4]
    # 32 pixels are shown on 64: each becomes four
    photo = inputs.filled[0, :, ::2, ::2].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(photo[scored_pixels(photo_row.boxes)], fill.values(4), atol=1e-6)
    known = np.asarray(project.pack.train_target[4])[~photo_row.hole] / np.float32(255)
    np.testing.assert_allclose(photo[~photo_row.hole], known, atol=1e-6)
    assert np.array_equal(inputs.hole[0, 0, 1::2, 1::2].numpy() == 1, photo_row.hole)


def test_fold_rmse_is_the_competitions_score(project: Project, generator: nn.Module) -> None:
    positions = project.folds.valid_positions(1)
    fill = base_fills(project, tiny())["oof"]
    inputs = prepare_inputs(tiny(), project.pack.train_image, project.index.train, positions, fill)
    every = predicted(project, generator, tiny())
    errors = []
    for position in positions:
        target = np.asarray(project.pack.train_target[position]).astype(np.float64) / 255
        low, high = target.min(axis=(0, 1)), target.max(axis=(0, 1))
        guess_low, guess_high = project.pack.train_estimated_range[position]
        for place, (row, column) in enumerate(zip(*scored_pixels(project.index.train[position].boxes), strict=True)):
            truth = (target[row, column] - low) / (high - low)
            errors.append((every[position][place] - guess_low) / (guess_high - guess_low) - truth)
    expected = np.sqrt(np.mean(np.square(errors)))
    assert fold_rmse(generator, tiny(), inputs, project.pack, CPU) == pytest.approx(expected, rel=1e-5)


def test_fold_rmse_does_not_change_the_generator(project: Project, generator: nn.Module) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    fill = base_fills(project, tiny())["oof"]
    inputs = prepare_inputs(tiny(), project.pack.train_image, project.index.train, np.arange(4), fill)
    fold_rmse(generator.train(), tiny(), inputs, project.pack, CPU)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_a_project_opened_again_predicts_the_same(project: Project, generator: nn.Module) -> None:
    again = Project(Workspace(Path(project.workspace.root), SLUG))
    pairs = zip(predicted(project, generator, tiny()), predicted(again, generator, tiny()), strict=True)
    assert all(np.array_equal(first, second) for first, second in pairs)


# networks that paint the whole photo

FEW = np.array([0, 3, 4, 17])  # the first two have boxes that overlap


@pytest.mark.parametrize("name", PAINTERS)
def test_a_painters_predictions_are_photos_whatever_is_under_the_holes(name: str, project: Project) -> None:
    one = PAINTERS[name]
    model = painter(one)
    other = np.array(project.pack.train_image)
    for image, photo_row in zip(other, project.index.train, strict=True):
        image[photo_row.hole] = np.random.default_rng(1).integers(0, 256, image[photo_row.hole].shape)
    found = predicted(project, model, one, positions=FEW)
    fill = base_fills(project, one)["oof"]
    for position, values in zip(FEW, found, strict=True):
        assert values.shape == (project.index.train[position].scored, 3) and values.dtype == np.float32
        assert values.min() >= 0 and values.max() <= 1
        assert np.abs(values - fill.values(position)).mean() > 0.01
    pairs = zip(found, predicted(project, model, one, other, FEW), strict=True)
    assert all(np.array_equal(first, second) for first, second in pairs)


@pytest.mark.parametrize("name", PAINTERS)
def test_a_painters_photos_are_predicted_alike_alone_and_among_others(name: str, project: Project) -> None:
    one = PAINTERS[name]
    model = painter(one)
    together = predicted(project, model, one, positions=FEW)
    for position, values in zip(FEW, together, strict=True):
        (alone,) = predicted(project, model, one, positions=np.array([position]))
        np.testing.assert_allclose(alone, values, atol=1e-4)


def test_what_a_painter_paints_is_predicted_where_nothing_is_resized(project: Project) -> None:
    # one colour is the same at any size: residual and fill add up to it but where the fill is sharper than it was seen
    class Grey(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full_like(x[:, :3], 0.2)

    one = tiny("pix2pix-paper", "base=mean")
    for values in predicted(project, PhotoGenerator(Grey()), one, positions=FEW):
        assert np.median(np.abs(values - 0.6)) < 1e-5


def test_the_view_of_a_search_is_not_mirrored(project: Project) -> None:
    seen = []

    class Watching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return torch.zeros_like(x[:, :3])

    for one in (tiny("dcgan"), tiny("pix2pix-paper"), tiny("pix2pix-paper", "flip=no")):
        predicted(project, Watching(), one, positions=FEW)
    assert seen == [4, 4, 4, 4]  # once, twice, once


def test_more_steps_of_a_search_make_other_predictions(project: Project) -> None:
    one, more = tiny("dcgan", "search_steps=0"), tiny("dcgan", "search_steps=5")
    pairs = zip(
        predicted(project, painter(one), one, positions=FEW),
        predicted(project, painter(more), more, positions=FEW),
        strict=True,
    )
    assert all(not np.array_equal(first, second) for first, second in pairs)
