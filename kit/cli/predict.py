"""`kit predict`: what is trained, on the fetched photos again, on other test photos, or on pictures of one's own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app
from kit.cli.options import DeviceOption, FoldOption, ForceOption, project_of, with_workspace_flags

if TYPE_CHECKING:
    from kit.blending import Blend
    from kit.data.project import Project


@app.command(short_help="Predict by what is trained: again, other test photos, own pictures.")
def predict(
    context: typer.Context,
    source: Annotated[
        str | None, typer.Argument(help="A trained source; with --input or --images a fill or blend too.")
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
    force: ForceOption = False,
) -> None:
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
        }
    )
    project = project_of(context)
    if out is not None:
        check_output(project.workspace, out)
    if other is not None:
        _other_tests(project, source, other, out, work, device, force)
    elif images is not None and masks is not None and out is not None:
        _own_pictures(project, source, images, masks, out, device)
    elif source is None:
        raise UsageError("Which source? Name one: kit predict SOURCE, or give photos: kit predict --input FOLDER")
    else:
        _again(project, source, fold, device, size, force)


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
    if "--size" in names and ("--input" in names or "--images" in names):
        raise UsageError("--size changes a source for good, for all photos. First run: kit predict SOURCE --size N")


def _again(project: Project, source: str, fold: list[str], device: str, size: int | None, force: bool) -> None:
    from kit.learning.training.fit import predict_fold

    for number in project.folds.chosen(fold):
        made = predict_fold(project, source, number, device=device, force=force, size=size)
        print(f"{'Predicted' if made else 'There already'}: {source}, fold {number}")


def _chosen(project: Project, name: str | None) -> tuple[str, Blend | None, list[str]]:
    """Return what is to predict, as it is called, the blend if it is one, and the sources that are needed for it."""
    from kit.blending import check_members, read_blend
    from kit.data.prediction_store import SourceKind
    from kit.errors import MissingStep

    if name is not None and project.predictions.kind_of(name) is not SourceKind.BLEND:
        return name, None, [name]
    blend = read_blend(project.workspace, name)
    used = [blend.members[number] for number in blend.recipe.used]
    stored = project.predictions.sources()
    with contextlib.suppress(MissingStep):  # whoever carries weights alone to another machine has no predictions there
        check_members(project, blend, [member for member in used if member.name in stored])
    return f"blend {blend.name}", blend, [member.name for member in used]


def _other_tests(
    project: Project, name: str | None, source: Path, out: Path | None, work: Path | None, device: str, force: bool
) -> None:
    from kit.data.other_tests import open_other_tests
    from kit.learning.other_photos import applicable, predict_other_tests
    from kit.pretrained.devices import device_named
    from kit.submission.other import write_other
    from kit.submission.write import check_copy, copy_submission

    if out is not None:
        check_copy(out)
    called, blend, names = _chosen(project, name)
    kinds = applicable(project, names, called=called)
    tests, notes = open_other_tests(project, source, work=work, force=force)
    for note in notes:
        print(f"Note: {note}")
    for predicted, made in predict_other_tests(tests, kinds, device_named(device)):
        print(f"{'Predicted' if made else 'There already'}: {predicted}", flush=True)
    written = write_other(tests, blend or names[0])
    if out is not None:
        copy_submission(written.path, out)
    print(f"{out or written.path}: {called} on {len(tests.index.test)} test photos of {source}, {written.described}")
    print(with_workspace_flags(f"Work is kept in {tests.workspace.root}"))


def _own_pictures(project: Project, name: str | None, images: Path, masks: Path, out: Path, device: str) -> None:
    from kit.blending import mixer
    from kit.core.progress import track
    from kit.data.own_pictures import check_out, larger, match_masks, read_own, window_of
    from kit.imaging.images import composite_values, save_image
    from kit.learning.one_photo import PhotoModels
    from kit.learning.other_photos import applicable
    from kit.pretrained.devices import device_named

    check_out(out, images, masks)
    called, blend, names = _chosen(project, name)
    kinds = applicable(project, names, called=called, stacks=False)
    pictures, notes = match_masks(images, masks)
    shapes = [read_own(picture)[0].shape for picture in track(pictures, "Checking", len(pictures), "pictures")]
    usual = (project.index.train[0].height, project.index.train[0].width)
    models = PhotoModels(project, kinds, device_named(device))
    notes += [
        f"{source} is predicted without fold {','.join(map(str, folds))}, which has not been trained here. All of "
        f"them: kit train {source} --fold all"
        for source, folds in models.absent_folds().items()
    ]
    mixed = None if blend is None else mixer(blend)
    untouched = 0
    for picture in track(pictures, f"Filling by {called}", len(pictures), "pictures"):
        image, hole = read_own(picture)
        if hole.any():
            window = window_of(picture, image, hole, usual)
            values = models.values(window.image, window.row, names)
            known = project.layout.value_range(window.image, window.row.hole)
            filled = values[0] if mixed is None else mixed(values, window.row, window.image, known)
            image = composite_values(image, filled, window.row.boxes, window.top, window.left)
        untouched += not hole.any()
        save_image(out / f"{picture.name}.png", image)
    if count := larger(shapes, usual):
        notes.append(
            f"{count} of {len(pictures)} are larger than the competition's {usual[1]}x{usual[0]}: filled at their own "
            "size; networks saw a window around the hole"
        )
    if untouched:
        notes.append(f"{untouched} of {len(pictures)} have nothing hidden, and are as they were")
    for note in notes:
        print(with_workspace_flags(f"Note: {note}"))
    print(f"Filled: {len(pictures)} pictures by {called}, in {out}")
