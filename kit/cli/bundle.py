"""`kit bundle`, `kit verify`, `kit push`: what a machine without a network needs, and the way there."""

from __future__ import annotations

import json
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app
from kit.cli.options import ForceOption, YesOption, project_of, split_commas, workspace_of

if TYPE_CHECKING:
    from kit.bundling import Bundle
    from kit.core.workspace import Workspace
    from kit.remote.session import Session


@app.command(short_help="Pack what a machine without a network needs.")
def bundle(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A blend or a source. Default: the newest blend.")] = None,
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
) -> None:
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
    from kit.bundling import MANIFEST, contents_of, make_bundle
    from kit.core.storage import can_write
    from kit.core.workspace import check_output
    from kit.errors import UsageError
    from kit.remote.push import checked_reference

    project = project_of(context)
    if out is not None:
        check_output(project.workspace, out, home="bundles")
    if push is not None:
        checked_reference("--push", push)
    contents = contents_of(project, name)
    folder = out or project.workspace.root / "bundles" / contents.name
    if out is None and not can_write(folder):
        raise UsageError(f"{folder} cannot be written. Put it elsewhere: kit bundle {contents.name} --out FOLDER")
    needed = [*split_commas(wheels), *_lacking(project.workspace, contents.trained)]
    add = partial(_add_weights, models=split_commas(weights))
    if push is None or force or not (folder / MANIFEST).is_file():
        _say(make_bundle(project, contents.name, folder, wheels=list(dict.fromkeys(needed)), add=add, force=force))
    else:
        print(f"There already: {folder}. Make it anew: add --force")
    if push is not None:
        _push_dataset(project.workspace.slug, folder, push, dry_run=dry_run, yes=yes)


def _lacking(workspace: Workspace, trained: tuple[Path, ...]) -> list[str]:
    """Return the packages that Kaggle's image lacks and these runs need; refuse runs that need more than packages."""
    from kit.core.storage import read_json
    from kit.errors import UsageError
    from kit.learning.experiments import experiment_from
    from kit.learning.experiments.code import package_of
    from kit.learning.experiments.groups import SMP_ARCHITECTURES

    stamps = [read_json(workspace.root / path, made_by="kit train --force") for path in trained]
    experiments = [experiment_from(stamp) for stamp in stamps]
    for one in experiments:
        if one.clip_model not in ("none", "thumbnail"):
            raise UsageError(
                f"{one.name} is told what a photo shows by {one.clip_model}, which a bundle does not carry. Blend "
                "without it: kit blend --members NAME,NAME"
            )
    needed = any(one.architecture in SMP_ARCHITECTURES for one in experiments)
    models = dict.fromkeys(package for one in experiments if (package := package_of(one.model)) is not None)
    return [*(["segmentation-models-pytorch"] if needed else []), *models]


def _add_weights(folder: Path, models: list[str]) -> None:
    if not models:  # what brings weights needs torch
        return
    from kit.pretrained.weights.managing import get_weights

    for model in models:
        name = model.removeprefix("tu-")
        get_weights(model, folder / "weights" / f"{name}.safetensors", say=print)


def _say(made: Bundle) -> None:
    members = ", ".join(made.contents.members)
    print(f"Packed: {made.contents.what} {made.contents.name} ({members}) in {made.folder}")
    print(f"{made.bytes / 1e6:.0f} MB in {made.files} files; its submission here has digest {made.submission}")
    print(f"Check it: kit verify {made.folder}")


def _push_dataset(slug: str, folder: Path, reference: str, *, dry_run: bool, yes: bool) -> None:
    from kit.bundling import verify_bundle
    from kit.cli.submit import agreed
    from kit.remote.push import dataset_exists, push_dataset

    whole = verify_bundle(folder)
    size = f"{whole.bytes / 1e6:.0f} MB"
    if dry_run:
        print(f"To make or renew: the private dataset {reference}, {size}")
        print("Nothing was sent, and nothing asked (--dry-run).")
        return
    session = _session(slug)
    verb = "renew" if dataset_exists(session, reference) else "make"
    print(f"To {verb}: the private dataset {reference}, {size}")
    if yes or agreed(f"Send it to {reference}?"):
        notes = f"{whole.document['what']} {whole.document['name']}"
        pushed = push_dataset(session, folder, reference, reference.partition("/")[2].replace("-", " "), notes)
        print(f"{'Made' if pushed.is_new else 'Renewed'}: {pushed.address}")
        print(f"Next: kit push OWNER/NOTEBOOK --bundle {folder} --dataset {reference} --gpu t4x2")
    else:
        print("Nothing was sent.")


def _session(slug: str) -> Session:
    from kit.remote.session import Session

    return Session(slug, timeout=60.0)


@app.command(short_help="Send a bundle's notebook to Kaggle and run it.")
def push(
    context: typer.Context,
    notebook: Annotated[str, typer.Argument(help="The notebook: OWNER/NAME.")],
    dataset: Annotated[str, typer.Option("--dataset", help="The dataset of the bundle: OWNER/NAME.")],
    folder: Annotated[
        Path | None, typer.Option("--bundle", help="Its folder. Default: the newest in bundles/.")
    ] = None,
    gpu: Annotated[str, typer.Option("--gpu", help="t4x2, p100 or none.")] = "t4x2",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    yes: YesOption = False,
) -> None:
    """Save a bundle's notebook on Kaggle, private and without internet, beside the competition's data and the bundle's
    dataset; Kaggle runs it at once, and its output holds submission.csv.

    \b
    Examples:
      kit push ada/photo-notebook --dataset ada/photo-bundle --dry-run
      kit push ada/photo-notebook --dataset ada/photo-bundle --gpu t4x2
    """
    from kit.bundling import metadata_of, newest_bundle, verify_bundle
    from kit.cli.submit import agreed
    from kit.errors import UnknownName
    from kit.remote.push import MACHINES, checked_reference, push_notebook

    if gpu not in MACHINES:
        raise UnknownName("machine", gpu, MACHINES)
    for called, name in (("The notebook", notebook), ("--dataset", dataset)):
        checked_reference(called, name)
    folder = folder or newest_bundle(workspace_of(context))
    document = verify_bundle(folder).document
    print(f"To save and run: the private notebook {notebook} with {dataset}, GPU {gpu}, no internet")
    if dry_run or not (yes or agreed(f"Send it to {notebook}?")):
        print(f"Nothing was sent{' (--dry-run)' if dry_run else ''}.")
        return
    with tempfile.TemporaryDirectory() as temporary:
        sent = shutil.copytree(folder / "notebook", Path(temporary) / "notebook")
        metadata = metadata_of(notebook, dataset, document["competition"], gpu)
        (sent / "kernel-metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
        pushed = push_notebook(_session(document["competition"]), sent)
    print(f"{'Saved' if pushed.is_new else 'Saved anew'}: {pushed.address}")
