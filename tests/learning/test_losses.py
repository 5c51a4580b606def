"""Losses against numpy and against their formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from kit.learning.losses import (
    ADVERSARIAL_KINDS,
    discriminator_loss,
    feature_matching_loss,
    generator_adversarial_loss,
    hole_l1_loss,
    hole_mse_loss,
)

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
PIXEL = {"mse": (hole_mse_loss, np.square), "l1": (hole_l1_loss, np.abs)}


def some(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two pictures and a hole with whole, part and no shares."""
    generator = torch.Generator().manual_seed(seed)
    predicted, target = torch.rand(2, 4, 3, 8, 8, generator=generator)
    hole = torch.zeros(4, 1, 8, 8)
    hole[:, :, 2:6, 1:5] = 1.0
    hole[:, :, 6, 1:5] = 0.25
    hole[1, :, 0, 0] = 1.0
    return predicted, target, hole


@pytest.mark.parametrize("name", PIXEL)
def test_pixel_loss_is_the_mean_over_photos_of_the_weighted_mean_over_hidden_pixels(
    name: str, device: torch.device
) -> None:
    loss, error = PIXEL[name]
    predicted, target, hole = some()
    difference = error((predicted - target).numpy().astype(np.float64))
    weights = np.broadcast_to(hole.numpy(), difference.shape)
    each = [np.average(one, weights=weight) for one, weight in zip(difference, weights, strict=True)]
    there = [tensor.to(device) for tensor in (predicted, target, hole)]
    assert float(loss(*there)) == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("name", PIXEL)
def test_two_half_batches_average_to_the_whole_even_where_a_photo_hides_nothing(name: str) -> None:
    loss, _ = PIXEL[name]
    predicted, target, hole = some()
    hole[0] = 0
    halves = [float(loss(predicted[part], target[part], hole[part])) for part in (slice(0, 2), slice(2, 4))]
    assert float(loss(predicted, target, hole)) == pytest.approx(sum(halves) / 2, rel=1e-6)


@pytest.mark.parametrize("name", PIXEL)
def test_a_photo_counts_alike_whatever_its_hole_and_the_scale_of_its_weight(name: str) -> None:
    loss, _ = PIXEL[name]
    target, hole = torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    hole[0], hole[1, :, 0, 0] = 1.0, 0.01
    predicted = torch.stack([torch.ones(3, 8, 8), torch.full((3, 8, 8), 2.0)])
    assert float(loss(predicted, target, hole)) == pytest.approx({"mse": 2.5, "l1": 1.5}[name], rel=1e-6)


@pytest.mark.parametrize("name", PIXEL)
def test_pixel_loss_does_not_see_known_pixels(name: str) -> None:
    loss, _ = PIXEL[name]
    predicted, target, hole = some()
    elsewhere = torch.where(hole == 0, torch.full_like(predicted, 1e6), predicted)
    assert torch.equal(loss(elsewhere, target, hole), loss(predicted, target, hole))


@pytest.mark.parametrize("name", PIXEL)
def test_pixel_loss_is_zero_at_equality_and_for_no_hole(name: str) -> None:
    loss, _ = PIXEL[name]
    predicted, target, hole = some()
    assert float(loss(target, target, hole)) == 0.0
    assert float(loss(predicted, target, torch.zeros_like(hole))) == 0.0


@pytest.mark.parametrize("name", PIXEL)
def test_pixel_loss_has_no_gradient_outside_the_hole(name: str) -> None:
    loss, _ = PIXEL[name]
    predicted, target, hole = some()
    predicted.requires_grad_(True)
    loss(predicted, target, hole).backward()
    inside = (hole > 0).expand_as(predicted)
    assert predicted.grad is not None
    assert not predicted.grad[~inside].any()
    assert predicted.grad[inside].all()


@pytest.mark.parametrize("name", PIXEL)
def test_pixel_loss_does_not_depend_on_the_order_of_photos(name: str) -> None:
    loss, _ = PIXEL[name]
    predicted, target, hole = some()
    turned = [x.flip(0) for x in (predicted, target, hole)]
    assert float(loss(*turned)) == pytest.approx(float(loss(predicted, target, hole)), rel=1e-6)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_adversarial_losses_are_the_papers_logarithms() -> None:
    real, fake = torch.randn(2, 3, 1, 6, 6, generator=torch.Generator().manual_seed(1)) * 3
    on_real, on_fake = (sigmoid(x.double().numpy()) for x in (real, fake))
    expected = -(np.log(on_real).mean() + np.log(1 - on_fake).mean()) / 2
    assert float(discriminator_loss(real, fake)) == pytest.approx(expected, rel=1e-5)
    assert float(generator_adversarial_loss(fake)) == pytest.approx(-np.log(on_fake).mean(), rel=1e-5)


