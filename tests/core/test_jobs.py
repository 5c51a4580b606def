"""The queue of child processes: real ones, kept in their slots, each job once, interrupted and orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kit.core.jobs import Ended, Job, Slot, core_shares, run_jobs
from kit.core.parallel import cores, map_in_processes


class Heard:
    """Notes what a queue tells."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.notes: list[str] = []
        self.now: list[str] = []
        self.most = 0
        self.lock = threading.Lock()

    def began(self, job: Job, slot: Slot) -> None:
        with self.lock:
            assert slot.name not in self.now, "two jobs in one slot"
            self.now.append(slot.name)
            self.most = max(self.most, len(self.now))

    def result(self, job: Job, slot: Slot, line: str) -> None:
        self.results.append(line)

    def note(self, job: Job, slot: Slot, line: str) -> None:
        self.notes.append(f"{job.name}: {line}")

    def ended(self, ended: Ended, slot: Slot) -> None:
        with self.lock:
            self.now.remove(slot.name)


def test_every_job_runs_once_in_a_slot_of_its_own_and_a_failure_stops_no_other() -> None:
    heard = Heard()
    jobs = [Job(f"good {number}", ("--version",)) for number in range(3)]
    jobs.insert(1, Job("bad", ("nonsense",)))
    ended = run_jobs(jobs, [Slot("1"), Slot("2", environment=core_shares(2))], heard)
    assert {one.job.name: one.code for one in ended} == {"good 0": 0, "good 1": 0, "good 2": 0, "bad": 2}
    assert len(heard.results) == 3 and all(line.startswith("kit ") for line in heard.results)
    assert len(heard.notes) == 1 and heard.notes[0].startswith("bad: Error: No such command") and heard.most == 2


def test_a_slot_adds_its_words() -> None:
    heard = Heard()
    (ended,) = run_jobs([Job("help", ("fill",))], [Slot("1", ("--help",))], heard)
    assert ended.code == 0 and any("kit fill all" in line for line in heard.results)


def test_shares_of_the_cores_are_at_least_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert core_shares(1000)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert core_shares(1)["MKL_NUM_THREADS"] == "1"  # as it would be without a queue
    assert core_shares(1)["KIT_CORES"] == str(cores())
    monkeypatch.setenv("KIT_CORES", "1")
    assert cores() == 1


QUEUE = """
import sys, time
from kit.core.jobs import Job, Slot, run_jobs
sys.path.insert(0, {tests!r})
from core.test_jobs import Heard
run_jobs([Job("fill", ("-w", {root!r}, "fill", "fractional", "--force"))], [Slot("1")], Heard())
"""


def children_of(pid: int) -> list[int]:
    """The processes that this one has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    tasks = Path(f"/proc/{pid}/task").iterdir() if found.exists() else []
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def until(condition, seconds: float = 60.0) -> None:
    """Wait for it."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it does not come"
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, or waits for nobody."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_children_end_with_the_queue(small, tmp_path: Path, number: signal.Signals) -> None:
    root = small.copy(tmp_path / "w").workspace.root
    code = QUEUE.format(tests=str(Path(__file__).parents[1]), root=str(root))
    queue = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    until(lambda: children_of(queue.pid))
    (child,) = children_of(queue.pid)
    until(lambda: any((root / "predictions").rglob(".partial-*")))
    os.kill(queue.pid, number)
    queue.wait(60)
    until(lambda: is_gone(child))


@pytest.mark.slow
def test_processes_give_the_results_in_order() -> None:
    assert list(map_in_processes(abs, range(-20, 0), workers=2)) == list(range(20, 0, -1))
