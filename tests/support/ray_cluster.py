"""A real Ray cluster of two machines, two cores each, for tests: both run here, on the loopback address alone.

RAY_ADDRESS names it to every `kit ... --on ray` that a test starts.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.core.bucket.errand import SCRATCH


@pytest.fixture(scope="session")
def ray_cluster(object_store: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the cluster, whose jobs reach the object store; skipped without Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SCRATCH, str(tmp_path_factory.mktemp("scratch")))  # where jobs without a shared folder work
        if "ray" not in sys.modules:  # which reads these while it is imported
            patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
            patch.setenv("RAY_AUTH_MODE", "token")  # and writes none into the home folder
            patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray = pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        machine = {"num_cpus": 2, "object_store_memory": 80 << 20, "include_dashboard": False}
        # not 127.0.0.1, for which Ray takes the address that other machines know
        cluster = Cluster(initialize_head=True, head_node_args={**machine, "node_ip_address": "127.0.0.2"})
        try:
            cluster.add_node(**machine, node_ip_address="127.0.0.3")
            cluster.wait_for_nodes()
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster.address
        finally:
            ray.shutdown()
            cluster.shutdown()


def jobs_in(root: Path | str) -> dict[int, int]:
    """The children of Ray's workers whose words name a workspace, or a part of its path, each with its worker."""
    found = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):  # no process, or gone by now
            pid, words = int(folder.name), (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            is_of_ray = Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"ray::")
            if is_of_ray and any(str(root).encode() in word for word in words):
                found[pid] = parent
    return found
