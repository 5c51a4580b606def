"""`kit explore`: the data before any model is made, as lines, tables, JSON and a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app
from kit.cli.options import JsonOption, project_of, say_next

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.exploring import Exploration
    from kit.exploring.result import Holes, Measure, Spectrum, Spread

_SHADES = " .:-=+*#%@"
_LISTED = 5
_BANDS = 6  # rows of the table of spectra


@app.command(short_help="Look at the data: leaks, differences, odd photos.")
def explore(
    context: typer.Context,
    as_json: JsonOption = False,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write a page with charts and photos.")] = True,
    out: Annotated[Path | None, typer.Option("--out", help="Page. Default: report/explore.html.")] = None,
) -> None:
    """Look at the data before any model is made: leaks first, then near duplicates, what differs between training and
    test photos (holes, light, spectra, files, and whether a classifier can tell), and which photos are odd.

    Of test photos only known pixels are looked at. Writes report/explore.html; all of it as data: --json.

    \b
    Examples:
      kit explore
      kit explore --out page.html
      kit explore --no-page --json > explore.json
    """
    from kit.cli.results import print_json
    from kit.core.workspace import check_output
    from kit.exploring import explore as explore_data
    from kit.report.explore.page import check_page, write_page

    project = project_of(context)
    path = out or project.workspace.report / "explore.html"
    if page:
        check_page(path)
        check_output(project.workspace, path)
    found = explore_data(project)
    if as_json:
        print_json(found)
    else:
        print("\n".join(lines_of(found)))
    if page:
        write_page(path, project, found)
        if not as_json:
            print(f"Written: {path}")
    if not as_json and not project.workspace.folds.exists():
        say_next("kit folds")


def lines_of(found: Exploration) -> Iterator[str]:
    """Yield the verdicts, then the tables; each table fits 80 columns."""
    train, test = found.photos
    yield f"{found.competition}: {train:,} training and {test:,} test photos"
    for verdict in found.verdicts:
        yield f"{_MARKS[verdict.weight]}{verdict.about}: {verdict.text}"
    yield from (f"{_MARKS['note']}fetch: {note}" for note in found.notes)
    for lines in (_classes(found), _copies(found), _maps(found.holes), _boxes(found), _measures(found.measures)):
        yield from lines
    if found.spectrum is not None:
        yield from _spectrum(found.spectrum)
    yield from _files(found)
    yield from _odd(found)


_MARKS = {"news": "!! ", "differs": "!  ", "note": "-  ", "fine": "ok "}


def _classes(found: Exploration) -> Iterator[str]:
    from kit.core.tables import table

    if len(found.classes) > 1:
        rows = [[one.name or "(none)", f"{one.train}", f"{one.test}"] for one in found.classes[:20]]
        yield ""
        yield table(["class", "training", "test"], rows)
        if len(found.classes) > 20:
            yield f"... and {len(found.classes) - 20} more classes"


def _copies(found: Exploration) -> Iterator[str]:
    from kit.core.tables import table

    if found.copies.leaks:
        rows = [[one.train, one.test] for one in found.copies.leaks[:_LISTED]]
        yield ""
        yield table(["leaking training photo", "test photo"], rows)
        if len(found.copies.leaks) > _LISTED:
            yield f"... and {len(found.copies.leaks) - _LISTED} more: --json"


def _maps(holes: Holes) -> Iterator[str]:
    """Yield both maps of holes side by side, the darkest sign where most photos hide."""
    import numpy as np

    maps = [np.array(one).reshape(8, 4, 16, 2).mean(axis=(1, 3)) for one in (holes.train, holes.test)]
    most = max(float(one.max()) for one in maps)
    if not most:
        return
    yield ""
    yield f"How often each place is hidden (@: {most:.0%} of photos)"
    yield f"{'training':<18}  test"
    for rows in zip(*maps, strict=True):
        left, right = ("".join(_SHADES[round(value / most * (len(_SHADES) - 1))] for value in row) for row in rows)
        yield f"|{left}|  |{right}|"


def _boxes(found: Exploration) -> Iterator[str]:
    from kit.core.tables import table

    if found.holes.boxes:
        rows = [[f"{one.width}x{one.height}", f"{one.train}", f"{one.test}"] for one in found.holes.boxes[:_LISTED]]
        rows.append(["photos whose boxes overlap", *map(str, found.holes.overlapping)])
        yield ""
        yield table(["box", "training", "test"], rows)
    if len(found.sizes) > 1:
        rows = [[f"{one.width}x{one.height}", f"{one.train}", f"{one.test}"] for one in found.sizes[:_LISTED]]
        yield ""
        yield table(["photo", "training", "test"], rows)


def _measures(measures: tuple[Measure, ...]) -> Iterator[str]:
    from kit.core.tables import table

    if not measures:
        return
    rows = [
        [one.name, _spread(one.train), _spread(one.test), f"{_area(one)}{'!' if one.differs else ''}"]
        for one in measures
    ]
    yield ""
    yield table(["median (5..95 %)", "training", "test", "test higher [95 %]"], rows)
    yield "test higher: how often, of a test and a training photo; 0.50: alike."
    yield f"!: more than chance, for {len(measures)} measures asked."


def _spread(spread: Spread) -> str:
    middle, low, high = (
        f"{one:.0f}" if abs(one) >= 10 else f"{one:.2f}" for one in (spread.middle, spread.low, spread.high)
    )
    return f"{middle} ({low}..{high})"


def _area(measure: Measure) -> str:
    return f"{measure.higher.value:.2f} [{measure.higher.low:.2f}, {measure.higher.high:.2f}]"


def _spectrum(spectrum: Spectrum) -> Iterator[str]:
    from kit.core.tables import table

    count = len(spectrum.frequency)
    places = sorted({round(count ** (step / (_BANDS - 1))) - 1 for step in range(_BANDS)})
    rows = [
        [
            f"{spectrum.frequency[at]:.3f}",
            f"{spectrum.train[at].value:.1f}",
            f"{spectrum.test[at].value:.1f}",
            f"{_decibels(spectrum, at)}{' !' if spectrum.differs[at] else ''}",
        ]
        for at in places
    ]
    yield ""
    yield table(["cycles per pixel", "training, dB", "test, dB", "test less training [95 %]"], rows)


def _decibels(spectrum: Spectrum, at: int) -> str:
    change = spectrum.difference[at]
    return f"{change.value:+.1f} [{change.low:+.1f}, {change.high:+.1f}]"


def _files(found: Exploration) -> Iterator[str]:
    from kit.core.tables import table

    rows = []
    for one in found.files:
        if one.photos:
            quality = (
                f"{one.quality.middle:.0f} ({one.quality.low:.0f} to {one.quality.high:.0f})" if one.quality else "-"
            )
            size = f"{one.bytes_a_pixel.middle:.2f}" if one.bytes_a_pixel else "-"
            kinds = ", ".join(f"{count} {name}" for name, count in one.formats.items())
            rows.append([one.role, kinds or "gone", quality, size])
    yield ""
    yield table(["files", "formats", "JPEG quality", "bytes a pixel"], rows)


def _odd(found: Exploration) -> Iterator[str]:
    from kit.core.tables import table

    if found.odd:
        rows = [
            [one.kind, f"{one.train}", f"{one.test}", f"{one.photos[0].id}: {one.photos[0].value}"] for one in found.odd
        ]
        yield ""
        yield table(["odd", "training", "test", "the oddest"], rows)
