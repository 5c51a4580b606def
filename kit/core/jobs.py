"""A queue of commands for a few slots: each slot runs one child process at a time. Knows no command's meaning.

A job is a command line that says everything by itself, and its end is an exit code: whoever can run commands (another
machine, a cluster's scheduler) can run the same jobs. `kit.core.ray_jobs` does, on a Ray cluster.

    run_jobs([Job("fold 0", ("train", "regress", "--fold", "0"))], [Slot("GPU 0", ("--device", "cuda:0"))], watcher)

Children get the moment at which this process stops itself (`kit.core.deadline`), and end when it is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from kit.core import deadline
from kit.core.parallel import CORES, cores
from kit.core.speech import speech_environment

PARENT = "KIT_PARENT"
AT_ONCE = ":at-once"
"""Behind the parent's number: be killed with it. Another machine may take the job up in the next second."""
SINCE = "KIT_FIRST_TRIED"
"""The variable that tells a job which was begun before, and lost its machine, when that was."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GRACE = 30.0  # seconds that a child has to end after Ctrl-C
_LOOK = 1.0  # seconds between two looks whether the parent is still there


@dataclass(frozen=True)
class Cargo:
    """The files of a workspace that a job has to do with, for clusters whose machines share no folder."""

    name: str
    """Of what it writes, unlike any other job's."""
    subject: str
    """Digest of the photos and folds that it is about: a bucket may hold what jobs of other workspaces have written."""
    root: Path
    """The workspace."""
    reads: tuple[str, ...]
    """Patterns of files below it."""
    writes: tuple[str, ...]
    """Patterns of files that are the job's alone; what it reads is none of them, also where it fits."""


@dataclass(frozen=True)
class Job:
    """A command to run."""

    name: str
    """As people call it."""
    words: tuple[str, ...]
    """After `python -m kit`."""
    folder: Path | None = None
    """Of files that the words name, which go along to where the job runs."""
    cargo: Cargo | None = None
    """What goes by way of a bucket, where there is one."""


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time: a GPU, or a share of the cores."""

    name: str
    words: tuple[str, ...] = ()
    """Added to a job's own."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """What each job asks of a Ray cluster, in place of slots: it runs where that is free."""

    cpus: int | None = None
    """Cores of a job; None: its share of them."""
    gpus: float | None = None
    """GPUs of a job, or a part of one; None: one where the cluster has any."""
    jobs: int | None = None
    """So many at a time; None: as many as there is room for."""
    words: tuple[str, ...] = ()
    """Added to a job's own."""
    bucket: str | None = None
    """The object store by way of which jobs get and return files; None: all machines share the workspace's folder."""


@dataclass(frozen=True)
class Ended:
    """A job that has ended."""

    job: Job
    code: int
    """Its exit code; negative for a signal."""


class Watcher(Protocol):
    """Hears what children print, line by line, from several threads."""

    def began(self, job: Job, slot: Slot) -> None:
        """Hear that a job has begun."""

    def moved(self, job: Job, before: Slot, slot: Slot) -> None:
        """Hear that a job goes on elsewhere, because its worker or machine was lost."""

    def result(self, job: Job, slot: Slot, line: str) -> None:
        """Hear a line of standard output."""

    def note(self, job: Job, slot: Slot, line: str) -> None:
        """Hear a line of standard error."""

    def ended(self, ended: Ended, slot: Slot) -> None:
        """Hear that a job has ended."""


