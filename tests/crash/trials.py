"""What is tried on a command, and what must hold after it. Used by the tests (a few) and by `scripts/crash` (many)."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from support.crashes import ERRORS, End, Fault, begin, finish

from crash.chain import Step

KINDS = ("kill", *ERRORS, "EFBIG", "late")


def some_faults(step: Step, kind: str, count: int, rng: random.Random) -> list[Fault]:
    """Return faults of one kind, spread over the command."""
    if kind == "late":
        return [Fault(kind, rng.uniform(0.02, 0.5)) for _ in range(count)]
    if kind == "EFBIG":
        return [Fault(kind, 2 ** rng.uniform(4, 14)) for _ in range(count)]
    return [Fault(kind, at) for at in sorted(rng.sample(range(1, step.changes + 1), min(count, step.changes)))]


def survives(step: Step, faults: list[Fault], forks: Any, seen: Counter[str]) -> None:
    """Let the command fail once for each fault, each time where it has come to; then run it to its end.

    What it leaves must be, byte for byte, what it leaves when nothing disturbs it; what failed must have said so in one
    line; and no temporary file may be left.
    """
    step.fresh()
    for fault in faults:
        end = step.run(forks, fault)
        seen[fault.kind] += end.code != 0
        if fault.kind in ("kill", "late"):
            assert end.code in (-9, 0), (fault, end)
        else:
            assert end.is_in_words, (step.name, fault, end)
        if end.code == 0:  # it came to its end before: the next fault begins anew
            step.fresh()
    again = step.run(forks)
    assert again.is_done, (step.name, faults, again.err)
    left = step.left()
    assert left == step.after, (step.name, faults, _difference(left, step.after))


def two_at_once(step: Step, forks: Any) -> None:
    """Start the command twice at one moment: each does its work or says in one line why not, and the result is one."""
    root = step.fresh()
    both = [begin(forks, root, step.words, suffix=str(number)) for number in (0, 1)]
    ends = [finish(process) for process in both]
    assert all(end.is_in_words for end in ends), (step.name, ends)
    again = step.run(forks)
    assert again.is_done, (step.name, ends, again.err)
    left = step.left()
    assert left == step.after, (step.name, ends, _difference(left, step.after))


def on_a_full_disk(step: Step, room: int, forks: Any) -> End:
    """Run the command on a disk with so many bytes left, then give it more: it ends as if there had always been room.

    Raises:
        OSError: no disk of its own can be mounted here.
    """
    shutil.rmtree(step.root, ignore_errors=True)
    step.root.mkdir()
    _mount("-t", "tmpfs", "-o", "size=1g", "tmpfs", str(step.root))
    try:
        shutil.copytree(step.before, step.root, dirs_exist_ok=True)
        disk = os.statvfs(step.root)
        _mount("-o", f"remount,size={(disk.f_blocks - disk.f_bfree) * disk.f_frsize + room}", str(step.root))
        end = step.run(forks)
        assert end.is_in_words, (step.name, room, end)
        _mount("-o", "remount,size=1g", str(step.root))
        again = step.run(forks)
        assert again.is_done, (step.name, room, again.err)
        left = step.left()
        assert left == step.after, (step.name, room, _difference(left, step.after))
        return end
    finally:
        subprocess.run(["umount", "-l", str(step.root)], check=False)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr)


def copied_on_its_way(step: Step, wait: float, forks: Any, folder: Path) -> None:
    """Copy the workspace while the command writes to it: in the copy the command ends as if nothing had been."""
    root = step.fresh()
    process = begin(forks, root, step.words)
    process.join(wait)
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    _copy(root, copy)
    finish(process)
    shutil.rmtree(root)
    copy.rename(root)  # paths are noted in manifests
    again = step.run(forks)
    assert again.is_done, (step.name, again.err)
    left = step.left()
    assert left == step.after, (step.name, _difference(left, step.after))


def _copy(root: Path, copy: Path) -> None:
    """Copy as rsync does: what goes away meanwhile is passed over."""
    copy.mkdir()
    for path in sorted(root.rglob("*")):
        target = copy / path.relative_to(root)
        try:
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
        except FileNotFoundError:
            continue


def _difference(left: dict[str, str], wanted: dict[str, str]) -> list[str]:
    return sorted(name for name in {*left, *wanted} if left.get(name) != wanted.get(name))
