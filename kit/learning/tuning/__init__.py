"""`kit tune`: settings that score best on one fold, found by Optuna. Neither Optuna nor torch is imported from here.

`space.py` says which settings are tried and over which values, `study.py` runs the trials and keeps them.
"""

from kit.learning.tuning.space import Choice, Dimension, Range, space_of

__all__ = ["Choice", "Dimension", "Range", "space_of"]
