"""A stand-in for the model hub on this machine: one repository from a folder, spoken to by the real client.

It serves what `huggingface_hub` was seen to ask for: a model's card and files, the tree, and the files themselves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def hub(name: str, folder: Path, licence: str) -> Iterator[tuple[str, list[str]]]:
    """Serve `folder` as the model `name`; gives the address and a growing list of the files that were fetched."""
    fetched: list[str] = []
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            if path.startswith(f"/api/models/{name}/tree/"):
                self._send(json.dumps([_entry(file, at) for file, at in files.items()]).encode(), body, {})
            elif path in (f"/api/models/{name}", *(f"/api/models/{name}/revision/{one}" for one in (COMMIT, "main"))):
                self._send(json.dumps(_card(name, files, licence)).encode(), body, {})
            elif path.startswith(f"/{name}/resolve/") and path.split("/", 5)[5] in files:
                file = path.split("/", 5)[5]
                fetched.extend([file] if body else [])
                data = files[file].read_bytes()
                self._send(data, body, {"ETag": f'"{_digest(data)}"', "X-Repo-Commit": COMMIT})
            else:
                self._send(b"{}", body, {"X-Error-Code": "RepoNotFound"}, 404)

        def _send(self, data: bytes, body: bool, headers: dict[str, str], code: int = 200) -> None:
            self.send_response(code)
            for header, value in {
                **headers,
                "Content-Length": str(len(data)),
                "Content-Type": "application/json",
            }.items():
                self.send_header(header, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _digest(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(name: str, path: Path) -> dict[str, object]:
    return {"type": "file", "path": name, "size": path.stat().st_size, "oid": _digest(path.read_bytes())}


def _card(name: str, files: dict[str, Path], licence: str) -> dict[str, object]:
    return {
        "id": name,
        "modelId": name,
        "sha": COMMIT,
        "private": False,
        "gated": False,
        "tags": ["diffusers", f"license:{licence}"],
        "cardData": {"license": licence},
        "siblings": [
            {"rfilename": file, "size": path.stat().st_size, "blobId": _digest(path.read_bytes())}
            for file, path in files.items()
        ],
    }
