"""What commands that run on several GPUs or shares of the cores have in common: their options, and a word on GPUs that
stand idle."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.core.jobs import is_child
from kit.core.parallel import is_alone
from kit.core.speech import say

GpusOption = Annotated[
    str | None, typer.Option("--gpus", metavar="all|0,1", help="One at a time on each of these GPUs.")
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", min=1, max=256, help="So many at a time; they share the cores.")
]


def say_idle_gpus(device: str) -> None:
    """Say which GPUs this process leaves idle; a child of a queue and torchrun's processes know of others."""
    from kit.pretrained.devices import idle_gpus

    if is_alone() and not is_child() and (line := idle_gpus(device, "--gpus all")):
        say(line)
