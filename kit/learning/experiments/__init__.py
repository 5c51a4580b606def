"""Experiments: everything needed to train a source again, as plain data. Knows names and numbers, imports no torch.

`settings.py` is what can be set, `catalog.py` the experiments, `reading.py` goes from text and JSON to an experiment.
"""

from kit.learning.experiments.catalog import EXPERIMENTS, demo_settings, describe_experiments
from kit.learning.experiments.parse import (
    check_effect,
    chosen_experiment,
    experiment,
    experiment_from,
    settings_of,
    stored_experiment,
    with_settings,
)
from kit.learning.experiments.settings import (
    ARCHITECTURES,
    BASES,
    MAX_WIDTH,
    PHOTO_ARCHITECTURES,
    SIZES,
    SMP_ARCHITECTURES,
    Experiment,
)
from kit.learning.experiments.stamp import (
    differences,
    different_settings,
    digest_of_weights,
    finished_fold,
    other_weights,
    outdated,
    recipe_of,
    run_stamp,
    set_aside,
)

__all__ = [
    "ARCHITECTURES",
    "BASES",
    "EXPERIMENTS",
    "MAX_WIDTH",
    "PHOTO_ARCHITECTURES",
    "SIZES",
    "SMP_ARCHITECTURES",
    "Experiment",
    "check_effect",
    "chosen_experiment",
    "demo_settings",
    "describe_experiments",
    "differences",
    "different_settings",
    "digest_of_weights",
    "experiment",
    "experiment_from",
    "finished_fold",
    "other_weights",
    "outdated",
    "recipe_of",
    "run_stamp",
    "set_aside",
    "settings_of",
    "stored_experiment",
    "with_settings",
]
