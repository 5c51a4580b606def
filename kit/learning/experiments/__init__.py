"""Experiments: everything needed to train a source again, as plain data. Knows names and numbers, imports no torch.

`groups.py` is what can be set, `settings.py` puts it together, `catalog.py` has the experiments, `parse.py` goes from
text and JSON to an experiment, `config.py` from TOML and back, `own.py` from a file of the user's (`code.py` runs it,
`arguments.py` reads what it takes, `copies.py` keeps it in a run), `listing.py` prints all of it, `stamp.py` and
`conflicts.py` tell which trainings are alike and can be stored beside each other.
"""

from kit.learning.experiments.catalog import DEFAULT, EXPERIMENTS, demo_settings
from kit.learning.experiments.config import Config, check_config_effect, problem_of, read_config, toml_of
from kit.learning.experiments.conflicts import check_conflicts, check_patience
from kit.learning.experiments.copies import drop_code, own_code, recall_run, save_code, wrong_copy
from kit.learning.experiments.groups import (
    ARCHITECTURES,
    BASES,
    CODE_FILES,
    MAX_WIDTH,
    PHOTO_ARCHITECTURES,
    SIZES,
    SMP_ARCHITECTURES,
    DataSettings,
    LossSettings,
    NetworkSettings,
    OptimizerSettings,
    ScheduleSettings,
)
from kit.learning.experiments.listing import describe_experiments, listed_experiments
from kit.learning.experiments.own import is_own, own_experiment
from kit.learning.experiments.parse import (
    check_effect,
    chosen_experiment,
    experiment,
    experiment_from,
    is_set,
    renamed_settings,
    settings_of,
    stored_experiment,
    suggested_setting,
    with_seeds,
    with_settings,
)
from kit.learning.experiments.settings import Experiment, setting_fields
from kit.learning.experiments.stamp import (
    changed_fields,
    differences,
    different_settings,
    digest_of_weights,
    finished_fold,
    other_files,
    recipe_of,
    retrain_command,
    run_stamp,
    set_aside,
)

__all__ = [
    "ARCHITECTURES",
    "BASES",
    "CODE_FILES",
    "DEFAULT",
    "EXPERIMENTS",
    "MAX_WIDTH",
    "PHOTO_ARCHITECTURES",
    "SIZES",
    "SMP_ARCHITECTURES",
    "Config",
    "DataSettings",
    "Experiment",
    "LossSettings",
    "NetworkSettings",
    "OptimizerSettings",
    "ScheduleSettings",
    "changed_fields",
    "check_config_effect",
    "check_conflicts",
    "check_effect",
    "check_patience",
    "chosen_experiment",
    "demo_settings",
    "describe_experiments",
    "differences",
    "different_settings",
    "digest_of_weights",
    "drop_code",
    "experiment",
    "experiment_from",
    "finished_fold",
    "is_own",
    "is_set",
    "listed_experiments",
    "other_files",
    "own_code",
    "own_experiment",
    "problem_of",
    "read_config",
    "recall_run",
    "recipe_of",
    "renamed_settings",
    "retrain_command",
    "run_stamp",
    "save_code",
    "set_aside",
    "setting_fields",
    "settings_of",
    "stored_experiment",
    "suggested_setting",
    "toml_of",
    "with_seeds",
    "with_settings",
    "wrong_copy",
]
