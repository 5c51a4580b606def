"""`kit fetch`: whatever happens, either the new data is there whole, or the old data is as it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.broken_archives import BROKEN, Broken, changed, zip_of
from support.command import kit, ok
from support.kaggle_standin import Fault, KaggleStandIn
from support.small import Small

from kit.core.storage import digest_file
from kit.core.workspace import Workspace
from kit.data.fetch import fetch
from kit.data.index import read_index
from kit.data.sample_competition import make_demo_archive
from kit.errors import (
    ArchiveError,
    CredentialsError,
    KitError,
    NotFound,
    RulesNotAccepted,
    UnknownName,
    UsageError,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of six training photos and two test photos."""
    return make_demo_archive(tmp_path_factory.mktemp("tiny"), seed=7, train=6, test=2).archive


def test_a_zip_and_its_unpacked_folder_give_the_same_index(tiny: Path, tmp_path: Path) -> None:
    first = fetch(Workspace(tmp_path / "zip"), source=tiny)
    with zipfile.ZipFile(tiny) as file:
        file.extractall(tmp_path / "folder")
    second = fetch(Workspace(tmp_path / "w"), source=tmp_path / "folder")
    assert first.index == second.index and first.index.digest == second.index.digest
    assert (len(first.index.train), len(first.index.test), first.already) == (6, 2, False)
    assert sorted(path.name for path in Workspace(tmp_path / "w").data.iterdir()) == [
        "fetched.json",
        "index.csv",
        "index.json",
        "pack",
        "raw",
    ]


