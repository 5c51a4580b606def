"""The queue of commands on a Ray cluster: each job a task with its cores and GPUs. The only module that knows Ray.

    run_on_ray([Job("fold 0", ("train", "regress", "--fold", "0"))], Cluster(gpus=1), watcher)

A task starts the same child process as a slot of `kit.core.jobs` and returns its exit code; what the child prints comes
back through one small actor beside this process, which also tells the tasks when to stop. Ray begins a task again whose
worker or machine is lost: the command itself goes on where it was. RAY_ADDRESS names the cluster; without it, Ray runs
on this machine alone, for as long as the jobs.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kit.core import deadline
from kit.core.jobs import SINCE, Cluster, Ended, Job, Slot, Watcher, thread_words
from kit.core.parallel import cores
from kit.core.remote_child import GRACE, Line, RemoteCommand, run_command, versions
from kit.core.secrets import without_secrets
from kit.core.speech import detail, say, speech_environment, warn
from kit.errors import FAILED, TRY_AGAIN, KitError, UsageError

T = TypeVar("T")
R = TypeVar("R")

ADDRESS = "RAY_ADDRESS"
RETRIES = 3  # of a job whose worker or machine is lost
_LOOK = 0.25  # seconds between two looks for what jobs have printed
_ANSWERS = 10.0  # seconds that a cluster has to answer
_STORE = 256 << 20  # bytes of shared memory that a Ray of this machine alone takes: results here are small
_CHUNK = 16  # items of `map_on_ray` that travel together


@dataclass
class _Event:
    """What a task tells."""

    number: int
    """Of its job."""
    begins_on: str = ""
    """The machine's id of Ray's, where it begins."""
    attempt: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    lines: Sequence[Line] = ()


class _Mailbox:
    """Takes what tasks tell until the queue asks for it, and tells them to stop. An actor."""

    def __init__(self) -> None:
        self._events: list[_Event] = []
        self._first: dict[int, float] = {}
        self._attempts: dict[int, int] = {}
        self._stopped = False

    def begin(self, number: int, machine: str, found: Mapping[str, str]) -> tuple[bool, float | None]:
        """Note that a job begins; return whether it may, and when it was first begun if this is not the first time."""
        before = self._first.get(number)
        self._first.setdefault(number, time.time())
        self._attempts[number] = attempt = self._attempts.get(number, -1) + 1
        if not self._stopped:
            self._events.append(_Event(number, machine, attempt, found))
        return not self._stopped, before

    def put(self, number: int, lines: Sequence[Line]) -> bool:
        """Take lines of a job; return whether it is to go on."""
        if lines:
            self._events.append(_Event(number, lines=lines))
        return not self._stopped

    def take(self) -> list[_Event]:
        """Return what has come since."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Let no job go on."""
        self._stopped = True


def _run(number: int, command: RemoteCommand, stops: float, mailbox: Any) -> int:
    """Run a job: this is the task."""
    import ray

    if time.time() > stops:  # it has waited for room until the time was over
        return TRY_AGAIN
    machine = ray.get_runtime_context().get_node_id()
    goes_on, first = ray.get(mailbox.begin.remote(number, machine, versions()))
    if not goes_on:
        return TRY_AGAIN
    told = {SINCE: str(first)} if first is not None else {}

    def post(lines: Sequence[Line]) -> bool:
        return bool(ray.get(mailbox.put.remote(number, lines)))

    return run_command(command, post, told)


def run_on_ray(
    jobs: Sequence[Job], cluster: Cluster, watcher: Watcher, environment: Mapping[str, str] = {}
) -> list[Ended]:
    """Run the jobs on Ray, in their order where there is room, and return those that have ended.

    As of `run_jobs`: a job that fails stops no other; after the time of `kit.core.deadline` no job begins; Ctrl-C
    interrupts the children, waits for them and comes out.

    Args:
        environment: what each child is told.

    Raises:
        KitError: no cluster answers, or it has another kit.
        UsageError: no machine here has what a job needs.
    """
    with connected() as ray:
        need = _need(ray, cluster, len(jobs))
        queue = _RayQueue(ray, watcher, need, cluster.jobs or len(jobs), len(jobs))
        commands = [_command(job, cluster, need, environment) for job in jobs]
        try:
            queue.run(deque(zip(jobs, commands, strict=True)))
        except BaseException:
            queue.interrupt()
            raise
        return queue.ended


