"""The page of `kit explore`: verdicts, charts and photos in one file that needs nothing else. Computes no number anew.

Texts are escaped by the template's engine, whatever the photos are called; style and script are files of their own
beside the template, which puts them in. The same data give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kit.core.progress import progress
from kit.core.storage import write_text
from kit.core.workspace import Split
from kit.data.project import Project
from kit.errors import UsageError
from kit.exploring.result import Exploration, Spread
from kit.report.explore import charts
from kit.report.explore.thumbnail import thumbnail_of
from kit.report.templates import templates_of

_LEAKS, _GROUPS, _OF_GROUP, _OF_KIND = 12, 8, 5, 6


@dataclass(frozen=True)
class Shown:
    """A photo on the page."""

    address: str
    name: str
    note: str


@dataclass(frozen=True)
class Row:
    """Photos that belong together, below one heading."""

    title: str
    photos: tuple[Shown, ...]


def check_page(path: Path) -> None:
    """Raise `UsageError` for a page whose name does not end in `.html`."""
    if path.suffix.lower() not in (".html", ".htm"):
        better = path.with_suffix(".html") if path.name else Path("explore.html")
        raise UsageError(f"{path} does not end in .html, as a page does: choose --out {better}")


def write_page(path: Path, project: Project, found: Exploration) -> None:
    """Write the page whole.

    Raises:
        UsageError: see `check_page`.
        KitError: no room, or no permission.
    """
    check_page(path)
    write_text(path, page_of(project, found))


def page_of(project: Project, found: Exploration) -> str:
    """Return the page as text."""
    pages = templates_of("kit.report.explore")
    pages.filters["number"], pages.filters["spread"] = _number, _spread
    most = charts.most_of(found.holes.train, found.holes.test)
    spectrum = found.spectrum
    lines = [] if spectrum is None else [charts.spectra_chart(spectrum), charts.change_chart(spectrum)]
    with progress("Small pictures", _photos_shown(found), "photos") as bar:
        show = partial(_shown, project, bar.update)
        leaks, groups, odd = _leaks(found, show), _groups(found, show), _odd(found, show)
        unlike = tuple(show("test", one) for one in (found.apart.unlike if found.apart else ()))
    text: str = pages.get_template("explore.html").render(
        found=found,
        maps=(charts.map_of("training", found.holes.train, most), charts.map_of("test", found.holes.test, most)),
        most=f"{most:.0%}",
        grid=charts.GRID,
        lines=lines,
        width=charts.WIDTH,
        height=charts.HEIGHT,
        bars=[*zip(found.measures, charts.bars_of(found.measures), strict=True)],
        leaks=leaks,
        groups=groups,
        unlike=unlike,
        odd=odd,
    )
    return text


def _number(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _spread(value: Spread) -> str:
    return f"{_number(value.middle)} ({_number(value.low)} to {_number(value.high)})"


_Show = Callable[..., Shown]


def _shown(
    project: Project, count: Callable[[], None], split: Split, name: str, note: str = "", *, whole: bool = False
) -> Shown:
    position = next(place for place, row in enumerate(project.index.split(split)) if row.id == name)
    count()
    return Shown(thumbnail_of(project, split, position, whole=whole), name, note)


def _leaks(found: Exploration, show: _Show) -> tuple[Row, ...]:
    return tuple(
        Row("", (show("train", one.train, "training", whole=True), show("test", one.test, "test")))
        for one in found.copies.leaks[:_LEAKS]
    )


def _groups(found: Exploration, show: _Show) -> tuple[Row, ...]:
    rows = []
    splits: Sequence[tuple[Split, str]] = (("train", "training"), ("test", "test"))
    for split, called in splits:
        for group in getattr(found.copies, split)[:_GROUPS]:
            classes = f", {', '.join(group.classes)}" if len(group.classes) > 1 else ""
            photos = tuple(show(split, one, whole=True) for one in group.ids[:_OF_GROUP])
            rows.append(Row(f"{len(group.ids)} {called} photos{classes}", photos))
    return tuple(rows)


def _odd(found: Exploration, show: _Show) -> tuple[Row, ...]:
    rows = []
    for kind in found.odd:
        photos = tuple(show(one.split, one.id, one.value) for one in kind.photos[:_OF_KIND])
        how = ", so it is how the data are" if kind.is_common else ""
        rows.append(Row(f"{kind.kind}: {kind.meaning} ({kind.train:,} training, {kind.test:,} test{how})", photos))
    return tuple(rows)


def _photos_shown(found: Exploration) -> int:
    groups = [*found.copies.train[:_GROUPS], *found.copies.test[:_GROUPS]]
    counts = [2 * len(found.copies.leaks[:_LEAKS]), *(len(group.ids[:_OF_GROUP]) for group in groups)]
    counts += [len(found.apart.unlike) if found.apart else 0, *(len(kind.photos[:_OF_KIND]) for kind in found.odd)]
    return sum(counts)
