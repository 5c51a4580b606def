"""Semantic inpainting with small generators whose best z is known, and blending that leaves no seam."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from kit.imaging.holes import Box, hole_of
from kit.learning.datasets import network_input
from kit.learning.datasets.base_fill import TOLERANCE
from kit.learning.models.dcgan import DCGANDiscriminator, DCGANGenerator
from kit.learning.models.semantic import CANDIDATES, WINDOW, SemanticInpainter, blend_in, context_weight

SIDE, LATENT = 32, 4
HOLES = ([Box(8, 10, 9, 9)], [Box(0, 0, 9, 9), Box(20, 23, 9, 9)], [Box(12, 4, 9, 9), Box(16, 9, 9, 9)])


class Waves(nn.Module):
    """A smooth photo of a few waves, as strong as z says; every z gives another one."""

    def __init__(self) -> None:
        super().__init__()
        rows, columns = torch.meshgrid(torch.linspace(0, 3, SIDE), torch.linspace(0, 3, SIDE), indexing="ij")
        waves = [torch.sin(rows + 1), torch.cos(columns), torch.sin(rows * columns), torch.cos(rows - columns)]
        tint = torch.tensor([[1.0, 0.5, 0.2], [0.3, 1.0, 0.4], [0.2, 0.6, 1.0], [0.7, 0.7, 0.1]])
        self.waves = nn.Parameter(torch.stack(waves)[:, None] * tint[:, :, None, None])

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.einsum("nk,kchw->nchw", z, self.waves) / 2)


class Brightness(nn.Module):
    """Takes the brighter photo for the truer one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 5 * x.mean((1, 2, 3))


def inpainter(steps: int = 30, prior_weight: float = 0.0, seed: int = 0) -> SemanticInpainter:
    made = SemanticInpainter(Waves(), Brightness(), latent=LATENT, steps=steps, prior_weight=prior_weight, seed=seed)
    return made.eval().requires_grad_(False)


def dcgan(steps: int = 5) -> SemanticInpainter:
    """Real networks, though small, and strong enough to paint something."""
    torch.manual_seed(0)
    generator, discriminator = DCGANGenerator(latent=8, size=SIDE, width=4), DCGANDiscriminator(size=SIDE, width=4)
    for weights in generator.parameters():
        weights.data *= 5
    made = SemanticInpainter(generator, discriminator, latent=8, steps=steps, prior_weight=0.01, seed=0)
    return made.eval().requires_grad_(False)


def holes() -> torch.Tensor:
    return torch.from_numpy(np.stack([hole_of(boxes, SIDE, SIDE) for boxes in HOLES])[:, None]).float()


