"""Other test photos of the same competition, such as the hidden ones of a code competition's rerun. Knows no model.

    inputs/<digest>/data/<slug>/          index and pack of these photos; the files themselves stay where they are
    inputs/<digest>/predictions/<source>/ what the workspace's sources predict for them
    inputs/<digest>/submissions/          the submissions for them
    inputs/unpacked/<digest>/             a zip's files

in the workspace, or in a folder of the user's where that is read-only. The digest is that of names, boxes and files of
the test photos: the same photos under another name are the same, and what was predicted for them is kept.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.competitions import Layout
from kit.core.archive import extract
from kit.core.parallel import map_in_order
from kit.core.progress import byte_progress
from kit.core.storage import can_write, digest_file, digest_of, only_one
from kit.core.workspace import Workspace
from kit.data.attached import folders_with
from kit.data.index import read_index
from kit.data.origin import Origin, write_origin
from kit.data.pack import PACK_VERSION, build_pack, read_pack
from kit.data.project import Project
from kit.errors import ArchiveError, DataError, KitError, MissingStep, UsageError


def open_other_tests(
    project: Project, source: Path, *, work: Path | None = None, force: bool = False
) -> tuple[Project, tuple[str, ...]]:
    """Open the test photos of a folder or zip as a project, for the models of another one; and what is to be noted.

    Args:
        source: in the competition's layout; training photos may be missing.
        work: where index, pack and predictions are kept; by default in the workspace.
        force: forget what was predicted for them.

    Raises:
        UsageError: no such folder, or nothing can be written where the work is to be kept.
        DataError: the photos cannot be used.
    """
    source = source.expanduser()
    if not source.exists():
        raise UsageError(f"--input {source}: there is no such folder or zip. Give one in the competition's layout.")
    base = work.expanduser() if work else project.workspace.root / "inputs"
    if not can_write(base):
        raise UsageError(f"{base} cannot be written. Say where the work is to be kept: --work DIR")
    with _errors_of(source):
        raw = _chosen_folder(project, source) if source.is_dir() else _unpacked(source, base)
        found = _test_photos(project, raw, source)
        folder = base / _digest(raw, found)
        workspace = Workspace(folder, project.workspace.slug)
        with only_one(folder, "kit predict"):
            if force:
                shutil.rmtree(workspace.predictions, ignore_errors=True)
            write_origin(workspace, Origin(source=raw, in_place=True))
            if not _is_there(workspace):
                build_pack(workspace, project.layout, found)
    return Project(workspace, project), found.notes


def _chosen_folder(project: Project, source: Path) -> Path:
    """Return the folder itself, or that of the competition in it where it holds all that is attached to a notebook.

    Raises:
        UsageError: several folders in it hold the competition's sample.
    """
    layout = project.layout
    if not layout.sample or (source / layout.sample).is_file():
        return source
    found = list(dict.fromkeys(folder.resolve() for folder in folders_with(source, layout.sample)))
    named = [folder for folder in found if folder.name == layout.slug]
    found = named if len(named) == 1 else found
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise UsageError(f"{len(found)} folders in {source} may be meant: {listed}. Name one: --input {found[0]}")
    return found[0] if found else source


def _unpacked(archive: Path, base: Path) -> Path:
    folder = base / "unpacked" / digest_file(archive)
    if not folder.is_dir():
        with byte_progress("Unpacking") as report:
            extract(archive, folder, progress=report)
    return folder


def _test_photos(project: Project, raw: Path, source: Path) -> Layout:
    layout = project.layout
    if layout.index_test is not None:
        found = layout.index_test(raw, project.index.classes)
    else:
        both = layout.index(raw)
        found = Layout(both.rows[both.rows["split"] == "test"].reset_index(drop=True), both.notes)
    if not len(found.rows):
        raise ArchiveError(f"{source} holds no test photos.")
    return found


def _digest(raw: Path, found: Layout) -> str:
    """Return what names these test photos: everything that their predictions depend on."""
    for path in found.rows["image"]:
        if not (raw / path).is_file():
            raise ArchiveError(f"{raw / path} is missing.")
    files = list(map_in_order(digest_file, (raw / path for path in found.rows["image"])))
    return digest_of([PACK_VERSION, found.rows.to_csv(index=False), files])


def _is_there(workspace: Workspace) -> bool:
    try:
        read_pack(workspace, read_index(workspace))
    except KitError:
        return False
    return True


@contextmanager
def _errors_of(source: Path) -> Iterator[None]:
    """Say of what is wrong in these photos what is to be typed here: it is not fetched again."""
    try:
        yield
    except MissingStep:
        raise
    except DataError as error:
        what = re.split(r" (?:Fetch (?:it )?again|Give |Run |Run: )", str(error))[0]
        raise type(error)(
            f"{what} Give a folder or zip in the competition's layout: --input FOLDER (here {source})"
        ) from None
