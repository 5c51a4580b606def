"""Predictions as they are read: for each source the hidden pixels alone. Knows photos by position, and no model.

`kit.data.prediction_store` says where they lie and opens them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kit.core.array_reader import ArrayReader
from kit.core.storage import digest_of, map_array
from kit.core.workspace import PredictionSplit
from kit.errors import PredictionsError


@dataclass(frozen=True)
class Part:
    """One file of predictions as its manifest describes it."""

    name: str
    path: Path
    manifest: dict[str, Any]

    def mapped(self) -> np.ndarray:
        """Return its values, memory-mapped."""
        return map_array(self.path, made_by=f"{self.manifest['made_by']} --force")

    def is_finite(self) -> bool:
        """Return whether all its values are finite: reads them all."""
        values = self.mapped()
        return all(np.isfinite(values[start : start + 65536]).all() for start in range(0, len(values), 65536))


@dataclass(frozen=True)
class Predictions:
    """One source's values of one split, on disk; nothing is read before it is asked for, and nothing is kept."""

    source: str
    split: PredictionSplit
    parts: tuple[Part, ...]
    places: np.ndarray
    """`(photos, copies, 2)` int: for each photo and copy the part and the first row in it. OOF has one copy, test one
    a fold, and one more of a full model. A part of -1: no model has predicted this photo yet (only when read with
    `partial`)."""
    counts: np.ndarray
    """`(photos,)` int, scored pixels."""

    @cached_property
    def photos(self) -> np.ndarray:
        """Return the positions of the photos that are predicted, ascending."""
        return np.flatnonzero(self.places[:, 0, 0] >= 0)

    @cached_property
    def _files(self) -> list[ArrayReader]:
        return [ArrayReader(part.mapped()) for part in self.parts]

    def opened(self) -> Predictions:
        """Open its files now and not with the first photo, for readers that share it between threads; return itself."""
        assert self._files is not None
        return self

    def raw(self, photo: int, copy: int, out: np.ndarray) -> np.ndarray:
        """Read one copy of a photo's values as stored, float16 `(n, 3)`, into `out`; not checked."""
        part, start = self.places[photo, copy]
        values: np.ndarray = self._files[part].read(int(start), out)
        return values

    def values(self, photo: int) -> np.ndarray:
        """Return `(n, 3)` float32 RGB in [0, 1] of the photo at this position, the mean of its copies.

        Raises:
            PredictionsError: a value is not finite.
        """
        buffer = np.empty((int(self.counts[photo]), 3), np.float16)
        copies = self.places.shape[1]
        values = self.raw(photo, 0, buffer).astype(np.float32)
        for copy in range(1, copies):
            values += self.raw(photo, copy, buffer)
        if copies > 1:
            values /= copies
        if not np.isfinite(values).all():
            raise self.not_finite(photo)
        return values

    def not_finite(self, photo: int) -> PredictionsError:
        """Return the error for a photo with values that are not finite; names the part that has them."""
        parts = [self.parts[part] for part in self.places[photo, :, 0]]
        return _not_finite(next((one for one in parts if not one.is_finite()), parts[0]))

    def flaw(self) -> PredictionsError | None:
        """Return the error for values that are not finite, None where all are: reads them all."""
        part = next((one for one in self.parts if not one.is_finite()), None)
        return None if part is None else _not_finite(part)

    @property
    def digest(self) -> str:
        """Return what names these very values."""
        return digest_of([part.manifest["digest"] for part in self.parts])

    @property
    def seconds(self) -> float:
        """Return the computing time noted in the manifests."""
        return float(sum(part.manifest["seconds"] for part in self.parts))


def _not_finite(part: Part) -> PredictionsError:
    return PredictionsError(
        f"{part.path} holds values that are not finite (NaN or infinite). Make it again: "
        f"{part.manifest['made_by']} --force"
    )
