"""What `kit explore` finds, as data: numbers, names and verdicts, for the terminal, for JSON and for a page.

Holds no pixel. The same data give an equal result: numbers are rounded to six digits, below which threads add up
differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kit.core.workspace import Split
from kit.imaging.metrics import Estimate

Weight = Literal["news", "differs", "note", "fine"]
"""How much a verdict matters: a leak; a difference or an oddity; something to know; all is well."""

About = Literal["holes", "photos", "files"]


@dataclass(frozen=True)
class Verdict:
    """One line."""

    weight: Weight
    about: str
    text: str


@dataclass(frozen=True)
class ClassCount:
    """Photos of one class."""

    name: str
    train: int
    test: int


@dataclass(frozen=True)
class Spread:
    """Where a number lies: half of the photos are above the middle, one in twenty below `low` or above `high`."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Measure:
    """A number that each photo has, in both splits; of pixels, taken through holes of both splits at once."""

    about: About
    name: str
    meaning: str
    train: Spread
    test: Spread
    higher: Estimate
    """The chance that a test photo's is higher than a training photo's, ties half; 0.5: alike."""
    differs: bool
    """Whether that is more than chance, for so many measures asked."""


@dataclass(frozen=True)
class SizeCount:
    """How many boxes of a split have one size."""

    height: int
    width: int
    train: int
    test: int


@dataclass(frozen=True)
class Holes:
    """Where the holes are."""

    train: tuple[tuple[float, ...], ...]
    """The share of photos that hide each place, row by row, on a grid over the photo."""
    test: tuple[tuple[float, ...], ...]
    boxes: tuple[SizeCount, ...]
    """The sizes of boxes, the most frequent first; none where holes are of any shape."""
    overlapping: tuple[int, int]
    """Photos with boxes over each other: training, test."""
    hides_nothing: tuple[int, int]


@dataclass(frozen=True)
class Spectrum:
    """The radially averaged power of the photos' light, the mean over photos in decibels."""

    tile: int
    """The side of the squares it is taken from, in pixels."""
    frequency: tuple[float, ...]
    """In cycles per pixel."""
    train: tuple[Estimate, ...]
    test: tuple[Estimate, ...]
    difference: tuple[Estimate, ...]
    """Test less training."""
    differs: tuple[bool, ...]
    """Whether that is more than chance, for so many frequencies asked."""
    photos: tuple[int, int]
    """Photos that have room for such a square: training, test."""


@dataclass(frozen=True)
class Leak:
    """A training photo that is a near duplicate of a test photo."""

    train: str
    test: str


@dataclass(frozen=True)
class Group:
    """Photos that are near duplicates of each other."""

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    """The classes among them; more than one: the same photo under two names."""


@dataclass(frozen=True)
class Copies:
    """Near duplicates."""

    leaks: tuple[Leak, ...]
    train: tuple[Group, ...]
    test: tuple[Group, ...]


@dataclass(frozen=True)
class Telling:
    """A statistic that tells test photos from training photos by itself."""

    name: str
    higher: Estimate


@dataclass(frozen=True)
class Apart:
    """How well a classifier on simple statistics of known pixels tells test photos from training photos."""

    area: Estimate
    """Area under the ROC curve, each photo judged by a model that saw neither it nor its near duplicates."""
    differs: bool
    statistics: int
    by: tuple[Telling, ...]
    """What tells them apart alone, the strongest first; none where nothing does."""
    unlike: tuple[str, ...]
    """The test photos that are least like training photos, the least first."""


@dataclass(frozen=True)
class Files:
    """The files of one role."""

    role: str
    photos: int
    missing: int
    formats: dict[str, int]
    channels: dict[str, int]
    quality: Spread | None
    """Of JPEGs, as guessed from their tables."""
    bytes_a_pixel: Spread | None


@dataclass(frozen=True)
class OddPhoto:
    """One photo that is odd in some way."""

    split: Split
    id: str
    value: str


@dataclass(frozen=True)
class Odd:
    """One way of being odd, and the photos that are, the oddest first."""

    kind: str
    meaning: str
    train: int
    test: int
    photos: tuple[OddPhoto, ...]
    is_common: bool = False
    """Whether more than half of all photos are so: then it is how the data are, and nothing odd."""


@dataclass(frozen=True)
class Exploration:
    """All of it; verdicts in the order in which they matter, leaks first."""

    competition: str
    index: str
    photos: tuple[int, int]
    verdicts: tuple[Verdict, ...]
    classes: tuple[ClassCount, ...]
    sizes: tuple[SizeCount, ...]
    copies: Copies
    holes: Holes
    measures: tuple[Measure, ...]
    spectrum: Spectrum | None
    apart: Apart | None
    """None where one split has too few photos to be told from the other."""
    files: tuple[Files, ...]
    odd: tuple[Odd, ...]
    notes: tuple[str, ...]
    """What `kit fetch` noted."""

    def __str__(self) -> str:
        return "\n".join(f"{one.about}: {one.text}" for one in self.verdicts)


def rounded(value: float, digits: int = 6) -> float:
    """Return a number with so many digits."""
    return float(f"{value:.{digits}g}")


def rounded_estimate(found: Estimate) -> Estimate:
    """Return an estimate with six digits."""
    return Estimate(rounded(found.value), rounded(found.low), rounded(found.high))
