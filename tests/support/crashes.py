"""Commands that die on their way: by SIGKILL at any moment, or by an operation of the file system that fails.

    before = states["train"].at(tmp_path)                     # a workspace in which the command can run
    end = run(forks, before, words, Fault("kill", 7))         # dies at its seventh change of a file's place
    end = run(forks, before, words, None)                     # typed again
    assert tree(before) == undisturbed

The faults are raised by an audit hook (PEP 578): Python tells it about every file that is opened for writing, every
rename, removal and new folder before it happens, whoever asks for it. Children come from the fork server, which has
imported torch once.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.storage import digest_bytes

ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EACCES")}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
_MEASURED = {"seconds", "photos_per_second", "when", "made", "wall", "image_seconds"}
"""Fields of manifests that hold a time, which no two runs share."""


@dataclass(frozen=True)
class Fault:
    """What happens to a command."""

    kind: str
    """`kill`; a key of `ERRORS`; `EFBIG`, a file that may not become larger; `late`, a kill from outside."""
    at: float
    """The number of the change before which it happens; bytes for EFBIG; seconds for `late`."""


@dataclass(frozen=True)
class End:
    """How a child ended."""

    code: int
    out: str
    err: str
    changes: int
    """How many changes it made to files below the workspace; -1 where it was killed."""

    @property
    def is_done(self) -> bool:
        """Whether what it makes is there: made now, or before, where it replaces nothing unasked."""
        return self.code == 0 or "is there already. Replace it" in self.err

    @property
    def is_in_words(self) -> bool:
        """Whether it did its work, or says in one line why not: no traceback in either case."""
        lines = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        said = self.code == 0 or (self.code in (1, 2, 75) and (len(lines) == 1 or "Not finished" in self.err))
        return said and "Traceback" not in self.err


def child(root: str, words: tuple[str, ...], fault: Fault | None, notes: str) -> None:
    """Run `kit -w ROOT WORDS` in this process, and write to `notes` how it ended."""
    import torch

    import support.toy  # noqa: F401  # its layout

    torch.set_num_threads(1)
    Path(notes).mkdir(parents=True, exist_ok=True)
    writers = _redirect(Path(notes))
    os.environ["COLUMNS"] = "200"
    os.fsync = lambda _: None  # the machine is not switched off here
    counter = _Counter(root, fault)
    sys.addaudithook(counter)
    if fault is not None and fault.kind == "EFBIG":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(fault.at), resource.RLIM_INFINITY))
    sys.argv = ["kit", "-w", root, *words]
    from kit.cli import run

    code: Any = 0
    try:
        run()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    finally:
        counter.is_armed = False
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sys.stdout.flush()
        sys.stderr.flush()
        for number, writer in enumerate(writers, start=1):
            os.close(number)
            writer.wait()
        (Path(notes) / "end.json").write_text(json.dumps([code, counter.seen]))


def _redirect(notes: Path) -> list[subprocess.Popen[bytes]]:
    """Send both streams to files, by way of processes whose files may become as large as they like."""
    writers = []
    for number, name in ((1, "out"), (2, "err")):
        with (notes / name).open("wb") as file:
            writers.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file))
        pipe = writers[-1].stdin
        assert pipe is not None
        os.dup2(pipe.fileno(), number)
        pipe.close()
    # what was there believes that it writes to a file
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    return writers


class _Counter:
    """Counts changes below a folder, and lets one of them fail or end the process."""

    def __init__(self, root: str, fault: Fault | None) -> None:
        self.root, self.fault, self.seen, self.is_armed = os.path.realpath(root), fault, 0, True

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_armed or not self._is_change(event, arguments):
            return
        self.seen += 1
        if self.fault is None or self.seen != self.fault.at:
            return
        if self.fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.fault.kind in ERRORS:
            number = ERRORS[self.fault.kind]
            raise OSError(number, os.strerror(number), str(arguments[0]))

    def _is_change(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, mode, flags = arguments
            writes = flags & _WRITES if isinstance(flags, int) else set(mode or "") & set("wax+")
            return bool(writes) and self._is_below(path)
        return event in _CHANGES and any(self._is_below(path) for path in arguments[:2])

    def _is_below(self, path: object) -> bool:
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        return isinstance(path, str | os.PathLike) and os.path.realpath(path).startswith(f"{self.root}{os.sep}")


def run(forks: Any, root: Path, words: tuple[str, ...], fault: Fault | None = None) -> End:
    """Run a command in a child to its end, whichever that is."""
    return finish(begin(forks, root, words, fault), fault)


def begin(forks: Any, root: Path, words: tuple[str, ...], fault: Fault | None = None, suffix: str = "") -> Any:
    """Start it."""
    notes = root.with_name(f"{root.name}.notes{suffix}")
    with suppress(FileNotFoundError):
        (notes / "end.json").unlink()
    process = forks.Process(target=child, args=(str(root), words, fault, str(notes)))
    process.start()
    process.notes = notes
    return process


def finish(process: Any, fault: Fault | None = None) -> End:
    """Wait for it, or kill it when its time has come."""
    if fault is not None and fault.kind == "late":
        process.join(fault.at)
        process.kill()
    process.join(120)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"a command hangs: {(process.notes / 'err').read_text()}")
    out, err = ((process.notes / name).read_text() for name in ("out", "err"))
    note = process.notes / "end.json"
    if process.exitcode == 0 and note.is_file():
        code, changes = json.loads(note.read_text())
        return End(code, out, err, changes)
    return End(process.exitcode, out, err, -1)


def tree(root: Path, ignored: Callable[[str], bool] = lambda _: False) -> dict[str, str]:
    """Name every file below a workspace and its content, without measured times."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not ignored(name):
            found[name] = _content(path)
    return found


def _content(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json":
        data = json.dumps(_without_times(json.loads(data)), sort_keys=True).encode()
    return digest_bytes(data)


def _without_times(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_times(one) for name, one in value.items() if name not in _MEASURED}
    if isinstance(value, list):
        return [_without_times(one) for one in value]
    return value


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until it holds."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)
