"""LPIPS: how alike two pictures look to a network. Weights from files on this machine, or the hub; no score of its own.

Zhang, Isola, Efros, Shechtman and Wang 2018, CVPR, arXiv:1801.03924, version 0.1 with VGG16: its features are timm's
`vgg16.tv_in1k`, found as any encoder's (`kit weights`); what weighs their channels comes with the packages torchmetrics
and lpips, of which neither is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kit.errors import ImageError, TrainingError
from kit.imaging.metrics import METRICS, Metric

ENCODER = "tu-vgg16.tv_in1k"
_ENDS = (4, 9, 16, 23, 30)  # each of VGG16's five blocks ends before its pooling
_CHANNELS = (64, 128, 256, 512, 512)
_WEIGHTS_OF = {"torchmetrics": "functional/image/lpips_models/vgg.pth", "lpips": "weights/v0.1/vgg.pth"}
_SMALLEST = 16  # four poolings halve it to a pixel


def with_network(metric: Metric, device: str = "auto", *, say: Callable[[str], None] = lambda line: None) -> Metric:
    """Return a metric with the network that it compares by loaded; every other metric as it is.

    Args:
        say: hears which weights are used.

    Raises:
        TrainingError: no place has the weights.
    """
    if metric.name != METRICS["lpips"].name:
        return metric
    from kit.pretrained.devices import device_named

    return replace(metric, compare=Lpips(device_named(device), say=say))


def channel_weights() -> Path:
    """Return the file of what weighs the channels. Raises `TrainingError` where neither package is installed."""
    for package, path in _WEIGHTS_OF.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (found := Path(folder) / path).is_file():
                return found
    raise TrainingError("LPIPS needs the weights of its channels, 7 KB of a package. Run: pip install torchmetrics")


class Lpips:
    """The distance of two pictures, a number from 0 (the same) on."""

    def __init__(self, device: Any, *, say: Callable[[str], None] = lambda line: None) -> None:
        import timm
        import torch

        from kit.pretrained.weights.finding import find_weights
        from kit.pretrained.weights.reading import open_weights

        lines = open_weights(channel_weights()).tensors
        found = find_weights(ENCODER, say=say)
        say(found.line)
        with torch.device("meta"):  # the classifier, nine tenths of it, is never made
            features: Any = timm.create_model(ENCODER.removeprefix("tu-")).features
        of_features = {name.removeprefix("features."): one.float() for name, one in found.fit.tensors.items()}
        features.load_state_dict({name: of_features[name] for name in features.state_dict()}, assign=True)
        self._device = device
        self._features = features.eval().requires_grad_(False).to(device)
        self._weights = [lines[f"lin{level}.model.1.weight"].float().to(device) for level in range(len(_ENDS))]
        if tuple(one.shape[1] for one in self._weights) != _CHANNELS:
            raise TrainingError(f"{channel_weights()} does not weigh the channels of VGG16.")
        # the paper's, for pictures in [-1, 1]
        self._shift = torch.tensor([-0.030, -0.088, -0.188], device=device)[:, None, None]
        self._scale = torch.tensor([0.458, 0.448, 0.450], device=device)[:, None, None]

    def __call__(self, predicted: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
        """Return the distance of two pictures `(H, W, 3)` in [0, 1]; the hole is not asked.

        Raises:
            ImageError: pictures of under 16 pixels.
        """
        import torch

        height, width = hole.shape
        if min(height, width) < _SMALLEST:
            raise ImageError(f"A picture of {width}x{height} has no LPIPS: it needs {_SMALLEST}x{_SMALLEST}.")
        pair = torch.from_numpy(np.stack([predicted, truth]).transpose(0, 3, 1, 2).astype(np.float32))
        values = (pair.to(self._device) * 2.0 - 1.0 - self._shift) / self._scale
        total = 0.0
        with torch.inference_mode():
            start = 0
            for end, weights in zip(_ENDS, self._weights, strict=True):
                values, start = self._features[start:end](values), end
                unit = values / (values.square().sum(dim=1, keepdim=True).sqrt() + 1e-8)
                total += float(((unit[0] - unit[1]).square() * weights[0]).sum(dim=0).mean())
        return total
