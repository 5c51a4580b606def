"""Batch norms of a pretrained encoder, folded into the convolutions before them.

A batch norm whose statistics stay as they were learnt is a scale and a shift: the convolution takes both over, the
values stay the same, and a pass over memory is saved, which on a CPU costs as much as the convolution.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_batch_norms(module: nn.Module, example: torch.Tensor) -> nn.Module:
    """Fold every batch norm that follows a convolution, in place; others keep their statistics by `FrozenNorm`.

    Args:
        example: an input; which norm follows which convolution is seen by running it.
    """
    was_training = module.training
    pairs = _pairs(module.eval(), example)
    for name, norm in list(module.named_modules()):
        if isinstance(norm, nn.BatchNorm2d):
            convolution = pairs.get(norm)
            if convolution is not None:
                _fold(convolution, norm)
            module.set_submodule(
                name, nn.Sequential(FrozenNorm(norm) if convolution is None else nn.Identity(), _after(norm))
            )
    return module.train(was_training)


class FrozenNorm(nn.Module):
    """A batch norm as the scale and shift that it has become."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        scale, shift = _affine(norm)
        self.scale = nn.Parameter(scale[:, None, None])
        self.shift = nn.Parameter(shift[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(N, C, H, W)` to the same."""
        return x * self.scale + self.shift


def _pairs(module: nn.Module, example: torch.Tensor) -> dict[nn.Module, nn.Conv2d]:
    """Return each batch norm whose input is a convolution's output as it came, with that convolution."""
    made: list[tuple[torch.Tensor, nn.Conv2d]] = []  # the tensors are kept, so no address is used twice
    pairs: dict[nn.Module, nn.Conv2d] = {}

    def after_convolution(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        made.append((output, layer))

    def before_norm(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        found = [convolution for output, convolution in made if output is inputs[0]]
        if found:
            pairs[layer] = found[0]

    handles = []
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            handles.append(layer.register_forward_hook(after_convolution))
        elif isinstance(layer, nn.BatchNorm2d):
            handles.append(layer.register_forward_pre_hook(before_norm))
    try:
        module(example)
    finally:
        for handle in handles:
            handle.remove()
    return pairs


def _affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = (variance + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight)
    return scale, (0.0 if norm.bias is None else norm.bias) - mean * scale


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )
    convolution.bias.requires_grad_()  # torch makes one that was not there before fixed


def _after(norm: nn.BatchNorm2d) -> nn.Module:
    """Return what timm's norms do besides: their activation."""
    parts = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if isinstance(part, nn.Module)]
    return nn.Sequential(*parts)
