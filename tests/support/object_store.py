"""A real object store on the loopback address: moto's server of S3. Its buckets end with the tests."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

import pytest

SECRET = "a-secret-of-the-object-store"


@pytest.fixture(scope="session")
def object_store() -> Iterator[str | None]:
    """The address of an S3 that the environment names for this process and those that it starts; None without moto."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        yield None
        return
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            patch.setenv("AWS_ACCESS_KEY_ID", "kit-of-the-tests")
            patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def bucket(object_store: str | None) -> str:
    """The address of an empty place in a bucket of its own."""
    if object_store is None:
        pytest.skip("moto is not installed")
    pytest.importorskip("s3fs")
    import fsspec

    name = f"bucket-{uuid.uuid4().hex[:12]}"
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(name)
    return f"s3://{name}/work"
