"""What is tuned, and what came of it. Knows no training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.learning.experiments import Experiment
from kit.learning.experiments.arguments import value_of
from kit.learning.tuning.dimensions import Dimension

if TYPE_CHECKING:
    import optuna


Sampler = Callable[[int, str], "optuna.samplers.BaseSampler"]
"""Gives what proposes a field of a trial, by its number."""


@dataclass(frozen=True)
class Plan:
    """What is tuned."""

    name: str
    """Of the study, and of the source that its best settings become."""
    base: Experiment
    fold: int
    space: tuple[Dimension, ...]

    def settings(self, trial: optuna.trial.Trial, sampler: Sampler) -> list[str]:
        """Return the settings that a trial tries, as they are typed; the first one tries the experiment's own.

        Args:
            sampler: proposes a field of a trial, by its number.
        """

        def suggested(one: Dimension) -> str:
            trial.study.sampler = sampler(trial.number, one.field)
            return one.suggested(trial)

        if trial.number > 0:
            return [f"{one.field}={suggested(one)}" for one in self.space]
        for field in self.own:
            suggested(next(one for one in self.space if one.field == field))
        return []

    def trial_experiment(self, number: int) -> Experiment:
        """Return the experiment that a trial's settings change, under the trial's name."""
        return replace(self.base, name=f"{self.name}-{number}")

    @property
    def own(self) -> dict[str, Any]:
        """Return the experiment's own values of what is tuned, as Optuna has them; only those that the space holds."""
        values = {one.field: (one, value_of(self.base, one.field)) for one in self.space}
        return {field: one.stored(value) for field, (one, value) in values.items() if one.holds(value)}


@dataclass(frozen=True)
class TrialRow:
    """One trial as it ended."""

    number: int
    """From 1, as people count."""
    state: str
    """done, pruned or failed."""
    rmse: float | None
    """The fold's; of a pruned one its last measurement, None where there is none."""
    settings: list[str]
    seconds: float
    note: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Tuned:
    """A study as it is now."""

    name: str
    experiment: str
    fold: int
    trials: list[TrialRow]
    default: TrialRow
    """The experiment's own settings."""
    best: TrialRow
    base: str
    """The fill under the experiment's residual."""
    base_rmse: float
    """Of that fill alone."""
    config: Path
    """The best settings as TOML."""
    new: int
    """So many trials were made now."""
    out_of_time: bool