def test_a_second_fetch_does_nothing_again_and_needs_no_archive(tiny: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    fetch(workspace, source=tiny)
    before = workspace.index.stat().st_mtime_ns
    again = fetch(workspace, source=tmp_path / "nowhere.zip")
    assert again.already and len(again.index.train) == 6 and workspace.index.stat().st_mtime_ns == before


def test_force_fetches_again_and_another_archive_replaces_the_old_whole(
    small: Small, tiny: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    old = fetch(workspace, source=tiny)
    new = fetch(workspace, source=small.archive, force=True)
    assert new.index.digest != old.index.digest and len(new.index.train) == 20
    assert {path.name for path in workspace.raw.rglob("*.jpeg")} >= {
        photo_row.name for photo_row in new.index.test if photo_row.name.endswith("jpeg")
    }
    assert len([path for path in workspace.raw.rglob("*") if path.suffix in (".jpeg", ".jpg", ".png")]) == 44


def test_data_that_lost_a_part_is_fetched_again(tiny: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    fetch(workspace, source=tiny)
    (workspace.pack / "train_image.npy").unlink()
    assert not fetch(workspace, source=tiny).already
    shutil.rmtree(workspace.raw)
    assert not fetch(workspace, source=tiny).already
    assert fetch(workspace, source=tiny).already


# --- broken archives ----------------------------------------------------------


@pytest.mark.parametrize("how", BROKEN, ids=str)
def test_a_broken_archive_is_refused_and_a_good_one_before_it_stays(
    tiny: Path, tmp_path: Path, digests, how: Broken
) -> None:
    broken = how.made_from(tiny, tmp_path / "broken.zip")
    workspace = Workspace(tmp_path / "w")
    with pytest.raises(how.error, match=how.said):
        fetch(workspace, source=broken)
    assert digests(workspace.root) == {} and not (workspace.data / "incoming").exists()
    fetch(workspace, source=tiny)
    before = digests(workspace.root)
    with pytest.raises(how.error, match=how.said):
        fetch(workspace, source=broken, force=True)
    assert digests(workspace.root) == before and not (workspace.data / "incoming").exists()
    assert fetch(workspace, source=broken).already


def test_an_archive_without_a_sample_can_be_trained_on(tiny: Path, tmp_path: Path) -> None:
    without = changed(tiny, tmp_path / "a.zip", "sample_submission", lambda data: None)
    assert len(fetch(Workspace(tmp_path / "w"), source=without).index.test) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("moment", ["extract", "build_pack", "_swap_in"])
def test_a_killed_fetch_keeps_the_old_data_and_the_next_one_cleans_up(
    tiny: Path, small: Small, tmp_path: Path, moment: str
) -> None:
    workspace = Workspace(tmp_path)
    old = fetch(workspace, source=tiny).index.digest
    code = f"""
import os, signal, sys
from pathlib import Path
from kit.data import fetch as fetching
from kit.core.workspace import Workspace
inner = fetching.{moment}
def killed(*args, **kwargs):
    if {moment!r} != "_swap_in":
        inner(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
fetching.{moment} = killed
fetching.fetch(Workspace(Path(sys.argv[1])), source=Path(sys.argv[2]), force=True)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(small.archive)], capture_output=True)
    assert done.returncode == -signal.SIGKILL and (workspace.data / "incoming").exists()
    again = fetch(workspace)  # no source, no network: all there
    assert again.already and again.index.digest == old
    assert fetch(workspace, source=small.archive, force=True).index.digest != old
    assert not (workspace.data / "incoming").exists()


def test_an_interrupted_fetch_leaves_no_trace(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kit.data.fetch.build_pack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(Workspace(tmp_path), source=tiny)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


# --- what is asked for --------------------------------------------------------


def test_what_cannot_be_asked_for_is_refused_before_anything_is_read(tiny: Path, tmp_path: Path, digests) -> None:
    with pytest.raises(UnknownName, match="competition layout 'titanic'"):
        fetch(Workspace(tmp_path, "titanic"), source=tiny)
    with pytest.raises(UsageError, match="exclude each other"):
        fetch(Workspace(tmp_path), source=tiny, sample=True)
    (tmp_path / "data" / "other").mkdir(parents=True)
    (tmp_path / "data" / "other" / "index.json").write_text("{}")
    with pytest.raises(UsageError, match="holds other already, and a workspace holds one competition"):
        fetch(Workspace(tmp_path), source=tiny)
    assert list(digests(tmp_path)) == ["data/other/index.json"]


def test_the_sample_needs_no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.data.fetch.make_demo_archive", lambda folder: make_demo_archive(folder, train=6, test=2))
    fetched = fetch(Workspace(tmp_path), sample=True)
    assert len(fetched.index.train) == 6 and not (Workspace(tmp_path).data / "incoming").exists()


# --- where it came from -------------------------------------------------------


@pytest.mark.parametrize("has_record", [True, False])
def test_a_sample_workspace_never_goes_to_kaggle_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_record: bool
) -> None:
    asked = []
    monkeypatch.setattr("kit.data.fetch.make_demo_archive", lambda folder: make_demo_archive(folder, train=6, test=2))
    monkeypatch.setattr("kit.remote.Remote.download", lambda self, *_, **__: asked.append(self) or tmp_path / "nowhere")
    workspace = Workspace(tmp_path / "w")
    ok(f"-w {workspace.root} fetch --sample")
    if not has_record:  # a workspace of before
        (workspace.data / "fetched.json").unlink()
    assert "Make it again: kit fetch --sample --force" in ok(f"-w {workspace.root} fetch")
    workspace.index.with_suffix(".json").write_text("{")
    for line in ("folds", "fetch"):
        done = kit(f"-w {workspace.root} {line}")
        assert done.is_one_error_line and "kit fetch --sample --force" in done.err, done
    assert "Fetched" in ok(f"-w {workspace.root} fetch --force") and not asked
    assert kit(f"-w {workspace.root} fetch photo-reconstruction --force").code == 1 and len(asked) == 1
    assert len(read_index(workspace).train) == 6


def test_a_file_is_fetched_from_again_where_it_is_still_there(tiny: Path, tmp_path: Path) -> None:
    root, archive = tmp_path / "w", shutil.copy(tiny, tmp_path / "my archive.zip")
    ok(f"-w {root} fetch --from '{archive}'")
    Workspace(root).index.write_text("changed")
    assert f"kit fetch --from '{archive}' --force" in kit(f"-w {root} folds").err
    assert "Fetched" in ok(f"-w {root} fetch --force")
    archive.unlink()
    done = kit(f"-w {root} fetch --force")
    assert done.is_one_error_line and "my archive.zip is missing. Run: kit fetch --from ZIP --force" in done.err


# --- by download, with the real client ----------------------------------------


@pytest.fixture
def service(
    kaggle_service: KaggleStandIn, kaggle_env: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KaggleStandIn]:
    """The stand-in with the tiny archive; pauses between attempts take no time."""
    kaggle_service.archive = tiny.read_bytes()
    monkeypatch.setattr("kit.remote.session.PAUSES", (0.0, 0.0))
    monkeypatch.setattr("kit.remote.download.PAUSES", (0.0, 0.0))
    yield kaggle_service


def test_a_download_is_fetched_like_a_file(service: KaggleStandIn, tiny: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    by_download = fetch(workspace)
    assert by_download.index == fetch(Workspace(tmp_path / "other"), source=tiny).index
    assert digest_file(workspace.downloads / "photo-reconstruction.zip") == digest_file(tiny)
    calls = len(service.log)
    assert fetch(workspace).already and len(service.log) == calls


def test_a_cut_download_is_resumed_in_the_same_run(service: KaggleStandIn, tmp_path: Path) -> None:
    service.fail("GET", Fault(cut=100_000))
    assert len(fetch(Workspace(tmp_path / "w")).index.train) == 6
    assert len(service.calls("GET")) == 2


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (lambda service: setattr(service, "token_is_active", False), CredentialsError, "KAGGLE_API_TOKEN"),
        (
            lambda service: setattr(service, "rules_accepted", False),
            RulesNotAccepted,
            "competitions/photo-reconstruction/rules",
        ),
        (lambda service: setattr(service, "slug", "another"), NotFound, "does not find photo-reconstruction"),
        (lambda service: setattr(service, "archive", b"PK\x03\x04 but no zip" * 100), KitError, "kit fetch"),
        (
            lambda service: setattr(service, "archive", zip_of({"readme.txt": b"hello"})),
            ArchiveError,
            "no Training_Data folder",
        ),
    ],
    ids=["401", "403", "404", "damaged", "another layout"],
)
def test_a_refused_download_is_one_line_and_changes_nothing(
    service: KaggleStandIn,
    tiny: Path,
    tmp_path: Path,
    digests,
    spoil: Callable[[KaggleStandIn], None],
    error: type[KitError],
    said: str,
) -> None:
    workspace = Workspace(tmp_path / "w")
    fetch(workspace, source=tiny)
    before = digests(workspace.root)
    spoil(service)
    with pytest.raises(error, match=said) as caught:
        fetch(workspace, force=True)
    after = digests(workspace.root)
    assert "\n" not in str(caught.value)
    assert {path: digest for path, digest in after.items() if "/download/" not in path} == before


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_data_that_lies_on_another_disk_by_a_link_stays_there(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "data").symlink_to(tmp_path / "disk")
    fetch(Workspace(tmp_path / "w"), source=tiny)
    fetch(Workspace(tmp_path / "w"), source=tiny, force=True)
    assert (tmp_path / "w" / "data").is_symlink() and (tmp_path / "disk" / "photo-reconstruction" / "raw").is_dir()
