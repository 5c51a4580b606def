"""`kit predict`: what is trained, on the fetched photos again, on other test photos, or on pictures of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app, candidates
from kit.cli.answers import answers
from kit.cli.options import DeviceOption, FoldOption, ForceOption, JsonOption, project_of, with_workspace_flags
from kit.cli.queue import BucketOption, CpusOption, GpusOption, JobsOption, OnOption
from kit.pretrained.slots import place_for

if TYPE_CHECKING:
    from kit.core.jobs import Cluster, Slot
    from kit.data.project import Project


@app.command(short_help="Predict by what is trained: again, other test photos, own pictures.")
@answers
def predict(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            autocompletion=candidates.sources_and_blends,
            help="A trained source; with --input or --images a fill or blend too.",
        ),
    ] = None,
    fold: FoldOption = ["all"],  # noqa: B006
    other: Annotated[
        Path | None, typer.Option("--input", help="Other test photos: a folder or zip in the competition's layout.")
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", help="A folder of pictures of your own.")] = None,
    masks: Annotated[
        Path | None, typer.Option("--masks", help="Their masks by the same names, white = hidden.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The submission of --input (.csv, .zip), or the folder of --images.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option("--work", help="Keep the work of --input here, not in the workspace.")
    ] = None,
    device: DeviceOption = "auto",
    size: Annotated[
        int | None, typer.Option("--size", help="Show photos at this side from now on; 0: as trained.")
    ] = None,
    gpus: GpusOption = None,
    jobs: JobsOption = None,
    on: OnOption = None,
    cpus: CpusOption = None,
    bucket: BucketOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> object:
    """Predict again from stored weights: the fold's photos and the test photos; of the full model the latter alone.

    With --input, predict other test photos of the same layout, such as the hidden ones that replace the public ones
    when a notebook is run again, and write the checked submission. Without a name by the newest blend: by all of its
    members, mixed by its stored weights. Work is kept by the photos' digest; killed and typed again it goes on.

    With --images and --masks, fill what is white in the masks (128 and above) of any pictures, any shape, and leave the
    rest as it is, bit for bit. Masks have the picture's name, or NAME_mask; pictures come out as PNG.

    \b
    Examples:
      kit predict regress
      kit predict regress --fold 2 --force
      kit predict regress --fold all,full
      kit predict regress --on ray --force     # each fold a task of the cluster that RAY_ADDRESS names
      kit predict regress --size 80        # larger than it was trained at: see predict_size in kit train --list
      kit predict --input /kaggle/input --out submission.csv
      kit predict regress --input hidden.zip --out submission.zip --work /kaggle/working/work
      kit predict regress --images photos --masks masks --out filled
    """
    from kit.core.workspace import check_output
    from kit.errors import UsageError

    _check_options(
        {
            "--input": other,
            "--images": images,
            "--masks": masks,
            "--out": out,
            "--work": work,
            "--fold": fold != ["all"],
            "--size": size is not None,
            "--gpus": gpus,
            "--jobs": jobs,
            "--on": on,
        }
    )
    place = place_for(on, gpus, jobs, cpus, device, bucket)
    project = project_of(context)
    if out is not None:
        check_output(project.workspace, out)
    if other is not None:
        return _other_tests(project, source, other, out, work, device, force)
    if images is not None and masks is not None and out is not None:
        return _own_pictures(project, source, images, masks, out, device)
    if source is None:
        raise UsageError("Which source? Name one: kit predict SOURCE, or give photos: kit predict --input FOLDER")
    return _again(project, source, fold, device, size, force, place)


def _check_options(given: dict[str, object]) -> None:
    """Raise `UsageError` for options that do not go together."""
    from kit.errors import UsageError

    names = [name for name, value in given.items() if value]
    if "--input" in names and ("--images" in names or "--masks" in names):
        raise UsageError("--input is for test photos in the competition's layout, --images for your own. Give one.")
    if "--images" in names or "--masks" in names:
        absent = [name for name in ("--images", "--masks", "--out") if name not in names]
        if absent:
            raise UsageError(f"{', '.join(absent)} is missing: kit predict NAME --images DIR --masks DIR --out DIR")
    elif "--out" in names and "--input" not in names:
        raise UsageError(
            "--out goes with --input or --images. A submission of the fetched photos: kit upload --dry-run"
        )
    if "--work" in names and "--input" not in names:
        raise UsageError("--work goes with --input: kit predict NAME --input FOLDER --work DIR")
    if "--fold" in names and ("--input" in names or "--images" in names):
        raise UsageError("--fold: other photos are predicted by all the models of a source. Leave it out.")
    if (side := {"--gpus", "--jobs", "--on"} & set(names)) and ("--input" in names or "--images" in names):
        raise UsageError(
            f"{min(side)}: folds of one source are predicted side by side, other photos are not. Leave it out."
        )
    if "--size" in names and ("--input" in names or "--images" in names):
        raise UsageError("--size changes a source for good, for all photos. First run: kit predict SOURCE --size N")


def _again(
    project: Project,
    source: str,
    fold: list[str],
    device: str,
    size: int | None,
    force: bool,
    place: Sequence[Slot] | Cluster,
) -> object:
    numbers = project.folds.chosen(fold)
    if place:
        from kit.learning.predict_jobs import predict_side_by_side

        words = [*(["--force"] if force else []), *(["--size", str(size)] if size is not None else [])]
        said = predict_side_by_side(project, source, numbers, words, place)
        told = [(number, f"Predicted: {source}, fold {number}" in said) for number in numbers]
        return [{"source": source, "fold": number, "made": made} for number, made in told]
    from kit.learning.training.fit import predict_fold

    done = []
    for number in numbers:
        made = predict_fold(project, source, number, device=device, force=force, size=size)
        print(f"{'Predicted' if made else 'There already'}: {source}, fold {number}")
        done.append({"source": source, "fold": number, "made": made})
    return done


def _other_tests(
    project: Project, name: str | None, source: Path, out: Path | None, work: Path | None, device: str, force: bool
) -> object:
    from kit.applying.other_tests import predict_tests

    done = predict_tests(
        project,
        source,
        name,
        out=out,
        work=work,
        device=device,
        force=force,
        on_note=lambda note: print(f"Note: {note}"),
        on_source=lambda one, made: print(f"{'Predicted' if made else 'There already'}: {one}", flush=True),
    )
    print(f"{out or done.path}: {done.called} on {done.photos} test photos of {source}, {done.described}")
    print(with_workspace_flags(f"Work is kept in {done.folder}"))
    return {"path": out or done.path, "called": done.called, "photos": done.photos, "work": done.folder}


def _own_pictures(project: Project, name: str | None, images: Path, masks: Path, out: Path, device: str) -> object:
    from kit.applying.pictures import fill_pictures

    done = fill_pictures(project, images, masks, out, name, device=device)
    for note in done.notes:
        print(with_workspace_flags(f"Note: {note}"))
    print(f"Filled: {done.pictures} pictures by {done.called}, in {out}")
    return done
