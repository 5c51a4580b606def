"""What a command does with a bucket: what its jobs read goes there, what they have written comes home. Knows nothing of
what the jobs are."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from kit.core.storage import digest_of, disk_errors, write_json
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
                self._bucket.write(output_name(_output_of(cargo)), Manifest(outputs.files, origin).to_bytes())
        return Errand(self._bucket.url, version, _output_of(cargo), cargo.writes, str(self._root.absolute()), origin)

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
        if version in (there.origin, _NOTHING) or self._is_half_taken(cargo, there):
            if there.version != version:
                say(f"Bringing home what was written elsewhere of {cargo.name}")
            self.bring(cargo)
        elif version != there.version:
            warn(
                f"Warning: {cargo.name} is another here than when its job was sent: going on with what is here, "
                f"not with what {self._bucket.url} has of it."
            )

    def _here(self, cargo: Cargo) -> Files:
        reads = {path.relative_to(self._root).as_posix() for path in matching(self._root, cargo.reads)}
        with pinned(self._root, cargo.writes, self._digests, reads) as found:
            return found.files

    def written(self, subject: str, folder: str) -> list[str]:
        """Return the names below a folder of what jobs have written about these photos, and is not home."""
        begin, end = output_parts(f"{subject}/"), "/manifest.json"
        found = self._bucket.names(f"{begin}{folder}")
        return [name.removeprefix(begin).removesuffix(end) for name in found if name.endswith(end)]

    def bring_soon(self, cargo: Cargo, begun: float) -> None:
        """Bring home what a job has written while others run; `wait` waits for it.

        Args:
            begun: when its last try began; what a later one of another command has written is not touched.
        """
        self._coming[cargo.name] = self._threads.submit(self.bring, cargo, begun)

    def wait_and_warn(self) -> None:
        """Wait until everything is home, where another error is what is to be told."""
        try:
            self.wait()
        except KitError as another:
            warn(f"Warning: {another}")

    def wait(self) -> None:
        """Wait until everything is home.

        Raises:
            KitError: something is not; it stays in the bucket.
        """
        errors = [(name, error) for name, one in self._coming.items() if (error := one.exception()) is not None]
        self._threads.shutdown()
        for _, error in errors:
            if not isinstance(error, KitError):
                raise error
        if errors:
            name, error = errors[0]
            raise KitError(f"What was written of {name} is not home yet: {error}")

    def bring(self, cargo: Cargo, begun: float | None = None) -> None:
        """Bring home what a job has written, all of it or nothing that counts, then delete it there.

        Args:
            begun: see `bring_soon`; None: whatever is there.

        Raises:
            KitError: the bucket cannot be used.
        """
        there = read_manifest(self._bucket, output_name(_output_of(cargo)))
        if there is None or (begun is not None and there.begun > begun):
            return
        with self._lock:  # of the digests
            here = self._here(cargo)
        note = self._note(cargo)
        staged = self._notes / f"coming-{note.stem}"
        changed = {name: one for name, one in there.files.items() if name not in here or here[name].parts != one.parts}
        folder = output_parts(_output_of(cargo))
        fetch_files(lambda name, entry: fetch_file(self._bucket, folder, entry, staged / name), changed)
        gone = set(here) - set(there.files)
        with disk_errors(self._root):
            if changed or gone:
                write_json(note, {"taking": there.version})
                _install(self._root, staged, list(changed), gone)
            shutil.rmtree(staged, ignore_errors=True)
            self._clear(cargo)
            note.unlink(missing_ok=True)

    def _note(self, cargo: Cargo) -> Path:
        return self._notes / f"{digest_of([self._bucket.url, _output_of(cargo)])}.json"

    def _is_half_taken(self, cargo: Cargo, there: Manifest) -> bool:
        """Return whether a command was killed while it brought just this home."""
        try:
            return bool(json.loads(self._note(cargo).read_text(encoding="utf-8"))["taking"] == there.version)
        except (OSError, ValueError, KeyError, TypeError):
            return False

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
    for name in sorted(names, key=lambda one: one.endswith(".json")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).replace(root / name)


def take_leftovers(where: object, cargos: Sequence[Cargo]) -> None:
    """Bring home what jobs of a command that was killed have left in a cluster's bucket; nothing where it has none."""
    if isinstance(where, Cluster) and where.bucket is not None and cargos:
        exchange = Exchange(where.bucket, cargos[0].root)
        exchange.take_leftovers(cargos)
        exchange.wait()
