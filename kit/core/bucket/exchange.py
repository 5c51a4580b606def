"""What a command does with a bucket: what its jobs read goes there, what they have written comes home. Knows nothing of
what the jobs are."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from kit.core.bucket.errand import INPUT_PARTS, Errand, input_name, output_name, output_parts
from kit.core.bucket.files import (
    Digests,
    Files,
    Manifest,
    Pinned,
    fetch_file,
    fetch_files,
    matching,
    pinned,
    read_manifest,
    send_parts,
    version_of,
)
from kit.core.bucket.objects import Bucket
from kit.core.jobs import Cargo, Cluster
from kit.core.progress import byte_progress
from kit.core.speech import say, warn
from kit.core.storage import digest_of, disk_errors, sync_folder, write_json
from kit.errors import DamagedStore, KitError

_NOTHING = version_of({})
_AT_ONCE = 2  # jobs whose files come home


class Exchange:
    """The bucket of one command, and the workspace that it was typed for."""

    def __init__(self, url: str, root: Path) -> None:
        self._bucket, self._root = Bucket(url), root
        self._notes = root / ".bucket"
        self._digests = Digests()
        self._digests.load(self._notes / "digests.json")
        self._lock = threading.Lock()
        self._sent: set[str] = set()
        self._coming: dict[str, Future[None]] = {}
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="home")
        self._owner = uuid.uuid4().hex[:12]
        self._bucket.check()

    def errands(self, cargos: Sequence[Cargo]) -> list[Errand]:
        """Send what jobs read, and what is there already of what they write; returns what each has to do.

        Raises:
            KitError: the bucket cannot be used.
        """
        found = [self._errand(cargo) for cargo in cargos]
        self._digests.save(self._notes / "digests.json")
        return found

    def _errand(self, cargo: Cargo) -> Errand:
        with pinned(self._root, cargo.reads, self._digests) as inputs:
            version = version_of(inputs.files)
            if version not in self._sent and not self._bucket.has(input_name(version)):
                self._send("what jobs read", INPUT_PARTS, inputs)
                self._bucket.write(input_name(version), Manifest(inputs.files).to_bytes())
            self._sent.add(version)
            names = set(inputs.files)
        self._clear(cargo)
        origin = _NOTHING
        with pinned(self._root, cargo.writes, self._digests, names) as outputs:
            if outputs.files:
                origin = version_of(outputs.files)
                self._send(cargo.name, output_parts(_output_of(cargo)), outputs)
                manifest = Manifest(outputs.files, origin, owner=self._owner)
                self._bucket.write(output_name(_output_of(cargo)), manifest.to_bytes())
        root = str(self._root.absolute())
        return Errand(self._bucket.url, version, _output_of(cargo), cargo.writes, root, origin, self._owner)

    def _send(self, what: str, folder: str, files: Pinned) -> None:
        size = sum(one.size for one in files.files.values())
        with byte_progress(f"Sending {what}") as report:
            send_parts(self._bucket, folder, files, _counted(report, size))

    def take_leftovers(self, cargos: Iterable[Cargo]) -> None:
        """Bring home what jobs of a command that was killed have written, where nothing newer is here.

        Raises:
            KitError: the bucket cannot be used.
        """
        for cargo in cargos:
            try:
                self._take_leftover(cargo)
            except DamagedStore as error:
                warn(f"Warning: {str(error).split('. ')[0]}. Going on with what is here of {cargo.name}.")

    def _take_leftover(self, cargo: Cargo) -> None:
        there = read_manifest(self._bucket, output_name(_output_of(cargo)))
        if there is None:
            return
        version = version_of(self._here(cargo))
        if version != there.version and self._is_newer(cargo, there, version):
            say(f"Bringing home what was written elsewhere of {cargo.name}")
        self.bring(cargo)

    def _is_newer(self, cargo: Cargo, there: Manifest, version: str) -> bool:
        """Return whether what is there has come of what is here: of this version, or of one half taken home."""
        try:
            note = json.loads(self._note(cargo).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            note = {}
        known = (there.origin, there.version, _NOTHING, note.get("took"))
        return version in known or note.get("taking") == there.version

    def _here(self, cargo: Cargo) -> Files:
        reads = {path.relative_to(self._root).as_posix() for path in matching(self._root, cargo.reads)}
        with pinned(self._root, cargo.writes, self._digests, reads) as found:
            return found.files

    def written(self, subject: str, folder: str) -> list[str]:
        """Return the names below a folder of what jobs have written about these photos, and is not home."""
        begin, end = output_parts(f"{subject}/"), "/manifest.json"
        found = self._bucket.names(f"{begin}{folder}")
        return [name.removeprefix(begin).removesuffix(end) for name in found if name.endswith(end)]

    def bring_soon(self, cargo: Cargo) -> None:
        """Bring home what a job has written while others run; `wait` waits for it. What another command's job has
        written is left to that."""
        self._coming[cargo.name] = self._threads.submit(self.bring, cargo, owner=self._owner)

    def wait_and_warn(self) -> None:
        """Wait until everything is home, where another error is what is to be told."""
        try:
            self.wait()
        except (KitError, OSError) as another:
            warn(f"Warning: {another}")

    def wait(self) -> None:
        """Wait until everything is home.

        Raises:
            KitError: something is not; it stays in the bucket.
        """
        try:
            wait(self._coming.values())
        except BaseException:
            self._threads.shutdown(wait=False, cancel_futures=True)  # what is not home stays in the bucket
            raise
        errors = [(name, error) for name, one in self._coming.items() if (error := one.exception()) is not None]
        self._threads.shutdown()
        for _, error in errors:
            if not isinstance(error, KitError):
                raise error
        if errors:
            name, error = errors[0]
            raise KitError(f"What was written of {name} is not home yet: {error}")

    def bring(self, cargo: Cargo, *, owner: str | None = None) -> None:
        """Bring home what a job has written, all of it or nothing that counts, then delete it there. What else has been
        made here meanwhile stays, and what comes home is then laid aside.

        Args:
            owner: of what command; None: of any.

        Raises:
            KitError: the bucket cannot be used.
        """
        there = read_manifest(self._bucket, output_name(_output_of(cargo)))
        if there is None or (owner is not None and there.owner != owner):
            return
        with self._lock:  # of the digests
            here = self._here(cargo)
        if not self._is_newer(cargo, there, version_of(here)):
            self._lay_aside(cargo, there)
            return
        note = self._note(cargo)
        staged = self._notes / f"coming-{note.stem}"
        changed = {name: one for name, one in there.files.items() if name not in here or here[name].parts != one.parts}
        self._fetch(cargo, changed, staged)
        gone = set(here) - set(there.files)
        with disk_errors(self._root):
            if changed or gone:
                write_json(note, {"taking": there.version})
                _install(self._root, staged, list(changed), gone)
            for name, entry in there.files.items():
                os.utime(
                    self._root / name, (entry.modified, entry.modified)
                )  # a job began it anew, with the same bytes
            shutil.rmtree(staged, ignore_errors=True)
            write_json(note, {"took": there.version})
            self._clear(cargo)

    def _lay_aside(self, cargo: Cargo, there: Manifest) -> None:
        aside = self._notes / "aside" / f"{cargo.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        self._fetch(cargo, there.files, aside)
        self._clear(cargo)
        warn(
            f"Warning: {cargo.name} is another here than when its job was sent: going on with what is here. What the "
            f"job has written is in {aside}"
        )

    def _fetch(self, cargo: Cargo, files: Files, target: Path) -> None:
        folder = output_parts(_output_of(cargo))
        fetch_files(lambda name, entry: fetch_file(self._bucket, folder, entry, target / name), files)

    def _note(self, cargo: Cargo) -> Path:
        return self._notes / f"{digest_of([self._bucket.url, _output_of(cargo)])}.json"

    def _clear(self, cargo: Cargo) -> None:
        """Delete what the bucket has of a job's output, its list first."""
        names = self._bucket.names(output_parts(_output_of(cargo)))
        self._bucket.delete(sorted(names, key=lambda name: not name.endswith("manifest.json")))


