"""The photos that a file has to predict, and the meaning of its numbers. Knows arrays; knows no file format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from kit.competitions import Competition
from kit.core.workspace import PredictionSplit
from kit.data.index import PhotoRow
from kit.data.photo_list import PhotoArray
from kit.data.prediction_store import photo_split
from kit.data.project import Project
from kit.errors import PredictionsError

Space = Literal["pixel", "score"]
Channels = Literal["rgb", "bgr"]

FAR = 0.25  # a model may overshoot [0, 1] a little: beyond this a value counts as out of range
MANY = 0.05  # and a photo with more than this share of such values was meant in another range


@dataclass(frozen=True)
class ValueFormat:
    """The way to read the numbers of a file."""

    space: Space = "pixel"
    """`score`: each channel stretched by the value range of the photo's known pixels, as in a submission."""
    channels: Channels = "rgb"
    scale: float | None = None
    """What stands for 1; None: 255 for whole numbers, 1 for others."""

    def scale_of(self, dtype: np.dtype) -> float:
        """Return what stands for 1 in values of this type."""
        return self.scale if self.scale is not None else 255.0 if dtype.kind in "ui" else 1.0

    def described(self, dtype: np.dtype) -> str:
        """Describe it for a person: `uint8 taken as 0 to 255, RGB, pixel space`."""
        return f"{dtype} taken as 0 to {self.scale_of(dtype):g}, {self.channels.upper()}, {self.space} space"


@dataclass
class ReaderLog:
    """Notes and warnings of a reader, besides values."""

    how: str = ""
    """How the file was understood, in a few words."""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Photos:
    """The photos of one split, in the order in which their values are stored."""

    split: PredictionSplit
    photo_rows: tuple[PhotoRow, ...]
    others: tuple[PhotoRow, ...]
    """The photos of the other split: a file may hold them too."""
    images: PhotoArray
    """`(N, H, W, 3)` uint8, hidden pixels 0."""
    estimated_range: np.ndarray
    """`(N, 2, 3)`, the value range of each photo's known pixels."""
    layout: Competition

    @classmethod
    def of(cls, project: Project, split: PredictionSplit) -> Photos:
        """Return the photos that predictions of `split` are about."""
        photo_rows, others = (project.index.train, project.index.test)[:: 1 if split == "oof" else -1]
        pack = project.pack
        return cls(
            split,
            photo_rows,
            others,
            pack.image(photo_split(split)),
            pack.estimated_range(photo_split(split)),
            project.layout,
        )

    @property
    def kind(self) -> str:
        """Return `training` or `test`."""
        return "training" if self.split == "oof" else "test"

    @cached_property
    def counts(self) -> np.ndarray:
        """Return `(N,)` int, scored pixels of each photo."""
        return np.array([photo_row.scored for photo_row in self.photo_rows], np.int64)

    @cached_property
    def named(self) -> dict[str, list[int]]:
        """Return the positions of the photos with a file name; two classes may share one."""
        found: dict[str, list[int]] = {}
        for position, photo_row in enumerate(self.photo_rows):
            found.setdefault(photo_row.name, []).append(position)
        return found


def to_pixels(values: np.ndarray, photos: Photos, position: int, value_format: ValueFormat, label: str) -> np.ndarray:
    """Turn numbers of a file, `(..., 3)` of any type, into RGB in pixel space, float64, not clipped.

    Raises:
        PredictionsError: values that are not finite, or too many far outside [0, 1]; `label` names the file.
    """
    scale = value_format.scale_of(values.dtype)
    numbers = values.astype(np.float64)
    if scale != 1.0:
        numbers /= scale
    finite = np.isfinite(numbers)
    if not finite.all():
        raise PredictionsError(
            f"{label}: {int((~finite).sum())} of the {numbers.size} values of {photos.photo_rows[position].id} are not "
            "finite (NaN or infinite). Mend them where they were made, then import again."
        )
    outside = np.abs(numbers - 0.5) > 0.5 + FAR
    if outside.size and outside.mean() > MANY:
        raise _out_of_range(numbers * scale, float(outside.mean()), photos.photo_rows[position], value_format, label)
    if value_format.channels == "bgr":
        numbers = numbers[..., ::-1]
    return from_score_space(numbers, photos.estimated_range[position]) if value_format.space == "score" else numbers


def from_score_space(values: np.ndarray, value_range: np.ndarray) -> np.ndarray:
    """Invert `kit.competitions.to_score_space`; a channel without contrast is its one value everywhere."""
    low, high = value_range
    stretched: np.ndarray = low + values * (high - low)
    return stretched


def _out_of_range(
    numbers: np.ndarray, share: float, photo_row: PhotoRow, value_format: ValueFormat, label: str
) -> PredictionsError:
    low, high = float(numbers.min()), float(numbers.max())
    wanted = "0 to 1" if value_format.scale is None else f"0 to {value_format.scale:g}"
    if low >= -FAR and high <= 255:
        hint = "If they are 0 to 255, add: --scale 255"
    elif low >= -1.5 and high <= 1.5:
        hint = "If they are -1 to 1, store (v + 1) / 2 of them."
    else:
        hint = "Say what stands for white: --scale N"
    return PredictionsError(
        f"{label}: {share:.0%} of the values of {photo_row.id} are far outside {wanted}: they go from {low:g} to "
        f"{high:g}. {hint}"
    )


def few(names: Sequence[str], most: int = 3) -> str:
    """Return the first few of some names, quoted: `'a', 'b', 'c' and 4 more`."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
