"""The plain networks: one contract for all, what each sees, partial convolutions against a slow reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from kit.errors import UsageError
from kit.learning.datasets import INPUT_CHANNELS, network_input
from kit.learning.models.layers.attention import AttentionBlock, rotary_angles, rotate
from kit.learning.models.layers.blocks import ChannelNorm, drop_branch
from kit.learning.models.layers.fourier import FourierBlock, FourierUnit
from kit.learning.models.partialconv import PartialConv2d, PartialConvUNet, beside
from kit.learning.models.plain import BOTTLENECKS, PlainUNet
from kit.learning.models.renet import ReNet


def plain(bottleneck: str, dropout: float = 0.0) -> PlainUNet:
    return PlainUNet(
        INPUT_CHANNELS, widths=(16, 16, 32), blocks=1, bottleneck=bottleneck, bottleneck_blocks=1, dropout=dropout
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: plain("conv"),
    "fourier": lambda: plain("fourier"),
    "attention": lambda: plain("attention"),
    "renet": lambda: ReNet(INPUT_CHANNELS, width=16, layers=1),
    "partialconv": lambda: PartialConvUNet(INPUT_CHANNELS, width=16, levels=3),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def photos(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Network input whose holes are a box of pixels hidden whole with a rim of pixels hidden in part."""
    generator = torch.Generator().manual_seed(seed)
    hole = torch.zeros(count, 1, size, size)
    hole[..., size // 4 : size // 2 + 2, size // 3 : size // 2 + 4] = 0.25
    hole[..., size // 4 + 1 : size // 2 + 1, size // 3 + 1 : size // 2 + 3] = 1
    return network_input(torch.rand(count, 3, size, size, generator=generator), hole)


def last_layer(network: nn.Module) -> nn.Conv2d:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]


def awake(network: nn.Module) -> nn.Module:
    """The network with a random head, as after some steps."""
    nn.init.normal_(last_layer(network).weight, std=0.1)
    return network.to(memory_format=torch.channels_last)


# the contract of all


@every_network
@pytest.mark.parametrize("size", [64, 96, 128])
def test_the_residual_has_the_pictures_size_and_is_zero_at_the_start(name: str, size: int) -> None:
    x = photos(2, size)
    for training in (True, False):
        residual = NETWORKS[name]().train(training)(x)
        assert residual.shape == (2, 3, size, size)
        assert not residual.any()


@every_network
def test_every_parameter_learns_once_the_first_step_has_moved_the_head(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (network(photos(2, 64)) - torch.rand(2, 3, 64, 64)).square().mean().backward()
        optimizer.step()
    assert [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


@every_network
def test_photos_do_not_see_each_other_in_evaluation(name: str) -> None:
    network = awake(NETWORKS[name]()).eval()
    x = photos(3, 64)
    assert torch.allclose(network(x)[1:2], network(x[1:2]), atol=1e-5)


@pytest.mark.parametrize("name", ["conv", "fourier", "attention", "renet"])
def test_photos_do_not_see_each_other_while_training_where_no_norm_is_over_the_batch(name: str) -> None:
    network = awake(NETWORKS[name]()).train()
    x = photos(3, 64)
    assert torch.allclose(network(x)[1:2], network(x[1:2]), atol=1e-5)


@every_network
def test_mixed_precision_stays_close_to_single_precision(name: str) -> None:
    torch.manual_seed(0)
    network = awake(NETWORKS[name]()).train()
    x = photos(2, 64)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(x)
    mixed.float().square().mean().backward()
    assert torch.isfinite(mixed).all()
    assert (mixed - network(x)).abs().mean() < 0.1 * network(x).abs().mean()


@every_network
def test_the_memory_order_of_the_input_changes_nothing(name: str) -> None:
    network = awake(NETWORKS[name]()).eval()
    x = photos(2, 64)
    assert torch.allclose(network(x), network(x.contiguous()), atol=1e-5)


@pytest.mark.parametrize("widths", [(32,), (16, 32), (16, 16, 32), (16, 16, 16, 32), (16, 16, 16, 16, 32)])
@pytest.mark.parametrize("bottleneck", BOTTLENECKS)
def test_a_plain_unet_has_one_to_five_levels(bottleneck: str, widths: tuple[int, ...]) -> None:
    network = PlainUNet(INPUT_CHANNELS, widths=widths, blocks=1, bottleneck=bottleneck, bottleneck_blocks=1)
    sizes = []
    network.bottleneck.register_forward_hook(lambda module, args, result: sizes.append(result.shape[-1]))
    assert network.eval()(photos(1, 64)).shape == (1, 3, 64, 64)
    assert sizes == [4 if len(widths) == 5 else 8]


# what each sees


@pytest.mark.parametrize("name", ["fourier", "attention", "renet"])
@pytest.mark.parametrize("size", [64, 128])
def test_a_corner_is_seen_in_the_opposite_corner(name: str, size: int) -> None:
    torch.manual_seed(0)
    network = awake(NETWORKS[name]()).eval()
    x = photos(1, size).requires_grad_()
    network(x)[0, :, -1, -1].sum().backward()
    assert x.grad is not None
    assert x.grad[0, :3, 0, 0].any()
    assert x.grad[0, :3].any(dim=0).all()


def test_one_block_of_convolutions_does_not_see_as_far() -> None:
    network = awake(NETWORKS["conv"]()).eval()
    x = photos(1, 64).requires_grad_()
    network(x)[0, :, -1, -1].sum().backward()
    assert x.grad is not None
    assert not x.grad[0, :3, 0, 0].any()


def test_the_default_bottleneck_of_convolutions_sees_a_whole_photo_of_64_pixels() -> None:
    network = awake(PlainUNet(INPUT_CHANNELS)).eval()
    x = photos(1, 64).requires_grad_()
    network(x)[0, :, -1, -1].sum().backward()
    assert x.grad is not None
    assert x.grad[0, :3, 0, 0].any()


# the parts


@pytest.mark.parametrize("bottleneck", BOTTLENECKS)
def test_dropout_works_while_training_only(bottleneck: str) -> None:
    network = awake(plain(bottleneck, dropout=0.5))
    x = photos(4, 64)
    assert torch.equal(network.eval()(x), network.eval()(x))
    assert not torch.equal(network.train()(x), network.train()(x))


def test_a_dropped_branch_is_gone_for_whole_photos_and_keeps_its_mean() -> None:
    torch.manual_seed(0)
    branch = drop_branch(torch.ones(4000, 2, 1, 1), 0.25, training=True)
    assert branch.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert torch.equal(branch[:, 0], branch[:, 1])
    assert abs(float(branch.mean()) - 1) < 0.05


def test_the_channel_norm_normalises_each_place_by_itself() -> None:
    x = torch.randn(2, 16, 3, 5) * 7 + 3
    y = ChannelNorm(16)(x)
    assert torch.allclose(y.mean(dim=1), torch.zeros(2, 3, 5), atol=1e-5)
    assert torch.allclose(y.var(dim=1, unbiased=False), torch.ones(2, 3, 5), atol=1e-3)


@pytest.mark.parametrize("size", [(8, 8), (12, 12), (7, 9)])
def test_the_fourier_unit_gives_its_input_back_when_it_mixes_nothing(size: tuple[int, int]) -> None:
    unit = FourierUnit(4)
    nn.init.dirac_(unit.mix.weight)
    unit.norm = nn.Identity()  # type: ignore[assignment]
    x = torch.zeros(2, 4, *size)
    x[:, :, 0, 0] = 3  # its spectrum is positive, so ReLU changes nothing either
    assert torch.allclose(unit(x), x, atol=1e-5)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_the_share_of_global_channels_can_be_chosen(ratio: float) -> None:
    block = FourierBlock(16, ratio=ratio)
    assert block.branch[1].local == 16 - 16 * ratio
    assert block(torch.randn(2, 16, 8, 8)).shape == (2, 16, 8, 8)


def test_attention_knows_where_a_place_lies_and_mixes_by_distance_alone() -> None:
    angles = rotary_angles(4, 6, 32, torch.device("cpu"))
    assert angles.shape == (24, 16)
    query, key = torch.randn(32), torch.randn(32)
    turned = [rotate(vector.expand(1, 1, 24, 32), angles)[0, 0] for vector in (query, key)]
    weights = (turned[0] @ turned[1].T).view(4, 6, 4, 6)
    assert torch.allclose(weights[0, 0, 1, 2], weights[2, 3, 3, 5], atol=1e-4)
    assert not torch.allclose(weights[0, 0, 1, 2], weights[0, 0, 2, 1], atol=1e-2)


def test_channels_that_cannot_be_shared_among_heads_are_one_line() -> None:
    with pytest.raises(UsageError, match="multiple of 32 channels at the coarsest level, not 48"):
        PlainUNet(INPUT_CHANNELS, widths=(16, 48), bottleneck="attention")


def test_rotary_angles_span_the_photo_whatever_its_size() -> None:
    small, large = (rotary_angles(size, size, 32, torch.device("cpu")) for size in (8, 32))
    assert torch.allclose(small.mean(dim=0), large.mean(dim=0), rtol=1e-4)
    assert float(large.max()) <= 4 * np.pi


def test_attention_is_that_of_torchs_own_layer_where_positions_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.learning.models.layers.attention.rotate", lambda x, angles: x)
    block = AttentionBlock(64)
    reference = nn.MultiheadAttention(64, 2, batch_first=True)
    donors = {"in_proj_": block.query_key_value, "out_proj.": block.project}
    reference.load_state_dict({a + b: value for a, layer in donors.items() for b, value in layer.state_dict().items()})
    places = torch.randn(2, 4, 5, 64)
    flat = places.flatten(1, 2)
    expected = reference(flat, flat, flat, need_weights=False)[0].view(2, 4, 5, 64)
    assert torch.allclose(block._attend(places), expected, atol=1e-5)


def test_renet_is_the_paper_s_order_of_sweeps() -> None:
    torch.manual_seed(0)
    network = ReNet(INPUT_CHANNELS, width=4, layers=2, patch=8).eval()
    x = photos(2, 32)
    seen: list[torch.Tensor] = []
    network.head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    network(x)
    places = network.embed(x)[1].permute(1, 2, 0)  # rows, columns, features of the second photo
    for number, sweep in enumerate(network.sweeps):
        by_row = number % 2 == 0
        lines = places if by_row else places.transpose(0, 1)
        swept = torch.stack([sweep(line[:, None])[0][:, 0] for line in lines])
        places = swept if by_row else swept.transpose(0, 1)
    assert torch.allclose(seen[0][1], places.permute(2, 0, 1), atol=1e-5)


# partial convolutions


def slow_partial_convolution(
    x: np.ndarray, known: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, padding: int
) -> tuple[np.ndarray, np.ndarray]:
    """Equations 1 and 2 of Liu et al. 2018, window by window; `known` has a value for each channel."""
    outputs, _, kernel, _ = weight.shape
    side = (x.shape[1] + 2 * padding - kernel) // stride + 1
    y, seen = np.zeros((outputs, side, side)), np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            top, left = row * stride - padding, column * stride - padding
            rows = [i for i in range(top, top + kernel) if 0 <= i < x.shape[1]]
            columns = [j for j in range(left, left + kernel) if 0 <= j < x.shape[2]]
            total, count, area = np.zeros(outputs), 0.0, 0
            for channel in range(x.shape[0]):
                for i in rows:
                    for j in columns:
                        area += 1
                        count += known[channel, i, j]
                        if known[channel, i, j]:
                            total += weight[:, channel, i - top, j - left] * x[channel, i, j]
            if count:
                y[:, row, column] = total * area / count + bias
                seen[row, column] = 1
    return y, seen


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (7, 2)])
def test_a_partial_convolution_is_that_of_the_paper(kernel: int, stride: int) -> None:
    generator = np.random.default_rng(kernel + stride)
    layer = PartialConv2d(2, 3, kernel, stride, kernel // 2)
    x, known = generator.normal(size=(2, 12, 12)), (generator.random((12, 12)) < 0.2).astype(float)
    known[:, 5:] = 0  # windows that know nothing
    tensors = (torch.tensor(array, dtype=torch.float32)[None] for array in (x, known[None]))
    y, seen = layer(*tensors)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()  # type: ignore[union-attr]
    expected, expected_seen = slow_partial_convolution(
        x, np.stack([known, known]), weight, bias, stride, padding=kernel // 2
    )
    assert np.array_equal(seen[0, 0].numpy(), expected_seen)
    assert np.allclose(y[0].detach().numpy(), expected, atol=1e-4)


def test_features_side_by_side_count_as_the_paper_s_mask_for_each_channel() -> None:
    generator = np.random.default_rng(3)
    coarse_known = (generator.random((1, 1, 3, 3)) < 0.5).astype(np.float32)
    fine_known = (generator.random((1, 1, 6, 6)) < 0.3).astype(np.float32)
    coarse = generator.normal(size=(1, 3, 3, 3)).astype(np.float32)
    fine = generator.normal(size=(1, 2, 6, 6)).astype(np.float32) * fine_known
    layer = PartialConv2d(5, 4, 3, padding=1)
    y, seen = layer.of_masked(*beside(*(torch.from_numpy(array) for array in (coarse, coarse_known, fine, fine_known))))
    large, large_known = (array.repeat(2, axis=2).repeat(2, axis=3)[0] for array in (coarse, coarse_known))
    masks = np.concatenate([large_known.repeat(3, axis=0), fine_known[0].repeat(2, axis=0)])
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()  # type: ignore[union-attr]
    expected, expected_seen = slow_partial_convolution(np.concatenate([large, fine[0]]), masks, weight, bias, 1, 1)
    assert np.array_equal(seen[0, 0].numpy(), expected_seen)
    assert np.allclose(y[0].detach().numpy(), expected, atol=1e-4)


def test_a_partial_convolution_of_all_known_is_a_convolution() -> None:
    layer = PartialConv2d(4, 8, 3, padding=1)
    x = torch.randn(2, 4, 9, 9)
    y, seen = layer(x, torch.ones(2, 1, 9, 9))
    assert torch.allclose(y, nn.Conv2d.forward(layer, x), atol=1e-5)
    assert seen.all()


def test_a_window_that_knows_nothing_gives_zero_and_stays_unknown() -> None:
    layer = PartialConv2d(2, 3, 3, padding=1)
    known = torch.zeros(1, 1, 8, 8)
    known[..., 0] = 1
    y, seen = layer(torch.randn(1, 2, 8, 8), known)
    assert not y[..., 2:].any() and not seen[..., 2:].any()
    assert y[..., :2].all() and seen[..., :2].all()


def test_no_gradient_goes_through_what_is_known() -> None:
    known = torch.ones(1, 1, 8, 8)
    known[..., 2:5, 2:5] = 0
    y, seen = PartialConv2d(2, 3, 3, padding=1)(torch.zeros(1, 2, 8, 8), known.requires_grad_())
    y.sum().backward()
    assert not seen.requires_grad
    assert known.grad is not None and not known.grad.any()


@pytest.mark.parametrize("training", [True, False])
def test_the_partial_network_does_not_see_what_the_fill_put_in_the_hole(training: bool) -> None:
    network = awake(NETWORKS["partialconv"]()).train(training)
    x = photos(2, 64)
    other = torch.where(x[:, 3:4] > 0, torch.randn_like(x), x)
    other[:, 3] = x[:, 3]
    assert torch.equal(network(x), network(other))
    assert not torch.equal(network(x), network(photos(2, 64, seed=1)))


def test_the_partial_network_fills_a_hole_of_the_competitions_size_to_its_middle() -> None:
    network = awake(PartialConvUNet(INPUT_CHANNELS, width=16)).eval()
    hole = torch.zeros(1, 1, 64, 64)
    hole[..., 20:40, 20:40] = 1
    residual = network(network_input(torch.rand(1, 3, 64, 64), hole))
    assert residual[..., 20:40, 20:40].any(dim=1).all()
