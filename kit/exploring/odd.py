"""Photos that are odd, and in which way. Knows numbers by photo, headers and rows of the index; no pixel.

The limits are where a person sees it; what more than half of all photos are is how the data are, and nothing odd.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kit.core.workspace import Split
from kit.data.index import Index, PhotoRow
from kit.exploring.files import ROLES, misnamed
from kit.exploring.known import LIGHT, STATISTICS
from kit.exploring.looking import Looked
from kit.exploring.result import Odd, OddPhoto
from kit.imaging.headers import Header

LISTED = 12
"""Photos of one kind that are named; all are counted."""
GREY, FAINT, DARK, PALE = 0.01, 0.06, 0.1, 0.9
CLIPPED, NARROW, FRAME = 0.25, 0.5, 0.06
NEARLY_ALL = 0.9
FAR = 4.5  # of a number, in spreads of the middle half; one in 150,000 where numbers are normal
STRANGE = 3.0  # the root mean square of a photo's distances in all numbers, in such spreads


@dataclass(frozen=True)
class _Kind:
    """One way of being odd: how much of it each photo has (NaN: none), and how that is written."""

    kind: str
    meaning: str
    amount: np.ndarray
    text: Callable[[int], str]


def odd_photos(
    index: Index, looked: Looked, shares: np.ndarray, headers: dict[str, list[Header | None]]
) -> tuple[Odd, ...]:
    """Return every way of being odd that some photo has, the rarest first.

    Args:
        looked: of all photos, training first.
        shares: `(N,)` hidden share of each.
        headers: see `kit.exploring.files.read_headers`.
    """
    rows = [*index.train, *index.test]
    kinds = [*_by_pixels(looked), *_by_frame(rows, looked.frames), *_by_size(rows), *_by_hole(shares)]
    kinds += _by_file(rows, headers)
    found = [_gathered(kind, rows, len(index.train)) for kind in kinds if np.isfinite(kind.amount).any()]
    return tuple(sorted(found, key=lambda one: (one.train + one.test, one.kind)))


def _gathered(kind: _Kind, rows: Sequence[PhotoRow], trains: int) -> Odd:
    there = np.flatnonzero(np.isfinite(kind.amount))
    oddest = there[np.argsort(-kind.amount[there], kind="stable")]
    splits: tuple[Split, Split] = ("train", "test")
    photos = tuple(
        OddPhoto(splits[place >= trains], rows[place].id, kind.text(place)) for place in oddest[:LISTED].tolist()
    )
    train = int((there < trains).sum())
    return Odd(kind.kind, kind.meaning, train, len(there) - train, photos, is_common=2 * len(there) > len(rows))


def _where(wanted: np.ndarray, amount: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(wanted, amount, np.nan)


def _below(kind: str, meaning: str, values: np.ndarray, limit: float, form: str) -> _Kind:
    return _Kind(kind, meaning, _where(values < limit, -values), lambda at: form.format(values[at]))


def _above(kind: str, meaning: str, values: np.ndarray, limit: float, form: str) -> _Kind:
    return _Kind(kind, meaning, _where(values > limit, values), lambda at: form.format(values[at]))


def _by_pixels(looked: Looked) -> list[_Kind]:
    of = {name: looked.light[:, place] for place, name in enumerate(LIGHT)}
    grain, strange = _spreads(looked.fair[:, STATISTICS.index("grain")]), _strangeness(looked.fair)
    clipped, span = of["black share"] + of["white share"], of["brightest"] - of["darkest"]
    return [
        _below("grey", "no colour", of["chroma"], GREY, "chroma {:.3f}"),
        _below("faint", "hardly any contrast", of["contrast"], FAINT, "contrast {:.3f}"),
        _below("dark", "nearly black", of["brightness"], DARK, "brightness {:.2f}"),
        _above("light", "nearly white", of["brightness"], PALE, "brightness {:.2f}"),
        _above("clipped", "black or white to the limit", clipped, CLIPPED, "{:.0%} of it"),
        _below("narrow", "a narrow value range", span, NARROW, "range {:.2f}"),
        _above("grainy", "far more grain than the rest", grain, FAR, "{:+.1f} spreads"),
        _below("smooth", "far less grain than the rest", grain, -FAR, "{:+.1f} spreads"),
        _above("strange", "unlike the rest in many numbers", strange, STRANGE, "{:.1f} spreads"),
    ]


def _spreads(values: np.ndarray) -> np.ndarray:
    """Return distances from the middle, in spreads: the middle half's width as a normal distribution has it."""
    told = values[np.isfinite(values)]
    if not len(told):
        return np.full(len(values), np.nan)
    low, middle, high = np.quantile(told, (0.25, 0.5, 0.75))
    spread = (high - low) / 1.349
    return np.asarray((values - middle) / spread if spread > 1e-9 else np.zeros(len(values)))


