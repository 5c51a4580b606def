"""Losses against numpy and against their formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from kit.losses import discriminator_loss, generator_adversarial_loss, hole_l1_loss, hole_mse_loss

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
def test_pixel_loss_is_the_weighted_mean_over_hidden_pixels(name: str) -> None:
    loss, error = PIXEL[name]
    predicted, target, hole = some()
    difference = error((predicted - target).numpy().astype(np.float64))
    expected = np.average(difference, weights=np.broadcast_to(hole.numpy(), difference.shape))
    assert float(loss(predicted, target, hole)) == pytest.approx(expected, rel=1e-5)


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
