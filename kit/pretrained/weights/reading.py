"""Read a file's tensors: safetensors or PyTorch's, bare or in a checkpoint. Runs no code in it, knows no network.

Errors say what is wrong with the file; what to type instead, says who knows which command was typed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kit.errors import TrainingError

Tensors = dict[str, torch.Tensor]

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")

_CONTAINERS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "module_ema"),  # the average is what predicts better
    *("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params"),
)
"""Under these keys checkpoints hold a state dict: the moving average before the last weights."""

# timm's own checkpoints hold their arguments, and others' the scores they reached as numpy's numbers: bytes and a type
_HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")),
]


@dataclass(frozen=True)
class WeightsFile:
    """A file's tensors, and how they lay in it."""

    path: Path
    format: str
    """safetensors or PyTorch."""
    tensors: Tensors
    container: str = ""
    """Where in a checkpoint they lay, such as `state_dict`; empty for a bare state dict."""
    others: tuple[str, ...] = ()
    """Other state dicts beside it, which were not taken."""

    @property
    def text(self) -> str:
        """Say what the file is."""
        inside = f", under {self.container!r}" if self.container else ""
        beside = f" (and not {', '.join(map(repr, self.others))})" if self.others else ""
        return f"{self.format}{inside}{beside}"


def read_weights(path: Path) -> Tensors:
    """Read a file's tensors.

    Raises:
        TrainingError: see `open_weights`.
    """
    return open_weights(path).tensors


def open_weights(path: Path) -> WeightsFile:
    """Read a .safetensors file, or one that `torch.save` wrote; what it is, its bytes say and not its name.

    Raises:
        TrainingError: no such file, not such a file, or one that holds code.
    """
    with contextlib.suppress(RuntimeError):  # a home folder that cannot be told
        path = path.expanduser()
    if path.is_dir():
        raise TrainingError(f"{path} is a folder; a .safetensors or .pth file is needed.{_inside(path)}")
    if not path.is_file():
        raise TrainingError(f"{path}: there is no such file.")
    if _is_safetensors(path):
        return WeightsFile(path, "safetensors", _as_tensors(path, _from_safetensors(path)))
    stored = _from_torch(path)
    container, found, others = _state_dict(stored)
    return WeightsFile(path, "PyTorch", _as_tensors(path, found), container, others)


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Name these very tensors, whatever file holds them: the same under the same names in any format and order.

    Counters of batches are left out: they are no weights, and files differ in whether they have them.
    """
    found = hashlib.sha256()
    for name in sorted(tensors):
        if not name.endswith("num_batches_tracked"):
            tensor = tensors[name].detach().cpu().contiguous()
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            found.update(tensor.flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def _inside(folder: Path) -> str:
    files = sorted(one.name for one in folder.iterdir() if one.suffix in SUFFIXES)
    return f" In it: {', '.join(files[:3])}." if files else ""


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    return path.suffix == ".safetensors" or (
        len(head) == 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27
    )


def _from_safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _not_weights(path, error) from None


def _from_torch(path: Path) -> Any:
    try:
        # torch's advice about pickles is not for a user of kit
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, "cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ImportError) as error:
        raise _not_weights(path, error) from None
    except Exception as error:  # pickle raises one error for what is no pickle and for what would run code
        if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise TrainingError(
                f"{path} holds Python objects besides weights; nothing in it was run (first: {found.group(1)}). Save "
                "its state_dict() alone, where you trust it."
            ) from None
        if "GLOBAL" in str(error):
            raise TrainingError(f"{path} holds Python objects besides weights; nothing in it was run.") from None
        raise _not_weights(path, None) from None


def _not_weights(path: Path, error: Exception | None) -> TrainingError:
    text = "" if error is None else (str(error).splitlines() or [type(error).__name__])[0][:120].rstrip(". ")
    reason = f" ({text})" if text and "weights_only" not in text else ""
    return TrainingError(f"{path} is not a .safetensors or .pth weights file, or not a whole one{reason}.")


def _state_dict(stored: Any, *, depth: int = 0) -> tuple[str, Any, tuple[str, ...]]:
    """Find the state dict in what was stored: where it lies, it, and the others that lie beside it."""
    if not isinstance(stored, dict) or depth > 3 or _all_tensors(stored):
        return "", stored, ()
    inside = [key for key in _CONTAINERS if isinstance(stored.get(key), dict) and stored[key]]
    for key in inside:
        where, found, others = _state_dict(stored[key], depth=depth + 1)
        if _all_tensors(found):
            return f"{key}.{where}".rstrip("."), found, others or tuple(one for one in inside if one != key)
    return "", stored, ()


def _all_tensors(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(one, torch.Tensor) for one in value.values())


def _as_tensors(path: Path, found: Any) -> Tensors:
    if not _all_tensors(found):
        keys = ", ".join(map(str, list(found)[:4])) if isinstance(found, dict) else type(found).__name__
        raise TrainingError(f"{path} does not hold a dictionary of tensors (but {keys or 'nothing'}).")
    broken = [
        str(key) for key, value in found.items() if value.is_floating_point() and bool(value.float().isnan().any())
    ]
    if broken:
        raise TrainingError(f"{path}: {broken[0]} holds NaN: its training went wrong.")
    return {str(key): value for key, value in found.items()}
