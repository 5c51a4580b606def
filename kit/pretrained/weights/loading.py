"""Load weights into an encoder, and give it more input channels. Knows no place but a path and `imagenet`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from kit.core.parallel import is_main_process
from kit.core.speech import say_once
from kit.errors import TrainingError
from kit.pretrained.weights.encoders import flat, layout_of
from kit.pretrained.weights.finding import Found, find_weights, misfit, of_file, take

_OTHERWISE = "Give a file with --set encoder_weights=PATH, or train from random weights: --set encoder_weights=none"


_LISTED = 6  # names in a line


class HasTimmModel(Protocol):
    """An encoder on timm: kit's, or that of segmentation-models-pytorch."""

    model: nn.Module
    """timm's own."""


def load_encoder_weights(
    encoder: HasTimmModel, name: str, weights: str, *, partly: bool = False, options: dict[str, Any] | None = None
) -> Found:
    """Load weights into a 3-channel encoder, and return which they were.

    Args:
        name: the encoder's name, `tu-<timm model>`.
        weights: `imagenet`, or the path of a weights file.
        partly: take what fits of a file, and leave the rest as it is.
        options: with which timm built the encoder.

    Raises:
        TrainingError: not a timm encoder, no network, no such file, or weights of another network.
    """
    if not name.startswith("tu-"):
        raise TrainingError(f"encoder_weights={weights} needs a timm encoder: --set encoder=tu-{name}")
    layout = layout_of(name, **(options or {}))
    try:
        found = find_weights(name, layout, say=_say) if weights == "imagenet" else take(of_file(Path(weights)), layout)
    except TrainingError as error:
        raise TrainingError(f"{error} {_OTHERWISE}") from None
    _check_fit(found, partly)
    by_name = {flat(key): value for key, value in found.fit.tensors.items()}
    own = encoder.model.state_dict()
    state = {key: by_name[flat(key)].to(value.dtype) for key, value in own.items() if flat(key) in by_name}
    encoder.model.load_state_dict(state, strict=False)
    _say_left(own, state)
    needless = "; partial_weights=true changes nothing, all tensors fit" if partly and found.fit.whole else ""
    _say(f"{found.line}{needless}")
    return found


def _check_fit(found: Found, partly: bool) -> None:
    """Raise `TrainingError` unless the file holds the whole encoder and no more, or what fits is to be taken."""
    path, fitted = found.place.path, found.fit
    if fitted.whole or (partly and fitted.found):
        return
    anyway = " --set partial_weights=true takes what fits." if fitted.mostly else ""
    raise TrainingError(
        f"{misfit(path, fitted)}{anyway} What it is, says: kit weights check {shlex.quote(str(path))} (or go without: "
        "--set encoder_weights=none)"
    )


def _say_left(own: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
    """List what of the encoder stays as it begins: norms that timm adds to levels, or all that a file lacks."""
    left = [name for name, value in own.items() if name not in state and value.is_floating_point()]
    if left:
        more = ", ..." if len(left) > _LISTED else ""
        _say(f"Not in the weights, as at random: {len(left)} of {len(own)} tensors ({', '.join(left[:_LISTED])}{more})")


def _say(line: str) -> None:
    if is_main_process():
        say_once(line)


def widen_first_convolution(encoder: nn.Module, in_channels: int) -> None:
    """Give the encoder more input channels; the new ones start at zero weight, so nothing learnt is lost."""
    for child in encoder.modules():
        if isinstance(child, nn.Conv2d) and child.in_channels == 3 and child.groups == 1:
            # in place: subclasses have paddings and normalisations of their own
            with torch.no_grad():
                wide = child.weight.new_zeros(child.out_channels, in_channels, *child.kernel_size)
                wide[:, :3] = child.weight
            child.weight = nn.Parameter(wide)
            child.in_channels = in_channels
            return
    raise TrainingError("The encoder has no convolution on three channels to widen; use --set encoder_weights=none.")
