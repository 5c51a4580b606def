"""docs/cluster.md: every command of kit in it parses, also behind torchrun, accelerate and srun."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from support.command import kit

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
CODE = "\n".join(line[4:] for line in PAGE.splitlines() if line.startswith("    ")).replace("\\\n", " ")
LINES = [found[1] for found in re.finditer(r"(?m)^(?!pip)(?:.*-m )?kit (-w .*|train .*)$", CODE)]
GLOBAL = re.compile(r"^(?:(?:-w|--stop-after) \S+ )*")


def test_there_are_commands() -> None:
    assert len(LINES) >= 13 and sum("--on ray" in line for line in LINES) >= 7


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_page_parses(line: str) -> None:
    words = shlex.split(GLOBAL.sub("", line).replace("$SLURM_ARRAY_TASK_ID", "0"), comments=True)
    done = kit(f"{shlex.join(words)} --help")  # wrong options would be refused before help is shown
    assert done.code == 0 and "Usage:" in done.out
