"""A competition's archive, downloaded once, resumed where it was cut, never half there. Knows nothing of its content.

Why not the client's own download: after a cut and an error page its next run appends the rest of the archive to that
page and calls it complete; it checks sizes, never checksums; and a stalled connection hangs for ever. So the client is
asked for the signed address only, and the bytes are fetched here, by ranges, each bound to the version of the file that
the first byte came from (`If-Range`). An archive that is not whole has another name.

    <slug>.zip                 whole, and compared with its checksums
    <slug>.zip.download        what has arrived so far
    <slug>.zip.download.json   the version that those bytes belong to, and its length
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from kit.core import archive, storage
from kit.errors import ArchiveError, KitError, RemoteError
from kit.remote.session import PAUSES, Session, Unavailable

if TYPE_CHECKING:
    import requests
    from kagglesdk import KaggleClient

Report = Callable[[int, int], None]

_CHUNK = 256 << 10  # what is lost at a cut is at most this
_BAD_ARCHIVES = 3  # complete downloads that turn out damaged before it is the service's fault


@dataclass(frozen=True)
class _Version:
    """What names one version of the remote file: a strong ETag or else its date, and its length."""

    validator: str | None
    total: int | None


class _ChangedError(Exception):
    """The rest of the file is not, or may not be, of the version whose beginning we hold."""


def download(session: Session, folder: Path, progress: Report | None) -> Path:
    """Download the archive as `Remote.download` promises."""
    target = folder / f"{session.slug}.zip"
    if not target.exists():
        session.api()  # without credentials nothing is begun
    with storage.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            with contextlib.suppress(ArchiveError):
                archive.verify(target)
                return target
            target.unlink()  # of the right size, perhaps, but damaged: another client left it
        partial = _Partial(target)
        with partial.locked():
            _fetch_whole(session, partial, progress)
            partial.finish()
    return target


class _Partial:
    """The bytes that have arrived, and the version that they belong to."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.download")
        self._state = target.with_name(f"{target.name}.download.json")

    def version(self) -> _Version:
        """Return the version of the bytes so far; without a validator they cannot be continued."""
        try:
            state = storage.read_json(self._state, made_by="kit fetch")
            return _Version(state["validator"], state["total"])
        except (KitError, KeyError):
            return _Version(None, None)

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, version: _Version) -> None:
        """Forget the bytes; the ones to come belong to `version`. Bytes go first: none may outlive its version."""
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.truncate(0)
        storage.write_json(self._state, version)

    def flaw(self) -> ArchiveError | None:
        """Return what is wrong with the complete file, which is then forgotten; `None` if it is sound."""
        try:
            archive.verify(self.path)
        except ArchiveError as error:
            self.begin(_Version(None, None))
            return ArchiveError(f"{self.target.name} arrived damaged ({error}) Run: kit fetch")
        return None

    def finish(self) -> None:
        """Give the file its final name, durably."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        self._state.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process from writing to the same file. The lock dies with the process."""
        with storage.locked(self.path) as is_ours:
            if not is_ours:
                raise RemoteError(f"Another process is downloading {self.target}. Wait for it, then run: kit fetch")
            try:
                yield
            finally:
                if self.path.exists() and self.size() == 0:  # nothing worth resuming
                    self.path.unlink()
                    self._state.unlink(missing_ok=True)


def _fetch_whole(session: Session, partial: _Partial, progress: Report | None) -> None:
    """Connect until every byte is there and the archive is sound; give up when attempts in a row bring nothing new."""
    failures, damaged, best, pause = 0, 0, 0, 0.0
    trouble: KitError
    while True:
        try:
            _fetch_rest(session, partial, progress)
            flaw = partial.flaw()
            if flaw is None:
                return
            damaged, trouble = damaged + 1, flaw
        except _ChangedError:
            partial.begin(_Version(None, None))
            trouble = Unavailable(f"The archive {session.slug}.zip on Kaggle keeps changing. Run: kit fetch")
        except Unavailable as error:
            trouble, pause = error, max(PAUSES[min(failures, len(PAUSES) - 1)], error.retry_after)
        failures = 0 if partial.size() > best else failures + 1
        best = max(best, partial.size())
        if failures > len(PAUSES) or damaged == _BAD_ARCHIVES:
            raise trouble
        session.sleep(pause)


