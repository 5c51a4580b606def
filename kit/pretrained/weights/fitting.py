"""Tensors under whatever names, as the tensors of a timm model; what does not fit, by name and count. Knows no file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from kit.pretrained.weights.encoders import Layout
from kit.pretrained.weights.reading import Tensors

PREFIXES = ("module.", "model.", "encoder.", "backbone.", "_orig_mod.")
"""What wrappers put before a network's own names; several of them stand behind one another."""

_NAMES = {"_as_named": "timm's", "_translated": "translated by timm", "in_order": "in order"}
_SHOWN = 2  # names of each kind in a message
_TAIL = 8  # tensors of a classifier, after all that an encoder needs


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file fit a timm model."""

    model: str
    tensors: Tensors
    """Those that fit, under timm's names."""
    prefix: str
    """What stood before the names in the file."""
    names: str
    """Whose names they were: `timm's`, `translated by timm`, or `in order`."""
    needed: int
    """Tensors of the encoder."""
    missing: tuple[str, ...] = ()
    """Of the encoder, not in the file."""
    misshapen: tuple[str, ...] = ()
    """Of the encoder, in the file with another shape: the name with both shapes."""
    unexpected: tuple[str, ...] = ()
    """In the file, and nowhere in timm's model."""

    @property
    def whole(self) -> bool:
        """Return whether the encoder has all its weights and the file no others: a ResNet34 has all of a ResNet18's."""
        return not (self.missing or self.misshapen or self.unexpected)

    @property
    def found(self) -> int:
        """Return how many tensors of the encoder are there."""
        return self.needed - len(self.missing) - len(self.misshapen)

    @property
    def mostly(self) -> bool:
        """Return whether it is worth while to take what fits: half of the encoder or more."""
        return 2 * self.found >= self.needed

    @property
    def problem(self) -> str:
        """Say what does not fit, by count and the first names."""
        kinds = (
            (self.missing, "not in it"),
            (self.misshapen, "of another shape"),
            (self.unexpected, "unknown to the encoder"),
        )
        parts = [f"{len(names)} {what} ({_first(names)})" for names, what in kinds if names]
        return f"{self.found} of {self.needed} tensors fit; {'; '.join(parts)}" if parts else f"all {self.needed} fit"


def fit(layout: Layout, tensors: Tensors) -> Fit:
    """Find the reading of a file's names under which most of what an encoder needs is there in its shape."""
    best: Fit | None = None
    behind = list(_without_prefixes(tensors))
    for reading in (_as_named, _translated, in_order):  # the surest first, behind whatever prefix
        for prefix, inner in behind:
            if (state := reading(layout, inner)) is None:
                continue
            found = _compare(layout, state, prefix, _NAMES[reading.__name__])
            if found.whole:
                return found
            if best is None or (found.found, -len(found.unexpected)) > (best.found, -len(best.unexpected)):
                best = found
    assert best is not None  # the names as they are, are one reading
    return best


def _without_prefixes(tensors: Tensors) -> Iterator[tuple[str, Tensors]]:
    """Yield the tensors as they are, then those behind each prefix or several, under the rest of their names."""
    waiting = [("", tensors)]
    while waiting:
        prefix, inner = waiting.pop(0)
        yield prefix, inner
        if len(prefix) < 60:
            for one in PREFIXES:
                below = {key.removeprefix(one): value for key, value in inner.items() if key.startswith(one)}
                if below:
                    waiting.append((prefix + one, below))


def _as_named(layout: Layout, tensors: Tensors) -> Tensors | None:
    return tensors


def _translated(layout: Layout, tensors: Tensors) -> Tensors | None:
    if layout.filter is None:
        return None
    try:
        found = layout.filter(tensors)
    except Exception:  # it was written for other files
        return None
    return found if found and all(isinstance(value, torch.Tensor) for value in found.values()) else None


def in_order(layout: Layout, tensors: Tensors) -> Tensors | None:
    """Give tensors timm's names by their order, or None unless shapes and last names agree all the way.

    It is how torchvision's and EfficientNet-PyTorch's ports of the same network are told: what a tensor is of its layer
    (weight, bias, running_mean, ...) and its shape must agree for all tensors that an encoder needs. What follows them
    can be a classifier's alone.
    """
    given = [(key, value) for key, value in tensors.items() if not key.endswith("num_batches_tracked")]
    wanted = list(layout.shapes)
    last = max((place for place, key in enumerate(wanted) if key in layout.needed), default=-1)
    if not 0 <= last < len(given) <= last + 1 + _TAIL:
        return None
    named: Tensors = {}
    for place, (key, value) in enumerate(given):
        name = wanted[place] if place < len(wanted) else ""
        agrees = bool(name) and value.shape == layout.shapes[name] and _leaf(key) == _leaf(name)
        if agrees:
            named[name] = value
        elif place <= last:
            return None
    return named


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def _compare(layout: Layout, state: Tensors, prefix: str, names: str) -> Fit:
    fitting: Tensors = {}
    misshapen: list[str] = []
    for key, shape in layout.shapes.items():
        value = state.get(key)
        if value is None:
            continue
        if value.shape == shape:
            fitting[key] = value
        elif key in layout.needed:
            misshapen.append(f"{key} {tuple(value.shape)} instead of {tuple(shape)}")
    missing = tuple(key for key in layout.shapes if key in layout.needed and key not in state)
    unexpected = tuple(
        key
        for key in state
        if key not in layout.shapes and not key.endswith("num_batches_tracked") and not _of_a_head(key)
    )
    return Fit(
        layout.model, fitting, prefix, names, len(layout.needed), missing, tuple(misshapen), unexpected
    )  # fmt: skip


def _of_a_head(key: str) -> bool:
    """Return whether a tensor belongs to a classifier, of which an encoder knows nothing."""
    return key.lower().startswith(
        ("fc.", "classifier", "head", "_fc.", "last_linear.", "aux", "projector", "predictor")
    )


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
