"""A stand-in for Kaggle's competition service on this machine, so that the real client can be driven without a network.

It speaks what the client was seen to speak, and fails on demand in the ways the service was reported to fail. It serves
any slug it is told, one archive, and scores every submission alike. Knows nothing of the kit.

By hand:  python tests/support/kaggle_standin.py --archive photo-reconstruction.zip --score 0.2033
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import email.utils
import hashlib
import itertools
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

SLUG = "photo-reconstruction"
TOKEN = "good-token"
USER, KEY, TEAM = "ada", "good-key", "Ada and friends"
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


@dataclass
class Fault:
    """One thing going wrong, once.

    `status` answers with that status; `drop` closes the connection without an answer; `cut` closes it after so many
    bytes of the body; `late` lets the call do its work first; `delay` waits before anything else.
    """

    status: int = 0
    message: str = "out of order"
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    cut: int | None = None
    late: bool = False
    delay: float = 0.0


@dataclass(frozen=True)
class Request:
    """One line of the log: the verb, the method's name or the path, the headers, and the JSON body if there is one."""

    verb: str
    name: str
    headers: dict[str, str]
    body: dict[str, Any]


class KaggleStandIn:
    """The service. Its public attributes are the switches; change them at any time. Use it in a `with` block."""

    def __init__(self, archive: bytes = b"", *, slug: str = SLUG, port: int = 0) -> None:
        self.slug, self.archive = slug, archive
        self.modified = 1_700_000_000.0  # the archive's date
        self.title, self.metric = "Photo Reconstruction", "Root Mean Squared Error"
        self.token_is_active = True
        self.rules_accepted, self.closed, self.code_only = True, False, False
        self.daily_limit, self.used_today = 5, 0
        self.score, self.scoring_error, self.pending_polls = "0.2033", "", 0
        self.private_score, self.deadline = "", "2030-01-02T03:04:05.123Z"
        self.board: list[tuple[str, str]] = []  # the leaderboard: teams and scores, the best first
        self.rank = 0
        self.page_size, self.empty_first_page = 20, False
        # blobs: how the storage behaves
        self.ranges = self.if_range = self.validators = self.length = self.redirects = True
        self.content_type = "application/zip"
        self.faults: dict[str, list[Fault]] = {}  # by method name, or "GET" and "PUT" for blobs
        self.log: list[Request] = []
        self.escapes: list[str] = []  # hosts that somebody tried to reach through us
        self.submissions: list[dict[str, Any]] = []
        self.uploads: dict[str, bytes] = {}  # bytes by token, once they have all arrived
        self.file_names: dict[str, str] = {}  # by token
        self.datasets: dict[str, list[dict[str, bytes]]] = {}  # by OWNER/NAME: the files of each version
        self.notebooks: dict[str, list[dict[str, Any]]] = {}  # by OWNER/NAME: what was saved, each version
        self._numbers = itertools.count(1000)
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.service = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> KaggleStandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """The variables that lead the client here. NO_PROXY must not be set beside them."""
        return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", **dict.fromkeys(PROXY_VARIABLES, self.url)}

    def fail(self, name: str, *faults: Fault) -> None:
        """Let the next calls of `name` meet `faults`, one each."""
        self.faults.setdefault(name, []).extend(faults)

    def calls(self, name: str) -> list[Request]:
        """The log's lines for `name`, oldest first."""
        return [request for request in self.log if request.name == name]

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.archive).hexdigest()}"'

    # --- the methods of the service; each takes the body and gives the answer

    def introspect_token(self, body: dict[str, Any]) -> dict[str, Any]:
        active = self.token_is_active and body.get("token") == TOKEN
        return {"active": active, "username": USER if active else "", "userId": 7}

    def get_competition(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": 1,
            "ref": f"https://www.kaggle.com/competitions/{self.slug}",
            "title": self.title,
            "url": f"https://www.kaggle.com/competitions/{self.slug}",
            "deadline": self.deadline,
            "userRank": self.rank,
            "userHasEntered": self.rules_accepted,
            "maxDailySubmissions": self.daily_limit,
            "evaluationMetric": self.metric,
            "submissionsDisabled": self.closed,
            "isKernelsSubmissionsOnly": self.code_only,
            "aFieldOfTheFuture": 1,
        }

    def get_submission_limits(self, _: dict[str, Any]) -> dict[str, Any]:
        allowed = max(0, self.daily_limit - self.used_today)
        return {"numToday": self.used_today, "numTotal": len(self.submissions), "numAllowedNow": allowed}

    def start_submission_upload(self, body: dict[str, Any]) -> dict[str, Any]:
        token = f"blob-{next(self._numbers)}"
        self.file_names[token] = body["fileName"]
        return {"token": token, "createUrl": f"http://localhost/upload/{token}?name={body['fileName']}"}

    def create_submission(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.used_today >= self.daily_limit:
            raise _RefusalError(400, "You have used all submissions of today.")
        if body["blobFileTokens"] not in self.uploads:
            raise _RefusalError(400, "There is no such upload.")
        self.used_today += 1
        ref = next(self._numbers)
        submission = {
            "ref": ref,
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.123Z"),
            "description": body.get("submissionDescription", ""),
            "fileName": self.file_names[body["blobFileTokens"]],
            "totalBytes": len(self.uploads[body["blobFileTokens"]]),
            "status": "PENDING",
            "teamName": TEAM,
            "url": f"https://www.kaggle.com/submissions/{ref}",
            "polls": self.pending_polls,
        }
        self.submissions.insert(0, submission)
        return {"message": f"Successfully submitted to {self.title}", "ref": ref}

    def get_submission(self, body: dict[str, Any]) -> dict[str, Any]:
        for submission in self.submissions:
            if submission["ref"] == body["ref"]:
                self._grade(submission)
                return {name: value for name, value in submission.items() if name != "polls"}
        raise _RefusalError(404, "There is no such submission.")

    def _grade(self, submission: dict[str, Any]) -> None:
        submission["polls"] -= 1
        if submission["polls"] < 0 and self.scoring_error:
            submission |= {"status": "ERROR", "errorDescription": self.scoring_error}
        elif submission["polls"] < 0:
            submission |= {"status": "COMPLETE", "publicScore": self.score, "privateScore": self.private_score}

    def get_leaderboard(self, body: dict[str, Any]) -> dict[str, Any]:
        start, size = int(body.get("pageToken") or 0), self.page_size
        lines = [{"teamId": place, "teamName": team, "score": score} for place, (team, score) in enumerate(self.board)]
        token = str(start + size) if start + size < len(lines) else ""
        return {"submissions": lines[start : start + size], "nextPageToken": token}

    def start_blob_upload(self, body: dict[str, Any]) -> dict[str, Any]:
        token = f"blob-{next(self._numbers)}"
        self.file_names[token] = body["name"]
        return {"token": token, "createUrl": f"http://localhost/upload/{token}"}

    def get_dataset_status(self, body: dict[str, Any]) -> dict[str, Any]:
        if f"{body['ownerSlug']}/{body['datasetSlug']}" not in self.datasets:
            raise _RefusalError(403, "Permission 'datasets.get' was denied")  # what Kaggle says of what is not there
        return {"status": "READY"}

    def create_dataset(self, body: dict[str, Any]) -> dict[str, Any]:
        reference = f"{body['ownerSlug']}/{body['slug']}"
        if body["ownerSlug"] != USER:
            raise _RefusalError(403, "You cannot make datasets for others.")
        self.datasets[reference] = [self._files_of(body)]
        return {"ref": reference, "url": f"https://www.kaggle.com/datasets/{reference}", "status": "ok"}

    def create_dataset_version(self, body: dict[str, Any]) -> dict[str, Any]:
        reference = f"{body['ownerSlug']}/{body['datasetSlug']}"
        self.datasets[reference].append(self._files_of(body["body"]))
        return {"ref": reference, "url": f"https://www.kaggle.com/datasets/{reference}", "status": "ok"}

    def _files_of(self, body: dict[str, Any]) -> dict[str, bytes]:
        return {self.file_names[file["token"]]: self.uploads[file["token"]] for file in body["files"]}

    def save_kernel(self, body: dict[str, Any]) -> dict[str, Any]:
        versions = self.notebooks.setdefault(body["slug"], [])
        versions.append(body)
        absent = [name for name in body.get("datasetDataSources", []) if name not in self.datasets]
        return {
            "ref": f"/{body['slug']}",
            "url": f"https://www.kaggle.com/code/{body['slug']}",
            "versionNumber": len(versions),
            "invalidDatasetSources": absent,
        }

    def list_submissions(self, body: dict[str, Any]) -> dict[str, Any]:
        start = int(body.get("pageToken") or 0)
        if self.empty_first_page and "pageToken" not in body:
            return {"submissions": [], "nextPageToken": "0"}
        size = min(self.page_size, body.get("pageSize") or self.page_size)
        page = self.submissions[start : start + size]
        token = str(start + size) if start + size < len(self.submissions) else ""
        return {
            "submissions": [{k: v for k, v in item.items() if k != "polls"} for item in page],
            "nextPageToken": token,
        }


class _RefusalError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    service: KaggleStandIn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """The log is `KaggleStandIn.log`."""

    def setup(self) -> None:
        super().setup()
        self.service = self.server.service

    def do_CONNECT(self) -> None:
        self.service.escapes.append(self.path)
        self._send(403, b"")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        match = re.fullmatch(r"(?:/api)?/v1/([\w.]+)/(\w+)", path)
        name = match[2] if match else path
        body = json.loads(raw or b"{}")
        self._note(name, body)
        fault = self._fault(name)
        if fault is not None and not fault.late and self._suffer(fault):
            return
        try:
            if match is None:
                raise _RefusalError(404, f"There is no {path}.")
            self._authorize(name)
            if name.startswith("Download"):
                self._download(fault)
                return
            answer = getattr(self.service, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())(body)
        except _RefusalError as no:
            self._send_json({"code": no.status, "message": no.message}, no.status)
            return
        if fault is None or not self._suffer(fault):
            self._send_json(answer)

    def do_PUT(self) -> None:
        self._note("PUT", {})
        fault, token = self._fault("PUT"), urlsplit(self.path).path.rpartition("/")[2]
        if fault is not None and fault.cut is not None:
            self.rfile.read(fault.cut)
            self._drop()
            return
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is not None and self._suffer(fault):
            return
        self.service.uploads[token] = data
        self._send(200, b"")

    def do_GET(self) -> None:
        self._note("GET", {})
        fault = self._fault("GET")
        if fault is not None and self._suffer(fault):
            return
        self._send_archive(fault)

    # --- parts

    def _note(self, name: str, body: dict[str, Any]) -> None:
        self.service.log.append(Request(self.command, name, dict(self.headers), body))

    def _fault(self, name: str) -> Fault | None:
        waiting = self.service.faults.get(name)
        return waiting.pop(0) if waiting else None

    def _suffer(self, fault: Fault) -> bool:
        """Whether the fault was the whole answer."""
        time.sleep(fault.delay)
        if fault.drop:
            self._drop()
        elif fault.status and fault.body is None:
            self._send_json({"code": fault.status, "message": fault.message}, fault.status, fault.headers)
        elif fault.status:
            self._send(fault.status, fault.body or b"", fault.headers)
        return fault.drop or bool(fault.status)

    def _authorize(self, name: str) -> None:
        sent = self.headers.get("Authorization", "")
        basic = "Basic " + base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        if name != "IntrospectToken" and not (
            sent == basic or (self.service.token_is_active and sent == f"Bearer {TOKEN}")
        ):
            raise _RefusalError(401, "Unauthenticated")
        asked = self.service.log[-1].body.get("competitionName", self.service.slug)
        if asked != self.service.slug:
            raise _RefusalError(404, f"There is no competition {asked}.")
        if not self.service.rules_accepted and re.match("Download|Create|Start", name):
            raise _RefusalError(403, "You must accept this competition's rules before you can continue.")

    def _download(self, fault: Fault | None) -> None:
        if self.service.redirects:
            address = f"http://localhost/storage/{self.service.slug}.zip?signature=secret"
            self._send(302, b"", {"Location": address})
        else:
            self._send_archive(fault)

    def _send_archive(self, fault: Fault | None) -> None:
        service, data = self.service, self.service.archive
        modified = email.utils.formatdate(service.modified, usegmt=True)
        headers = {"Content-Type": service.content_type}
        if service.validators:
            headers |= {"ETag": service.etag, "Last-Modified": modified}
        status, start = 200, 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        matches = self.headers.get("If-Range", service.etag) in (service.etag, modified) or not service.if_range
        if wanted and service.ranges and matches:
            status, start = 206, int(wanted[1])
            if start >= len(data):
                self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        headers["Accept-Ranges"] = "bytes" if service.ranges else "none"
        self._send(status, data[start:], headers, cut=fault.cut if fault else None, length=service.length)

    def _send_json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        cut: int | None = None,
        length: bool = True,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self._drop()

    def _drop(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)


# --- for tests --------------------------------------------------------------


def forget_client() -> None:
    """Let the next import of `kaggle` read the environment afresh: it remembers HOME and the service's address."""
    for name in [name for name in sys.modules if name == "kaggle" or name.startswith("kaggle.")]:
        del sys.modules[name]


@pytest.fixture
def kaggle_service() -> Iterator[KaggleStandIn]:
    """A running stand-in that nothing leads to yet; whatever tried to leave the machine through it fails the test."""
    with KaggleStandIn() as service:
        yield service
        assert service.escapes == []


@pytest.fixture
def kaggle_env(kaggle_service: KaggleStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh HOME with a good token, and an environment in which the client finds `kaggle_service` only."""
    import os

    for name in list(os.environ):
        if name.startswith("KAGGLE_") or name.upper() in (
            "NO_PROXY",
            "ALL_PROXY",
            "XDG_CONFIG_HOME",
            "VERBOSE",
            "NETRC",
        ):
            monkeypatch.delenv(name)
    monkeypatch.delenv("VERBOSE_OUTPUT", raising=False)
    home = tmp_path / "home"
    (home / ".kaggle").mkdir(parents=True)
    (home / ".kaggle" / "access_token").write_text(TOKEN)
    monkeypatch.setenv("HOME", str(home))
    for name, value in kaggle_service.environment().items():
        monkeypatch.setenv(name, value)
    forget_client()
    yield home
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):  # what kit has read for the client
        os.environ.pop(name, None)
    forget_client()


# --- by hand ----------------------------------------------------------------


def main() -> None:
    """Serve until interrupted, after printing what to type in the other terminal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", type=Path, required=True, help="the zip to serve as the competition's archive")
    parser.add_argument("--slug", default=SLUG)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--score", default="0.2033", help="the public score of every submission")
    parser.add_argument("--daily-limit", type=int, default=5)
    parser.add_argument("--pending", type=int, default=1, help="polls before a submission is scored")
    options = parser.parse_args()
    with KaggleStandIn(options.archive.read_bytes(), slug=options.slug, port=options.port) as service:
        service.score, service.daily_limit, service.pending_polls = options.score, options.daily_limit, options.pending
        print("unset NO_PROXY no_proxy")
        for name, value in {**service.environment(), "KAGGLE_API_TOKEN": TOKEN}.items():
            print(f"export {name}={value}")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