def _command(job: Job, cluster: Cluster, need: _Need, environment: Mapping[str, str]) -> RemoteCommand:
    files = {}
    if job.folder is not None:
        paths = [path for path in sorted(job.folder.rglob("*")) if path.is_file()]
        files = {path.relative_to(job.folder).as_posix(): path.read_bytes() for path in paths}
    threads = thread_words(need.cpus)  # as many as here: on workers Ray says so itself
    told = {**threads, **deadline.stop_environment(), **speech_environment(), **environment}
    words = (*job.words, *need.words, *cluster.words)
    return RemoteCommand(words, told, str(job.folder or ""), files, os.getcwd())  # noqa: PTH109


class _RayQueue:
    """Jobs that wait, run and have ended."""

    def __init__(self, ray: Any, watcher: Watcher, need: _Need, limit: int, count: int) -> None:
        self._ray, self._watcher, self._need, self._limit = ray, watcher, need, limit
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        self._mailbox = (
            ray.remote(_Mailbox)
            .options(num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1)
            .remote()
        )
        self._task = ray.remote(_run).options(
            num_cpus=need.cpus, num_gpus=need.gpus, max_retries=RETRIES, name="kit job"
        )
        self._jobs: list[Job] = []
        self._slots: dict[int, Slot] = {}
        self._running: dict[Any, int] = {}
        self._versions = versions()
        self._said: set[str] = set()
        self.ended: list[Ended] = []

    def run(self, waiting: deque[tuple[Job, RemoteCommand]]) -> None:
        """Run all of them, at most so many at a time as was asked for."""
        stops = time.time() + deadline.remaining()
        while waiting or self._running:
            while waiting and len(self._running) < self._limit and not deadline.is_over():
                job, command = waiting.popleft()
                task = self._task.remote(len(self._jobs), command, stops, self._mailbox)
                self._running[task] = len(self._jobs)
                self._jobs.append(job)
            if not self._running:
                return
            if deadline.is_over():
                self.cancel_waiting()
            done, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=_LOOK)
            self.hear()  # a task's last lines are there before its end is
            for task in done:
                self.end(task)

    def hear(self) -> None:
        """Hand on what jobs have told."""
        for event in self._ray.get(self._mailbox.take.remote()):
            job = self._jobs[event.number]
            if event.begins_on:
                self._begins(job, event)
            slot = self._slots[event.number]
            for is_result, line in event.lines:
                (self._watcher.result if is_result else self._watcher.note)(job, slot, line)

    def _begins(self, job: Job, event: _Event) -> None:
        before = self._slots.get(event.number)
        slot = self._slots[event.number] = Slot(_name_of(self._ray, event.begins_on))
        self._compare(slot.name, event.versions)
        if before is None:
            self._watcher.began(job, slot)
        else:
            self._watcher.moved(job, before, slot)

    def _compare(self, machine: str, theirs: Mapping[str, str]) -> None:
        """Refuse a machine with another kit; say of one whose packages may give other bytes."""
        ours = self._versions
        if ours["kit"] != theirs["kit"]:
            raise KitError(
                f"The machine {machine} has kit {theirs['kit']}, this one {ours['kit']}. Install the same on "
                "all machines of the cluster, start Ray there anew, then run the same command again."
            )
        others = [
            f"{name} {theirs.get(name, 'none')} (here {ours[name]})" for name in ours if ours[name] != theirs.get(name)
        ]
        line = f"Warning: {machine} has {', '.join(others)}: results may differ in their last digits."
        if others and line not in self._said:
            self._said.add(line)
            warn(line)

    def end(self, task: Any) -> None:
        """Note a task that has ended."""
        number = self._running.pop(task)
        job = self._jobs[number]
        try:
            code, reason = int(self._ray.get(task)), ""
        except self._ray.exceptions.TaskCancelledError:
            code, reason = TRY_AGAIN, ""
        except Exception as error:  # the worker was lost too often, or has no kit; other jobs go on
            code, reason = FAILED, _reason(error)
        slot = self._slots.get(number)
        if slot is None and code == TRY_AGAIN:  # it has never begun, and is left for the next time
            return
        if slot is None:
            slot = Slot("Ray")
            self._watcher.began(job, slot)
        if reason:
            self._watcher.note(job, slot, without_secrets(f"Error: {reason}"))
        ended = Ended(job, code)
        self.ended.append(ended)
        self._watcher.ended(ended, slot)

    def cancel_waiting(self) -> None:
        """Give up the tasks that have found no room yet."""
        for task, number in self._running.items():
            if number not in self._slots:
                self._ray.cancel(task)

    def interrupt(self) -> None:
        """End the jobs: children as Ctrl-C does, those that have no room yet at once, and at last by force."""
        self._ray.get(self._mailbox.stop.remote())
        self.cancel_waiting()
        running = [task for task, number in self._running.items() if number in self._slots]
        try:
            self._ray.wait(running, num_returns=len(running), timeout=GRACE) if running else None
        finally:  # also after a second Ctrl-C
            for task in running:
                self._ray.cancel(task, force=True)


