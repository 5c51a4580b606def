"""Object stores of both kinds that extras bring: an S3 and a Google storage on this machine, by their real clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from core.test_bucket import bring, contents_of, errand_of, fill, objects, work

from kit.core.bucket.errand import SCRATCH
from kit.core.bucket.objects import Bucket
from kit.errors import KitError

pytestmark = pytest.mark.slow
SECRET = "a-password-in-an-address"


@pytest.fixture(scope="module")
def google() -> Iterator[str]:
    """A place in a Google storage of this machine."""
    pytest.importorskip("gcsfs")
    server = pytest.importorskip("gcp_storage_emulator.server").create_server(
        "127.0.0.1", 0, in_memory=True, default_bucket="google-bucket"
    )
    server.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server._api._httpd.server_port}")
            yield "gs://google-bucket/work"
    finally:
        server.stop()


@pytest.fixture(params=["s3", "gs"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> str:
    """An empty place in a store of each kind."""
    monkeypatch.setenv(SCRATCH, str(tmp_path_factory.mktemp("scratch")))
    return str(request.getfixturevalue("bucket" if request.param == "s3" else "google"))


def test_objects_are_written_read_listed_and_deleted(url: str) -> None:
    bucket = Bucket(url)
    assert bucket.read("a/b") is None and not bucket.has("a/b") and bucket.names("a") == []
    bucket.write("a/b", b"one")
    bucket.write("a/b", b"two")
    bucket.write("a/c d+é.json", b"")
    assert bucket.read("a/b") == b"two" and bucket.has("a/b") and bucket.read("a/c d+é.json") == b""
    assert Bucket(url).names("a") == ["a/b", "a/c d+é.json"]
    bucket.delete(["a/b", "a/never", "a/c d+é.json"])
    assert bucket.names("a") == []


def test_files_go_and_come_by_it(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.core.bucket.files.PART", 3 << 20)
    photos, weights = bytes(range(256)) * (20 << 10), bytes(7 << 20)
    fill(tmp_path, {"data/pack.npy": photos, "runs/one/a.json": b"{}"})
    assert work(errand_of(url, tmp_path), {"runs/one/model.npy": weights})["data/pack.npy"] == photos
    bring(url, tmp_path)
    assert contents_of(tmp_path) == {"data/pack.npy": photos, "runs/one/a.json": b"{}", "runs/one/model.npy": weights}
    assert not objects(url)


def test_a_store_that_does_not_answer_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRET}@127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(KitError, match=r"^s3://mine/work cannot be used: .* Check the address, the network") as caught:
        Bucket("s3://mine/work").check()
    assert SECRET not in str(caught.value)
