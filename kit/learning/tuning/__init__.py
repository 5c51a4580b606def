"""`kit tune`: settings that score best on one fold, found by Optuna. Neither Optuna nor torch is imported from here.

`space.py` says which settings are tried, `dimensions.py` what the values of one may be, `typed.py` reads `--space`, and
`study.py` runs the trials and keeps them.
"""

from kit.learning.tuning.dimensions import Choice, Dimension, Range
from kit.learning.tuning.space import space_of

__all__ = ["Choice", "Dimension", "Range", "space_of"]
