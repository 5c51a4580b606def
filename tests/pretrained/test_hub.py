"""Models of the hub, asked of a server on this machine that answers as the hub does. Nothing leaves the machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kit.pretrained.clip.repository import weights_among

SHA = "0123456789abcdef0123456789abcdef01234567"


class _Hub(BaseHTTPRequestHandler):
    folder: Path
    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path}")
        if path.startswith("/api/models/someone/tiny/tree/"):
            files = [
                {"type": "file", "path": one.name, "size": one.stat().st_size, "oid": one.name}
                for one in sorted(self.folder.iterdir())
            ]
            return self._answer(json.dumps(files).encode())
        if path.startswith("/api/models/someone/tiny"):
            files = [{"rfilename": one.name, "size": one.stat().st_size} for one in sorted(self.folder.iterdir())]
            about = {"id": "someone/tiny", "sha": SHA, "siblings": files, "tags": ["license:mit"]}
            return self._answer(json.dumps(about).encode())
        if path.startswith("/someone/tiny/resolve/"):
            file = self.folder / path.rpartition("/")[2]
            if file.is_file():
                return self._answer(file.read_bytes(), etag=hashlib.sha1(file.read_bytes()).hexdigest())
        code = "RepoNotFound" if path.startswith("/api/models/") else "EntryNotFound"
        return self._answer(b"{}", status=404, code=code)

    def _answer(self, body: bytes, *, status: int = 200, etag: str = "", code: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", SHA)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(clip: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Hub", (_Hub,), {"folder": clip, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()


def ask(home: Path, endpoint: str, repository: str, *, download: bool) -> list[str]:
    """In a process of its own: the client reads its settings when it is imported."""
    code = f"""
from kit.pretrained.clip.repository import fetch
from kit.pretrained.clip.model import find_model
from kit.errors import KitError
try:
    fetch({repository!r}, download={download}, say=lambda line: print("said:", line))
    print("found:", find_model({repository!r}).digest)
except KitError as error:
    print(type(error).__name__ + ":", error)
"""
    settings = {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    environment = {**os.environ, **settings, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_licence_and_size_are_said_before_anything_is_fetched(
    hub: tuple[str, list[str]], clip: Path, tmp_path: Path
) -> None:
    from kit.pretrained.clip.model import find_model

    endpoint, asked = hub
    (refused,) = ask(tmp_path, endpoint, "someone/tiny", download=False)
    assert refused.startswith("MissingStep: someone/tiny: licence mit, ") and "--download" in refused
    assert not [one for one in asked if "/resolve/" in one]
    said, found = ask(tmp_path, endpoint, "someone/tiny", download=True)
    assert said.startswith("said: someone/tiny: licence mit, 0.")
    assert found == f"found: {find_model(str(clip)).digest}"
    before = len(asked)
    assert ask(tmp_path, endpoint, "someone/tiny", download=True) == [found]
    assert len(asked) == before  # it is here


def test_what_the_hub_has_not_and_a_hub_that_does_not_answer_are_one_line(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    (line,) = ask(tmp_path, hub[0], "someone/else", download=True)
    assert line.startswith("NotFound: The hub has no model someone/else")
    (line,) = ask(tmp_path, "http://127.0.0.1:9", "someone/tiny", download=True)
    assert line.startswith(
        "RemoteUnavailable: someone/tiny is not on this machine, and http://127.0.0.1:9 does not answer"
    )


def test_safetensors_are_taken_rather_than_pickles() -> None:
    assert weights_among(["pytorch_model.bin", "model.safetensors", "config.json"]) == ["model.safetensors"]
    assert weights_among(["flax_model.msgpack", "pytorch_model.bin", "tf_model.h5"]) == ["pytorch_model.bin"]
    parts = ["model-00001-of-00002.safetensors", "model.safetensors.index.json"]
    assert weights_among(reversed(parts)) == parts
