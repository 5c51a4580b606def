"""Crops, mirrors, rotations and colours: each alone does what its name says, and moves every channel alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kit.learning.datasets.augment import DRAWS, augment, jitter_colours
from kit.learning.experiments import Experiment, experiment

MIRROR, SCALE, ROW, COLUMN, ROTATION = 0, 1, 2, 3, 7  # which draw is which


def still(*settings: str) -> Experiment:
    """An experiment that changes nothing but what is asked for."""
    return experiment("regress", ["crop=1", "flip=no", "jitter=0", *settings])


def photos(count: int = 3, side: int = 64, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


def draws(count: int, **chosen: float) -> torch.Tensor:
    """All in the middle of their range, but for those given by name."""
    drawn = torch.full((count, DRAWS), 0.5)
    for name, value in chosen.items():
        drawn[:, globals()[name.upper()]] = value
    return drawn


def test_a_photo_that_is_not_changed_is_the_photo() -> None:
    drawn = torch.rand(3, DRAWS)
    assert torch.allclose(augment(photos(), drawn, still()), photos(), atol=1e-5)


def test_a_larger_photo_is_brought_to_the_working_size() -> None:
    level = torch.tensor([0.2, 0.5, 0.7])[None, :, None, None].expand(2, 3, 128, 128)
    assert torch.allclose(augment(level, torch.rand(2, DRAWS), still()), level[..., :64, :64], atol=1e-6)


def test_half_of_the_photos_are_mirrored() -> None:
    drawn = draws(2)
    drawn[0, MIRROR] = 0.49
    both = augment(photos(2), drawn, still("flip=yes"))
    assert torch.allclose(both[0], photos(2)[0].flip(2), atol=1e-5)
    assert torch.allclose(both[1], photos(2)[1], atol=1e-5)


def test_a_crop_lies_inside_the_photo() -> None:
    # a photo with a bright rim: the smallest crop in the middle does not see it, a crop in the corner sees two sides
    photo = torch.zeros(1, 3, 128, 128)
    photo[:, :, :8] = photo[:, :, -8:] = photo[:, :, :, :8] = photo[:, :, :, -8:] = 1
    one = still("crop=0.5")
    assert not augment(photo, draws(1, scale=0.0), one).any()
    corner = augment(photo, draws(1, scale=0.0, row=0.0, column=0.0), one)
    assert corner[..., :8, :].all() and corner[..., :, :8].all()
    assert not corner[..., 20:, 20:].any()


def test_a_crop_never_shows_what_is_beyond_the_photos_edge() -> None:
    # a ramp that would be mirrored at the edge: every crop of it is a ramp
    ramp = torch.linspace(0, 1, 128)[None, None, None].expand(200, 3, 128, 128)
    seen = augment(ramp, torch.rand(200, DRAWS, generator=torch.Generator().manual_seed(1)), still("crop=0.3"))
    steps = seen.diff(dim=3)[..., 1:-1]
    assert torch.allclose(steps, steps[..., :1].expand_as(steps), atol=1e-4)
    assert (steps > 0).all()


@pytest.mark.parametrize("count", [1, 4])
def test_without_rotation_its_draw_changes_nothing(count: int) -> None:
    drawn = torch.rand(count, DRAWS)
    turned = drawn.clone()
    turned[:, ROTATION] = torch.rand(count)
    one = experiment("regress", ["rotate=0"])
    assert torch.equal(augment(photos(count, 128), drawn, one), augment(photos(count, 128), turned, one))


def test_the_middle_of_the_rotation_draws_turns_nothing() -> None:
    assert torch.allclose(augment(photos(), draws(3), still("rotate=90")), photos(), atol=1e-5)


@pytest.mark.parametrize(("draw", "turns"), [(1.0, 1), (0.0, -1)])
def test_a_quarter_turn_of_a_gradient_is_the_gradient_turned(draw: float, turns: int) -> None:
    ramp = torch.linspace(0, 1, 64)
    photo = torch.stack([ramp[:, None].expand(64, 64), ramp[None].expand(64, 64), ramp.outer(ramp)])[None]
    turned = augment(photo, draws(1, rotation=draw), still("rotate=90"))
    assert torch.allclose(turned, torch.rot90(photo, turns, (2, 3)), atol=1e-5)


@pytest.mark.parametrize("degrees", [5, 45, 180])
def test_a_constant_photo_stays_constant_however_it_is_turned(degrees: int) -> None:
    level = torch.tensor([0.0, 0.37, 1.0])[None, :, None, None].expand(5, 3, 128, 128)
    drawn = torch.rand(5, DRAWS, generator=torch.Generator().manual_seed(2))
    turned = augment(level, drawn, still(f"rotate={degrees}", "crop=0.5", "flip=yes"))
    assert torch.allclose(turned, level[..., :64, :64], atol=1e-5)


def test_rotation_is_by_up_to_so_many_degrees_both_ways() -> None:
    # how steep the ramp is from row to row tells the angle
    ramp = torch.linspace(0, 1, 128)[None, None, None].expand(50, 3, 128, 128)
    drawn = draws(50)
    drawn[:, ROTATION] = torch.linspace(0, 1, 50)
    seen = augment(ramp, drawn, still("rotate=30"))[:, 0, 24:40, 24:40]
    down, across = seen.diff(dim=1).mean((1, 2)), seen.diff(dim=2).mean((1, 2))
    degrees = torch.rad2deg(torch.atan2(down, across)).abs()
    assert torch.allclose(degrees, torch.linspace(-30, 30, 50).abs(), atol=0.1)
    assert torch.equal(down > 0, down[-1:] * (torch.linspace(-1, 1, 50)) > 0)


def test_a_mirrored_photo_is_the_mirror_image_of_the_same_crop_and_turn() -> None:
    drawn = torch.rand(6, DRAWS, generator=torch.Generator().manual_seed(3))
    drawn[:, MIRROR] = 0.9
    mirrored = drawn.clone()
    mirrored[:, MIRROR] = 0.1
    one = still("rotate=25", "crop=0.5", "flip=yes")
    straight = augment(photos(6, 128), drawn, one)
    assert torch.allclose(augment(photos(6, 128), mirrored, one), straight.flip(3), atol=1e-5)


def test_more_channels_move_with_the_photo_but_keep_their_values() -> None:
    one = experiment("regress", ["jitter=0.5", "rotate=20"])
    drawn = torch.rand(4, DRAWS)
    photo, more = photos(4, 128), photos(4, 128, 5)[:, 3:]
    both = augment(torch.cat([photo, more], 1), drawn, one)
    unjittered = experiment("regress", ["jitter=0", "rotate=20"])
    assert torch.equal(both[:, :3], augment(photo, drawn, one))
    assert torch.equal(both[:, 3:], augment(torch.cat([photo, more], 1), drawn, unjittered)[:, 3:])
    assert not torch.allclose(both[:, :3], augment(photo, drawn, unjittered), atol=0.01)


def test_each_photo_is_changed_by_its_own_draws_alone() -> None:
    one = experiment("regress", ["rotate=20"])
    drawn = torch.rand(4, DRAWS)
    together = augment(photos(4), drawn, one)
    for number in range(4):
        alone = augment(photos(4)[number : number + 1], drawn[number : number + 1], one)
        assert torch.allclose(together[number : number + 1], alone, atol=1e-6)


def test_jitter_without_strength_changes_nothing_and_with_it_stays_in_range() -> None:
    x, drawn = torch.rand(8, 3, 16, 16), torch.rand(8, 3)
    assert torch.allclose(jitter_colours(x.clone(), drawn, 0.0), x, atol=1e-6)
    strong = jitter_colours(x.clone(), drawn, 0.9)
    assert float(strong.min()) >= 0 and float(strong.max()) <= 1
    assert (strong - x).abs().max() > 0.1


def test_brightness_contrast_and_saturation_are_what_they_say() -> None:
    x = 0.4 + 0.1 * torch.rand(3, 3, 8, 8)
    drawn = torch.full((3, 3), 0.5) + 0.5 * torch.eye(3)  # one of the three as strong as can be
    brighter, sharper, redder = jitter_colours(x.clone(), drawn, 0.2)
    assert torch.allclose(brighter, 1.2 * x[0], atol=1e-6)
    assert torch.allclose(sharper, x[1].mean() + 1.2 * (x[1] - x[1].mean()), atol=1e-6)
    grey = x[2].mean(0)
    assert torch.allclose(redder, grey + 1.2 * (x[2] - grey), atol=1e-6)
    assert np.isclose(float(redder.mean()), float(x[2].mean()), atol=1e-6)
