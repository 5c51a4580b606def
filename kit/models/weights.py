"""Pretrained encoder weights: from timm's hub or a local file, into an encoder with more input channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from kit.errors import TrainingError


def load_encoder_weights(encoder: Any, name: str, weights: str) -> None:
    """Load weights into a 3-channel smp encoder.

    Args:
        name: the encoder's name, `tu-<timm model>`.
        weights: `imagenet`, or the path of a .safetensors or .pth file with timm's own keys.

    Raises:
        TrainingError: not a timm encoder, no network, no such file, or keys of another network.
    """
    if not name.startswith("tu-"):
        raise TrainingError(f"encoder_weights={weights} needs a timm encoder: --set encoder=tu-{name}")
    import timm

    options: dict[str, Any] = {"pretrained": True, "features_only": True, "out_indices": None}
    if weights != "imagenet":
        options["pretrained_cfg_overlay"] = {"state_dict": read_weights(Path(weights).expanduser())}
    options.pop("out_indices")
    try:
        donor = timm.create_model(name.removeprefix("tu-"), **options)
    except Exception as error:  # timm passes on whatever its hub client, torch or its key filters raise
        reason = " ".join(str(error).split())[:200]
        where = "be downloaded" if weights == "imagenet" else f"be taken from {weights}"
        raise TrainingError(
            f"The weights of {name} cannot {where}: {reason}. Give a file with --set encoder_weights=PATH, or train "
            "from random weights with --set encoder_weights=none."
        ) from None
    missing = encoder.model.load_state_dict(donor.state_dict(), strict=False).missing_keys
    if missing:
        raise TrainingError(f"The weights {weights} lack {len(missing)} tensors of {name}, first {missing[0]}.")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors from a .safetensors or .pth file; no code in it is run.

    Raises:
        TrainingError: no such file, or not such a file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise TrainingError(f"encoder_weights={path}: there is no such file. Use none, imagenet, or a file's path.")
    try:
        state: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError, OSError, ImportError) as error:
        raise TrainingError(f"{path} is not a .safetensors or .pth weights file ({_first_line(error)}).") from None
    except Exception as error:  # pickle raises its own family for files that hold more than tensors
        raise TrainingError(f"{path} holds more than weights and was not loaded ({_first_line(error)}).") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise TrainingError(f"{path} does not hold a dictionary of tensors.")
    return state


def _first_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:120]


def widen_first_convolution(encoder: nn.Module, in_channels: int) -> None:
    """Give the encoder more input channels; the new ones start at zero weight, so nothing learnt is lost."""
    for parent in encoder.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child.in_channels == 3 and child.groups == 1:
                wide = nn.Conv2d(
                    in_channels,
                    child.out_channels,
                    child.kernel_size,  # type: ignore[arg-type]
                    child.stride,  # type: ignore[arg-type]
                    child.padding,  # type: ignore[arg-type]
                    child.dilation,  # type: ignore[arg-type]
                    bias=child.bias is not None,
                )
                with torch.no_grad():
                    wide.weight.zero_()
                    wide.weight[:, :3] = child.weight
                    if child.bias is not None and wide.bias is not None:
                        wide.bias.copy_(child.bias)
                setattr(parent, name, wide)
                return
    raise TrainingError("The encoder has no convolution on three channels to widen; use --set encoder_weights=none.")
