"""Data that is used where it is: attached to a notebook, or named with --in-place. Nothing is copied."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command import kit, ok
from support.small import Small

from kit.core.workspace import Workspace
from kit.data.fetch import fetch
from kit.data.index import read_index
from kit.errors import MissingStep
from kit.submission.write import sample_of

SLUG = "photo-reconstruction"


@pytest.fixture
def attached(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook's input folder with the competition in it, read-only."""
    root = tmp_path / "input"
    with zipfile.ZipFile(small.archive) as file:
        file.extractall(root / SLUG)
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    monkeypatch.setenv("KIT_INPUT", str(root))
    yield root  # type: ignore[misc]
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)


def moved(root: Path, *names: str) -> None:
    """Put the competition under other names."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    for name in names:
        shutil.copytree(root / SLUG, root / name)
    shutil.rmtree(root / SLUG)


def test_what_is_attached_is_used_in_place_and_is_the_same_data(
    attached: Path, small: Small, tmp_path: Path, digests: Callable[[Path], dict[str, str]]
) -> None:
    before = digests(attached)
    out = ok("fetch", "-w", tmp_path / "w")
    assert f"In place: the photos stay in {attached / SLUG}; index and pack take 8." in out
    copied, here = Workspace(small.root, SLUG), Workspace(tmp_path / "w", SLUG)
    assert read_index(here).digest == read_index(copied).digest
    assert digests(here.pack) == digests(copied.pack)
    assert not (here.data / "raw").exists() and here.raw == attached / SLUG
    assert digests(attached) == before
    assert "There already" in ok("fetch", "-w", tmp_path / "w")
    ok("fill mean", "-w", tmp_path / "w")
    assert "ids as in the sample" in ok("upload mean --dry-run", "-w", tmp_path / "w")


@pytest.mark.parametrize("name", ["competitions/photo-reconstruction", "somebodys-copy", "somebodys-copy/inside"])
def test_another_name_or_depth_will_do(attached: Path, tmp_path: Path, name: str) -> None:
    moved(attached, name)
    ok("fetch", "-w", tmp_path / "w")
    assert Workspace(tmp_path / "w", SLUG).raw == attached / name


def test_of_two_such_folders_one_must_be_chosen(attached: Path, tmp_path: Path) -> None:
    moved(attached, "one", "two")
    done = kit("fetch", "-w", tmp_path / "w")
    assert done.is_one_error_line and f"2 folders hold the files of {SLUG}" in done.err
    command = done.err.split("Choose one: kit ")[1].strip()
    assert command == f"fetch --from {attached / 'one'} --in-place"
    ok(command, "-w", tmp_path / "w")
    assert Workspace(tmp_path / "w", SLUG).raw == attached / "one"


def test_a_folder_that_lacks_the_training_photos_is_not_taken_for_the_competition(
    attached: Path, tmp_path: Path
) -> None:
    moved(attached, "whole", "half")
    shutil.rmtree(attached / "half" / "Dataset" / "Training_Data")
    ok("fetch", "-w", tmp_path / "w")
    assert Workspace(tmp_path / "w", SLUG).raw == attached / "whole"


def test_a_folder_that_is_gone_is_one_line_and_found_again_under_its_new_name(attached: Path, tmp_path: Path) -> None:
    ok("fetch", "-w", tmp_path / "w")
    ok("fill mean", "-w", tmp_path / "w")
    moved(attached, "elsewhere")
    workspace = Workspace(tmp_path / "w", SLUG)
    with pytest.raises(MissingStep, match="is gone"):
        sample_of(workspace, None)  # type: ignore[arg-type]
    done = kit("upload mean --dry-run", "-w", tmp_path / "w")
    assert done.is_one_error_line
    assert f"{attached / SLUG}, whose files kit uses in place, is gone." in done.err
    assert done.err.strip().endswith("kit fetch --from FOLDER --in-place")
    ok("fetch", "-w", tmp_path / "w")
    assert workspace.raw == attached / "elsewhere"
    ok("upload mean --dry-run", "-w", tmp_path / "w")  # the predictions are of the same photos


def test_any_folder_may_be_used_in_place(attached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_INPUT", "")
    where = attached / SLUG
    ok("fetch --in-place --from", where, "-w", tmp_path / "w")
    assert "In place" in ok("fetch --force", "-w", tmp_path / "w")  # comes from where it came before
    assert not (tmp_path / "w/data" / SLUG / "raw").exists()
    ok("fetch --force --from", where, "-w", tmp_path / "w")  # and can be copied after all
    workspace = Workspace(tmp_path / "w", SLUG)
    assert workspace.in_place is None and workspace.raw == workspace.data / "raw" and workspace.raw.is_dir()
    ok("fetch --force --in-place --from", where, "-w", tmp_path / "w")
    assert not (workspace.data / "raw").exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--in-place", "Say which: kit fetch --from FOLDER --in-place"),
        ("--in-place --from {archive}", "only a folder can be used in place. Run: kit fetch --from"),
        ("--in-place --from {w}/nowhere", "nowhere is gone or was never there."),
        ("--in-place --force --from {w}/data/photo-reconstruction/raw", "which kit replaces"),
    ],
)
def test_what_cannot_be_used_in_place_is_one_line(small: Small, tmp_path: Path, typed: str, said: str) -> None:
    fetch(Workspace(tmp_path / "w"), source=small.archive)
    force = "" if "--force" in typed or typed == "--in-place" else "--force"
    folder = tmp_path / ("other" if typed == "--in-place" else "w")
    done = kit(f"fetch {force} " + typed.format(archive=small.archive, w=tmp_path / "w"), "-w", folder)
    assert done.is_one_error_line and said in done.err
    assert Workspace(tmp_path / "w").raw.is_dir()
