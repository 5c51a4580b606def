"""Threads: how many are worth starting, and one ordered loop over them; fellow processes. Knows nothing of the work."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    waiting: deque[Future[R]] = deque()
    executor = ThreadPoolExecutor(count)
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) > 3 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        if stopped is not None:
            stopped.set()
        executor.shutdown(wait=True, cancel_futures=True)
