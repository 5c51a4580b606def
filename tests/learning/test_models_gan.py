"""The networks of pix2pix, CycleGAN and DCGAN: the papers' counts, exact equivalences, what training relies on."""

from __future__ import annotations

import copy
import io
from itertools import pairwise

import pytest
import torch
from torch import nn

from kit.errors import UsageError
from kit.learning.losses import feature_matching_loss
from kit.learning.models.dcgan import DCGANDiscriminator, DCGANGenerator
from kit.learning.models.paper_unet import PaperUNet
from kit.learning.models.patchgan import NORMS, PatchGAN
from kit.learning.models.resnet import ResidualBlock, ResnetGenerator

NETWORKS = {
    "paper_unet": (lambda: PaperUNet(4, size=32, width=4), (4, 32, 32)),
    "resnet": (lambda: ResnetGenerator(4, width=4, blocks=2, dropout=0.5), (4, 32, 32)),
    "dcgan_generator": (lambda: DCGANGenerator(latent=8, size=32, width=4), (8,)),
    "dcgan_discriminator": (lambda: DCGANDiscriminator(size=32, width=4), (3, 32, 32)),
    **{f"patchgan_{norm}": (lambda norm=norm: PatchGAN(7, 4, 2, norm), (7, 32, 32)) for norm in NORMS},
}
PICTURES = ["paper_unet", "resnet", "dcgan_generator"]