def truths(count: int = 3, seed: int = 5) -> torch.Tensor:
    """Photos that the waves can make, in [0, 1]."""
    z = torch.randn(count, LATENT, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return (Waves()(z) + 1) / 2


def photos(count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def inpainted(model: nn.Module, filled: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return filled + model(network_input(filled, hole))


# the residual


@pytest.mark.parametrize("make", [inpainter, dcgan])
def test_known_pixels_stay(make: Callable[[], SemanticInpainter]) -> None:
    with torch.no_grad():
        residual = make()(network_input(photos(), holes()))
    known = (holes() == 0).expand_as(residual)
    assert not residual[known].any()
    assert residual[~known].abs().mean() > 0.05


def test_what_is_found_is_blended_in() -> None:
    model = inpainter(steps=3)
    with torch.no_grad():
        found = (model.generator(model.search(photos(), holes())) + 1) / 2
    blended = blend_in(found, photos(), holes())
    assert torch.allclose(inpainted(model, photos(), holes()), blended, atol=1e-5)
    assert not torch.allclose(blended, torch.where(holes() > 0, found, photos()), atol=0.02)


def test_pixels_hidden_in_part_change_in_part() -> None:
    hole = holes() * 0.25
    with torch.no_grad():
        whole = inpainter()(network_input(photos(), holes()))
        part = inpainter()(network_input(photos(), hole))
    assert torch.allclose(part, whole * 0.25, atol=1e-5)


def test_what_was_filled_in_does_not_count_where_it_is_hidden_whole() -> None:
    hole = holes()
    one = truths()
    other = torch.where(hole == 1, photos(), one)
    model = inpainter()
    with torch.no_grad():
        assert torch.equal(model.search(one, hole), model.search(other, hole))
    assert torch.allclose(inpainted(model, one, hole), inpainted(model, other, hole), atol=1e-6)


def test_the_same_input_gives_the_same_result_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    first = inpainted(dcgan(), photos(), holes())
    before = torch.get_rng_state()
    torch.rand(7)
    assert torch.equal(first, inpainted(dcgan(), photos(), holes()))
    torch.set_rng_state(before)
    inpainted(inpainter(), photos(), holes())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [inpainter, dcgan])
def test_photos_searched_together_are_searched_as_each_alone(make: Callable[[], SemanticInpainter]) -> None:
    model, filled = make(), truths()
    every = inpainted(model, filled, holes())
    for number in range(3):
        alone = inpainted(model, filled[number : number + 1], holes()[number : number + 1])
        assert torch.allclose(every[number : number + 1], alone, atol=1e-4)


def test_a_photo_without_a_hole_stays_and_one_without_a_known_pixel_is_painted() -> None:
    hole = torch.stack([torch.zeros(1, SIDE, SIDE), torch.ones(1, SIDE, SIDE)])
    model = inpainter(steps=3)
    result = inpainted(model, photos(2), hole)
    assert torch.equal(result[0], photos(2)[0])
    with torch.no_grad():
        painted = (model.generator(model.search(photos(2), hole))[1] + 1) / 2
    assert torch.allclose(result[1], painted, atol=1e-5)


def test_predicting_changes_no_weight_no_statistic_and_no_mode() -> None:
    model = dcgan().requires_grad_(True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model(network_input(photos(), holes()))
    assert model.training and model.generator.training and model.discriminator.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weights.grad is None for weights in model.parameters())


def test_photos_do_not_change_one_another_though_the_model_is_training() -> None:
    model = dcgan().train()
    assert torch.equal(inpainted(model, photos(), holes()), inpainted(model.eval(), photos(), holes()))


# the search


def context_losses(model: SemanticInpainter, filled: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """The weighted absolute error of each photo after the search."""
    with torch.no_grad():
        generated = model.generator(model.search(filled, hole))
    weight = context_weight(hole)
    error = (generated - (filled * 2 - 1)).abs() * weight
    return error.sum((1, 2, 3)) / weight.sum((1, 2, 3))


@pytest.mark.parametrize("pictures", [truths, photos])
def test_more_steps_do_not_raise_the_context_loss(pictures: Callable[[], torch.Tensor]) -> None:
    losses = [context_losses(inpainter(steps), pictures(), holes()) for steps in (0, 10, 40, 160)]
    assert all((more <= fewer + 1e-6).all() for fewer, more in pairwise(losses))
    assert (losses[-1] < losses[0]).all()


def test_a_photo_that_the_generator_can_make_is_found_again() -> None:
    hidden = holes().expand(-1, 3, -1, -1) == 1
    result, truth = inpainted(inpainter(steps=200), truths(), holes()), truths()
    assert (result - truth)[hidden].abs().mean() < 0.01
    guess = inpainted(inpainter(steps=0), truths(), holes())
    assert (result - truth)[hidden].square().mean() < (guess - truth)[hidden].square().mean() / 10


def test_each_search_starts_at_the_candidate_that_fits_best() -> None:
    model, weight, photo = inpainter(), context_weight(holes()), photos() * 2 - 1
    candidates = torch.randn(CANDIDATES, LATENT, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        generated = model.generator(candidates)
    errors = [
        [float(((one - each).square() * of_each).sum()) for one in generated]
        for each, of_each in zip(photo, weight, strict=True)
    ]
    best = candidates[torch.tensor(errors).argmin(1)]
    with torch.no_grad():
        assert torch.equal(model._best_candidates(photo, weight), best)
        assert torch.equal(inpainter(steps=0).search(photos(), holes()), best)
    assert not torch.equal(inpainter(steps=0, seed=1).search(photos(), holes()), best)


def test_the_discriminators_verdict_pulls_the_search_its_way() -> None:
    with torch.no_grad():
        verdicts = [
            (model := inpainter(60, prior_weight)).discriminator(model.generator(model.search(photos(), holes())))
            for prior_weight in (0.0, 0.3)
        ]
    assert (verdicts[1] > verdicts[0] + 0.1).all()


# how much a known pixel counts


def test_a_known_pixel_counts_by_the_share_of_hidden_ones_around_it() -> None:
    hole = holes()
    hole[0, 0, 20, 20] = 0.1  # hidden in part is hidden
    weight, half = context_weight(hole), WINDOW // 2
    for number, missing in enumerate(hole[:, 0].numpy() > 0):
        for row in range(0, SIDE, 3):
            for column in range(SIDE):
                around = missing[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
                expected = 0.0 if missing[row, column] else around.mean()
                assert float(weight[number, 0, row, column]) == pytest.approx(expected, abs=1e-6)


def test_what_is_hidden_and_what_is_far_away_does_not_count() -> None:
    weight, hole = context_weight(holes()), holes()
    assert not weight[hole > 0].any()
    near = nn.functional.max_pool2d(hole, WINDOW, 1, WINDOW // 2) > 0
    assert not weight[~near].any()
    assert (weight[near & (hole == 0)] > 0).all()
    assert not context_weight(torch.zeros(1, 1, SIDE, SIDE)).any()
    assert not context_weight(torch.ones(1, 1, SIDE, SIDE)).any()


# blending


@pytest.mark.parametrize("shift", [-0.2, -0.03, 0.0, 0.2])
def test_a_photo_that_is_wrong_by_a_constant_is_blended_in_exactly(shift: float) -> None:
    truth = 0.3 + 0.4 * photos()
    shifts = shift * torch.tensor([1.0, -0.5, 0.25])[:, None, None]  # of each channel its own
    blended = blend_in(truth + shifts, torch.where(holes() > 0, 0.0, truth), holes())
    assert torch.allclose(blended, truth, atol=1e-5)


def test_a_photo_that_is_wrong_by_a_gradient_is_blended_in_without_a_seam() -> None:
    # a plane is harmonic: its continuation is exact but for the solver, and holes at the photo's edge
    truth, hole = 0.3 + 0.4 * photos(2), holes()[[0, 2]]
    ramp = torch.linspace(-0.2, 0.2, SIDE)
    wrong = (ramp[:, None] + ramp / 2)[None, None]
    blended = blend_in(truth + wrong, torch.where(hole > 0, 0.0, truth), hole)
    assert torch.allclose(blended, truth, atol=4 * TOLERANCE)
    # pasted as it is, it would be far off
    assert (wrong * hole).abs().max() > 0.1


def test_blending_keeps_the_generated_photos_detail_and_stays_in_range() -> None:
    hole = holes()
    flat, detailed = torch.full((3, 3, SIDE, SIDE), 0.5), 0.4 + 0.2 * photos()
    blended = blend_in(torch.where(hole > 0, detailed, flat), flat, hole)
    assert torch.allclose(blended, torch.where(hole > 0, detailed, flat), atol=1e-5)
    extreme = blend_in(photos() * 3 - 1, photos(seed=1), hole)
    assert float(extreme.min()) >= 0 and float(extreme.max()) <= 1
    assert torch.equal(extreme[(hole == 0).expand_as(extreme)], photos(seed=1)[(hole == 0).expand_as(extreme)])
