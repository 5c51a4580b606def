"""Whether this process was started from a notebook. Knows the environment's names and nothing else.

A notebook's `!kit ...` has a terminal that nobody can answer at, and everything that is written to it is kept.
"""

from __future__ import annotations

import os

_SET_BY = ("JPY_PARENT_PID", "KAGGLE_KERNEL_RUN_TYPE")  # Jupyter's kernels; Kaggle's notebooks


def in_notebook() -> bool:
    """Return whether Jupyter, Kaggle or Colab started this process from a notebook."""
    return any(os.environ.get(name) for name in _SET_BY) or any(name.startswith("COLAB_") for name in os.environ)
