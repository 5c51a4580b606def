"""LPIPS against torchmetrics, on the same random VGG16: its own weights cannot be had here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kit.errors import ImageError, TrainingError
from kit.imaging.metrics import METRICS
from kit.pretrained.lpips import with_network

reference = pytest.importorskip("torchmetrics.functional.image.lpips", reason="torchmetrics is not installed")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Sequential]:
    """Return a folder with the features of a random VGG16, and themselves as torchvision builds them."""
    from torchvision.models import vgg16

    torch.manual_seed(0)
    with torch.device("meta"):
        network = vgg16().features
    network = network.to_empty(device="cpu")
    for one in network:
        if isinstance(one, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(one.weight)
            torch.nn.init.normal_(one.bias, std=0.1)
    folder = tmp_path_factory.mktemp("vgg")
    torch.save({f"features.{name}": one for name, one in network.state_dict().items()}, folder / "vgg16.tv_in1k.pth")
    return folder, network


@pytest.mark.parametrize("size", [(16, 16), (40, 61)])
def test_it_is_that_of_torchmetrics(
    features: tuple[Path, torch.nn.Sequential], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, network = features
    monkeypatch.setenv("KIT_WEIGHTS", str(folder))

    monkeypatch.setattr(reference, "Vgg16", lambda **_: _Blocks(network))  # theirs would be downloaded
    theirs = reference._LPIPS(pretrained=True, net="vgg", pnet_rand=True)
    said: list[str] = []
    metric = with_network(METRICS["lpips"], "cpu", say=said.append)
    assert metric.compare is not None
    assert any("vgg16.tv_in1k" in line for line in said)
    rng = np.random.default_rng(1)
    truth, hole = rng.random((*size, 3)), np.zeros(size, bool)
    hole[3:12, 2:13] = True
    filled = np.where(hole[..., None], 0.5, truth)
    pair = [torch.from_numpy(one.transpose(2, 0, 1)[None].astype(np.float32)) for one in (filled, truth)]
    with torch.inference_mode():
        expected = float(theirs(*pair, normalize=True))
    assert metric.compare(filled, truth, hole) == pytest.approx(expected, rel=1e-4)
    assert expected > 0.001 and metric.compare(truth, truth, hole) == 0.0


class _Blocks(torch.nn.Module):
    """VGG16's features as torchmetrics wants them: five named outputs."""

    def __init__(self, network: torch.nn.Sequential) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(network[a:b] for a, b in ((0, 4), (4, 9), (9, 16), (16, 23), (23, 30)))

    def forward(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Return the output of each block."""
        found = []
        for block in self.blocks:
            values = block(values)
            found.append(values)
        return found


def test_without_weights_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KIT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(TrainingError, match=r"kit weights get vgg16\.tv_in1k"):
        with_network(METRICS["lpips"], "cpu")


def test_a_picture_that_is_too_small(
    features: tuple[Path, torch.nn.Sequential], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_WEIGHTS", str(features[0]))
    metric = with_network(METRICS["lpips"], "cpu")
    assert metric.compare is not None
    with pytest.raises(ImageError, match="needs 16x16"):
        metric.compare(np.zeros((8, 8, 3)), np.zeros((8, 8, 3)), np.ones((8, 8), bool))