def _strangeness(statistics: np.ndarray) -> np.ndarray:
    """Return the root mean square of each photo's distances, a number counting at most as ten spreads."""
    away = np.clip(np.stack([_spreads(values) for values in statistics.T], axis=1), -10, 10)
    told = np.isfinite(away)
    return np.asarray(np.sqrt(np.where(told, away**2, 0).sum(axis=1) / np.maximum(told.sum(axis=1), 1)))


def _by_frame(rows: Sequence[PhotoRow], frames: np.ndarray) -> list[_Kind]:
    """Return what has bars of one colour on two sides that face each other, or is one colour from side to side."""
    sides = np.array([(row.height, row.width) for row in rows])
    share = frames / np.column_stack([sides[:, 0], sides[:, 0], sides[:, 1], sides[:, 1]])
    pairs = np.minimum(share[:, ::2], share[:, 1::2])
    width = np.where(pairs.min(axis=1) > FRAME / 4, pairs.sum(axis=1), pairs.max(axis=1))
    names = ("top", "bottom", "left", "right")

    def text(at: int) -> str:
        return ", ".join(f"{name} {int(size)} px" for name, size in zip(names, frames[at], strict=True) if size)

    return [_Kind("framed", "bars of one colour at its sides", _where(width > FRAME / 2, width), text)]


def _by_size(rows: Sequence[PhotoRow]) -> list[_Kind]:
    sizes = Counter((row.height, row.width) for row in rows)
    (height, width), most = min(sizes.items(), key=lambda pair: (-pair[1], pair[0]))
    others = [float(sizes[row.height, row.width]) for row in rows]
    if 2 * most <= len(rows):  # no size is usual
        return []
    amount = _where(np.array(others) < most, -np.array(others))
    meaning = f"not {width}x{height} as most are"
    return [_Kind("size", meaning, amount, lambda at: f"{rows[at].width}x{rows[at].height}")]


def _by_hole(shares: np.ndarray) -> list[_Kind]:
    return [
        _Kind("whole", "hides nothing", _where(shares == 0, shares), lambda _: "0 %"),
        _Kind("hidden", "hides nearly everything", _where(shares > NEARLY_ALL, shares), lambda at: f"{shares[at]:.1%}"),
    ]


def _by_file(rows: Sequence[PhotoRow], headers: dict[str, list[Header | None]]) -> list[_Kind]:
    given = [*headers[ROLES[0]], *headers[ROLES[2]]]
    whole: list[Header | None] = [*headers[ROLES[1]], *([None] * len(headers[ROLES[2]]))]

    def marked(test: Callable[[PhotoRow, Header], bool]) -> np.ndarray:
        found = [
            any(header is not None and test(row, header) for header in pair)
            for row, *pair in zip(rows, given, whole, strict=True)
        ]
        return _where(np.array(found), np.ones(len(rows)))

    def turn(at: int) -> str:
        return ", ".join(f"Exif {one.orientation}" for one in (given[at], whole[at]) if one and one.orientation > 1)

    def kind_of(at: int) -> str:
        return f"{(given[at] or whole[at] or Header('', 0)).format or 'unknown'} inside"

    is_gone = _where(np.array([header is None for header in given]), np.ones(len(rows)))
    return [
        _Kind(
            "turned",
            "Exif wants it turned; kit reads it as it is stored",
            marked(lambda _, one: one.orientation > 1),
            turn,
        ),
        _Kind("cut", "the file's end is missing", marked(lambda _, one: one.is_cut), lambda _: "cut"),
        _Kind("misnamed", "another format than its name says", marked(misnamed), kind_of),
        _Kind("gone", "its file is not there any more", is_gone, lambda at: rows[at].image),
    ]
