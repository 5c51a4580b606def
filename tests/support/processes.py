"""`kit ...` as a process of its own, for what a process alone can show: signals, exit codes, threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def started(root: Path, line: str, **environment: str) -> subprocess.Popen[str]:
    """Start `kit -w ROOT LINE`."""
    command = [sys.executable, "-m", "kit", "-w", str(root), *line.split()]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, **environment}, **pipes)


def ended(root: Path, line: str, **environment: str) -> tuple[int, str, str]:
    """Run it to its end: exit code and both streams."""
    process = started(root, line, **environment)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err
