"""What a training tells those who watch it: plain numbers and arrays. Knows no network, and draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Moment:
    """A training after one of its epochs."""

    rows: Sequence[Mapping[str, float]]
    """Those of `log.csv` so far: epoch, learning rate, losses, and `fold_rmse` where it was measured."""
    planned: int
    """Epochs it is to have."""
    speeds: Mapping[int, float]
    """Photos a second, by epoch; none for epochs of which that is not known any more."""
    base: str
    """The base fill."""
    fill_rmse: float | None
    """Of the base fill alone on the fold's photos; None of a full model."""
    values: Mapping[int, np.ndarray]
    """By position, of photos of the fold alone: hidden pixels as last predicted, `(n, 3)` RGB in [0, 1]."""
    measured: int
    """The epoch after which they were predicted; 0: they were not in this process."""
    keeps_best: bool
    """Whether the weights of the best measurement are kept (patience), and not the last ones."""
    is_last: bool
    """Whether the training, or this process's share of it, ends here."""


class Pictures(Protocol):
    """Draws a training on its way. What it raises ends no training."""

    positions: Sequence[int]
    """Of the validation photos that it shows, in the training split; none of a full model."""

    def draw(self, moment: Moment) -> np.ndarray | None:
        """Draw if it is time to; return the strip of photos, uint8 RGB `(H, W, 3)`, if that was drawn."""
