"""`kit sources`, `kit blend`: what there is, and the best of it together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app, candidates
from kit.cli.options import (
    JsonOption,
    SeedOption,
    going_on_without_force,
    project_of,
    say_next,
    split_commas,
    with_workspace_flags,
)
from kit.core.speech import say

if TYPE_CHECKING:
    from kit.blending import Blend
    from kit.core.workspace import Workspace
    from kit.data.project import Project


@app.command(short_help="List every source with its CV RMSE.")
def sources(
    context: typer.Context,
    photos: Annotated[Path | None, typer.Option("--photos", help="Write each photo's score by each to a CSV.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List every source with its CV RMSE (95 % interval by photo), its cost and its digest.

    \b
    Examples:
      kit sources
      kit sources --photos photos.csv
      kit sources --json
    """
    from kit.blending import score_sources
    from kit.cli.results import print_json, sources_table

    project = project_of(context)
    if photos is not None:
        from kit.core.workspace import check_output
        from kit.report.by_photo import write_by_photo

        check_output(project.workspace, photos, "--photos")
        write_by_photo(photos, project)
        say(f"Written: {photos}")
    scores = score_sources(project)
    if as_json:
        print_json(scores)
    else:
        print(sources_table(scores, project.layout.measured_by))
        _say_metric(project)


@app.command(short_help="Find the weights with the least error.")
def blend(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(autocompletion=candidates.sources, help="Members. Default: every complete source."),
    ] = None,
    members: Annotated[
        list[str] | None,
        typer.Option("--members", autocompletion=candidates.sources, help="The same; commas do between names."),
    ] = None,
    rung: Annotated[
        str,
        typer.Option(
            "--rung",
            autocompletion=candidates.among(*candidates.RUNGS),
            help="A rung by name, or auto: climb as far as the gate lets.",
        ),
    ] = "auto",
    stack: Annotated[
        bool, typer.Option("--stack", help="Train a stacking network too, fold by fold (minutes).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Train the stack again.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Default: made from what goes in.")] = None,
    plots: Annotated[
        str,
        typer.Option(
            "--plots",
            autocompletion=candidates.among("png", "svg", "none"),
            help="A picture of it in report/: png, svg or none.",
        ),
    ] = "png",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Find the weights that are best by the competition's metric, and how good they are on photos that they were not
    fitted on.

    Each rung is taken only if its gain over the one below is credible: it is measured on folds that the weights were
    not fitted on, and its 95 % interval, over photos, must exclude zero. If nothing is, the blend is the best source.

    \b
    The rungs:
      single      the best source alone
      mean        equal weights
      simplex     the best positive weights, exactly
      ridge       weights of any sign, shrunk toward equal ones
      intercept   ridge, and a constant
      features    weights linear in depth, channel, class, size and contrast
      direct      plain weights by the metric itself: MAE, PSNR or SSIM
      regions     weights for each ring and channel, shrunk to common ones
      stack       regions, with a small network as one member more (--stack)
      hill-climb  greedy selection, and bagged: for comparison with simplex
    Words:
      CV           each training photo scored by what was not fitted on its fold
      score space  channels stretched by the photo's value range, as the score is
      worth        what the blend loses without a member
      ring         hidden pixels of one distance to the nearest known one
      credible     of a gain: its 95 % interval, over photos, lies above zero
    Examples:
      kit blend
      kit blend regress fractional harmonic --name first
      kit blend --members regress,fractional --rung simplex
      kit blend --stack --json
    """
    from kit.blending import chosen_members, complete_sources, left_out_sources, make_blend
    from kit.cli.results import blend_report, print_json
    from kit.errors import UsageError

    if plots not in ("png", "svg", "none"):
        raise UsageError(f"--plots is {plots!r}, not png, svg or none.")
    named = split_commas([*(sources or []), *(members or [])])
    if members and not named:
        raise UsageError("--members names no source. See what there is: kit sources")
    if force and not stack:
        raise UsageError("--force trains the stack again: it goes with --stack. A blend is always made anew.")
    project = project_of(context)
    if stack:
        _train_stack(project, chosen_members(project, named), seed, force)
    left_out = {} if named else left_out_sources(project)
    complete = [] if named else complete_sources(project)
    metric = project.layout.measured_by
    before = _blend_of_name(project.workspace, name)
    made = make_blend(project, named, name=name, rung=rung, seed=seed)
    if before is not None and {**before.weights} != {**made.weights}:
        replaced = ", ".join(row.name for row in before.members)
        say(f"Note: replaces the blend {before.name} of {replaced} (CV {metric.label} {before.cv})")
    picture = _plot(project.workspace, made, plots, metric.label)
    if as_json:
        print_json(made)
    else:
        print(blend_report(made, project.workspace, metric, picture))
        _say_metric(project)
        if left_out:
            print(with_workspace_flags(f"Left out, not complete (kit sources says why): {', '.join(left_out)}"))
        if unsound := _left_out_unsound(project, made, complete):
            print(with_workspace_flags(f"Left out, values not finite (kit sources says where): {', '.join(unsound)}"))
        say_next("kit upload --dry-run")


def _say_metric(project: Project) -> None:
    layout = project.layout
    if layout.measured_by != layout.graded_by:
        label = layout.graded_by.label
        print(f"Note: {label}, the competition's metric, is what kit grade computes; weights are found by RMSE.")


def _blend_of_name(workspace: Workspace, name: str | None) -> Blend | None:
    """Return the blend that is there under a name, if it can be read."""
    from kit.blending import read_blend
    from kit.errors import KitError

    try:
        return None if name is None else read_blend(workspace, name)
    except KitError:
        return None


def _left_out_unsound(project: Project, made: Blend, complete: list[str]) -> list[str]:
    from kit.blending import stack_recipe

    members = {row.name for row in made.members}
    return [name for name in complete if name not in members and stack_recipe(project, name) is None]


def _train_stack(project: Project, members: list[str], seed: int, force: bool) -> None:
    from kit.blending import nested_weights
    from kit.learning.stacking import train_stack

    weights = nested_weights(project, members)
    with going_on_without_force():  # what there was is gone by then
        train_stack(project, members, weights, seed=seed, force=force)


def _plot(workspace: Workspace, made: Blend, kind: str, metric: str) -> Path | None:
    if kind == "none":
        return None
    from kit.report.blend import plot_blend

    return plot_blend(workspace, made, kind, metric)
