"""Whether this process was started from a notebook. Knows the environment's names and nothing else.

A notebook's `!kit ...` has a terminal that nobody can answer at, and everything that is written to it is kept.
"""

from __future__ import annotations

import os
import sys

_SET_BY = ("JPY_PARENT_PID", "KAGGLE_KERNEL_RUN_TYPE")  # Jupyter's kernels; Kaggle's notebooks


def in_notebook() -> bool:
    """Return whether Jupyter, Kaggle or Colab started this process from a notebook."""
    return any(os.environ.get(name) for name in _SET_BY) or any(name.startswith("COLAB_") for name in os.environ)


def in_kernel() -> bool:
    """Return whether this process is a notebook's own: what it says goes to a cell, where a carriage return begins the
    line anew although the stream is no terminal."""
    return type(sys.stderr).__module__.startswith("ipykernel.")
