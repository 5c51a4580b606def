"""From a file to a part of the prediction store: which reader, under which name, with which recipe. Prints nothing."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kit.core.progress import byte_progress, track
from kit.core.storage import digest_bytes, sweep
from kit.core.workspace import PredictionSplit
from kit.data.prediction_store import SourceKind
from kit.data.project import Project
from kit.errors import StoreError, UsageError
from kit.exchange.arrays import npy_values, npz_values
from kit.exchange.csv import csv_values
from kit.exchange.pictures import all_pictures, picture_values
from kit.exchange.values import Channels, Photos, ReaderLog, Space, ValueFormat

Format = Literal["npy", "npz", "csv", "pictures"]
SUFFIXES: dict[str, Format] = {".npy": "npy", ".npz": "npz", ".csv": "csv", ".gz": "csv", ".zip": "csv"}
WHITE = 0.02  # a highest value below this: something was divided once too often


@dataclass(frozen=True)
class Imported:
    """One part after an import."""

    split: PredictionSplit
    made: bool
    """False: these very predictions were there already."""
    path: Path
    """What they came from."""
    photos: int
    how: str = ""
    """How the numbers were understood."""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def import_part(
    project: Project,
    name: str,
    split: PredictionSplit,
    path: Path,
    *,
    space: Space | None = None,
    channels: Channels | None = None,
    scale: float | None = None,
    force: bool = False,
    reserved: frozenset[str] = frozenset(),
) -> Imported:
    """Check predictions of all photos of one split and store them as part `all` of a source; whole or not at all.

    Args:
        space: by default `score` for a CSV and `pixel` for all else.
        force: replace what was imported under this name.
        reserved: names that belong to something else, such as experiments not trained yet.

    Raises:
        UsageError: the name is another source's, or the file's format is none that kit reads.
        StoreError: something else was imported under this name, and `force` is not given.
        KitError: see the readers.
    """
    path = path.expanduser()
    check_name(project, name, reserved)
    kind = format_of(path)
    if kind == "csv" and channels is not None:
        raise UsageError(f"--channels {channels}: a CSV's rows name their channels. Import {path} without it.")
    value_format = ValueFormat(space or ("score" if kind == "csv" else "pixel"), channels or "rgb", scale)
    photos = Photos.of(project, split)
    recipe = _recipe(path, kind, value_format)
    if not force and project.predictions.is_done(name, split, recipe):
        return Imported(split, False, path, len(photos.photo_rows))
    made_by = _command(name, split, path, space, channels, scale)
    if not force:
        _check_free(project, name, split, made_by)
    log = ReaderLog()
    _store(
        project,
        name,
        photos,
        _values(kind, path, photos, value_format, log, project.workspace.predictions),
        log,
        path,
        recipe,
        made_by,
    )
    return Imported(split, True, path, len(photos.photo_rows), log.how, log.notes, log.warnings)


def check_name(project: Project, name: str, reserved: frozenset[str] = frozenset()) -> None:
    """Raise `UsageError` unless predictions may be imported under this name."""
    hint = "Choose another name for the import."
    project.predictions.claim_name(name, SourceKind.IMPORT, hint=hint)
    if name in reserved:
        raise UsageError(f"{name} is an experiment. {hint}")
    if name.lower().endswith(tuple(SUFFIXES)):
        raise UsageError(f"{name} looks like a file, and kit upload would take it for one. {hint}")


def format_of(path: Path) -> Format:
    """Return the format, by the suffix. Raises `UsageError` when there is no such file or no such format."""
    if path.is_dir():
        return "pictures"
    if not path.exists():
        raise UsageError(f"{path} is not there. Give a .npz, .npy, .csv, .csv.gz, .zip, or a folder of pictures.")
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"{path}: kit imports .npz, .npy, .csv, .csv.gz, .zip with one CSV, or a folder of pictures.")
    return kind


def _values(
    kind: Format, path: Path, photos: Photos, value_format: ValueFormat, log: ReaderLog, folder: Path
) -> Iterator[np.ndarray]:
    if kind == "csv":
        return csv_values(path, photos, value_format, log, folder / path.name)
    read = {"npy": npy_values, "npz": npz_values, "pictures": picture_values}[kind]
    return track(read(path, photos, value_format, log), f"Importing {path.name}", len(photos.photo_rows), "photos")


def _store(
    project: Project,
    name: str,
    photos: Photos,
    values: Iterator[np.ndarray],
    log: ReaderLog,
    path: Path,
    recipe: dict[str, Any],
    made_by: str,
) -> None:
    workspace, started = project.workspace, time.perf_counter()
    folder = workspace.source(name, photos.split)
    sweep(workspace.predictions)
    try:
        with contextlib.closing(_watched(values, path, photos, log)) as watched:
            project.predictions.write(
                name,
                photos.split,
                watched,
                made_by=made_by,
                recipe=recipe,
                seconds=lambda: time.perf_counter() - started,
            )
    except BaseException:
        for empty in (folder, folder.parent):  # a refused import leaves no folder behind
            with contextlib.suppress(OSError):
                empty.rmdir()
        raise


def _watched(
    values: Iterator[np.ndarray], path: Path, photos: Photos, log: ReaderLog
) -> Generator[np.ndarray, None, None]:
    """Yield the values as they are stored, and note what is cut off and what is nearly black."""
    cut = total = 0
    highest = 0.0
    for photo in values:
        cut += int(((photo < -1e-6) | (photo > 1 + 1e-6)).sum())
        total += photo.size
        highest = max(highest, float(photo.max(initial=0.0)))
        yield np.clip(photo, 0.0, 1.0)
    if cut:
        log.notes.append(f"{path}: {cut} of {total} values lay outside [0, 1] and were cut off there.")
    if highest < WHITE:
        log.warnings.append(
            f"{path}: no value is above {highest:.4f} of 1, so everything is black. Were the values divided by 255 "
            "twice? See --scale."
        )


def _recipe(path: Path, kind: Format, value_format: ValueFormat) -> dict[str, Any]:
    return {
        "kind": SourceKind.IMPORT.value,
        "format": kind,
        "digest": _digest(path),
        "space": value_format.space,
        "channels": value_format.channels,
        "scale": value_format.scale,
    }


def _digest(path: Path) -> str:
    """Digest a file's bytes, or the names and bytes of a folder's pictures."""
    paths = all_pictures(path) if path.is_dir() else [path]
    sha, total, done = hashlib.sha256(), sum(one.stat().st_size for one in paths), 0
    with byte_progress(f"Reading {path.name}") as report:
        for one in paths:
            sha.update(one.relative_to(path).as_posix().encode() if path.is_dir() else b"")
            with one.open("rb") as file:
                while block := file.read(1 << 20):
                    sha.update(block)
                    done += len(block)
                    if total > 1 << 28:  # below that it takes no time
                        report(done, total)
    return digest_bytes(sha.digest())


def _command(
    name: str, split: PredictionSplit, path: Path, space: str | None, channels: str | None, scale: float | None
) -> str:
    """Return what to type to import this part again, from any folder."""
    words = ["kit", "import", name, f"--{split}", str(path.absolute())]
    for flag, value in (("--space", space), ("--channels", channels), ("--scale", scale and f"{scale:g}")):
        words += [flag, value] if value else []
    return shlex.join(words)


def _check_free(project: Project, name: str, split: PredictionSplit, made_by: str) -> None:
    """Raise `StoreError` when other predictions of these very photos were imported under this name."""
    manifest = project.predictions.manifest(name, split, None)
    if manifest is not None and manifest["index"] == project.index.digest:
        raise StoreError(
            f"{name} has other {split.upper() if split == 'oof' else split} predictions already, by: "
            f"{manifest['made_by']}. Replace them: {made_by} --force"
        )
