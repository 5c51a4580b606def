"""Competition layouts: one module each, looked up by slug. This file computes nothing.

A layout answers four questions: which photos are there and what is hidden (`index`), in which space is a photo scored
(`value_range`), which bytes does the service want (`header`, `encode`), and what does a file of such bytes say
(`decode`). Channel order, value range and header live there and nowhere else.
"""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from kit.errors import ArchiveError, TableError, UnknownName, UsageError
from kit.imaging.holes import Box
from kit.imaging.metrics import RMSE, Metric, metric_named

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Layout:
    """The findings of `Competition.index`: the rows, and notes for a person."""

    rows: pd.DataFrame
    """Columns id, split (train|test), klass, name, image, target (paths below raw/, target "" in test), boxes."""
    notes: tuple[str, ...] = ()


def _no_table(*_: Any) -> Any:
    raise UsageError("A submission of this competition is a zip of pictures, and no table.")


@dataclass(frozen=True)
class Competition:
    """One competition's facts and the functions that know its files."""

    slug: str
    title: str
    metric: str
    sample: str
    """Path of the sample submission below raw/."""
    index: Callable[[Path], Layout]
    """Raw folder to rows, training photos first, each split in the order of its scored rows."""
    value_range: Callable[[np.ndarray, np.ndarray | None], np.ndarray]
    """`(image uint8 RGB (H, W, 3), hole bool (H, W) or None)` to `(2, 3)` float64: low and high of each channel in
    [0, 1]. Score space is `(value - low) / (high - low)`. With a hole the hidden pixels are not looked at."""
    header: Callable[[Path], bytes] = _no_table
    """First line of a submission, read from the sample, with its line end."""
    encode: Callable[[str, Sequence[Box], np.ndarray], bytes] = _no_table
    """`(name, boxes, values (n, 3) RGB in score space)` to the CSV lines of one photo."""
    decode: Callable[[np.ndarray], np.ndarray] = _no_table
    """`(n * 3,)` values of one photo as they stand in the file, to `(n, 3)` RGB in score space."""
    holds: Callable[[Path], bool] | None = None
    """Whether a folder holds the files of this competition, by a glance; None: it does if the sample is there."""
    index_test: Callable[[Path, Sequence[str]], Layout] | None = None
    """`(folder, classes)` to the rows of the test photos alone, in a folder whose training photos may be missing; None:
    `index` finds them, which wants both."""

    submission: Literal["csv", "cells", "pictures", "npy"] = "csv"
    """What is sent: a table with a row a value, or with a row a photo; or whole pictures, as PNG in a zip or as one
    uint8 array `(M, H, W, 3)`. Of `cells`, `encode` writes one line a photo and `decode` reads its second cell."""
    painted: bool = True
    """Whether holes are painted black in the pictures as given, so that boxes can be compared with what is black."""

    mixed_sizes: bool = False
    """Whether photos may differ in size; else one of another size is an error."""

    @property
    def graded_by(self) -> Metric:
        """Return the competition's metric."""
        return metric_named(self.metric)

    @property
    def measured_by(self) -> Metric:
        """Return the metric of sources and blends: the competition's, or RMSE where that needs a network."""
        own = self.graded_by
        return own if own.blends else RMSE

    def is_in(self, folder: Path) -> bool:
        """Return whether a folder seems to hold this competition's files."""
        try:
            if self.sample:
                sample_path(folder, self.sample)
        except ArchiveError:
            return False
        return self.holds is None or self.holds(folder)


def to_score_space(values: np.ndarray, value_range: np.ndarray) -> np.ndarray:
    """Stretch RGB values `(..., 3)` in [0, 1] to score space, float64, not clipped.

    A channel without contrast is 0 everywhere, as OpenCV's NORM_MINMAX has it.
    """
    low, high = value_range
    scaled: np.ndarray = (values.astype(np.float64) - low) * score_scale(low, high)
    return scaled


def score_scale(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return how much score space stretches channels with this value range, any equal shape; 0 without contrast."""
    span = high - low
    scale: np.ndarray = np.divide(1.0, span, out=np.zeros(span.shape), where=span > 0)
    return scale


def sample_path(raw: Path, sample: str) -> Path:
    """Find the sample submission, at `sample` below `raw` or below a folder or two that the archive nests everything
    in; zipped, as Kaggle delivers large tables, or not.

    Raises:
        ArchiveError: it is not there.
    """
    for depth in ("", "*/", "*/*/"):
        for name in (sample, f"{sample}.zip"):
            found = sorted(path for path in raw.glob(f"{depth}{name}") if path.is_file())
            if found:
                return found[0]
    raise ArchiveError(f"{raw / sample} is missing. Fetch again: kit fetch --force")


@contextlib.contextmanager
def open_sample(path: Path) -> Iterator[IO[bytes]]:
    """Open what `sample_path` has found, or the one file in it where it is a zip.

    Raises:
        TableError: a zip that is damaged, or holds several files.
    """
    if path.suffix.lower() != ".zip":
        with path.open("rb") as file:
            yield file
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX/" not in name]
            if len(names) != 1:
                raise TableError(f"{path} holds {len(names)} files, not one CSV. Fetch again: kit fetch --force")
            with archive.open(names[0]) as file:
                yield file
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise TableError(f"{path} is damaged ({error}). Fetch again: kit fetch --force") from None


def competition(slug: str) -> Competition:
    """Look up the layout that a slug names. Raises `UnknownName`."""
    known = _known()
    if slug not in known:
        raise UnknownName(
            "competition layout",
            slug,
            known,
            otherwise="Say how its files are read, --layout FILE.py, which begins with: kit new competition FILE",
        )
    return known[slug]


def registered_slugs() -> list[str]:
    """Return the names of all layouts in this package, and of those added at run time."""
    return list(_known())


def _known() -> dict[str, Competition]:
    from kit.competitions.photo_reconstruction import PHOTO_RECONSTRUCTION

    return {layout.slug: layout for layout in (PHOTO_RECONSTRUCTION, *_REGISTERED)}


_REGISTERED: list[Competition] = []


def register(layout: Competition) -> None:
    """Add a layout at run time: for a competition module outside this package, and for tests."""
    _REGISTERED.append(layout)
