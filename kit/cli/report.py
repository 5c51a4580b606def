"""`kit report`, `kit compare`, `kit show`: what the stores say, for eyes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app, candidates
from kit.cli.options import JsonOption, SeedOption, project_of, split_commas, with_workspace_flags
from kit.core.numbers import change_text, score_text
from kit.core.shortening import shortened_apart
from kit.core.speech import warn
from kit.errors import UsageError

if TYPE_CHECKING:
    from kit.report.compare import Comparison
    from kit.report.one_photo import OnePhoto
    from kit.report.page import Report

_SHOWN = 5  # photos for each side of a comparison
_VALUE = 26  # columns of a setting's value


@app.command(short_help="Write a page of everything there is to see.")
def report(
    context: typer.Context,
    blend: Annotated[
        str | None, typer.Argument(autocompletion=candidates.blends, help="A blend. Default: the newest.")
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--sources",
            autocompletion=candidates.sources,
            help="Those with pictures. Default: the heaviest, or the best.",
        ),
    ] = None,
    photos: Annotated[
        str, typer.Option("--photos", help="How many with pictures, the most telling first, or all.")
    ] = "200",
    out: Annotated[Path | None, typer.Option("--out", help="Default: report/report.html in the workspace.")] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Serve it on this machine until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of --serve; 0: any that is free.")] = 8765,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML page: verdict, ladder, blend, where the error lies, training curves, leaderboard, and a gallery of
    photos with a slider that wipes between two sources. It asks no network and needs no server; beyond 200 photos a
    folder lies beside it.

    \b
    Examples:
      kit report --open
      kit report --photos all --out /tmp/report.html
      kit report --serve            # over SSH: ssh -L 8765:localhost:8765 MACHINE
    """
    from kit.cli.results import print_json
    from kit.core.workspace import check_output
    from kit.report.page import write_report

    if as_json and (open_it or serve):
        raise UsageError("--json prints and ends: leave out --open and --serve.")
    project = project_of(context)
    if out is not None:
        check_output(project.workspace, out, home="report")
    made = write_report(project, blend=blend, sources=split_commas(sources or []), photos=photos_asked(photos), out=out)
    if as_json:
        print_json(made)
        return
    print(report_text(made))
    if open_it:
        _open(made.path.absolute().as_uri())
    if serve:
        from kit.report.page.serve import serve as serve_page

        serve_page(made.path, port, say=lambda line: print(line, flush=True))


def photos_asked(text: str) -> int | None:
    """Return how many photos are asked for, None for all. Raises `UsageError`."""
    if text == "all":
        return None
    if not text.isdecimal():
        raise UsageError(f"--photos is {text!r}, not a number or all.")
    return int(text)


def report_text(made: Report) -> str:
    """Return verdict and place of a page."""
    beside = f", {len(made.beside)} files beside it" if made.beside else ""
    return "\n".join(
        with_workspace_flags(line)
        for line in (
            *made.verdict,
            f"Written: {made.path} ({made.bytes / 1e6:.1f} MB, {made.photos} photos with pictures{beside})",
        )
    )


def _open(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        warn(f"No browser was found here. Open it yourself: {address}")


@app.command(short_help="Two sources side by side: where they differ.")
def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(autocompletion=candidates.sources_and_blends, help="A source or blend.")],
    second: Annotated[str, typer.Argument(autocompletion=candidates.sources_and_blends, help="Another one.")],
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Say which of two sources or blends is better, and whether that is credible: the paired difference with its 95 %
    interval, over all photos and by distance, channel and class; the photos on which they differ most; and the settings
    that differ.

    \b
    Examples:
      kit compare regress fractional
      kit compare regress regress-wide --json
    """
    from kit.cli.results import print_json
    from kit.report.compare import compare as compared

    found = compared(project_of(context), first, second, seed=seed)
    if as_json:
        print_json(found)
    else:
        print(comparison_text(found))


def comparison_text(found: Comparison) -> str:
    """Return a comparison as text, its verdict first."""
    from kit.core.tables import table

    first, second = shortened_apart(found.names, 14)
    label = found.metric
    gain = f"gain of {found.names[1]}"
    lines = [
        found.verdict,
        "",
        table(
            ["", f"CV {label} [95 %]"],
            [[name, str(score)] for name, score in zip(found.names, found.scores, strict=True)],
        ),
        f"On {found.photos} photos; residuals correlate by {found.correlation:.3f}.",
        "",
        table(
            ["by", found.of_parts, first, second, "gain of the second [95 %]"],
            [[row.by, row.name, score_text(row.first), score_text(row.second), row.gain.signed] for row in found.parts],
        ),
        "",
        f"Photos with the most and the least {gain}:",
        table(
            ["photo", first, second, "gain"],
            [
                [row.name, score_text(row.first), score_text(row.second), change_text(row.gain)]
                for row in (*found.differences[:_SHOWN], *found.differences[-_SHOWN:])
            ],
        ),
    ]
    if found.settings:
        lines += ["", "Settings that differ:", _settings_table(found)]
    worst = found.differences[-1].name
    return "\n".join([*lines, "", with_workspace_flags(f"See one: kit show '{worst}'")])


def _settings_table(found: Comparison) -> str:
    from kit.core.tables import table

    # both columns at once, so that values that differ are not shortened to the same
    values = shortened_apart([value for _, *both in found.settings for value in both], _VALUE)
    rows = [[row[0], *values[2 * place : 2 * place + 2]] for place, row in enumerate(found.settings)]
    return table(["setting", *shortened_apart(found.names, _VALUE)], rows)


@app.command(short_help="One photo by every source.")
def show(
    context: typer.Context,
    photo: Annotated[
        str, typer.Argument(autocompletion=candidates.photos, help="Id or name, also without its suffix.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Of the picture. Default: report/photo-NAME.png.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one photo: its score by every source and the newest blend, and a picture of them all.

    \b
    Examples:
      kit show 'Cat-Train (759).jpeg'
      kit show cat_001 --out cat.png
    """
    from kit.cli.results import print_json
    from kit.core.workspace import check_output
    from kit.report.one_photo import show_photo

    project = project_of(context)
    if out is not None:
        check_output(project.workspace, out)
    found = show_photo(project, photo, out=out)
    if as_json:
        print_json(found)
    else:
        print(photo_text(found))


def photo_text(found: OnePhoto) -> str:
    """Return a photo's facts and scores as text."""
    from kit.core.tables import table

    where = "test" if found.split == "test" else "training" + (f", fold {found.fold}" if found.fold is not None else "")
    klass = f", {found.klass}" if found.klass else ""
    share = found.hidden / (found.width * found.height)
    lines = [f"{found.name}{klass}: {where}, {found.width}x{found.height}, {share:.0%} hidden"]
    if any(one.score is not None for one in found.sources):
        rows = [[one.name, "-" if one.score is None else score_text(one.score)] for one in found.sources]
        lines.append(table(["source", found.metric], rows))
    else:
        lines.append("Nobody here knows its truth: no scores.")
    return "\n".join([*lines, f"Written: {found.picture}"])
