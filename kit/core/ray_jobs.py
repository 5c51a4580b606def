"""The queue of commands on a Ray cluster: each job a task with its cores and GPUs. Knows no command's meaning.

    run_on_ray([Job("fold 0", ("train", "regress", "--fold", "0"))], Cluster(gpus=1), watcher)

A task starts the same child process as a slot of `kit.core.jobs` and returns its exit code; what the child prints comes
back through one small actor beside this process, which also tells the tasks when to stop. Ray begins a task again whose
worker or machine is lost: the command itself goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kit.core import deadline
from kit.core.bucket import Exchange
from kit.core.jobs import SINCE, Cluster, Ended, Job, Slot, Watcher, thread_words
from kit.core.ray_cluster import RETRIES, Need, connected, name_of, need_of, reason_of
from kit.core.remote_child import GRACE, Line, RemoteCommand, run_command, versions
from kit.core.secrets import without_secrets
from kit.core.speech import speech_environment, warn
from kit.errors import FAILED, TRY_AGAIN, KitError

_LOOK = 0.25  # seconds between two looks for what jobs have printed
_SENDING = 60.0  # seconds more that an interrupted job has to send what it has written


@dataclass
class _Event:
    """What a task tells."""

    number: int
    """Of its job."""
    begins_on: str = ""
    """The machine's id of Ray's, where it begins."""
    versions: Mapping[str, str] = field(default_factory=dict)
    lines: Sequence[Line] = ()


class _Mailbox:
    """Takes what tasks tell until the queue asks for it, and tells them to stop. An actor."""

    def __init__(self) -> None:
        self._events: list[_Event] = []
        self._first: dict[int, float] = {}
        self._stopped = False

    def begin(self, number: int, machine: str, found: Mapping[str, str]) -> tuple[bool, float | None, float]:
        """Note that a job begins; return whether it may, when it was first begun if this is not the first time, and
        what time it is."""
        before, now = self._first.get(number), time.time()
        self._first.setdefault(number, now)
        if not self._stopped:
            self._events.append(_Event(number, machine, found))
        return not self._stopped, before, now

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
    goes_on, first, now = ray.get(mailbox.begin.remote(number, machine, versions()))
    if not goes_on:
        return TRY_AGAIN
    told = {SINCE: str(first)} if first is not None else {}

    def post(lines: Sequence[Line]) -> bool:
        return bool(ray.get(mailbox.put.remote(number, lines)))

    try:
        return run_command(command, post, told, now)
    except KitError as error:
        raise KitError(str(error)) from None  # some of its kinds cannot travel


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
        need = need_of(ray, cluster, len(jobs))
        exchange = _exchange_of(cluster, jobs)
        queue = _RayQueue(ray, watcher, need, cluster.jobs or len(jobs), exchange)
        commands = [_command(job, cluster, need, environment) for job in jobs]
        if exchange is not None:
            errands = exchange.errands([job.cargo for job in jobs if job.cargo is not None])
            commands = [replace(one, errand=errand) for one, errand in zip(commands, errands, strict=True)]
        try:
            queue.run(deque(zip(jobs, commands, strict=True)))
        except BaseException:
            queue.interrupt()
            if exchange is not None:
                exchange.wait_and_warn()
            raise
        if exchange is not None:
            exchange.wait()
        return queue.ended


def _exchange_of(cluster: Cluster, jobs: Sequence[Job]) -> Exchange | None:
    """Return the bucket by way of which jobs get and return their files; None where they share a folder."""
    if cluster.bucket is None:
        return None
    cargos = [job.cargo for job in jobs if job.cargo is not None]
    assert len(cargos) == len(jobs) > 0
    return Exchange(cluster.bucket, cargos[0].root)


@contextlib.contextmanager
def _interrupts_between() -> Iterator[Callable[[], None]]:
    """Give a function that raises `KeyboardInterrupt` if Ctrl-C was typed since: amid Ray's own code it would come out
    as some other error, or not at all."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    typed = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: typed.set())

    def check() -> None:
        if typed.is_set():
            raise KeyboardInterrupt

    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def _command(job: Job, cluster: Cluster, need: Need, environment: Mapping[str, str]) -> RemoteCommand:
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

    def __init__(self, ray: Any, watcher: Watcher, need: Need, limit: int, exchange: Exchange | None = None) -> None:
        self._ray, self._watcher, self._need, self._limit, self._exchange = ray, watcher, need, limit, exchange
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
        with _interrupts_between() as check:
            self._loop(waiting, check)

    def _loop(self, waiting: deque[tuple[Job, RemoteCommand]], check: Callable[[], None]) -> None:
        stops = time.time() + deadline.remaining()
        while waiting or self._running:
            check()
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
        slot = self._slots[event.number] = Slot(name_of(self._ray, event.begins_on))
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
            code, reason = FAILED, reason_of(error)
        slot = self._slots.get(number)
        if slot is None and code == TRY_AGAIN:  # it has never begun, and is left for the next time
            return
        self._bring(number)
        if slot is None:
            slot = Slot("Ray")
            self._watcher.began(job, slot)
        if reason:
            self._watcher.note(job, slot, without_secrets(f"Error: {reason}"))
        ended = Ended(job, code)
        self.ended.append(ended)
        self._watcher.ended(ended, slot)

    def _bring(self, number: int) -> None:
        cargo = self._jobs[number].cargo
        if self._exchange is not None and cargo is not None:
            self._exchange.bring_soon(cargo)

    def cancel_waiting(self) -> None:
        """Give up the tasks that have found no room yet."""
        for task, number in self._running.items():
            if number not in self._slots:
                self._ray.cancel(task)

    def interrupt(self) -> None:
        """End the jobs: children as Ctrl-C does, those that have no room yet at once, and at last by force."""
        self._ray.get(self._mailbox.stop.remote())
        self.cancel_waiting()
        running = {task: number for task, number in self._running.items() if number in self._slots}
        grace = GRACE if self._exchange is None else GRACE + _SENDING
        try:
            self._ray.wait(list(running), num_returns=len(running), timeout=grace) if running else None
            for number in running.values():
                self._bring(number)
        finally:  # also after a second Ctrl-C
            for task in running:
                self._ray.cancel(task, force=True)
