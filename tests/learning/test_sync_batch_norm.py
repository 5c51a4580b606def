"""Batch norm over processes: two of half a batch are one of the whole."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import multiprocessing, nn

from kit.errors import TrainingError
from kit.learning.models.layers.sync_batch_norm import synchronise

STEPS = 2
SPLITS = (3, 2)  # how many of six photos the first process has


def network() -> nn.Sequential:
    """Every kind of batch norm that can be synchronised."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3, padding=1),
        BatchNormAct2d(3, act_layer=functools.partial(nn.LeakyReLU, 0.1)),
        nn.BatchNorm2d(3, momentum=None),
        nn.Conv2d(3, 2, 1),
        nn.BatchNorm2d(2, affine=False),
        nn.BatchNorm2d(2, track_running_stats=False),
    )


def photos() -> torch.Tensor:
    """Six photos."""
    return torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def steps(module: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Outputs and the input's gradient after some steps without an optimizer, and every tensor and gradient."""
    module, x = module.to(x.dtype), x.clone().requires_grad_(True)
    for _ in range(STEPS):
        y = module(x)
        (y * torch.linspace(-1, 1, y[0].numel(), dtype=x.dtype).view_as(y[0])).square().sum().backward()
    assert x.grad is not None
    gradients = {f"{key}.grad": weights.grad for key, weights in module.named_parameters()}
    return {"y": y.detach(), "x.grad": x.grad, **gradients, **module.state_dict()}  # type: ignore[dict-item]


def far_from_zero() -> torch.Tensor:
    """Where the mean of the squares less the square of the mean has no digit left in single precision."""
    return photos().float() * 0.1 + 1000


def half(rank: int, folder: str) -> None:
    """One process of two, on its own share of the batch."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for split in SPLITS:
        share = slice(0, split) if rank == 0 else slice(split, None)
        found = steps(synchronise(network()), photos()[share])
        for key in found:
            if key.endswith(".grad") and key != "x.grad":
                dist.all_reduce(found[key])
        found["far"] = synchronise(nn.BatchNorm2d(2))(far_from_zero()[share]).detach()
        torch.save(found, Path(folder) / f"{split}-{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_with_a_share_each_are_one_with_the_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    multiprocessing.spawn(half, (str(tmp_path),), nprocs=2)
    whole = steps(network(), photos())
    far = nn.BatchNorm2d(2).double()(far_from_zero().double()).float()
    for split in SPLITS:
        first, second = (torch.load(tmp_path / f"{split}-{rank}.pt", weights_only=True) for rank in (0, 1))
        torch.testing.assert_close(torch.cat([first.pop("far"), second.pop("far")]), far, rtol=1e-2, atol=1e-2)
        for key in ("y", "x.grad"):
            first[key] = second[key] = torch.cat([first[key], second[key]])
        assert first.keys() == whole.keys()
        for key, expected in whole.items():
            assert torch.equal(first[key], second[key]), key
            torch.testing.assert_close(first[key], expected, rtol=1e-7, atol=1e-7)


def test_without_a_process_group_nothing_changes() -> None:
    expected = steps(network(), photos())
    module = synchronise(network()).double()
    assert module.state_dict().keys() == network().state_dict().keys()
    found = steps(module, photos())
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert torch.equal(module.eval()(photos()), module(photos()))


def test_layers_stay_batch_norms_can_be_copied_and_synchronised_again() -> None:
    module = synchronise(network()).double()
    kinds = [type(layer) for layer in module.modules()]
    assert [type(layer) for layer in synchronise(module).modules()] == kinds
    assert isinstance(module[1], nn.BatchNorm2d) and isinstance(module[4], BatchNormAct2d)
    twin = copy.deepcopy(module)
    assert [type(layer) for layer in twin.modules()] == kinds
    assert torch.equal(twin(photos()), module(photos()))


@pytest.mark.parametrize("encoder", ["tu-test_efficientnet", "tu-test_resnet"])
def test_networks_of_smp_and_timm_can_be_synchronised(encoder: str) -> None:
    import segmentation_models_pytorch as smp  # here, so that the processes need not wait for it

    module = smp.create_model("unet", encoder, None, encoder_depth=3, decoder_channels=(8, 8, 8)).eval()
    x = torch.randn(1, 3, 32, 32)
    before, keys = module(x), list(module.state_dict())
    count = sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())
    synchronise(module)
    assert sum(type(layer).__name__.startswith("Synchronised") for layer in module.modules()) == count > 3
    assert list(module.state_dict()) == keys
    assert torch.equal(module(x), before)


def test_a_batch_norm_of_an_unknown_kind_is_refused() -> None:
    class Own(nn.BatchNorm2d):
        """Computes something else."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(TrainingError, match="Own computes"):
        synchronise(nn.Sequential(Own(3)))
