"""Whether every tensor of a loaded network comes from its files. Knows tensors and safetensors; no pipeline.

diffusers and transformers go on without what a file lacks: an empty tensor, or one as it begins, and a norm begins as
one and zero and looks like a trained one. They also rename what older files hold, so a tensor that is in no file under
its own name is looked for by its values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

_SEEN = 64  # values at each of three places by which a tensor is told; few are equal in networks that were trained

_Print = tuple[int, bytes]


def lacking(network: torch.nn.Module, files: Sequence[Path]) -> list[str]:
    """Name the parameters and buffers of a network that its files do not hold, in its order.

    Whole numbers are counters and positions, which networks make for themselves.
    """
    own = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    names = _names(files)
    absent = [name for name, value in own.items() if value.is_meta or name not in names]
    present = {value.data_ptr() for name, value in own.items() if name in names and not value.is_meta}
    absent = [name for name in absent if own[name].is_meta or own[name].data_ptr() not in present]  # tied weights
    if not absent:
        return []
    types = {own[name].dtype for name in absent if not own[name].is_meta}
    there = {found for _, value in _tensors(files, names - set(own)) for found in _prints(value, types)}
    return [name for name in absent if own[name].is_meta or _print(own[name]) not in there]


def _names(files: Sequence[Path]) -> set[str]:
    from safetensors import safe_open

    names: set[str] = set()
    for path in files:
        with safe_open(path, "pt") as file:
            names |= set(file.keys())
    return names


def _tensors(files: Sequence[Path], names: set[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield these tensors, one in memory at a time."""
    from safetensors import safe_open

    for path in files:
        with safe_open(path, "pt") as file:
            for name in sorted(names & set(file.keys())):
                yield name, file.get_tensor(name)


def _prints(value: torch.Tensor, types: set[torch.dtype]) -> Iterator[_Print]:
    if value.is_floating_point():
        yield from (_print(value.to(kind)) for kind in types)


def _print(value: torch.Tensor) -> _Print:
    """Tell a tensor by its size and some of its values, whatever its shape."""
    flat = value.detach().flatten()
    middle = max(0, len(flat) // 2 - _SEEN // 2)
    seen = torch.cat([flat[:_SEEN], flat[middle : middle + _SEEN], flat[-_SEEN:]])
    return len(flat), seen.float().cpu().numpy().tobytes()


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the number of names with the first of them."""
    more = ", ..." if len(names) > most else ""
    return f"{len(names)} ({', '.join(names[:most])}{more})"
