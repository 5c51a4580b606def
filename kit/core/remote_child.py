"""One job on a worker of a cluster: the same child process as of a local queue, whose lines are handed on. Knows
neither the cluster nor what the command does.

Killed at any moment with its worker, the child dies too, at once: the job is begun again, and goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

import kit
from kit.core.bucket import Errand, run_errand
from kit.core.jobs import AT_ONCE, PARENT

GRACE = 30.0  # seconds that a child has to end after Ctrl-C
_PAUSE = 0.25  # seconds between two looks at what the child has printed
_SAME_BYTES = ("numpy", "scipy", "opencv-python-headless", "torch")  # versions that may change the last bits of results

Line = tuple[bool, str]
"""Whether it is a result (standard output), and its text."""
Post = Callable[[Sequence[Line]], bool]
"""Hands lines on; returns whether the job is to go on."""


@dataclass(frozen=True)
class RemoteCommand:
    """A job as it travels."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    """Where its files lay, as the words name it."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    here: str = ""
    """The folder that it was typed in: paths may be relative to it."""
    errand: Errand | None = None
    """What it has to fetch and to send, where it has no folder in common with whoever typed it."""


def versions() -> dict[str, str]:
    """Return what must be the same on all machines (kit), and what should be, for results to be the same bytes."""
    found = {"kit": f"{kit.__version__}, sources {_sources()}", "Python": platform.python_version()}
    for name in _SAME_BYTES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _sources() -> str:
    folder, digest = Path(kit.__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def run_command(command: RemoteCommand, post: Post, told: Mapping[str, str], begun: float = 0.0) -> int:
    """Run a command to its end and return its exit code.

    Args:
        post: gets what it prints; as soon as it returns False, the child is interrupted as Ctrl-C does.
        told: what the child is told beside the command's own environment.
        begun: when this try of the command began, see `run_errand`.

    Raises:
        KitError: its files cannot be fetched, or what it has written cannot be sent.
    """
    if command.errand is None:
        return _run(command, post, told)
    with run_errand(command.errand, begun, lambda line: post([(False, line)])) as courier:
        there, home = str(courier.root), command.errand.root
        words = tuple(there if word == home else word for word in command.words)

        def post_from_there(lines: Sequence[Line]) -> bool:
            return post([(is_result, line.replace(there, home)) for is_result, line in lines]) and courier.lost is None

        return _run(replace(command, words=words), post_from_there, told)


def _run(command: RemoteCommand, post: Post, told: Mapping[str, str]) -> int:
    with _unpacked(command) as words:
        here = Path(command.here) if Path(command.here).is_dir() else None
        process = subprocess.Popen(
            [sys.executable, "-m", "kit", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=here,
            env={**os.environ, **_same_kit(), **command.environment, **told} | {PARENT: f"{os.getpid()}{AT_ONCE}"},
            start_new_session=True,
        )
        try:
            _hand_on(process, post)
        finally:  # also where nobody hears it any more
            _end(process)
        return process.returncode


def _same_kit() -> dict[str, str]:
    """Return the environment in which a child finds the kit that this process has, where it is not installed."""
    place = Path(kit.__file__).parents[1]
    if place.name in ("site-packages", "dist-packages"):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH", "")]))}


@contextlib.contextmanager
def _unpacked(command: RemoteCommand) -> Iterator[list[str]]:
    """Give the words, which name the files that came along where they are now."""
    if not command.files:
        yield list(command.words)
        return
    with tempfile.TemporaryDirectory(prefix="kit-job-") as folder:
        for name, data in command.files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.replace(command.folder.encode(), folder.encode()) if path.suffix == ".toml" else data)
        yield [word.replace(command.folder, folder) for word in command.words]


def _hand_on(process: subprocess.Popen[str], post: Post) -> None:
    lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
    assert process.stdout is not None and process.stderr is not None
    readers = [
        threading.Thread(target=_read, args=(stream, is_result, lines), daemon=True)
        for stream, is_result in ((process.stdout, True), (process.stderr, False))
    ]
    for reader in readers:
        reader.start()
    stopped: float | None = None
    while any(reader.is_alive() for reader in readers):
        if not post(_taken(lines)) and stopped is None:
            stopped = time.monotonic()
            process.send_signal(signal.SIGINT)
        if stopped is not None and time.monotonic() - stopped > GRACE:
            process.kill()
        for reader in readers:
            reader.join(_PAUSE / 2)
    process.wait()
    post(_taken(lines))


def _read(stream: IO[str], is_result: bool, lines: queue.SimpleQueue[Line]) -> None:
    for line in stream:
        lines.put((is_result, line.rstrip("\n")))


def _taken(lines: queue.SimpleQueue[Line]) -> list[Line]:
    taken = []
    while not lines.empty():
        taken.append(lines.get())
    return taken


def _end(process: subprocess.Popen[str]) -> None:
    """End a child that still runs: first as Ctrl-C does, at last by force."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        process.kill()
        process.wait()
