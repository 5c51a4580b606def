"""Load pretrained encoder weights, from timm's hub or a file, into an encoder with more input channels."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from kit.errors import RemoteUnavailable, TrainingError, UsageError
from kit.pretrained.hub import prefer_cache


class SmpEncoder(Protocol):
    """An encoder of segmentation-models-pytorch on timm."""

    model: nn.Module
    """timm's own."""


def load_encoder_weights(encoder: SmpEncoder, name: str, weights: str) -> None:
    """Load weights into a 3-channel smp encoder.

    Args:
        name: the encoder's name, `tu-<timm model>`.
        weights: `imagenet`, or the path of a .safetensors or .pth file with timm's own keys.

    Raises:
        TrainingError: not a timm encoder, no network, no such file, or keys of another network.
    """
    if not name.startswith("tu-"):
        raise TrainingError(f"encoder_weights={weights} needs a timm encoder: --set encoder=tu-{name}")
    state = None if weights == "imagenet" else read_weights(Path(weights))
    if state is None:
        _check_hub(name)
    try:
        donor, other = (_load_reference_state(name, state, seed) for seed in (1, 2))
    except Exception as error:  # timm passes on whatever its hub client, torch or its key filters raise
        reason = " ".join(str(error).split())[:200].rstrip(".")
        where = "be downloaded" if state is None else f"be taken from {weights}"
        raise TrainingError(f"The weights of {name} cannot {where} ({reason}). {_WAY_OUT}") from None
    # timm passes over tensors that are not there; those are what two random starts made different
    lacking = [key for key, value in donor.items() if not torch.equal(value, other[key])]
    lacking += encoder.model.load_state_dict(donor, strict=False).missing_keys
    if lacking:
        raise TrainingError(
            f"The weights {weights} are not those of {name}: {len(lacking)} tensors are not in them, first "
            f"{lacking[0]}. {_WAY_OUT}"
        )


def timm_encoder(name: str) -> Any:
    """Build an encoder of segmentation-models-pytorch on timm: all five levels, three channels, random weights.

    Raises:
        UsageError: there is no such timm model.
    """
    import segmentation_models_pytorch as smp

    try:
        if not name.startswith("tu-"):
            raise ValueError(f"timm's models have names that begin with tu-, such as tu-{name}")
        return smp.encoders.get_encoder(name, in_channels=3, depth=5, weights=None)
    except Exception as error:  # each encoder of smp and timm raises what it likes
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise UsageError(f"encoder={name} cannot be built: {reason}. Try --set encoder=tu-resnet18.") from None


def pretrained_mean_std(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of the photos that a timm model `tu-...` was trained with."""
    import timm

    cfg = timm.get_pretrained_cfg(name.removeprefix("tu-"), allow_unregistered=True)
    return (tuple(cfg.mean), tuple(cfg.std)) if cfg is not None else ((0.5,) * 3, (0.5,) * 3)


_WAY_OUT = "Give a file with --set encoder_weights=PATH, or train from random weights with --set encoder_weights=none."


def _load_reference_state(name: str, state: dict[str, torch.Tensor] | None, seed: int) -> dict[str, torch.Tensor]:
    """Return the tensors of timm's own model, loaded as timm does it; what it does not find is random by `seed`."""
    import timm

    logging.getLogger("timm").setLevel(logging.ERROR)  # its warnings on foreign keys; the caller raises an error
    overlay: dict[str, Any] = {} if state is None else {"pretrained_cfg_overlay": {"state_dict": dict(state)}}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(name.removeprefix("tu-"), pretrained=True, features_only=True, **overlay).state_dict()


def _check_hub(name: str) -> None:
    """Raise `TrainingError` at once when the weights are neither on this machine nor to be had."""
    import timm

    cfg = timm.get_pretrained_cfg(name.removeprefix("tu-"), allow_unregistered=True)
    repository = getattr(cfg, "hf_hub_id", None)
    if not repository:
        return
    try:
        prefer_cache(repository)
    except RemoteUnavailable as error:
        reason = str(error).rstrip(" .")
        raise TrainingError(f"The weights of {name} cannot be downloaded: {reason}. {_WAY_OUT}") from None


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors from a .safetensors or .pth file; no code in it is run.

    Raises:
        TrainingError: no such file, or not such a file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with contextlib.suppress(RuntimeError):  # a home folder that cannot be told
        path = path.expanduser()
    if not path.is_file():
        raise TrainingError(f"encoder_weights={path}: there is no such file. Use none, imagenet, or a file's path.")
    try:
        state: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, ImportError) as error:
        raise TrainingError(
            f"{path} is not a .safetensors or .pth weights file ({_first_line(error)}). {_WAY_OUT}"
        ) from None
    except Exception as error:  # pickle raises one error for what is no pickle and for what would run code
        if "GLOBAL" in str(error):
            raise TrainingError(f"{path} holds Python objects besides weights; nothing in it was run.") from None
        raise TrainingError(f"{path} is not a .safetensors or .pth weights file. {_WAY_OUT}") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise TrainingError(f"{path} does not hold a dictionary of tensors.")
    return dict(state)


def _first_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:120]


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
