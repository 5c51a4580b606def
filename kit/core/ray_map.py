"""One ordered loop over small pieces of work, computed on a Ray cluster. Knows nothing of the work."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from kit.core.jobs import Cluster
from kit.core.ray_cluster import connected, machines_of, reason_of
from kit.core.secrets import without_secrets
from kit.errors import KitError

T = TypeVar("T")
R = TypeVar("R")

_CHUNK = 16  # items that travel together


def map_on_ray(function: Callable[[T], R], items: Iterable[T], cluster: Cluster, *, count: int) -> Generator[R]:
    """Yield `function(item)` of each item in order, as `kit.core.parallel.map_in_processes` does, computed on Ray.

    Args:
        function: at the top of a module, pure: what is lost with a worker is computed again.
        count: of the items.
    """
    with connected() as ray:
        cpus = cluster.cpus or 1
        workers = max(1, sum(int(one.get("CPU", 0)) // cpus for one in machines_of(ray)))
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
        raise KitError(f"On Ray: {without_secrets(reason_of(error))}") from None
    except ray.exceptions.RayError as error:
        raise KitError(f"On Ray: {without_secrets(reason_of(error))}") from None
    return found