def _output_of(cargo: Cargo) -> str:
    return f"{cargo.subject}/{cargo.name}"


def _counted(report: Callable[[int, int], None], total: int) -> Callable[[int], None]:
    """Return what adds up the bytes of several threads."""
    done, lock = 0, threading.Lock()

    def add(size: int) -> None:
        nonlocal done
        with lock:
            done += size
            report(done, total)

    return add


def _install(root: Path, staged: Path, names: Sequence[str], gone: Iterable[str]) -> None:
    """Put fetched files in their places: lists after what they list, and the other way round for those that go."""
    for name in sorted(gone, key=lambda one: not one.endswith(".json")):
        (root / name).unlink(missing_ok=True)
        _remove_empty((root / name).parent, root)
    for name in sorted(names, key=lambda one: one.endswith(".json")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).replace(root / name)
    for folder in {(root / name).parent for name in names}:
        sync_folder(folder)  # it is deleted elsewhere next


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder whose last file has gone, as a job has done: a run that is set aside is known by its folder."""
    while folder != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def take_leftovers(where: object, cargos: Sequence[Cargo]) -> None:
    """Bring home what jobs of a command that was killed have left in a cluster's bucket; nothing where it has none."""
    if isinstance(where, Cluster) and where.bucket is not None and cargos:
        exchange = Exchange(where.bucket, cargos[0].root)
        exchange.take_leftovers(cargos)
        exchange.wait()
