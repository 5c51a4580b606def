"""One contender of `blend.py` in a process of its own: started, watched, stopped, and what it measures there.

Not timed: starting Python, loading arrays into the shape that the contender wants, opening the workspace. Timed:
importing what it needs, its first call, and later calls. Memory is the peak of the first call above what the process
held when all was loaded and imported; what its own worker processes hold to themselves comes from looking at them ten
times a second.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from blend_peers import CONTENDERS, Contender, Found, Options


def run_contender(name: str, folder: Path, options: argparse.Namespace, **environment: str) -> dict[str, Any] | str:
    """Measure one contender in a process of its own; why there is nothing to show where it is stopped or fails."""
    command = [sys.executable, __file__, name, str(folder)]
    command += [f"--{key}={getattr(options, key)}" for key in ("repeats", "trials", "steps")]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        env = {**os.environ, **environment}
        process = subprocess.Popen(command, stdout=out, stderr=err, text=True, start_new_session=True, env=env)
        start, helpers = time.monotonic(), 0.0
        try:
            while process.poll() is None:
                helpers = max(helpers, helpers_memory(process.pid))
                if time.monotonic() - start > options.limit:
                    return f"more than {options.limit:.0f} s"
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its own session: its workers too
                process.wait()
        out.seek(0)
        err.seek(0)
        if process.returncode:
            return f"failed: {(err.read().strip().splitlines() or ['no message'])[-1]}"
        return {**json.loads(out.read().splitlines()[-1]), "helpers": helpers}


def helpers_memory(pid: int) -> float:
    """Memory that processes started by this one have to themselves, MiB; 0 where the system does not say."""
    total = 0
    with contextlib.suppress(OSError):
        for other in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{other}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return total / 1024


def memory(what: str) -> float:
    """`VmRSS` or `VmHWM` of this process, MiB; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    line = next(line for line in status.read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Begin `VmHWM` anew: loading may have needed more than the contender will."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def measure(contender: Contender, folder: Path, options: Options, repeats: int, enough: float) -> dict[str, Any]:
    """Seconds and memory of one contender in this process; calls are repeated while they took less than `enough`."""
    start = time.perf_counter()
    for module in contender.imports:
        importlib.import_module(module)
    imported = time.perf_counter() - start
    data = contender.prepare(folder)
    forget_peak()
    before = memory("VmRSS")
    calls: list[tuple[float, Found]] = []
    peak = 0.0
    while not calls or (len(calls) <= repeats and sum(seconds for seconds, _ in calls) < enough):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found = contender.run(data, options)
        calls.append((time.perf_counter() - start, found))
        peak = peak or memory("VmHWM") - before
    warm = calls[1:] or calls
    parts = {part: statistics.median(one.seconds[part] for _, one in warm) for part in found.seconds}
    return {
        "import": imported,
        "first": calls[0][0],
        "warm": statistics.median(seconds for seconds, _ in warm),
        "calls": len(calls),
        "before": before,
        "peak": peak,
        "weights": found.weights.tolist(),
        "intercept": found.intercept,
        "note": found.note,
        "parts": parts,
        "test_sse": found.test_sse().tolist() if found.test_sse else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=list(CONTENDERS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--enough", type=float, default=10.0)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    options = Options(given.trials, given.steps)
    print(json.dumps(measure(CONTENDERS[given.contender], given.folder, options, given.repeats, given.enough)))


if __name__ == "__main__":
    main()
