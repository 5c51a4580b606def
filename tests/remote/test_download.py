"""The archive is downloaded once, resumed where it was cut, and never half there."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.kaggle_standin import SLUG, Fault, KaggleStandIn
from support.remote import ROOT, Time, names, zip_of

from kit.core.storage import locked
from kit.errors import (
    ArchiveError,
    RemoteError,
    RemoteUnavailable,
)
from kit.remote import Remote

pytestmark = pytest.mark.usefixtures("kaggle_env")


def test_download_gives_the_archive_and_nothing_else(remote: Remote, archive: bytes, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = remote.download(tmp_path / "new" / "folder", progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == archive
    assert names(path.parent) == [f"{SLUG}.zip"]
    assert seen[-1] == (len(archive), len(archive))
    assert seen == sorted(seen)


def test_a_whole_archive_is_not_downloaded_again(
    remote: Remote, archive: bytes, tmp_path: Path, kaggle_service
) -> None:
    remote.download(tmp_path / "d")
    before = len(kaggle_service.log)
    assert remote.download(tmp_path / "d").read_bytes() == archive
    assert len(kaggle_service.log) == before


def test_a_damaged_archive_of_the_right_size_is_replaced(remote: Remote, archive: bytes, tmp_path: Path) -> None:
    damaged = bytearray(archive)
    damaged[1_000_000] ^= 1
    (tmp_path / f"{SLUG}.zip").write_bytes(damaged)
    assert remote.download(tmp_path).read_bytes() == archive


def test_a_cut_download_is_resumed(remote: Remote, archive: bytes, tmp_path: Path, kaggle_service) -> None:
    kaggle_service.fail("GET", Fault(cut=1_500_000), Fault(cut=1_000_000))
    assert remote.download(tmp_path / "d").read_bytes() == archive
    starts = [request.headers.get("Range") for request in kaggle_service.calls("GET")]
    assert len(starts) == 3
    assert starts[0] is None
    assert starts[1] is not None and starts[2] is not None and starts[1] < starts[2]


def test_a_later_process_resumes_what_a_killed_one_began(
    archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn, remote: Remote
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from kit.remote import Remote\n"
        f"stop = lambda done, total: done > 2_000_000 and os.kill(os.getpid(), 9)\n"
        f"Remote({SLUG!r}).download(Path(sys.argv[1]), progress=stop)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "d")], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert f"{SLUG}.zip" not in names(tmp_path / "d")
    seen: list[int] = []
    assert remote.download(tmp_path / "d", progress=lambda done, _: seen.append(done)).read_bytes() == archive
    assert seen[0] > 2_000_000
    assert "If-Range" in kaggle_service.calls("GET")[-1].headers
    assert names(tmp_path / "d") == [f"{SLUG}.zip"]


def leave_half(remote: Remote, service: KaggleStandIn, folder: Path) -> None:
    """Let a download fail after its first 2 MB."""
    service.fail("GET", Fault(cut=2_000_000), *[Fault(503)] * 5)
    with pytest.raises(RemoteUnavailable):
        remote.download(folder)
    service.faults.clear()
    assert (folder / f"{SLUG}.zip.download").stat().st_size > 1_000_000


@pytest.mark.parametrize("if_range", [True, False], ids=["If-Range kept", "If-Range ignored"])
def test_an_archive_replaced_meanwhile_starts_over(
    if_range: bool, remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    leave_half(remote, kaggle_service, tmp_path / "d")
    kaggle_service.archive = zip_of(3_500_000, seed=1)
    kaggle_service.if_range = if_range
    assert remote.download(tmp_path / "d").read_bytes() == kaggle_service.archive != archive


def test_an_archive_replaced_by_a_shorter_one_starts_over(
    remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    leave_half(remote, kaggle_service, tmp_path / "d")
    kaggle_service.archive, kaggle_service.if_range = zip_of(1000), False
    assert remote.download(tmp_path / "d").read_bytes() == kaggle_service.archive


def test_an_error_page_after_a_cut_never_gets_into_the_archive(
    remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    page = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>"
    kaggle_service.fail("GET", Fault(cut=1_500_000), Fault(403, body=page), Fault(503, body=page))
    assert remote.download(tmp_path / "d").read_bytes() == archive
    assert len(kaggle_service.calls("DownloadDataFiles")) == 4  # a fresh link for each attempt


def test_a_storage_that_stays_forbidden_leaves_the_good_bytes(
    remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    leave_half(remote, kaggle_service, tmp_path / "d")
    held = (tmp_path / "d" / f"{SLUG}.zip.download").read_bytes()
    assert archive.startswith(held)
    kaggle_service.fail("GET", Fault(200, body=b"<!DOCTYPE html><title>Sign in</title>"))
    with pytest.raises(RemoteError, match="an HTML page"):
        remote.download(tmp_path / "d")
    assert (tmp_path / "d" / f"{SLUG}.zip.download").read_bytes() == held
    assert remote.download(tmp_path / "d").read_bytes() == archive


@pytest.mark.parametrize(
    "switches",
    [
        {"content_type": "application/json"},
        {"length": False},
        {"validators": False},
        {"ranges": False},
        {"redirects": False},
        {"length": False, "validators": False, "ranges": False},
    ],
    ids=lambda switches: " ".join(switches),
)
def test_an_odd_storage_is_served_by(
    switches: dict, remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    for name, value in switches.items():
        setattr(kaggle_service, name, value)
    kaggle_service.fail("GET", Fault(cut=1_500_000))
    assert remote.download(tmp_path / "d").read_bytes() == archive
    assert names(tmp_path / "d") == [f"{SLUG}.zip"]


def test_an_archive_that_is_damaged_on_the_service_is_never_kept(
    remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    kaggle_service.archive = archive[:-1000] + bytes(1000)
    with pytest.raises(ArchiveError, match="arrived damaged"):
        remote.download(tmp_path / "d")
    assert names(tmp_path / "d") == []


def test_an_archive_that_will_not_be_unpacked_is_still_downloaded_once(
    remote: Remote, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.jpg", "1")
        file.writestr("A.jpg", "2")
    kaggle_service.archive = buffer.getvalue()
    assert remote.download(tmp_path / "d").read_bytes() == buffer.getvalue()
    assert len(kaggle_service.calls("GET")) == 1


def test_a_full_disk_is_found_out_before_the_download(
    remote: Remote, archive: bytes, tmp_path: Path, monkeypatch, time_: Time
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(ArchiveError, match=r"needs 0\.00 GB.*Free some space"):
        remote.download(tmp_path / "d")
    assert names(tmp_path / "d") == []
    assert time_.naps == []


def test_two_downloads_of_one_archive_do_not_mix(remote: Remote, archive: bytes, tmp_path: Path) -> None:
    with locked(tmp_path / f"{SLUG}.zip.download") as is_ours:
        assert is_ours
        with pytest.raises(RemoteError, match="Another process is downloading"):
            remote.download(tmp_path)
    assert remote.download(tmp_path).read_bytes() == archive


def test_the_signature_of_a_link_stays_out_of_messages(
    remote: Remote, archive: bytes, tmp_path, kaggle_service
) -> None:
    kaggle_service.fail("GET", *[Fault(403)] * 9)
    with pytest.raises(RemoteUnavailable) as caught:
        remote.download(tmp_path)
    assert "secret" not in str(caught.value)
    assert "403" in str(caught.value)
