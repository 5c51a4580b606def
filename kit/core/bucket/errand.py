"""What a job does with a bucket, on the machine that runs it: a workspace of its own with what it reads, and all that
it writes sent while it runs. Knows nothing of what the job is.

Files that jobs read are kept on each machine by content, so that the next job there has them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core.bucket.files import (
    Digests,
    FileEntry,
    Files,
    Manifest,
    fetch_file,
    fetch_files,
    matching,
    pinned,
    read_manifest,
    send_parts,
)
from kit.core.bucket.objects import Bucket
from kit.core.storage import disk_errors, locked, sweep, temporary_sibling
from kit.errors import DamagedStore, KitError

SCRATCH = "KIT_SCRATCH"
"""Names the folder of a machine where jobs keep what they have fetched; else a folder beside other temporary files."""
_PAUSE = 10.0  # seconds between two looks at what the job has written
_PATIENCE = 900.0  # seconds to try to send what it has written at its end: it may be a night of GPU time
_RETRY = 15.0  # seconds between two tries
_KEPT = 14 * 86400.0  # seconds for which what no job has asked for is kept
_APPENDED_TO = "embeddings/"  # which jobs do in place, where vectors are missing
_LARGE = 100 << 20  # bytes that take long enough to say so
_WAIT = 6 * 3600.0  # seconds to wait while another job fetches the same file


@dataclass(frozen=True)
class Errand:
    """What a job has to fetch and to send."""

    bucket: str
    inputs: str
    """Version of what it reads."""
    output: str
    """Its photos' and folds' digest, and the name of what it writes."""
    writes: tuple[str, ...]
    """Patterns of it, below the workspace."""
    root: str
    """The workspace, where the command was typed and as its words name it."""
    origin: str = ""
    """Version of what lay there when the job was sent."""
    owner: str = ""
    """Names the command."""


Say = Callable[[str], object]


def input_name(version: str) -> str:
    """Return the object that lists what jobs read."""
    return f"inputs/{version}.json"


INPUT_PARTS = "inputs/parts"


def output_name(output: str) -> str:
    """Return the object that lists what a job has written."""
    return f"outputs/{output}/manifest.json"


def output_parts(output: str) -> str:
    """Return the folder of what a job has written."""
    return f"outputs/{output}"


@contextlib.contextmanager
def run_errand(errand: Errand, begun: float, say: Say) -> Iterator[Courier]:
    """Give the courier of a workspace that has what the job reads and what an earlier try of it has written. What the
    job writes there is sent while the block runs, and once more at its end; then the workspace is deleted.

    Args:
        begun: when this try began, in seconds since the epoch, by one clock for all tries.
        say: hears what takes long.

    Raises:
        KitError: the bucket cannot be used, or a later try of the same job has taken over.
    """
    scratch = _scratch()
    for folder in (scratch, scratch / "files"):
        sweep(folder)
    root = temporary_sibling(scratch / "workspace")
    with disk_errors(root):
        root.mkdir()
        try:
            courier = Courier(errand, begun, root, scratch / "files")
            courier.collect(say)
            with courier.sending():
                yield courier
            courier.send_last(say)
        finally:
            shutil.rmtree(root, ignore_errors=True)


def _scratch() -> Path:
    """Return the folder where this user's jobs keep files, which nobody else may write to."""
    named = os.environ.get(SCRATCH)
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"kit-scratch-{os.getuid()}"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.lstat()
    if not named and (status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022):
        raise KitError(f"{folder} is not this user's alone. Name a folder for jobs by {SCRATCH} where Ray is started.")
    return folder


