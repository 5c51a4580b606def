"""`kit bundle`, `kit verify`, `kit push`: what a machine without a network needs, and the way there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app, candidates
from kit.cli.answers import answers
from kit.cli.options import ForceOption, JsonOption, YesOption, project_of, say_next, split_commas, workspace_of

if TYPE_CHECKING:
    from kit.bundling import Bundle
    from kit.remote.push import Pushed


@app.command(short_help="Pack what a machine without a network needs.")
@answers
def bundle(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            autocompletion=candidates.sources_and_blends, help="A blend or a source. Default: the newest blend."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder. Default: bundles/NAME.")] = None,
    wheels: Annotated[list[str], typer.Option("--wheel", help="A package that the other machine lacks.")] = [],  # noqa: B006
    weights: Annotated[
        list[str], typer.Option("--weights", help="ImageNet weights of this encoder, to train there.")
    ] = [],  # noqa: B006
    push: Annotated[
        str | None, typer.Option("--push", help="Make or renew this dataset of Kaggle: OWNER/NAME.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --push: say what would be sent.")] = False,
    yes: YesOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> object:
    """Pack what predicts a blend or a source on a machine without a network: kit's own wheel, folds, weights, blend,
    a notebook that installs, predicts and writes the submission, and a digest of every file.

    Packages that Kaggle's image has are not packed; segmentation-models-pytorch is, where a member needs it.

    \b
    Examples:
      kit bundle                                     # the newest blend
      kit bundle regress-long --out carried
      kit bundle --push ada/photo-bundle --dry-run
      kit bundle --push ada/photo-bundle
      kit bundle --wheel typer --wheel pydantic      # for a machine that lacks these too
      kit bundle --weights tf_efficientnet_lite0     # so that kit train begins from ImageNet there
    """
    from kit.applying.carrying import bundle_folder, make_carried
    from kit.bundling import MANIFEST
    from kit.core.workspace import check_output
    from kit.remote.push import checked_reference

    project = project_of(context)
    if out is not None:
        check_output(project.workspace, out, home="bundles")
    if push is not None:
        checked_reference("--push", push)
    folder = bundle_folder(project, name, out)
    made = None
    if push is None or force or not (folder / MANIFEST).is_file():
        carried, encoders = split_commas(wheels), split_commas(weights)
        made = make_carried(project, name, folder, wheels=carried, weights=encoders, force=force)
        _say(made)
    else:
        print(f"There already: {folder}. Make it anew: add --force")
    pushed = None
    if push is not None:
        pushed = _push_dataset(project.workspace.slug, folder, push, dry_run=dry_run, yes=yes)
    return {"folder": folder, "made": made, "pushed": pushed}


def _say(made: Bundle) -> None:
    members = ", ".join(made.contents.members)
    print(f"Packed: {made.contents.what} {made.contents.name} ({members}) in {made.folder}")
    print(f"{made.bytes / 1e6:.0f} MB in {made.files} files; its submission here has digest {made.submission}")
    print(f"Check it: kit verify {made.folder}")


def _push_dataset(slug: str, folder: Path, reference: str, *, dry_run: bool, yes: bool) -> Pushed | None:
    from kit.applying.carrying import send_dataset, session_of
    from kit.bundling import verify_bundle
    from kit.cli.submit import agreed
    from kit.remote.push import dataset_exists

    whole = verify_bundle(folder)
    size = f"{whole.bytes / 1e6:.0f} MB"
    if dry_run:
        print(f"To make or renew: the private dataset {reference}, {size}")
        print("Nothing was sent, and nothing asked (--dry-run).")
        return None
    session = session_of(slug)
    verb = "renew" if dataset_exists(session, reference) else "make"
    print(f"To {verb}: the private dataset {reference}, {size}")
    if not yes and not agreed(f"Send it to {reference}?"):
        print("Nothing was sent.")
        return None
    pushed = send_dataset(whole, folder, reference, session)
    print(f"{'Made' if pushed.is_new else 'Renewed'}: {pushed.address}")
    say_next(f"kit push OWNER/NOTEBOOK --bundle {shlex.quote(str(folder))} --dataset {reference} --gpu t4x2")
    return pushed


@app.command(short_help="Send a bundle's notebook to Kaggle and run it.")
@answers
def push(
    context: typer.Context,
    notebook: Annotated[str, typer.Argument(help="The notebook: OWNER/NAME.")],
    dataset: Annotated[str, typer.Option("--dataset", help="The dataset of the bundle: OWNER/NAME.")],
    folder: Annotated[
        Path | None, typer.Option("--bundle", help="Its folder. Default: the newest in bundles/.")
    ] = None,
    gpu: Annotated[
        str, typer.Option("--gpu", autocompletion=candidates.among("t4x2", "p100", "none"), help="t4x2, p100 or none.")
    ] = "t4x2",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> object:
    """Save a bundle's notebook on Kaggle, private and without internet, beside the competition's data and the bundle's
    dataset; Kaggle runs it at once, and its output holds submission.csv.

    \b
    Examples:
      kit push ada/photo-notebook --dataset ada/photo-bundle --dry-run
      kit push ada/photo-notebook --dataset ada/photo-bundle --gpu t4x2
    """
    from kit.applying.carrying import check_notebook, send_notebook
    from kit.bundling import newest_bundle, verify_bundle
    from kit.cli.submit import agreed

    check_notebook(notebook, dataset, gpu)
    folder = folder or newest_bundle(workspace_of(context))
    whole = verify_bundle(folder)
    print(f"To save and run: the private notebook {notebook} with {dataset}, GPU {gpu}, no internet")
    if dry_run or not (yes or agreed(f"Send it to {notebook}?")):
        print(f"Nothing was sent{' (--dry-run)' if dry_run else ''}.")
        return {"notebook": notebook, "dataset": dataset, "pushed": None}
    pushed = send_notebook(whole, folder, notebook, dataset, gpu)
    print(f"{'Saved' if pushed.is_new else 'Saved anew'}: {pushed.address}")
    return {"notebook": notebook, "dataset": dataset, "pushed": pushed}
