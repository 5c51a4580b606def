"""Threads and processes: how many are worth starting, and one ordered loop over them. Knows nothing of the work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from kit.errors import KitError

CORES = "KIT_CORES"
"""The variable that tells a process its share of the cores."""

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Return the number of cores that this process may use: its share, where several work side by side."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = os.environ.get(CORES, "")
    return max(1, min(here, int(share))) if share.isdecimal() else here


def is_alone() -> bool:
    """Return whether torchrun has started no other processes beside this one."""
    return os.environ.get("WORLD_SIZE", "1") in ("", "1")


def is_main_process() -> bool:
    """Return whether this process speaks for all: torchrun starts several, and says so in the environment."""
    return os.environ.get("RANK", "0") == "0"


def map_in_order(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int | None = None,
    stopped: threading.Event | None = None,
) -> Generator[R]:
    """Yield `function(item)` of each item in order, computed by threads a little ahead of the reader.

    Memory stays bounded: at most three results for each worker wait. Leaving the loop early, also by Ctrl-C or an
    error, waits for no more than the calls in flight.

    Args:
        workers: threads; one for each core when None.
        stopped: set when the loop is left, so that a long call in flight can end early.
    """
    count = max(1, workers or cores())
    return _in_order(ThreadPoolExecutor(count), function, items, count, stopped)


def map_in_processes(function: Callable[[T], R], items: Iterable[T], *, workers: int) -> Generator[R]:
    """Yield what `map_in_order` does, computed by processes of their own: for work that holds the interpreter's lock.

    They begin afresh and import what `function` needs: a second each. They end with this process, however it ends.

    Args:
        function: at the top of a module, so that they find it.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(os.getpid(),))
    return _in_order(executor, function, items, workers, None)


def _begin(parent: int) -> None:
    """Begin a process of a pool: Ctrl-C is for the one that started it, and so is its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _in_order(
    executor: Executor,
    function: Callable[[T], R],
    items: Iterable[T],
    count: int,
    stopped: threading.Event | None,
) -> Generator[R]:
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) > 3 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise KitError("A process that worked beside this one was ended: is the memory full? Take fewer.") from None
    finally:
        if stopped is not None:
            stopped.set()
        executor.shutdown(wait=True, cancel_futures=True)
