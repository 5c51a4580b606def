"""`kit fetch`: an archive from Kaggle, from disk or from the demo, checked, indexed, packed, then put in place.

Everything is built beside what is there and swapped in at the end, so a broken archive never replaces a good one.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from kit.competitions import Competition, competition
from kit.competitions.loading import LayoutChoice, choice_digest, keep_layout, load_layout, noted_choice
from kit.core.archive import extract
from kit.core.progress import byte_progress
from kit.core.storage import disk_errors, only_one
from kit.core.workspace import Workspace
from kit.data.attached import attached_folder
from kit.data.index import Index, read_index
from kit.data.leaks import note_test_copies
from kit.data.origin import TRUTH, Origin, read_origin, write_origin
from kit.data.pack import build_pack, read_pack
from kit.data.project import Project
from kit.data.sample_competition import make_demo_archive
from kit.errors import ArchiveError, DataError, KitError, UsageError, closest_name

_FETCH_AGAIN = re.compile(r"(Fetch (it )?again|Run): kit fetch --force")
_MEND = "Put a whole one there, then: kit fetch --force"  # of files in place: there is nothing to be fetched again


@dataclass(frozen=True)
class Fetched:
    """The competition as it lies in the workspace now."""

    index: Index
    notes: tuple[str, ...]
    already: bool = False
    """Nothing was done: it was all there."""


def fetch(
    workspace: Workspace,
    *,
    source: Path | None = None,
    in_place: bool = False,
    sample: bool = False,
    force: bool = False,
    choice: LayoutChoice | None = None,
) -> Fetched:
    """Bring a competition's data into the workspace.

    Args:
        source: a zip or a folder in Kaggle's layout; None uses what is attached to this machine in place
            (`kit.data.attached`), or downloads through the official client.
        in_place: leave the files of the folder `source` where they are; index and pack alone are written.
        sample: make the small built-in competition instead; needs no account and no network.
        force: do it again although it is there.
        choice: the layout; by default that which it was fetched with before, or that which the slug names.

    Raises:
        UsageError: two sources at once, another competition is in this workspace, or a folder that cannot be used in
            place.
        ArchiveError, DataError: the archive cannot be used; what was there before is untouched.
        RemoteError: the download was refused or failed.
    """
    noted = None if force and choice else noted_choice(workspace)
    given, choice = choice, choice or noted
    layout = competition(workspace.slug) if choice is None else load_layout(choice, workspace.slug)
    if source is not None and sample:
        raise UsageError("--from and --sample exclude each other: give one.")
    _check_only_competition(workspace)
    if not force:
        there = _ready(workspace)
        if there is not None:
            if given is not None and choice_digest(given) != choice_digest(noted):
                raise UsageError(
                    f"{workspace.data} was fetched with another layout. Fetch it again with this one: add --force"
                )
            return Fetched(there, (), already=True)
    if not sample and (source is None or (in_place and not source.expanduser().exists())):
        attached = attached_folder(layout)
        source, in_place = (attached, True) if attached else (source, in_place)
    if in_place:
        _check_in_place(workspace, source)
    elif source is not None:
        _check_there(source.expanduser(), force)
    is_new = not workspace.root.exists()
    try:
        with only_one(workspace.data, "kit fetch"):
            return _fetch(workspace, layout, choice, Origin(sample, source, in_place))
    except BaseException:
        _prune(workspace, is_new)
        raise


def _fetch(workspace: Workspace, layout: Competition, choice: LayoutChoice | None, origin: Origin) -> Fetched:
    staging = Workspace(workspace.data / "incoming", workspace.slug)
    shutil.rmtree(staging.root, ignore_errors=True)
    try:
        with disk_errors(staging.root):
            archive = _archive(workspace, staging, origin)
            write_origin(staging, origin)
            chosen = keep_layout(staging, choice)
            if not origin.in_place:
                with byte_progress("Unpacking") as report:
                    extract(archive, staging.raw, progress=report)
            index, notes = build_pack(staging, layout, chosen=chosen)
            _check_not_empty(index, archive)
            notes += note_test_copies(Project(staging))
            _swap_in(staging, workspace)
            if origin.sample:
                _keep_truth(staging, workspace)
    except DataError as error:
        if origin.in_place:
            raise type(error)(_FETCH_AGAIN.sub(_MEND, str(error))) from None
        # what it names will be gone: say where it is in the archive
        raise type(error)(str(error).replace(f"{staging.raw}/", "").replace(str(staging.raw), "The archive")) from None
    finally:
        shutil.rmtree(staging.root, ignore_errors=True)
    return Fetched(read_index(workspace), notes)


def _check_there(source: Path, force: bool) -> None:
    """Raise `ArchiveError` for a file or folder that is not there, before anything is made."""
    if source.exists():
        return
    beside = [one.name for one in source.parent.iterdir()] if source.parent.is_dir() else []
    nearest = closest_name(source.name, beside)
    meant = f" Did you mean {source.parent / nearest}?" if nearest else ""
    raise ArchiveError(f"{source} is missing.{meant} Run: kit fetch --from ZIP{' --force' if force else ''}")


def _prune(workspace: Workspace, is_new: bool) -> None:
    """Take away the empty folders that a fetch in vain has made."""
    for folder in (workspace.downloads, workspace.data, workspace.data.parent, *([workspace.root] if is_new else [])):
        with contextlib.suppress(OSError):  # not there, or not empty
            folder.rmdir()


def _check_in_place(workspace: Workspace, source: Path | None) -> None:
    """Raise `UsageError` for what cannot be used in place."""
    if source is None:
        raise UsageError("--in-place uses a folder where it is. Say which: kit fetch --from FOLDER --in-place")
    folder = source.expanduser()
    if not folder.exists():
        raise UsageError(
            f"{folder} is gone or was never there. Attach or mount it, or say where it is: kit fetch --from FOLDER "
            "--in-place"
        )
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is a file; only a folder can be used in place. Run: kit fetch --from {shlex.quote(str(folder))}"
        )
    if folder.resolve().is_relative_to(workspace.data.resolve()):
        raise UsageError(
            f"{folder} lies in {workspace.data}, which kit replaces. Move it elsewhere, then: kit fetch --from FOLDER "
            "--in-place"
        )


def _archive(workspace: Workspace, staging: Workspace, origin: Origin) -> Path:
    if origin.sample:
        return make_demo_archive(staging.downloads).archive
    if origin.source is not None:
        return origin.source.expanduser()
    from kit.remote import Remote

    with byte_progress(f"Downloading {workspace.slug}") as report:
        return Remote(workspace.slug).download(workspace.downloads, progress=report)


def _check_only_competition(workspace: Workspace) -> None:
    # predictions, runs and blends are not kept apart by competition, so two would mix
    others = [path.parent.name for path in workspace.root.glob("data/*/index.json")]
    other = next((name for name in others if name != workspace.slug), None)
    if other is not None:
        raise UsageError(
            f"{workspace.root} holds {other} already, and a workspace holds one competition. Use another folder: "
            f"kit --workspace DIR fetch {workspace.slug}"
        )


def _check_not_empty(index: Index, archive: Path) -> None:
    for split in ("train", "test"):
        if not index.split(split):
            raise ArchiveError(
                f"{archive} holds no {split} photos. Give the competition's archive: kit fetch --from ZIP"
            )


def stays_sample(workspace: Workspace) -> str:
    """Return what to say where a workspace holds the sample competition and Kaggle's may have been meant."""
    return (
        f"{workspace.data} holds the sample competition. Make it again: kit fetch --sample --force; for Kaggle's, take "
        "another folder: kit --workspace DIR fetch"
    )