def _name_of(ray: Any, machine: str) -> str:
    """Return a machine's name for people."""
    return next((str(node["NodeManagerHostname"]) for node in ray.nodes() if node["NodeID"] == machine), "Ray")


def _reason(error: Exception) -> str:
    """Return why a task has come to nothing, in a line."""
    import ray

    cause = getattr(error, "cause", None) or error
    if isinstance(cause, ModuleNotFoundError) or "No module named" in str(error):
        return "kit is not installed on the cluster's machines. Install the same there, and start Ray anew."
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "the memory of its machine was full each time. Give each job more room: fewer --jobs, or more --cpus"
    if isinstance(error, ray.exceptions.RayTaskError):
        return f"{type(cause).__name__}: {_one_line(cause)}"
    return f"its worker or machine was lost {RETRIES + 1} times. Run the same command again to go on."


# --- what a job needs


@dataclass(frozen=True)
class _Need:
    cpus: int
    gpus: float
    words: tuple[str, ...] = ()


def _need(ray: Any, cluster: Cluster, count: int) -> _Need:
    """Return cores and GPUs of a job. Raises `UsageError` where this machine alone has not so many."""
    machines = _machines(ray)
    all_cpus, all_gpus = (sum(int(one.get(kind, 0)) for one in machines) for kind in ("CPU", "GPU"))
    gpus = _gpus(cluster, machines)
    cpus = cluster.cpus or _share(machines, all_cpus, gpus, min(count, cluster.jobs or count))
    if not any(one.get("CPU", 0) >= cpus and one.get("GPU", 0) >= gpus for one in machines):
        line = f"No machine of this cluster has {cpus} cores and {gpus:g} GPUs for a job"
        if not os.environ.get(ADDRESS):
            raise UsageError(f"{line}. Give less: --cpus, --gpus")
        warn(f"{line}: jobs wait until one comes. Less: --cpus, --gpus")
    detail(
        f"Ray: {len(machines)} machines, {all_cpus} cores, {all_gpus} GPUs; a job has {cpus} cores and {gpus:g} GPUs"
    )
    return _Need(cpus, gpus, ("--device", "cpu") if gpus == 0 and all_gpus and not cluster.words else ())


