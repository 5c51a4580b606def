"""A Ray cluster: the connection to it, what its machines have, and what to say of its failures.

RAY_ADDRESS names the cluster; without it, Ray runs on this machine alone, on the loopback address, until it is done.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.core.jobs import Cluster
from kit.core.parallel import cores
from kit.core.secrets import without_secrets
from kit.core.speech import detail, say, warn
from kit.errors import KitError, UsageError

ADDRESS = "RAY_ADDRESS"
RETRIES = 3  # of a job whose worker or machine is lost
_ANSWERS = 10.0  # seconds that a cluster has to answer
_STORE = 256 << 20  # bytes of shared memory that a Ray of this machine alone takes: results here are small


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


@dataclass(frozen=True)
class Need:
    cpus: int
    gpus: float
    words: tuple[str, ...] = ()


def need_of(ray: Any, cluster: Cluster, count: int) -> Need:
    """Return cores and GPUs of a job. Raises `UsageError` where this machine alone has not so many."""
    machines = machines_of(ray)
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
    return Need(cpus, gpus, ("--device", "cpu") if gpus == 0 and all_gpus and not cluster.words else ())


def room_for(cluster: Cluster) -> int:
    """Return how many jobs are worth running at once that share one piece of work: one for each GPU, or with its cores
    given as many as there is room for, or one a machine."""
    with connected() as ray:
        machines = machines_of(ray)
        if gpus := _gpus(cluster, machines):
            places = sum(int(one.get("GPU", 0) / gpus) for one in machines)
        else:
            places = sum(int(one["CPU"]) // cluster.cpus if cluster.cpus else 1 for one in machines if one.get("CPU"))
        return max(1, min(places, cluster.jobs or places))


def machines_of(ray: Any) -> list[Mapping[str, float]]:
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


def name_of(ray: Any, machine: str) -> str:
    """Return a machine's name for people."""
    return next((str(node["NodeManagerHostname"]) for node in ray.nodes() if node["NodeID"] == machine), "Ray")


def reason_of(error: Exception) -> str:
    """Return why a task has come to nothing, in a line."""
    import ray

    cause = getattr(error, "cause", None) or error
    if isinstance(cause, ModuleNotFoundError) or "No module named" in str(error):
        return "kit is not installed on the cluster's machines. Install the same there, and start Ray anew."
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "the memory of its machine was full each time. Give each job more room: fewer --jobs, or more --cpus"
    if isinstance(cause, KitError):
        return str(cause)
    if isinstance(error, ray.exceptions.RayTaskError):
        return f"{type(cause).__name__}: {_one_line(cause)}"
    return f"its worker or machine was lost {RETRIES + 1} times. Run the same command again to go on."