def test_a_discriminator_that_does_not_know_costs_log_two() -> None:
    unsure = torch.zeros(2, 1, 3, 3)
    assert float(discriminator_loss(unsure, unsure)) == pytest.approx(np.log(2), rel=1e-6)
    assert float(generator_adversarial_loss(unsure)) == pytest.approx(np.log(2), rel=1e-6)


def test_adversarial_losses_stay_finite_for_a_discriminator_that_is_sure() -> None:
    sure = torch.full((2, 1, 3, 3), 1e4)
    assert float(discriminator_loss(sure, -sure)) == 0.0
    assert float(discriminator_loss(-sure, sure)) == pytest.approx(1e4)
    assert float(generator_adversarial_loss(-sure)) == pytest.approx(1e4)


def test_a_fooled_generator_is_pushed_less_than_one_found_out() -> None:
    fake = torch.tensor([-4.0, 0.0, 4.0], requires_grad=True)
    generator_adversarial_loss(fake).backward()
    assert fake.grad is not None
    pushes = fake.grad.abs().tolist()
    assert pushes == sorted(pushes, reverse=True)
    assert (fake.grad < 0).all()


def test_lsgan_and_hinge_are_the_papers_formulas() -> None:
    real, fake = torch.randn(2, 3, 1, 6, 6, generator=torch.Generator().manual_seed(1)) * 2
    r, f = real.double().numpy(), fake.double().numpy()
    squares = (((r - 1) ** 2).mean() + (f**2).mean()) / 2
    margins = (np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean()) / 2
    assert float(discriminator_loss(real, fake, "lsgan")) == pytest.approx(squares, rel=1e-5)
    assert float(generator_adversarial_loss(fake, "lsgan")) == pytest.approx(((f - 1) ** 2).mean() / 2, rel=1e-5)
    assert float(discriminator_loss(real, fake, "hinge")) == pytest.approx(margins, rel=1e-5)
    assert float(generator_adversarial_loss(fake, "hinge")) == pytest.approx(-f.mean(), rel=1e-5)


def test_hinge_has_no_gradient_beyond_the_margin() -> None:
    logits = torch.tensor([-3.0, -0.5, 0.5, 3.0], requires_grad=True)
    discriminator_loss(logits, torch.full((4,), -2.0), "hinge").backward()
    assert logits.grad is not None
    assert (logits.grad < 0).tolist() == [True, True, True, False]


@pytest.mark.parametrize("kind", ADVERSARIAL_KINDS)
def test_two_sides_pull_the_generated_picture_apart(kind: str) -> None:
    fake = torch.zeros(4, requires_grad=True)
    (of_discriminator,) = torch.autograd.grad(discriminator_loss(torch.zeros(4), fake, kind), fake)
    (of_generator,) = torch.autograd.grad(generator_adversarial_loss(fake, kind), fake)
    assert (of_generator < 0).all()
    # least squares at zero: generated patches are where the discriminator wants them
    assert (of_discriminator >= 0).all() and bool(of_discriminator.any()) is (kind != "lsgan")


def test_an_adversarial_loss_of_another_kind_names_the_kinds() -> None:
    with pytest.raises(ValueError, match="bce, lsgan, hinge"):
        discriminator_loss(torch.zeros(1), torch.zeros(1), "wgan")
    with pytest.raises(ValueError, match="bce, lsgan, hinge"):
        generator_adversarial_loss(torch.zeros(1), "wgan")


def test_feature_matching_is_the_mean_over_layers_but_the_logits() -> None:
    real = [torch.zeros(2, 4, 8, 8), torch.ones(2, 8, 4, 4), torch.zeros(2, 1, 3, 3)]
    fake = [torch.full((2, 4, 8, 8), 0.5), torch.full((2, 8, 4, 4), -1.0), torch.full((2, 1, 3, 3), 9.0)]
    assert float(feature_matching_loss(real, fake)) == pytest.approx((0.5 + 2.0) / 2)
    assert float(feature_matching_loss(real, real)) == 0.0


def test_feature_matching_moves_the_generated_picture_only() -> None:
    real, fake = (
        [torch.rand(1, 2, 3, 3, requires_grad=True) for _ in range(3)],
        [torch.rand(1, 2, 3, 3, requires_grad=True) for _ in range(3)],
    )
    feature_matching_loss(real, fake).backward()
    assert all(layer.grad is None for layer in real)
    assert fake[-1].grad is None
    assert all(layer.grad is not None and layer.grad.all() for layer in fake[:-1])
