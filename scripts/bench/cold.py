"""Processor time of `kit sources` and `kit blend` on cached Grams, in fresh processes, against `import numpy`.

    python scripts/bench/cold.py ws
    python scripts/bench/cold.py ws --repeats 9

Each command runs once unmeasured, which fills caches, and then so many times; printed are medians of user and system
seconds, and multiples of `python -c "import numpy"`. The blend is written as `cold`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path


def processor_seconds(command: list[str]) -> float:
    """Run a command; return its user and system seconds, those of its own children included."""
    before = os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    kit = [sys.executable, "-m", "kit", "-w", str(arguments.workspace)]
    commands = {
        'python -c "import numpy"': [sys.executable, "-c", "import numpy"],
        "kit sources": [*kit, "sources"],
        "kit blend --plots none": [*kit, "blend", "--plots", "none", "--name", "cold"],
        "kit blend": [*kit, "blend", "--name", "cold"],
    }
    numpy = 0.0
    print("| command | processor seconds | x import numpy |\n| --- | --- | --- |")
    for name, command in commands.items():
        processor_seconds(command)
        seconds = statistics.median(processor_seconds(command) for _ in range(arguments.repeats))
        numpy = numpy or seconds
        print(f"| {name} | {seconds:.2f} | {seconds / numpy:.1f} |", flush=True)


if __name__ == "__main__":
    main()
