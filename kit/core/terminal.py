"""What the terminal can do: move a line, and how many columns it has. Knows the environment's names and nothing else.

Colours are rich's affair, which obeys NO_COLOR and FORCE_COLOR by itself; kit colours nothing but bars.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

USUAL_WIDTH = 80
_LEAST_WIDTH = 20
_CANNOT_MOVE = ("dumb", "unknown")  # values of TERM, as in an editor's shell


def can_move(stream: TextIO) -> bool:
    """Return whether what was written to a stream can be written over: at a terminal that knows more than lines."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in _CANNOT_MOVE


def output_width() -> int:
    """Return how many columns standard output has: what COLUMNS says, else its terminal's, else 80 for files and
    pipes."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said) > 0:
        return max(_LEAST_WIDTH, int(said))
    try:
        if sys.stdout.isatty():
            return max(_LEAST_WIDTH, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):  # no size, as of a serial line; closed
        pass
    return USUAL_WIDTH
