"""The folder itself: what is needed elsewhere, and `bundle.json` with a digest of every file.

bundle.json         what it is, its members, the digest of the submission that it makes, the digests of its files
wheels/             kit, and packages that the other machine lacks
workspace/          index, folds, weights and blend, as they lie in the workspace that they come from
weights/            pretrained encoders, to train there; kit finds them below /kaggle/input by their names
notebook/           a notebook that installs, predicts and writes the submission; what Kaggle wants to know of it
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kit
from kit.bundling.contents import Contents, contents_of
from kit.bundling.notebook import write_notebook
from kit.bundling.wheels import make_wheel
from kit.core.archive import check_room
from kit.core.progress import track
from kit.core.storage import digest_file, only_one, write_json, writing_folder
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.errors import MissingStep, UsageError
from kit.remote.push import METADATA
from kit.submission.csv_rows import numbers, open_rows
from kit.submission.pictures import picture_means
from kit.submission.upload import Prepared, prepare

MANIFEST = "bundle.json"
LARGEST = 20 * 10**9
"""Bytes that /kaggle/working and a dataset hold."""

SAMPLED = 2000


@dataclass(frozen=True)
class Bundle:
    """What was written."""

    folder: Path
    contents: Contents
    bytes: int
    files: int
    submission: str
    """Digest of the CSV that it makes of the test photos of this workspace."""


def make_bundle(
    project: Project,
    name: str | None,
    folder: Path,
    *,
    wheels: Sequence[str],
    add: Callable[[Path], None] = lambda folder: None,
    force: bool = False,
) -> Bundle:
    """Write everything that predicts a blend (default: the newest) or a source on a machine without a network.

    The folder is there whole or not at all.

    Args:
        wheels: packages besides kit that the other machine lacks.
        add: writes what else is to be carried into the folder that it is given.
        force: replace a bundle that is there.

    Raises:
        UsageError: the folder is there; a member cannot be predicted elsewhere; the bundle would be too large.
        MissingStep, UnknownName: see `contents_of`.
        Busy: another process makes one there.
    """
    with only_one(folder, "kit bundle"):
        _check_free(folder, force)
        return _make(project, contents_of(project, name), folder, wheels, add)


def _make(
    project: Project, contents: Contents, folder: Path, wheels: Sequence[str], add: Callable[[Path], None]
) -> Bundle:
    _check_size(project, contents, folder)
    with writing_folder(folder) as inside:
        noted = inside / "submission"  # for what is noted of it alone, and not in the workspace, which may be read-only
        ready = prepare(project, contents.name, folder=noted)
        for package in ("hole-kit", *wheels):
            make_wheel(package, inside / "wheels")
        for path in track(contents.files, "Copying", len(contents.files), "files"):
            target = inside / "workspace" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project.workspace.root / path, target)
        add(inside)
        write_notebook(inside / "notebook", contents, project.workspace.slug)
        document = _document(project, contents, ready)
        shutil.rmtree(noted)
        document["files"] = digests_of(inside)
        write_json(inside / MANIFEST, document)
        sizes = [entry["bytes"] for entry in document["files"].values()]
    return Bundle(folder, contents, sum(sizes), len(sizes) + 1, ready.digest)


def newest_bundle(workspace: Workspace) -> Path:
    """Return the bundle of a workspace that was made last. Raises `MissingStep` where there is none."""
    found = sorted((workspace.root / "bundles").glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise MissingStep(f"There is no bundle in {workspace.root / 'bundles'}. Run: kit bundle")
    return found[-1].parent


def digests_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return bytes and digest of every file below a folder but the manifest, by its relative path."""
    beside = (folder / MANIFEST, folder / METADATA)  # the latter is written when the dataset is pushed
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in beside]
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "digest": digest_file(path)}
        for path in track(paths, "Reading", len(paths), "files")
    }


def sampled_rows(path: Path, rows: int) -> dict[str, float]:
    """Return some values of a submission by their ids, evenly from its first row to its last; of a zip of pictures
    their means."""
    if path.suffix == ".zip":
        return picture_means(path)
    sample: dict[str, float] = {}
    step, start = max(1, rows // SAMPLED), 0
    with open_rows(path) as found:
        while True:
            ids, texts = found.take_block()
            if not len(ids):
                return sample
            places = range(-start % step, len(ids), step)
            values = numbers(found, texts)
            sample |= {str(ids[place]): float(values[place]) for place in places}
            start += len(ids)


def _document(project: Project, contents: Contents, ready: Prepared) -> dict[str, Any]:
    compared = project.layout.submission in ("csv", "pictures")  # of others only the digest
    return {
        "kit": kit.__version__,
        "competition": project.workspace.slug,
        "what": contents.what,
        "name": contents.name,
        "members": list(contents.members),
        "cv": ready.cv.value if ready.cv else None,
        "submission": {
            "digest": ready.digest,
            "rows": ready.check.rows,
            "sample": sampled_rows(ready.path, ready.check.rows) if compared else {},
        },
    }


def _check_free(folder: Path, force: bool) -> None:
    if not folder.exists():
        return
    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} is there and is no bundle. Take another folder: --out FOLDER")
    if not force:
        raise UsageError(f"{folder} is there already. Replace it: add --force, or take another folder: --out FOLDER")


def _check_size(project: Project, contents: Contents, folder: Path) -> None:
    total = sum((project.workspace.root / path).stat().st_size for path in contents.files)
    if total > LARGEST:
        raise UsageError(
            f"{contents.name} needs {total / 1e9:.1f} GB, and Kaggle holds {LARGEST / 1e9:.0f} GB. Blend fewer "
            "members: kit blend --members NAME,NAME"
        )
    check_room(folder.absolute().parent, total, f"Bundling {contents.name}")
