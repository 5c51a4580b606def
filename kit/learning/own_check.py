"""Is a model of the user's own fit to be trained? Finds it; `kit.learning.training.model_check` looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kit.core.workspace import Workspace
from kit.errors import TrainingError, UsageError
from kit.learning.experiments import is_own, own_experiment


def checked_lines(workspace: Workspace, model: str, settings: Sequence[str]) -> Iterator[str]:
    """Yield a line for each thing that is as it should be.

    Args:
        model: `FILE.py:NAME`.
        settings: `field=value`.

    Raises:
        UsageError: it is no model of the user's own.
        TrainingError: the first thing that is not as it should be.
    """
    if not is_own(workspace, model):
        raise UsageError(f"{model} is no model of your own. Name a file and what is in it: kit check-model mine.py:Net")
    try:
        one = own_experiment(workspace, model, settings, goes_on=False)
    except UsageError as error:  # of what is checked, not of the command line
        raise TrainingError(str(error)) from None
    if one.architecture != "own":
        raise TrainingError(f"{model} trains architecture={one.architecture}, which is kit's own and needs no check.")
    from kit.learning.training.model_check import check_model  # brings torch

    yield from check_model(one)
