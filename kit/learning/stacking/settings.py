"""The settings of a stack, its recipe and its name. Knows names, numbers and digests; no tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from kit.core.storage import digest_of
from kit.data.folds import Folds
from kit.data.prediction_store import SPLITS, SourceKind
from kit.data.project import Project
from kit.errors import Mismatch, UsageError

KIND = SourceKind.STACK.value
MADE_BY = "kit blend --stack"
VERSION = 1
"""Of everything that decides a stack's values: another one is another recipe."""
_DIGITS = 6  # of base weights: solvers on two machines agree to these, and then name the same stack


@dataclass(frozen=True)
class StackSettings:
    """Describe how the networks of a stack are built and trained."""

    size: int = 32
    """Height and width of what the network sees; its output has half of it."""
    width: int = 48
    """Channels of the finest level; each coarser one has more."""
    levels: int = 2
    """Of the U-Net. `size` is a multiple of 2 to their power."""
    maps: bool = True
    """Besides the residual, weights of the members that vary over the photo."""
    dropout: float = 0.1
    """Share of the coarsest features that is dropped while training."""
    member_dropout: float = 0.1
    """Chance of each member, photo and epoch to look like the linear blend while training."""
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    ema: float = 0.99
    """Memory of the averaged weights, which predict."""
    clip: float = 1.0
    """Norm to which gradients are cut."""
    flip: bool = True
    """Train on mirrored photos too, and predict both views."""
    permute: bool = True
    """Train on photos with red, green and blue in any order: without it the networks overfit after six epochs."""
    shrink: float = 0.6
    """What is added to the linear blend when predicting, as a share of the residual: all of it overshoots."""

    def __post_init__(self) -> None:
        whole = ("size", "width", "levels", "epochs", "batch_size")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool):
                continue
            if not (math.isfinite(value) and value >= (1 if field.name in whole else 0)):
                raise UsageError(f"A stack's {field.name} cannot be {value}.")
        if max(self.dropout, self.member_dropout, self.ema) >= 1 or self.learning_rate == 0 or self.clip == 0:
            raise UsageError("A stack's dropout, member_dropout and ema are below 1, learning_rate and clip above 0.")
        if self.size % 2**self.levels:
            raise UsageError(
                f"A stack's size of {self.size} is no multiple of {2**self.levels}, as its levels ask for."
            )


def sorted_members(members: Sequence[str], base: np.ndarray, folds: Folds) -> tuple[list[str], np.ndarray]:
    """Sort members by name, and their `(k, K)` weights with them, rounded so that each row still sums to one.

    Raises:
        UsageError: fewer than two members, one named twice, or weights of another shape, not finite, or of another sum.
    """
    names = list(members)
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(
            f"A stack is trained over at least two different sources, not over {', '.join(names) or 'none'}."
        )
    weights = np.asarray(base, np.float64)
    if weights.shape != (folds.k, len(names)):
        raise UsageError(
            f"A stack of {len(names)} members on {folds.k} folds needs base weights of shape {(folds.k, len(names))}, "
            f"got {weights.shape}."
        )
    if not np.isfinite(weights).all() or np.abs(weights.sum(axis=1) - 1).max() > 1e-6:
        raise UsageError(
            f"The base weights of a stack are finite and sum to one, not to {weights.sum(axis=1).tolist()}."
        )
    order = np.argsort(names)
    weights = np.round(weights[:, order], _DIGITS)
    largest = np.abs(weights).argmax(axis=1)
    weights[np.arange(folds.k), largest] += 1 - weights.sum(axis=1)
    return [names[place] for place in order], np.round(weights, _DIGITS)


def stack_recipe(
    project: Project,
    members: Sequence[str],
    base: np.ndarray,
    *,
    settings: StackSettings = StackSettings(),
    seed: int = 0,
) -> dict[str, Any]:
    """Return what decides a stack: members with the digests of their OOF and test values, base weights, settings, seed.

    The order of the members makes no difference. Raises as `sorted_members` and `PredictionStore.read` do.
    """
    names, weights = sorted_members(members, base, project.folds)
    digests = {name: [project.predictions.read(name, split).digest for split in SPLITS] for name in names}
    return {
        "kind": KIND,
        "members": digests,
        "base": weights.tolist(),
        "settings": asdict(settings),
        "seed": seed,
        "version": VERSION,
    }


def stack_name(recipe: dict[str, Any]) -> str:
    """Return `stack-` and eight digits of the recipe's digest."""
    return f"{KIND}-{digest_of(recipe)[:8]}"


def claim_stack_name(project: Project, name: str, recipe: dict[str, Any], *, force: bool) -> None:
    """Check that this stack may be stored under this name.

    Raises:
        UsageError: the name belongs to something else than a stack.
        Mismatch: it belongs to a stack of another recipe, and is not to be replaced.
    """
    project.predictions.claim_name(name, SourceKind.STACK, hint="Store the stack under another name.")
    manifests = [project.predictions.manifest(name, "oof", fold) for fold in range(project.folds.k)]
    if not force and any(found and digest_of(found["recipe"]) != digest_of(recipe) for found in manifests):
        raise Mismatch(f"{name} is a stack of other members, weights or settings. Replace it: {MADE_BY} --force")
