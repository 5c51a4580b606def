"""What one tuned setting may be: a range of numbers, or a few values. Knows Optuna's trials by what they are asked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from kit.learning.experiments.limits import as_text

_DIGITS = 3  # significant ones of a value that is tried: more would say nothing, and reads badly


@dataclass(frozen=True)
class Range:
    """A setting between two numbers, both included."""

    field: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Return whether a value lies in it; None does not, which an argument of the user's may have by default."""
        return type(value) in (int, float) and bool(self.low <= value <= self.high)

    def suggested(self, trial: Any) -> str:
        """Return the value that an Optuna trial has for it, as it is typed."""
        if self.whole:
            return str(trial.suggest_int(self.field, int(self.low), int(self.high), log=self.log))
        value = float(f"{trial.suggest_float(self.field, self.low, self.high, log=self.log):.{_DIGITS}g}")
        return str(min(max(value, self.low), self.high))

    @property
    def ends(self) -> tuple[str, ...]:
        """Return its two ends, as they are typed."""
        return as_text(self.low), as_text(self.high)

    def stored(self, value: Any) -> Any:
        """Return a value of the setting as Optuna has it."""
        return value

    def with_value(self, value: Any) -> Range:
        """Return the range stretched to hold a value, where its scale allows."""
        if self.log and value <= 0:
            return self
        return dataclasses.replace(self, low=min(self.low, value), high=max(self.high, value))

    def __str__(self) -> str:
        return f"{self.field} {self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """A setting among a few values, as they are typed."""

    field: str
    texts: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        """Return whether a value is one of them."""
        return as_text(value) in self.texts

    @property
    def ends(self) -> tuple[str, ...]:
        """Return every value, as it is typed: none is between others."""
        return self.texts

    def suggested(self, trial: Any) -> str:
        """Return the value that an Optuna trial has for it, as it is typed."""
        return str(trial.suggest_categorical(self.field, self.texts))

    def stored(self, value: Any) -> Any:
        """Return a value of the setting as Optuna has it."""
        return as_text(value)

    def with_value(self, value: Any) -> Choice:
        """Return the choice with a value more."""
        return self if self.holds(value) else Choice(self.field, (*self.texts, as_text(value)))

    def __str__(self) -> str:
        return f"{self.field} {', '.join(self.texts)}"


Dimension = Range | Choice
