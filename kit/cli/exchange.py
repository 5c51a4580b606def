"""`kit import`, `kit export`: predictions that come from, or go to, somebody else."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app, candidates
from kit.cli.answers import answers
from kit.cli.options import ForceOption, JsonOption, finite, project_of, say_next, with_workspace_flags
from kit.core.speech import warn

if TYPE_CHECKING:
    from kit.core.workspace import PredictionSplit
    from kit.data.project import Project
    from kit.exchange import Imported
    from kit.exchange.checks import OwnScore


class Space(StrEnum):
    """The space of the numbers."""

    pixel = "pixel"
    score = "score"


class Channels(StrEnum):
    """The order of the channels."""

    rgb = "rgb"
    bgr = "bgr"


@app.command("import", short_help="Take in predictions made elsewhere.")
@answers
def import_(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What to call the source.")],
    oof: Annotated[Path | None, typer.Option("--oof", help="Predictions of all training photos, out of fold.")] = None,
    test: Annotated[Path | None, typer.Option("--test", help="Predictions of all test photos.")] = None,
    space: Annotated[
        Space | None, typer.Option("--space", help="pixel, or score: stretched as in a submission (CSV's default).")
    ] = None,
    channels: Annotated[
        Channels | None, typer.Option("--channels", help="Order of the channels. Default: rgb.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale", min=1e-3, max=1e6, callback=finite, help="What stands for white. Default: 1; whole numbers: 255."
        ),
    ] = None,
    their_folds: Annotated[
        Path | None, typer.Option("--folds", help="CSV of id,fold by which the OOF were made: compared with ours.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> object:
    """Make a source of predictions that something else has made: a team mate, a notebook, an older project.

    OOF predictions must come from models that have not seen the photo they predict. Kit cannot know that: share
    folds/<competition>.csv, and let everybody train by it. --oof and --test may also be given one after the other.

    \b
    A file may be
      .npz           an array a photo, named by id or file name; or one array: oof, test, values, predictions, arr_0
      .npy           hidden pixels (values, 3) or (photos, scored, 3), or whole pictures (photos, H, W, 3) or
                     (photos, 3, H, W), in the order of data/<competition>/index.csv
      .csv           rows of a submission, for training photos too; also .csv.gz, and .zip with one CSV
      a folder       whole inpainted pictures, named like the photos, any picture format, class folders or none
    Examples:
      kit import anna --oof anna/oof.npz --test anna/test.npz
      kit import notebook --test submission.csv
      kit import notebook --oof oof.csv.gz
      kit import diffusion --oof painted/train --test painted/test
      kit import old --oof old.npy --scale 255 --channels bgr --force
    """
    from kit.errors import UsageError
    from kit.exchange import compare_folds, import_part
    from kit.exchange.importing import check_name, format_of
    from kit.learning.experiments import EXPERIMENTS

    given: list[tuple[PredictionSplit, Path]] = [*([("oof", oof)] if oof else []), *([("test", test)] if test else [])]  # type: ignore[list-item]
    if not given:
        raise UsageError(f"What is {name} to be made of? Give --oof FILE, --test FILE or both.")
    project = project_of(context)
    check_name(project, name, frozenset(EXPERIMENTS))
    for _, path in given:  # before the first of them is imported
        format_of(path.expanduser())
    notes = compare_folds(project, their_folds.expanduser()) if their_folds else []
    parts = []
    for split, path in given:
        options = {"space": space and space.value, "channels": channels and channels.value, "scale": scale}
        parts.append(
            import_part(project, name, split, path, force=force, reserved=frozenset(EXPERIMENTS), **options)  # type: ignore[arg-type]
        )
        _say(name, parts[-1])
    for note in notes:
        print(f"Note: {note}")
    score = _judge(project, name, looked=any(part.made for part in parts))
    return {"name": name, "parts": parts, "notes": notes, "score": score}


def _say(name: str, part: Imported) -> None:
    which = f"{name}, {'OOF of' if part.split == 'oof' else 'test predictions of'} {part.photos} photos"
    how = f" ({part.how})" if part.how else ""
    print(f"{'Imported' if part.made else 'There already'}: {which} from {part.path}{how}")
    for note in part.notes:
        print(f"Note: {note}")
    _warn(part.warnings)


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        warn(f"Warning: {warning}")


def _judge(project: Project, name: str, *, looked: bool) -> OwnScore | None:
    """Say what looks wrong, what it scores, and what to type next; return the score."""
    from kit.data.prediction_store import SPLITS
    from kit.errors import KitError
    from kit.exchange import doubts_about, doubts_about_score, own_score

    if looked:
        _warn(doubts_about(project, name))
    there = {split: project.predictions.manifest(name, split, None) is not None for split in SPLITS}
    try:
        score = own_score(project, name) if there["oof"] else None
    except KitError as error:  # the import itself is done
        print(with_workspace_flags(f"Not scored: {error}"))
        return None
    if score is not None:
        _warn(doubts_about_score(name, score) if looked else [])
        best = f"; best other source: {score.best} {score.best_cv}" if score.best else ""
        print(f"CV RMSE {score.cv} ({score.photos} photos, if no model has seen the photo it predicts){best}")
    absent = [split for split, is_there in there.items() if not is_there]
    say_next(f"kit import {name} --{absent[0]} FILE" if absent else "kit blend")
    return score


@app.command("export", short_help="Write a source's or blend's predictions to one .npz.")
@answers
def export(
    context: typer.Context,
    name: Annotated[str, typer.Argument(autocompletion=candidates.sources_and_blends, help="A source or a blend.")],
    out: Annotated[Path | None, typer.Option("--out", help="The file. Default: <name>.npz here.")] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> object:
    """Write OOF and test predictions of a source or a blend to one .npz for a team mate: an array a photo, named by its
    id. Those of a blend are out of fold too: each photo by weights that were fitted on the other folds.

    The team mate types: kit import NAME --oof regress.npz --test regress.npz

    \b
    Examples:
      kit export regress
      kit export regress --out for-anna.npz
      kit export blend-1a2b3c4d --out ours.npz
    """
    from kit.core.workspace import check_output
    from kit.exchange import export_source

    project, target = project_of(context), out or Path(f"{name}.npz")
    check_output(project.workspace, target)
    done = export_source(project, name, target, force=force)
    if len(done.photos) == 1:
        print(f"Note: it has no {'test' if 'oof' in done.photos else 'OOF'} predictions, so those are not in the file.")
    shown = " and ".join(
        f"{count} {'training' if split == 'oof' else split} photos" for split, count in done.photos.items()
    )
    flags = " ".join(f"--{split} {done.path.name}" for split in done.photos)
    print(f"Exported: {name}, {shown}, to {done.path} ({done.path.stat().st_size / 1e6:.0f} MB)")
    print(f"Your team mate types: kit import NAME {flags}")
    return {"name": name, "path": done.path, "photos": done.photos, "bytes": done.path.stat().st_size}