def _fetch_rest(session: Session, partial: _Partial, progress: Report | None) -> None:
    """Receive from the last byte that we hold to the end, over one connection."""
    version, size = partial.version(), partial.size()
    if size and version.total == size:
        return
    offset = size if version.validator else 0
    what = f"Downloading {session.slug}.zip"
    with session.client() as client, _answer(session, client, offset, version) as answer:
        chunks = _received(session, answer)
        if answer.status_code == 206:
            total: int | None = _continued(answer, offset, version)
            archive.check_room(partial.path.parent, (total or 0) - offset, what)
        else:
            chunks, offset, version = _zip_bytes(chunks, session), 0, _version_of(answer)
            total = version.total
            archive.check_room(partial.path.parent, total or 0, what)
            partial.begin(version)
        _append(partial.path, offset, chunks, total, progress)
    if total is not None and partial.size() != total:
        raise Unavailable(f"The download of {session.slug}.zip was cut. Run: kit fetch")


def _append(path: Path, done: int, chunks: Iterator[bytes], total: int | None, progress: Report | None) -> None:
    with storage.disk_errors(path), path.open("ab") as file:
        for chunk in chunks:
            done += file.write(chunk)
            if progress is not None:
                progress(done, max(total or 0, done))


def _answer(session: Session, client: KaggleClient, offset: int, version: _Version) -> requests.Response:
    """Return the archive's bytes from `offset` on, or all of them; an error page is never taken for bytes."""
    http = client.http_client()._session
    http.max_redirects = 0  # so that the signed address comes to us, and the range with it
    try:
        whole: requests.Response = session.ask_with(client, "download_data_files", competition_name=session.slug)
        return whole
    except RemoteError as error:
        redirect = _redirect_behind(error)
        if redirect is None:
            raise
    plain = session.plain()
    address = urljoin(redirect.url, plain.get_redirect_target(redirect))
    headers: dict[str, str | bytes] = {"Accept-Encoding": "identity"}
    if not plain.should_strip_auth(redirect.url, address) and "Authorization" in redirect.request.headers:
        headers["Authorization"] = redirect.request.headers["Authorization"]
    if offset and version.validator:
        headers |= {"Range": f"bytes={offset}-", "If-Range": version.validator}
    with session.in_our_words():
        answer = plain.get(address, headers=headers, stream=True, timeout=session.timeout)
    if answer.status_code in (200, 206):
        return answer
    answer.close()
    if answer.status_code == 416:
        raise _ChangedError
    # a link that has expired says 403: that is no matter of the rules, and the next attempt gets a fresh one
    raise Unavailable(f"Kaggle's storage refused the archive ({answer.status_code}). Run: kit fetch")


def _redirect_behind(error: RemoteError) -> requests.Response | None:
    """Return the answer that names the signed address, if that is all that stopped the client."""
    import requests

    cause = error.__cause__
    return cause.response if isinstance(cause, requests.TooManyRedirects) else None


def _received(session: Session, answer: requests.Response) -> Iterator[bytes]:
    # only the reading itself is in these words: a full disk is not the service's fault
    with session.in_our_words():
        yield from answer.iter_content(_CHUNK)


def _continued(answer: requests.Response, offset: int, version: _Version) -> int:
    """Return the length of the whole file, if this partial answer continues our bytes; else `_ChangedError`."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    now = _version_of(answer).validator
    if match is None or int(match[1]) != offset or now not in (None, version.validator):
        raise _ChangedError
    if version.total not in (None, int(match[2])):
        raise _ChangedError
    return int(match[2])


def _version_of(answer: requests.Response) -> _Version:
    headers = answer.headers
    tag = headers.get("ETag", "")
    length = headers.get("Content-Length", "")
    known = length.isdigit() and answer.status_code == 200 and headers.get("Content-Encoding", "identity") == "identity"
    # a weak ETag promises the same meaning, not the same bytes
    return _Version(tag if tag.startswith('"') else headers.get("Last-Modified"), int(length) if known else None)


def _zip_bytes(chunks: Iterator[bytes], session: Session) -> Iterator[bytes]:
    """Return `chunks`, if they begin a zip: a page under status 200 must not replace what we hold."""
    first = next(chunks, b"")
    if not first.startswith(b"PK"):
        raise RemoteError(
            f"Kaggle's storage answered with {archive.looks_like_bytes(first)} in place of {session.slug}.zip. Open "
            f"https://www.kaggle.com/competitions/{session.slug}/data in a browser to see why, then run: kit fetch"
        )
    return itertools.chain([first], chunks)