def core_shares(count: int) -> dict[str, str]:
    """Return the environment in which one of `count` processes takes its share of the cores, and no more."""
    return thread_words(max(1, cores() // count))


def thread_words(share: int) -> dict[str, str]:
    """Return the environment of a process that takes so many cores; fewer threads where fewer are asked for here. What
    is not said of a library is what is said of OpenMP, as without it: other numbers of threads give other last bits.
    """
    usual = os.environ.get(_THREADS[0], "")
    said = {name: os.environ.get(name, "") or usual for name in _THREADS}
    threads = {name: min(share, int(text)) if text.isdecimal() else share for name, text in said.items()}
    return {CORES: str(share), **{name: str(count) for name, count in threads.items()}}


def run_jobs(jobs: Sequence[Job], slots: Sequence[Slot], watcher: Watcher) -> list[Ended]:
    """Run the jobs in their order, each in the slot that is free next, and return those that have ended.

    A job that fails stops no other. After the time of `kit.core.deadline` no job begins. An exception in the calling
    thread, Ctrl-C above all, interrupts the children, waits for them and comes out.
    """
    queue = _Queue(deque(jobs), watcher)
    with ThreadPoolExecutor(len(slots), thread_name_prefix="slot") as threads:
        futures = [threads.submit(queue.serve, slot) for slot in slots]
        try:
            while wait(futures, timeout=_LOOK).not_done:
                pass
        except BaseException:
            queue.interrupt()
            raise
    for future in futures:
        future.result()
    return queue.ended


@dataclass
class _Queue:
    """Jobs that wait, run and have ended."""

    waiting: deque[Job]
    watcher: Watcher
    ended: list[Ended] = field(default_factory=list)
    running: set[subprocess.Popen[str]] = field(default_factory=set)
    stopped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, slot: Slot) -> None:
        """Run one job after the other in this slot."""
        while (begun := self.begin(slot)) is not None:
            job, process = begun
            self.watcher.began(job, slot)
            assert process.stdout is not None and process.stderr is not None
            results = threading.Thread(target=self.hear, args=(process.stdout, job, slot), daemon=True)
            results.start()
            for line in process.stderr:
                self.watcher.note(job, slot, line.rstrip("\n"))
            results.join()
            ended = Ended(job, process.wait())
            with self.lock:
                self.running.discard(process)
                self.ended.append(ended)
            self.watcher.ended(ended, slot)

    def begin(self, slot: Slot) -> tuple[Job, subprocess.Popen[str]] | None:
        """Start the next job; None when there is none, or none any more."""
        with self.lock:
            if self.stopped or not self.waiting or deadline.is_over():
                return None
            job = self.waiting.popleft()
            process = _start(job, slot)
            self.running.add(process)
            return job, process

    def hear(self, stream: IO[str], job: Job, slot: Slot) -> None:
        """Hand on a child's results."""
        for line in stream:
            self.watcher.result(job, slot, line.rstrip("\n"))

    def interrupt(self) -> None:
        """Begin no more jobs, and end those that run: first as Ctrl-C does, at last by force."""
        with self.lock:
            self.stopped = True
            running = list(self.running)
        ends = time.monotonic() + _GRACE
        try:
            _signal(running, signal.SIGINT)
            while any(process.poll() is None for process in running) and time.monotonic() < ends:
                time.sleep(0.05)
        finally:  # also after a second Ctrl-C
            _signal(running, signal.SIGKILL)


def _start(job: Job, slot: Slot) -> subprocess.Popen[str]:
    told = {**deadline.stop_environment(), **speech_environment(), PARENT: str(os.getpid())}
    return subprocess.Popen(
        [sys.executable, "-m", "kit", *job.words, *slot.words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **slot.environment, **told},
        start_new_session=True,  # Ctrl-C in the terminal comes to this process alone, which hands it on once
    )


def _signal(processes: Sequence[subprocess.Popen[str]], number: signal.Signals) -> None:
    for process in processes:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def is_child() -> bool:
    """Return whether a queue of another process has started this one."""
    return _parent is not None


_parent: int | None = None


def first_tried() -> float | None:
    """Return when this job was first begun, in seconds since the epoch, if it goes on elsewhere because its machine or
    worker was lost; None for any other process."""
    text = os.environ.get(SINCE, "")
    return float(text) if text.replace(".", "", 1).isdecimal() else None


def follow_parent() -> None:
    """End this process as Ctrl-C does when the queue that started it is killed: it must not train on unseen."""
    global _parent
    told = os.environ.pop(PARENT, "")  # which is not that of processes that this one starts
    parent = told.removesuffix(AT_ONCE)
    if not parent.isdecimal():
        return
    _parent = int(parent)
    how = signal.SIGKILL if told.endswith(AT_ONCE) else signal.SIGINT
    if how == signal.SIGKILL:
        _hear_interrupts()
        _die_with_parent()
    threading.Thread(target=_watch, args=(_parent, how), daemon=True, name="parent").start()


def _hear_interrupts() -> None:
    """Undo what Ray's processes do: they block Ctrl-C, and hand that on to those that they start."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _die_with_parent() -> None:
    """Let the kernel kill this process the moment its parent dies; elsewhere than on Linux, `_watch` does it soon."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # of <linux/prctl.h>
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _watch(parent: int, how: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os.kill(os.getpid(), how)
