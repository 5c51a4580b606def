"""`kit sources`, `kit blend`: what there is, and the best of it together."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli import app
from kit.cli.options import JsonOption, SeedOption, project_of, typed


@app.command()
def sources(context: typer.Context, as_json: JsonOption = False) -> None:
    """List every source with its CV RMSE (95 % interval by photo), its cost and its digest.

    \b
    Examples:
      kit sources
      kit sources --json
    """
    from kit.blending import score_sources
    from kit.cli.results import print_json, sources_table

    project = project_of(context)
    scores = score_sources(project.workspace, project.index, project.folds, project.pack)
    if as_json:
        print_json(scores)
    else:
        print(sources_table(scores))


@app.command()
def blend(
    context: typer.Context,
    members: Annotated[list[str] | None, typer.Argument(help="Sources. Default: every complete one.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Default: made from what goes in.")] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Find the weights that minimise RMSE, and how good they are on photos that they were not fitted on.

    If the gain over the best single source is not credible, the blend is that source, and says so.

    \b
    Examples:
      kit blend
      kit blend regress fractional harmonic --name first
    """
    from kit.blending import left_out_sources, make_blend
    from kit.cli.results import blend_report, print_json

    project = project_of(context)
    left_out = {} if members else left_out_sources(project.workspace, project.index, project.folds)
    made = make_blend(project.workspace, project.index, project.folds, project.pack, members, name=name, seed=seed)
    if as_json:
        print_json(made)
    else:
        print(blend_report(made, project.workspace))
        for source, reason in left_out.items():
            print(typed(f"Left out: {source} ({reason})"))
