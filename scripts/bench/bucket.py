"""What a job costs that gets and returns its files by way of a bucket, beside a plain copy by fsspec.

    python scripts/bench/bucket.py --megabytes 256

An S3 of this machine (moto's server, a process of its own) takes the place of a real one, so the network is not in it:
printed are the medians of seconds to send what a job reads, to fetch it on a machine for the first and the second time,
and to send it again unchanged, each beside fsspec's own put or get of the same files.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from kit.core.bucket import Errand, Exchange, run_errand
from kit.core.bucket.errand import SCRATCH
from kit.core.jobs import Cargo

FILES = 8
Timing = Callable[[], float]


def timed(do: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def store(port: int) -> subprocess.Popen[bytes]:
    """Start an S3 on this machine, and name it in the environment."""
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "of-the-bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def system() -> Any:
    """Return fsspec's S3, with nothing remembered."""
    return fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)


def one_round(root: Path, scratch: Path) -> dict[str, float]:
    """Return the seconds of each way, once."""
    name = f"bench-{uuid.uuid4().hex[:12]}"
    system().mkdir(name)
    cargo = Cargo("runs/one", "bench", root, ("data/*",), ("runs/one/*",))
    errands: list[Errand] = []

    def send() -> None:
        errands.extend(Exchange(f"s3://{name}/kit", root).errands([cargo]))

    def fetch() -> None:
        with run_errand(errands[0], time.time(), lambda line: None):
            pass

    shutil.rmtree(root / ".bucket", ignore_errors=True)
    shutil.rmtree(scratch, ignore_errors=True)
    plain = Path(tempfile.mkdtemp(dir=root.parent))
    seconds = {
        "sent, by fsspec": timed(lambda: system().put(f"{root}/data", f"{name}/plain/", recursive=True)),
        "sent": timed(send),
        "fetched, by fsspec": timed(lambda: system().get(f"{name}/plain/", str(plain), recursive=True)),
        "fetched": timed(fetch),
        "fetched again on that machine": timed(fetch),
        "sent again unchanged": timed(send),
    }
    shutil.rmtree(plain)
    system().rm(name, recursive=True)
    return seconds


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--port", type=int, default=5056)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, scratch = Path(folder, "w"), Path(folder, "scratch")
        os.environ[SCRATCH] = str(scratch)
        (root / "data").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for number in range(FILES):
            (root / "data" / f"{number}.npy").write_bytes(rng.bytes((options.megabytes << 20) // FILES))
        server = store(options.port)
        try:
            time.sleep(5)
            rounds = [one_round(root, scratch) for _ in range(options.rounds)]
        finally:
            server.terminate()
    print(f"{options.megabytes} MB in {FILES} files, medians of {options.rounds} rounds")
    print("| | seconds | ratio to fsspec's |\n| --- | --- | --- |")
    for way in rounds[0]:
        plain = "sent, by fsspec" if way.startswith("sent") else "fetched, by fsspec"
        ratio = statistics.median(one[way] / one[plain] for one in rounds)
        print(f"| {way} | {statistics.median(one[way] for one in rounds):.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