def origin_of_before(workspace: Workspace, *, force: bool) -> Origin | None:
    """Return where the data came from before, which a fetch that names no source goes on with.

    Raises:
        UsageError: it is the sample competition, not whole: Kaggle's may have been meant, unless `force` is given.
    """
    origin = read_origin(workspace)
    if origin is not None and origin.sample and not force and not is_fetched(workspace):
        raise UsageError(stays_sample(workspace))
    return origin


def is_fetched(workspace: Workspace) -> bool:
    """Return whether the data is there, whole: whether `fetch` has nothing to do."""
    return _ready(workspace) is not None


def _ready(workspace: Workspace) -> Index | None:
    try:
        index = read_index(workspace)
        read_pack(workspace, index)
    except KitError:
        return None
    return index if workspace.raw.is_dir() else None


def written_bytes(workspace: Workspace) -> int:
    """Return how many bytes index and pack take."""
    paths = [workspace.index, workspace.index.with_suffix(".json"), *workspace.pack.iterdir()]
    return sum(path.stat().st_size for path in paths)


def _keep_truth(staging: Workspace, workspace: Workspace) -> None:
    """Return the sample's test photos, whole: what `kit grade --truth` wants."""
    shutil.rmtree(truth_of(workspace), ignore_errors=True)
    (staging.downloads / TRUTH).replace(truth_of(workspace))


def truth_of(workspace: Workspace) -> Path:
    """Return where `kit fetch --sample` keeps the original test photos."""
    return workspace.data / TRUTH


def _swap_in(staging: Workspace, workspace: Workspace) -> None:
    """Put raw, pack and index in place. A kill in between leaves an index that does not fit its pack: fetched again."""
    workspace.index.with_suffix(".json").unlink(missing_ok=True)
    for name in ("raw", "pack", "fetched.json", "layout.py", "layout.json", "index.csv", "index.json"):
        old, new = workspace.data / name, staging.data / name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        elif old.name in ("layout.py", "layout.json"):
            old.unlink(missing_ok=True)
        if new.exists():  # there is no `raw` of files that are used in place
            new.replace(old)
