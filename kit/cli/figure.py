"""`kit figure`, `kit demo`: things to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app, candidates
from kit.cli.answers import answers
from kit.cli.options import ForceOption, JsonOption, SeedOption, project_of, split_commas
from kit.core.workspace import Split

if TYPE_CHECKING:
    from kit.report.picking import Order


@app.command(short_help="Draw holes, sources, blend and truth side by side.")
@answers
def figure(
    context: typer.Context,
    columns: Annotated[
        list[str] | None,
        typer.Argument(
            autocompletion=candidates.sources_and_blends, help="Sources and blends. Default: a few, and a blend."
        ),
    ] = None,
    photo: Annotated[
        list[str] | None, typer.Option("--photo", autocompletion=candidates.photos, help="Id or name; may be repeated.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=50, help="Photos to show when none is named.")] = 4,
    worst: Annotated[bool, typer.Option("--worst", help="Those on which the last column is worst.")] = False,
    best: Annotated[bool, typer.Option("--best", help="Those on which it is best.")] = False,
    at_random: Annotated[bool, typer.Option("--random", help="Any; other ones with another --seed.")] = False,
    klass: Annotated[str | None, typer.Option("--class", help="Photos of this class alone.")] = None,
    seed: SeedOption = 0,
    errors: Annotated[bool, typer.Option("--errors", help="Show where each prediction is wrong, too.")] = False,
    truth: Annotated[Path | None, typer.Option("--truth", help="Show test photos, with these originals.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Show test photos.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Default: report/figure.png in the workspace.")] = None,
    as_json: JsonOption = False,
) -> object:
    """Draw hidden photo, sources, blend and truth side by side.

    \b
    Examples:
      kit figure
      kit figure harmonic fractional regress --count 6
      kit figure fractional regress --worst --errors
      kit figure --truth truth/ --out compare.png
    """
    from kit.core.workspace import check_output
    from kit.errors import UsageError
    from kit.report.figure import check_name, default_columns, save_figure, side_by_side
    from kit.report.picking import choose_photos

    asked: dict[Order, bool] = {"worst": worst, "best": best, "random": at_random}
    orders = [name for name, wanted in asked.items() if wanted]
    if len(orders) > 1 or (orders and photo):
        raise UsageError("--worst, --best, --random and --photo each say which photos: give one.")
    project = project_of(context)
    if out is not None:
        check_output(project.workspace, out)
        check_name(out)
    split: Split = "test" if test or truth is not None else "train"
    shown = split_commas(columns or []) or default_columns(project)
    order = orders[0] if orders else "spread"
    photos: list[int | str] = (
        [*photo] if photo else [*choose_photos(project, shown, split, count, order=order, klass=klass, seed=seed)]
    )
    path = out or project.workspace.report / "figure.png"
    image = side_by_side(
        project,
        photos=photos,
        columns=shown,
        split=split,
        truth=truth,
        errors=errors,
    )
    save_figure(path, image)
    print(f"Written: {path}")
    return {"path": path, "columns": shown, "split": split}


@app.command(short_help="Run the whole chain on a small made-up competition.")
def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Option("--folder", help="Where to build it.")] = Path("demo"),
    seed: SeedOption = 0,
    force: ForceOption = False,
) -> None:
    """Run the whole chain on a small built-in competition of real photos: no account, no network, no GPU.

    \b
    Examples:
      kit demo
      kit demo --folder try --seed 1
    """
    from kit.cli.demo import run_demo
    from kit.core.workspace import Workspace, check_output
    from kit.data.index import checked_folder

    root = checked_folder(context.obj[0])
    check_output(Workspace(root), root / folder, "--folder")
    print(run_demo(root / folder, seed=seed, force=force))