class Courier:
    """Fetches and sends the files of one job."""

    def __init__(self, errand: Errand, begun: float, root: Path, cache: Path) -> None:
        self.root = root
        self.lost: KitError | None = None
        """Why the job is to end: another one has taken over."""
        self._errand, self._begun, self._cache = errand, begun, cache
        self._bucket = Bucket(errand.bucket)
        self._digests = Digests()
        self._sent = Manifest({}, errand.origin)
        self._inputs: frozenset[str] = frozenset()
        self._seen: object = None

    def collect(self, say: Say) -> None:
        """Fetch what the job reads, and what an earlier try of it has written."""
        inputs = read_manifest(self._bucket, input_name(self._errand.inputs))
        if inputs is None:
            raise KitError(
                f"{self._errand.bucket} no longer has what this job reads. Run the same command again, which sends it."
            )
        before = read_manifest(self._bucket, output_name(self._errand.output))
        missing = sum(one.size for one in inputs.files.values() if not (self._cache / one.content).is_file())
        if missing > _LARGE:
            say(f"fetching {missing >> 20:,} MB from {self._errand.bucket}")
        _forget_unused(self._cache)
        try:
            fetch_files(self._take, inputs.files)
        except DamagedStore:
            self._bucket.delete([input_name(self._errand.inputs)])
            raise
        self._inputs = frozenset(inputs.files)
        if before is not None:
            folder = output_parts(self._errand.output)
            fetch_files(lambda name, entry: fetch_file(self._bucket, folder, entry, self.root / name), before.files)
            self._sent = before
        self._claim()

    def _take(self, name: str, entry: FileEntry) -> None:
        """Put a file that jobs read into the workspace: from this machine's own, where it is fetched but once."""
        kept, path = self._cache / entry.content, self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with locked(kept, wait=_WAIT):
            if not (kept.is_file() and kept.stat().st_size == entry.size):
                try:
                    fetch_file(self._bucket, INPUT_PARTS, entry, kept)
                except DamagedStore:
                    self._bucket.delete(f"{INPUT_PARTS}/{digest}" for digest in entry.parts)  # it is sent anew
                    raise
                kept.chmod(0o444)
            os.utime(kept)
            if name.startswith(_APPENDED_TO):
                shutil.copyfile(kept, path)
                return
            try:
                os.link(kept, path)
            except OSError:  # a file system without such links
                shutil.copyfile(kept, path)

    def _claim(self) -> None:
        """Say that this try is at work, so that an earlier one that lives on unseen ends."""
        self._write_list(self._sent.files)

    def _write_list(self, files: Files) -> None:
        self._sent = Manifest(files, self._errand.origin, self._begun, self._errand.owner)
        self._bucket.write(output_name(self._errand.output), self._sent.to_bytes())

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Send what the job writes, every few seconds; what cannot be sent is tried again the next time."""
        over = threading.Event()

        def run() -> None:
            while not over.wait(_PAUSE) and self.lost is None:
                with contextlib.suppress(Exception):
                    self.send()

        thread = threading.Thread(target=run, daemon=True, name="courier")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def send_last(self, say: Say) -> None:
        """Send what is there at the end, or try for a quarter of an hour."""
        ends = time.monotonic() + _PATIENCE
        while self.lost is None:
            try:
                self.send()
                break
            except (KitError, OSError) as error:
                if time.monotonic() >= ends:
                    raise
                minutes = (ends - time.monotonic()) / 60
                say(f"Warning: what it has written cannot be sent; trying again for {minutes:.0f} minutes. {error}")
                time.sleep(_RETRY)
        if self.lost is not None:
            raise self.lost

    def send(self) -> None:
        """Send what the job has written since, list last; then delete what is no longer listed."""
        if not self._has_changed():
            return
        try:
            self._send_all()
        except BaseException:
            self._seen = None
            raise

    def _send_all(self) -> None:
        folder = output_parts(self._errand.output)
        with pinned(self.root, self._errand.writes, self._digests, self._inputs) as now:
            there = self._list_now()
            before = _parts_of(self._sent) if there is not None and there.files == self._sent.files else set()
            if self.lost is None:
                send_parts(self._bucket, folder, now, there=before)
                self._list_now()  # sending may have taken long
            if self.lost is not None:
                return
            self._write_list(now.files)
        self._bucket.delete(f"{folder}/{digest}" for digest in sorted(before - _parts_of(self._sent)))

    def _list_now(self) -> Manifest | None:
        """Return the list that is there now, and note it where a later try has written it."""
        there = read_manifest(self._bucket, output_name(self._errand.output))
        if there is not None and there.begun > self._begun:
            name = self._errand.output.partition("/")[2]
            self.lost = KitError(f"{name} was taken over by another job, which goes on with it.")
        return there

    def _has_changed(self) -> bool:
        """Return whether files are others than at the last look, but for those that only people look at."""
        paths = [path for path in matching(self.root, self._errand.writes) if path.name != "progress.json"]
        seen = []
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                seen.append((path, status.st_size, status.st_mtime_ns, status.st_ino))
        changed, self._seen = seen != self._seen, seen
        return changed


def _parts_of(manifest: Manifest) -> set[str]:
    return {digest for one in manifest.files.values() for digest in one.parts}


def _forget_unused(cache: Path) -> None:
    """Delete what no job of this machine has asked for in a long time."""
    for path in cache.glob("*") if cache.is_dir() else ():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT:
                path.unlink()