def build(name: str, photos: int = 3, seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(seed)
    make, shape = NETWORKS[name]
    return make(), torch.randn(photos, *shape)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# what every one of them keeps


@pytest.mark.parametrize("name", PICTURES)
def test_a_generator_gives_pictures_between_minus_one_and_one(name: str) -> None:
    network, x = build(name)
    for weights in network.parameters():
        weights.data *= 20
    y = network(x)
    assert y.shape == (3, 3, 32, 32)
    assert 0.9 < float(y.detach().abs().max()) <= 1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_reaches_every_parameter(name: str) -> None:
    network, x = build(name)
    network(x).square().sum().backward()
    for key, weights in network.named_parameters():
        assert weights.grad is not None and weights.grad.any() and weights.grad.isfinite().all(), key


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_that_is_stored_and_loaded_gives_the_same_bytes(name: str) -> None:
    network, x = build(name)
    network(x)  # running statistics and power iterations move
    stored = io.BytesIO()
    torch.save(network.state_dict(), stored)
    stored.seek(0)
    other, _ = build(name, seed=1)
    other.load_state_dict(torch.load(stored, weights_only=True))
    assert same(network.state_dict(), other.state_dict())
    assert torch.equal(network.eval()(x), other.eval()(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_deep_copy_is_equal_and_apart(name: str) -> None:
    network, x = build(name)
    network(x)
    twin = copy.deepcopy(network)
    torch.manual_seed(5)
    first = network(x)
    torch.manual_seed(5)
    assert torch.equal(first, twin(x))
    assert same(network.state_dict(), twin.state_dict())
    with torch.no_grad():
        next(twin.parameters()).add_(1)
    assert not same(network.state_dict(), twin.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_in_eval_mode_a_photo_is_computed_alone(name: str) -> None:
    network, x = build(name)
    network(x)
    network.eval()
    with torch.no_grad():
        whole, alone = network(x), network(x[1:2])
    torch.testing.assert_close(whole[1:2], alone, rtol=1e-4, atol=1e-5)
    other = torch.cat([x[:1] + 3, x[1:]])
    with torch.no_grad():
        assert torch.equal(network(other)[1:], whole[1:])


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_changes_no_value(name: str) -> None:
    network, x = build(name)
    network.eval()
    twin = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    y = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
    torch.testing.assert_close(network(x), twin(y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("patchgan")] + ["paper_unet", "resnet"])
def test_two_steps_and_a_resumed_second_step_are_the_same(name: str) -> None:
    network, x = build(name)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)

    def step(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        torch.manual_seed(9)
        optimizer.zero_grad()
        module(x).square().mean().backward()
        optimizer.step()

    step(network, optimizer)
    resumed, _ = build(name, seed=3)
    resumed.load_state_dict(network.state_dict())
    step(network, optimizer)
    step(resumed, torch.optim.SGD(resumed.parameters(), 0.01))
    assert same(network.state_dict(), resumed.state_dict())


# the U-Net of pix2pix


def test_the_u_net_of_pix2pix_has_its_54_million_parameters() -> None:
    with torch.device("meta"):
        network = PaperUNet(3)
    down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    up = [(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 3)]
    convolutions = 16 * (sum(a * b for a, b in pairwise(down)) + sum(a * b for a, b in up)) + 3
    norms = 2 * (sum(down[2:-1]) + sum(b for _, b in up[:-1]))
    assert parameters(network) == convolutions + norms == 54_413_955  # as public reimplementations count it
    assert [type(module) for module in network.modules()].count(nn.Conv2d) == 8
    assert [type(module) for module in network.modules()].count(nn.ConvTranspose2d) == 8
    assert [type(module) for module in network.modules()].count(nn.BatchNorm2d) == 6 + 7
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.5] * 3


@pytest.mark.parametrize("size", [32, 64, 128])
def test_a_batch_of_one_trains_at_any_size(size: int) -> None:
    network = PaperUNet(4, size=size, width=2)
    y = network(torch.randn(1, 4, size, size))
    y.sum().backward()
    assert y.shape == (1, 3, size, size)
    assert len(network.down) == len(network.up) == size.bit_length() - 1


@pytest.mark.parametrize("size", [0, 16, 48, 100])
def test_a_size_that_is_no_power_of_two_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"size={size}"):
        PaperUNet(3, size=size)


def test_every_pixel_of_the_u_net_sees_every_other() -> None:
    torch.manual_seed(0)
    network = PaperUNet(1, size=32, width=8).eval()
    x = torch.randn(1, 1, 32, 32, requires_grad=True)
    network(x)[0, :, 0, 0].sum().backward()
    assert x.grad is not None and bool(x.grad.ne(0).all())


def test_dropout_of_the_u_net_works_while_training_only() -> None:
    network, x = build("paper_unet")
    assert torch.equal(network.eval()(x), network(x))
    assert not torch.equal(network.train()(x), network(x))
    without = PaperUNet(4, size=32, width=4, dropout=0.0)
    assert torch.equal(without(x), without(x))


def test_networks_begin_gaussian_with_deviation_002() -> None:
    torch.manual_seed(0)
    for network in (PaperUNet(3, size=32, width=8), PatchGAN(3, 16), ResnetGenerator(3, width=16, blocks=1)):
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.weight.numel() > 5000:
                assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
                assert module.bias is None or not module.bias.any()


# CycleGAN's generator


@pytest.mark.parametrize(("blocks", "count"), [(6, 7_837_699), (9, 11_378_179)])
def test_cyclegans_generator_has_the_known_number_of_parameters_less_idle_biases(blocks: int, count: int) -> None:
    with torch.device("meta"):
        network = ResnetGenerator(3, blocks=blocks)
    idle = 64 + 128 + 256 + blocks * 2 * 256 + 128 + 64  # public reimplementations have biases before the norms
    assert parameters(network) + idle == count
    assert sum(isinstance(module, ResidualBlock) for module in network) == blocks


def test_the_residual_generator_does_not_see_a_shift_and_a_scale_of_a_channel() -> None:
    network, x = build("resnet")
    network.eval()
    torch.testing.assert_close(network(x), network(x * 3), rtol=1e-2, atol=1e-3)


# DCGAN


@pytest.mark.parametrize(("size", "layers"), [(32, 4), (64, 5), (128, 6)])
def test_dcgan_has_a_layer_a_doubling_and_one_more(size: int, layers: int) -> None:
    generator, discriminator = DCGANGenerator(latent=8, size=size, width=2), DCGANDiscriminator(size=size, width=2)
    for network in (generator, discriminator):
        kinds = (nn.Conv2d, nn.ConvTranspose2d)
        assert sum(isinstance(module, kinds) for module in network.modules()) == layers
        assert not any(isinstance(module, nn.Linear) for module in network.modules())
    pictures = generator(torch.rand(2, 8) * 2 - 1)
    assert pictures.shape == (2, 3, size, size)
    assert discriminator(pictures).shape == (2,)


def test_dcgan_of_64_pixels_has_the_known_number_of_parameters() -> None:
    with torch.device("meta"):
        generator, discriminator = DCGANGenerator(), DCGANDiscriminator()
    # 100-512-256-128-64-3 and 3-64-128-256-512-1 channels, all 4x4
    norms = 2 * (512 + 256 + 128)
    inner = 16 * (512 * 256 + 256 * 128 + 128 * 64)
    assert parameters(generator) == 16 * 100 * 512 + inner + 16 * 64 * 3 + 3 + norms + 2 * 64
    assert parameters(discriminator) == 16 * 3 * 64 + 64 + inner + 16 * 512 + 1 + norms


def test_the_first_layer_of_dcgan_is_the_transposed_convolution_that_its_weights_say() -> None:
    generator, noise = build("dcgan_generator")
    assert isinstance(generator, DCGANGenerator)
    expected = generator.layers.eval()(generator.project(noise[:, :, None, None]))
    torch.testing.assert_close(generator.eval()(noise), expected, rtol=1e-4, atol=1e-5)


def test_dcgan_refuses_other_sizes() -> None:
    for network in (DCGANGenerator, DCGANDiscriminator):
        with pytest.raises(UsageError, match="32, 64, 128"):
            network(size=256)


# PatchGAN's norms and features


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_patch_has_the_papers_size_whatever_the_norm(norm: str, layers: int, patch: int) -> None:
    if norm == "instance":
        pytest.skip("its statistics see the whole picture")
    discriminator = PatchGAN(3, 4, layers, norm).eval()
    x = torch.randn(1, 3, 128, 128, requires_grad=True)
    logits = discriminator(x)
    middle = logits.shape[2] // 2
    logits[0, 0, middle, middle].backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(dim=(0, 2)).nonzero()
    assert int(seen.max() - seen.min()) + 1 == patch


@pytest.mark.parametrize("norm", NORMS)
def test_the_features_are_a_tensor_a_layer_and_the_logits(norm: str) -> None:
    network, x = build(f"patchgan_{norm}")
    assert isinstance(network, PatchGAN)
    features = network.eval().features(x)
    assert [tuple(feature.shape[1:]) for feature in features] == [(4, 16, 16), (8, 8, 8), (16, 7, 7), (1, 6, 6)]
    assert torch.equal(features[-1], network(x))
    assert all(bool((feature < 0).any()) for feature in features[:-1])
    y = x.clone().requires_grad_(True)
    feature_matching_loss(features, network.features(y * 0.5)).backward()
    assert y.grad is not None and y.grad.any()


def test_the_discriminator_of_the_paper_has_the_tensors_it_had() -> None:
    network = PatchGAN(6, 64, 3)
    norms = [key for key, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == ["3", "6", "9"]
    assert parameters(network) == 2_768_705  # as public reimplementations count it


def test_every_spectral_convolution_tends_to_a_largest_singular_value_of_one() -> None:
    network, x = build("patchgan_spectral")
    for _ in range(30):
        network(x)
    network.eval()
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 4
    for module in convolutions:
        assert float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)) == pytest.approx(1, rel=0.02)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert len(list(network.buffers())) == 2 * len(convolutions)


def test_the_power_iteration_moves_in_training_mode_only() -> None:
    network, x = build("patchgan_spectral")
    before = copy.deepcopy(network.state_dict())
    network.eval()(x)
    assert same(network.state_dict(), before)
    network.train()(x)
    assert not same(network.state_dict(), before)