def room_for(cluster: Cluster) -> int:
    """Return how many jobs are worth running at once that share one piece of work: one for each GPU, or with its cores
    given as many as there is room for, or one a machine."""
    with connected() as ray:
        machines = _machines(ray)
        if gpus := _gpus(cluster, machines):
            places = sum(int(one.get("GPU", 0) / gpus) for one in machines)
        else:
            places = sum(int(one["CPU"]) // cluster.cpus if cluster.cpus else 1 for one in machines if one.get("CPU"))
        return max(1, min(places, cluster.jobs or places))


def _machines(ray: Any) -> list[Mapping[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _gpus(cluster: Cluster, machines: Sequence[Mapping[str, float]]) -> float:
    """Return the GPUs of a job: those that were asked for, or one where there is any."""
    return float(any(one.get("GPU") for one in machines)) if cluster.gpus is None else cluster.gpus


def _share(machines: Sequence[Mapping[str, float]], all_cpus: int, gpus: float, count: int) -> int:
    """Return the cores of a job: those that go with its GPUs, or its share of all; never more than one machine has."""
    if gpus:
        with_gpus = [one for one in machines if one.get("GPU", 0) >= gpus]
        return max(1, min((int(one.get("CPU", 0) * gpus / one["GPU"]) for one in with_gpus), default=1))
    most = max((int(one.get("CPU", 0)) for one in machines), default=1)
    return max(1, min(most, all_cpus // max(1, count)))


# --- photos


def map_on_ray(function: Callable[[T], R], items: Iterable[T], cluster: Cluster, *, count: int) -> Generator[R]:
    """Yield `function(item)` of each item in order, as `kit.core.parallel.map_in_processes` does, computed on Ray.

    Args:
        function: at the top of a module, pure: what is lost with a worker is computed again.
        count: of the items.
    """
    with connected() as ray:
        cpus = cluster.cpus or 1
        workers = max(1, sum(int(one.get("CPU", 0)) // cpus for one in _machines(ray)))
        at_once = cluster.jobs or 2 * workers
        task = ray.remote(_map_chunk).options(num_cpus=cpus, max_retries=-1, name="kit photos")
        size = max(1, min(_CHUNK, count // (2 * workers)))
        waiting: deque[Any] = deque()
        source = iter(items)
        try:
            while chunk := list(itertools.islice(source, size)):
                waiting.append(task.remote(function, chunk))
                if len(waiting) >= at_once:
                    yield from _results(ray, waiting.popleft())
            while waiting:
                yield from _results(ray, waiting.popleft())
        finally:
            for left in waiting:
                ray.cancel(left)


def _map_chunk(function: Callable[[T], R], chunk: list[T]) -> list[R]:
    try:
        return [function(item) for item in chunk]
    except KitError as error:
        raise KitError(str(error)) from None  # some of its kinds cannot travel


def _results(ray: Any, task: Any) -> list[Any]:
    try:
        found: list[Any] = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, KitError):
            raise cause from None
        raise KitError(f"On Ray: {without_secrets(_reason(error))}") from None
    except ray.exceptions.RayError as error:
        raise KitError(f"On Ray: {without_secrets(_reason(error))}") from None
    return found


# --- the cluster


@contextlib.contextmanager
def connected() -> Iterator[Any]:
    """Connect to the cluster of RAY_ADDRESS, or start Ray on this machine until the block ends; gives the module.

    In a process that is connected already (a notebook), that connection is used and left.

    Raises:
        KitError: no cluster answers there, or it is lost on the way.
    """
    _prepare()
    import ray

    try:
        if ray.is_initialized():
            yield ray
            return
        with _silent(ray):
            _connect(ray)
            try:
                yield ray
            finally:
                ray.shutdown()
    except ray.exceptions.RayError as error:
        reason = without_secrets(_one_line(error))
        raise KitError(f"The Ray cluster was lost: {reason}. Run the same command again to go on.") from None


def _connect(ray: Any) -> None:
    address = os.environ.get(ADDRESS)
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            _check_answers(address)
            ray.init(address, **_USUAL)
        else:
            say(f"Ray runs on this machine alone, with {cores()} cores: {ADDRESS} names no cluster")
            ray.init("local", num_cpus=cores(), include_dashboard=False, object_store_memory=_STORE, **_ALONE, **_USUAL)
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        where = f"{ADDRESS}={address}" if address else "this machine"
        reason = without_secrets(_one_line(error))
        raise KitError(
            f"Ray cannot be reached at {where}: {reason}. Start a cluster (ray start --head) and name it by "
            f"{ADDRESS}, or unset that to use this machine alone."
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray sets its own, which ends without a word


def _check_answers(address: str) -> None:
    """Raise `OSError` where nobody listens at `HOST:PORT`: Ray itself would ask for minutes, and say so in each."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        with socket.create_connection((host, int(port)), timeout=_ANSWERS):
            pass


_USUAL: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
_ALONE: dict[str, Any] = {"_node_ip_address": "127.0.0.1"}  # nothing of it is for other machines


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


@contextlib.contextmanager
def _silent(ray: Any) -> Iterator[None]:
    """Keep Ray from printing what happens to workers: on standard output are results, and kit says it itself."""
    worker = ray._private.worker
    before = getattr(worker, "_worker_logs_enabled", True)
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


def _prepare() -> None:
    """Say in the environment what Ray reads while it is imported.

    A Ray of this machine alone is guarded by a token of its own, where Ray would write one into the home folder; and
    nobody is told that it is used.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    chosen = (ADDRESS, "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    if "ray" not in sys.modules and not any(os.environ.get(name) for name in chosen):
        os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
