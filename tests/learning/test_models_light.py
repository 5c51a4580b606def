"""The light decoder on a pretrained encoder: folding changes no value, frozen stages stay, the hole is told."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from kit.errors import UsageError
from kit.learning.datasets import network_input
from kit.learning.experiments import experiment
from kit.learning.models import build_generator
from kit.learning.models.layers.fold_batch_norm import FrozenNorm, fold_batch_norms
from kit.learning.models.light import LightUNet, box_blur
from kit.learning.training.optim import make_optimizer

TINY = "test_efficientnet"


def encoder(name: str = TINY) -> nn.Module:
    """A timm encoder whose batch norms have something to fold."""
    torch.manual_seed(0)
    made = timm.create_model(name, features_only=True)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return made.eval()


def light(**options: int) -> LightUNet:
    return LightUNet(encoder(), (32, 16, 16), **{"frozen": 2, **options})


def pictures(count: int = 2, size: int = 64) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(1)
    hole = torch.zeros(count, 1, size, size)
    hole[:, :, 20:40, 10:30] = 1
    return network_input(torch.rand(count, 3, size, size, generator=numbers), hole)


@pytest.mark.parametrize("side", [5, 9])
def test_running_sums_blur_like_average_pooling(side: int) -> None:
    maps = torch.rand(2, 6, 33, 20).contiguous(memory_format=torch.channels_last)[:, 3:5]
    expected = torch.nn.functional.avg_pool2d(maps, side, 1, side // 2)
    assert torch.allclose(box_blur(maps, side), expected, atol=1e-5)


@pytest.mark.parametrize("name", [TINY, "test_resnet", "test_convnext", "resnet10t"])
def test_folding_leaves_no_batch_norm_and_changes_no_feature(name: str) -> None:
    plain, photo = encoder(name), torch.rand(2, 3, 64, 64)
    folded = fold_batch_norms(copy.deepcopy(plain), torch.zeros(1, 3, 64, 64))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    for one, other in zip(plain(photo), folded(photo), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4 * float(one.abs().max()))


def test_a_norm_that_follows_no_convolution_keeps_its_statistics() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    nn.init.uniform_(plain[0].running_mean)
    photo = torch.rand(2, 3, 8, 8)
    expected = plain(photo)
    folded = fold_batch_norms(plain, photo).train()
    assert [type(folded[0][0]), type(folded[3][0])] == [FrozenNorm, FrozenNorm]
    torch.testing.assert_close(folded(photo), expected)


def test_a_convolution_with_a_bias_takes_the_norm_over() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    nn.init.uniform_(plain[1].running_mean)
    photo = torch.rand(2, 3, 8, 8)
    expected = plain(photo)
    torch.testing.assert_close(fold_batch_norms(plain, photo)(photo), expected)


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("frozen", [0, 1, 2, 3])
def test_the_residual_is_zero_before_the_first_step_and_has_the_pictures_size(frozen: int, size: int) -> None:
    residual = light(frozen=frozen)(pictures(size=size))
    assert residual.shape == (2, 3, size, size)
    assert not residual.any()


def trained(network: LightUNet, steps: int = 3) -> dict[str, torch.Tensor]:
    """What changed in a few steps, by name."""
    before = {name: value.clone() for name, value in network.named_parameters()}
    optimizer = make_optimizer([network], experiment("regress-imagenet", ["encoder_weights=none"]))
    x = pictures()
    for _ in range(steps):
        (network.train()(x) - x[:, :3]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name: value - before[name] for name, value in network.named_parameters()}


def test_frozen_stages_keep_their_weights_and_all_else_learns() -> None:
    changes = trained(light(frozen=2))
    still = {name for name, change in changes.items() if not change.any()}
    frozen = {name for name, value in light(frozen=2).named_parameters() if not value.requires_grad}
    assert still == frozen
    assert frozen
    assert all(name.startswith("encoder.") for name in frozen)
    assert any(name.startswith("encoder.blocks.2") for name in changes.keys() - frozen)


def test_without_frozen_stages_everything_learns() -> None:
    assert all(change.any() for change in trained(light(frozen=0)).values())


@pytest.mark.parametrize("frozen", [0, 2])
def test_the_encoder_is_told_of_the_hole_once_it_has_learnt_to_listen(frozen: int) -> None:
    network = light(frozen=frozen).eval()
    x, other = pictures(), pictures()
    other[:, 3] = 0
    seen = []
    network.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output[-1].detach()))
    network(x), network(other)
    assert torch.equal(seen[0], seen[1])
    nn.init.ones_(network.injected.bring.weight)
    network(x), network(other)
    assert not torch.equal(seen[2], seen[3])


def test_a_copy_is_told_of_its_own_hole() -> None:
    network = light()
    nn.init.ones_(network.injected.bring.weight)
    nn.init.ones_(network.head.weight)
    twin = copy.deepcopy(network).eval()
    expected = network.eval()(pictures())
    network(network_input(torch.zeros(2, 3, 64, 64), torch.ones(2, 1, 64, 64)))
    torch.testing.assert_close(twin(pictures()), expected)


def test_photos_do_not_change_one_another() -> None:
    network = light().eval()
    nn.init.ones_(network.head.weight)
    both = network(pictures())
    torch.testing.assert_close(network(pictures()[:1]), both[:1], rtol=1e-5, atol=1e-6)


def test_the_tensors_are_the_same_with_and_without_pretrained_weights() -> None:
    settings = ["encoder_weights=none", f"encoder=tu-{TINY}", "decoder_channels=32,16,16", "size=64"]
    network = build_generator(experiment("regress-imagenet", settings))
    again = build_generator(experiment("regress-imagenet", [*settings, "seed=1"]), pretrained=False)
    again.load_state_dict(network.state_dict())
    for (name, one), other in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("options", [{"widths": (16,)}, {"widths": (16,) * 6}, {"frozen": 5}])
def test_levels_that_the_encoder_has_not_are_a_usage_error(options: dict) -> None:
    with pytest.raises(UsageError, match="decoder_channels: 2 to 5 numbers, frozen: 0 to 4"):
        LightUNet(encoder(), options.get("widths", (16, 16)), frozen=options.get("frozen", 0))


@pytest.mark.parametrize("name", ["resnet18", "tu-no_such_model"])
def test_an_encoder_that_timm_has_not_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        build_generator(experiment("regress-imagenet", ["encoder_weights=none", f"encoder={name}"]))
