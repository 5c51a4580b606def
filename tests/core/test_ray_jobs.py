"""Jobs on a real Ray cluster of two machines: each once, at most so many at a time, moved when a worker is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from core.test_jobs import Heard, children_of, is_gone, until
from support.ray_cluster import jobs_in

from kit.core.jobs import Cluster, Job, Slot
from kit.data.fill_sources import fills_named
from kit.errors import KitError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


class HeardFrom(Heard):
    """Notes what a cluster tells; several jobs may run on one machine."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[str] = []

    def began(self, job: Job, slot: Slot) -> None:
        with self.lock:
            self.now.append(slot.name)
            self.most = max(self.most, len(self.now))

    def moved(self, job: Job, before: Slot, slot: Slot) -> None:
        self.moves.append(job.name)


def run(jobs: list[Job], cluster: Cluster = Cluster()) -> tuple[dict[str, int], HeardFrom]:
    """Exit codes, and what was heard."""
    from kit.core.ray_jobs import run_on_ray

    heard = HeardFrom()
    return {one.job.name: one.code for one in run_on_ray(jobs, cluster, heard)}, heard


def test_every_job_runs_once_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(f'experiment = "regress"\nname = "carried"  # from {tmp_path}\n')
    jobs = [Job(f"good {number}", ("--version",)) for number in range(3)]
    jobs.insert(1, Job("bad", ("nonsense",)))
    jobs.append(Job("carried", ("train", "--config", str(config), "--print-config"), tmp_path))
    codes, heard = run(jobs)
    assert codes == {"good 0": 0, "good 1": 0, "good 2": 0, "bad": 2, "carried": 0}
    assert sum(line.startswith("kit ") for line in heard.results) == 3 and not heard.now
    assert 'name = "carried"' in heard.results
    assert len(heard.notes) == 1 and heard.notes[0].startswith("bad: Error: No such command")


def test_at_most_so_many_run_at_a_time_as_are_asked_for() -> None:
    codes, heard = run([Job(str(number), ("--version",)) for number in range(3)], Cluster(jobs=1))
    assert set(codes.values()) == {0} and heard.most == 1


def test_a_job_whose_worker_is_killed_is_begun_again_and_its_child_dies_at_once(small, tmp_path: Path) -> None:
    root = small.copy(tmp_path / "w").workspace.root
    job = Job("fill", ("-w", str(root), "fill", "fractional"))
    killed: list[int] = []

    def kill() -> None:
        until(lambda: any((root / "predictions").rglob(".partial-*")))
        ((child, worker),) = jobs_in(root).items()
        os.kill(worker, signal.SIGKILL)
        until(lambda: is_gone(child), 1.0)
        killed.append(child)

    killer = threading.Thread(target=kill)
    killer.start()
    codes, heard = run([job])
    killer.join()
    assert killed and codes == {"fill": 0} and heard.moves == ["fill"]
    assert any(line.startswith("Filled: fractional") for line in heard.results)


DRIVER = """
import sys
sys.path.insert(0, {tests!r})
from core.test_ray_jobs import run, Job
run([Job("fill", ("-w", {root!r}, "fill", "fractional", "--force"))])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_children_end_with_the_command_that_asked_for_them(small, tmp_path: Path, number: signal.Signals) -> None:
    root = small.copy(tmp_path / "w").workspace.root
    code = DRIVER.format(tests=str(Path(__file__).parents[1]), root=str(root))
    driver = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    until(lambda: any((root / "predictions").rglob(".partial-*")))
    (child,) = jobs_in(root)
    os.kill(driver.pid, number)
    driver.wait(60)
    until(lambda: is_gone(child))
    assert not children_of(driver.pid)


def test_values_come_in_order_and_do_not_depend_on_the_number_of_workers() -> None:
    from kit.core.ray_map import map_on_ray

    for jobs in (1, 2, None):
        assert list(map_on_ray(abs, range(-20, 0), Cluster(jobs=jobs), count=20)) == list(range(20, 0, -1))


def test_an_error_in_a_task_is_that_error() -> None:
    from kit.core.ray_map import map_on_ray

    with pytest.raises(KitError, match="There is no fill 'nonsense'"):
        list(map_on_ray(fills_named, [["mean"], ["nonsense"]], Cluster(), count=2))


def test_a_machine_with_another_kit_is_refused_and_one_with_other_packages_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kit.core import ray_jobs

    jobs = [Job(str(number), ("--version",)) for number in range(2)]
    ours = ray_jobs.versions()
    monkeypatch.setattr(ray_jobs, "versions", lambda: {**ours, "numpy": "0.1"})
    codes, _ = run(jobs)
    warned = [
        line for line in capsys.readouterr().err.splitlines() if "results may differ in their last digits" in line
    ]
    assert set(codes.values()) == {0} and warned
    assert len(warned) == len(set(warned)) and f"has numpy {ours['numpy']} (here 0.1)" in warned[0]  # once a machine
    monkeypatch.setattr(ray_jobs, "versions", lambda: {**ours, "kit": "0.0.1, sources abc"})
    with pytest.raises(KitError, match=r"has kit .*, this one 0\.0\.1, sources abc\. Install the same on all machines"):
        run(jobs)


def test_a_job_that_fits_nowhere_waits_until_the_time_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    from kit.core import deadline

    began = time.monotonic()
    deadline.set_stop("4s", time.time())
    try:
        codes, _ = run([Job("large", ("--version",))], Cluster(cpus=64))
    finally:
        deadline.set_stop(None)
    assert codes == {} and time.monotonic() - began < 30
    assert "No machine of this cluster has 64 cores" in capsys.readouterr().err
