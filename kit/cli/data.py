"""`kit fetch`, `kit folds`, `kit fill`: data, splits and the sources that need no training."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app, candidates
from kit.cli.answers import answers
from kit.cli.options import (
    ForceOption,
    JsonOption,
    SeedOption,
    project_of,
    remember_fetch,
    say_next,
    split_commas,
    typed_flags,
    with_workspace_flags,
    workspace_of,
)
from kit.cli.queue import OnOption, on_cluster
from kit.core.workspace import DEFAULT_SLUG
from kit.errors import KitError, NotFinished

if TYPE_CHECKING:
    from kit.core.jobs import Cluster
    from kit.data.project import Project


@app.command(short_help="Download the data, check it, make the index.")
@answers
def fetch(
    context: typer.Context,
    slug: Annotated[str | None, typer.Argument(help=f"Competition: slug or address. Default: {DEFAULT_SLUG}.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Take this zip or folder instead of Kaggle.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Do not copy that folder: read its files where they are.")
    ] = False,
    sample: Annotated[bool, typer.Option("--sample", help="Take the small built-in competition: no account.")] = False,
    layout: Annotated[
        str | None, typer.Option("--layout", help="How the files are read: FILE.py, or a name. Default: the slug's.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Whole training pictures, where the competition is plain folders.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option("--masks", help="Their masks, white where hidden. Default: the shapes of the test masks."),
    ] = None,
    test_images: Annotated[Path | None, typer.Option("--test-images", help="Test pictures.")] = None,
    test_masks: Annotated[Path | None, typer.Option("--test-masks", help="Their masks.")] = None,
    targets: Annotated[
        Path | None, typer.Option("--targets", help="Whole training pictures, where --images have holes.")
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option("--boxes", help="CSV with a row a hidden box: name, row, col, height, width.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="What its columns are called: name=FILE,row=Y,col=X ...")
    ] = None,
    hole: Annotated[
        str | None, typer.Option("--hole", help="Hidden without masks: alpha, or a colour, #000000.")
    ] = None,
    hidden: Annotated[
        str,
        typer.Option(
            "--hidden", autocompletion=candidates.among("white", "black"), help="What masks hide: white or black."
        ),
    ] = "white",
    metric: Annotated[
        str,
        typer.Option(
            "--metric", autocompletion=candidates.metrics, help="Of plain folders: rmse, mse, mae, psnr, ssim, lpips."
        ),
    ] = "rmse",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> object:
    """Download the competition's data, check it, and make the index and the pack.

    Goes on where a cut download stopped. What is there stays until the new data has passed every check. Without --from,
    --sample and a name, the data comes from where it came before. In a Kaggle notebook the attached competition is used
    where it is, below /kaggle/input (or KIT_INPUT): its photos are not copied, and no network is needed.

    \b
    Examples:
      kit fetch
      kit fetch https://www.kaggle.com/competitions/photo-reconstruction
      kit fetch --from ~/Downloads/photo-reconstruction.zip
      kit fetch --from /mnt/photo-reconstruction --in-place
      kit --workspace try fetch --sample
      kit fetch paint-the-cat --layout cat.py     # another competition; begin with: kit new competition cat
      kit fetch cats --images train --masks train_masks --test-images test --test-masks test_masks
    """
    from kit.cli.layouts import guessed_layout
    from kit.cli.results import hidden_text
    from kit.competitions.chosen import PlainFolders, chosen_layout
    from kit.competitions.loading import is_known
    from kit.data.fetch import fetch as fetch_data
    from kit.data.fetch import origin_of_before, stays_sample, truth_of, written_bytes
    from kit.remote import slug_of

    plain = PlainFolders(images, masks, test_images, test_masks, targets, boxes, columns, hole, hidden, metric)
    choice, at = chosen_layout(layout, plain, source)
    if at is not None:  # plain folders are read where they are
        source, in_place = at, True
    workspace = workspace_of(context, slug_of(slug) if slug else None)
    if choice is None and source is not None and source.exists() and not is_known(workspace):
        choice = guessed_layout(workspace.slug, source)
    origin = None
    if slug or source or sample:
        remember_fetch(typed_flags("fetch") if source else "--sample" if sample else workspace.slug)
    elif (origin := origin_of_before(workspace, force=force)) is not None:
        source, sample, in_place = origin.source, origin.sample, in_place or origin.in_place
    fetched = fetch_data(
        workspace,
        source=source,
        in_place=in_place,
        sample=sample,
        force=force,
        choice=choice,
    )
    for note in fetched.notes:
        print(f"Note: {note}")
    index = fetched.index
    state = "There already" if fetched.already else "Fetched"
    print(
        f"{state}: {workspace.slug}, {len(index.train)} training and {len(index.test)} test photos in {workspace.data}"
    )
    print(hidden_text(index))
    if workspace.in_place is not None:
        size = written_bytes(workspace) / 1e6
        print(f"In place: the photos stay in {workspace.in_place}; index and pack take {size:.1f} MB")
    if origin is not None and origin.sample and fetched.already:
        print(with_workspace_flags(f"Note: {stays_sample(workspace)}"))
    if sample:
        print(f"Original test photos, for kit grade --truth: {truth_of(workspace)}")
    if not fetched.already:
        say_next("kit folds")
    elif origin is None and not sample:
        print("Nothing was read again. Where files were added or come from elsewhere: add --force")
    return {
        "competition": workspace.slug,
        "already": fetched.already,
        "train": len(index.train),
        "test": len(index.test),
        "folder": workspace.data,
        "in_place": workspace.in_place,
        "digest": index.digest,
        "notes": fetched.notes,
    }


@app.command(short_help="Split the training photos into folds.")
@answers
def folds(
    context: typer.Context,
    k: Annotated[int, typer.Option("--k", help="Number of folds.")] = 5,
    seed: SeedOption = 0,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> object:
    """Split the training photos into folds: classes even, near duplicates together.

    \b
    Examples:
      kit folds
      kit folds --k 10 --seed 1
    """
    from kit.data.folds import describe_folds
    from kit.data.splitting import ensure_folds

    project = project_of(context)
    made, found = ensure_folds(project, k=k, seed=seed, force=force)
    print(f"{'Made' if made else 'There already'}: {project.workspace.folds} (by {found.method})")
    print(describe_folds(found, project.index))
    if made:
        say_next("kit fill all")
    sizes = [len(found.valid_positions(fold)) for fold in range(found.k)]
    file = project.workspace.folds
    return {"made": made, "file": file, "method": found.method, "k": found.k, "sizes": sizes, "digest": found.digest}


@app.command(short_help="Fill the holes by classical methods.")
@answers
def fill(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(autocompletion=candidates.fills, help="Fills by name, or all.")],
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, max=256, help="Processes. Default: one a core, where that pays.")
    ] = None,
    on: OnOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> object:
    """Fill every hole by a classical method and store the result as a source: no training, no GPU.

    \b
    The fills:
      mean           mean of the known pixels
      telea          Telea 2004 (OpenCV)
      navier-stokes  Bertalmio et al. 2001 (OpenCV)
      harmonic       Laplace's equation, exact
      fractional     conditional mean of a 1/f Gaussian field: the best of them
    Examples:
      kit fill all
      kit fill harmonic fractional
      kit fill all --jobs 8
      kit fill all --on ray      # a few photos a task, on the cluster that RAY_ADDRESS names
    """
    from kit.cli.results import fills_text
    from kit.data.fill_sources import fills_named, is_filled

    project, left = project_of(context), fills_named(split_commas(names))
    is_needed = force or not all(is_filled(project, name) for name in left)
    with on_cluster(on, jobs=jobs, is_needed=is_needed) as cluster:
        done = _fill_all(project, left, jobs, cluster, force=force)
    if project.folds_if_any is None:
        say_next("kit folds")
        return done
    with contextlib.suppress(KitError):  # all is filled; kit sources says what is wrong with the rest
        print(fills_text(project))
    say_next("kit train --fold all")
    return done


def _fill_all(project: Project, left: list[str], jobs: int | None, cluster: Cluster | None, *, force: bool) -> object:
    from kit.data.fill_sources import fill_processes, make_fill_source

    processes = fill_processes(project) if jobs is None else jobs
    done = []
    while left:
        try:
            made = make_fill_source(project, left[0], force=force, processes=processes, cluster=cluster)
        except NotFinished as error:
            after = f"; not begun: {', '.join(left[1:])}" if left[1:] else ""
            raise NotFinished(
                f"{error}{after}", again=f"kit fill {' '.join(left)} --force" if force else None
            ) from None
        done.append({"name": left.pop(0), "made": made})
        print(f"{'Filled' if made else 'There already'}: {done[-1]['name']}")
    return done
