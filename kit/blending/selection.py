"""The ladder and its gate: from the best single source to ever richer weights, a rung at a time. Pure: knows no files.

A rung is taken only if, on photos that it was not fitted on, it beats the rung taken so far by a margin whose 95 %
interval, over photos, excludes zero. Otherwise the simpler one stays, and the ladder says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kit.blending.evaluation.intervals import DRAWS, Bootstrap
from kit.blending.weights.candidates import AUTO, STACK, STACK_CANDIDATE, Candidate, Design, Designs, candidate_named
from kit.blending.weights.linear import Nested
from kit.blending.weights.mixing import WeightModel
from kit.imaging.metrics import RMSE, Estimate, Metric

MIN_GROUPS = 10  # a percentile interval from fewer photos is too narrow to admit anything by


Measure = Callable[[Mapping[str, tuple[Design, Nested]]], dict[str, np.ndarray]]
"""Designs and nested weights to `(P,)`, for each what the metric sums of each photo."""


def squared_errors(runs: Mapping[str, tuple[Design, Nested]]) -> dict[str, np.ndarray]:
    """Return the squared errors that the Grams have given."""
    return {name: nested.sse for name, (_, nested) in runs.items()}


@dataclass(frozen=True)
class CandidateRow:
    """One candidate, and its score on photos that it was not fitted on."""

    rung: str
    cv: Estimate
    below: str
    """The rung that it was compared with: the one taken so far."""
    gain: Estimate
    """RMSE of the rung below less its own, paired; above 0: it is better."""
    taken: bool
    """Whether the gate let it in."""
    on_ladder: bool
    """False for a rung that is shown for comparison only."""


@dataclass(frozen=True)
class Selection:
    """Every candidate scored, and the one that was selected."""

    rung: str
    reason: str
    rows: tuple[CandidateRow, ...]
    design: Design
    nested: Nested
    """Of the chosen rung."""
    bootstrap: Bootstrap
    """Of each rung by name, and of `member <k>`."""

    def row(self, rung: str) -> CandidateRow:
        """Return one candidate's row."""
        return next(row for row in self.rows if row.rung == rung)

    def model(self) -> WeightModel:
        """Return the weights of the chosen candidate, fitted on all photos."""
        return self.design.model(self.design.regression.fit(self.design.candidate.solve))


def select_candidate(
    designs: Designs,
    errors: np.ndarray,
    counts: np.ndarray,
    group: np.ndarray,
    *,
    candidates: Sequence[Candidate],
    requested: str = AUTO,
    stack: Designs | None = None,
    metric: Metric = RMSE,
    measure: Measure = squared_errors,
    seed: int = 0,
    draws: int = DRAWS,
) -> Selection:
    """Score every candidate by nested cross-validation, then select the best one that the gate lets in.

    Args:
        errors: `(P, K)`, each member's own, the stack's too, as the metric sums them.
        counts: `(P,)`, values of each photo.
        group: `(P,)` int, near duplicates share a number.
        candidates: from the simplest on; the first is always there to fall back to.
        metric: what the gate compares.
        measure: what it sums of each photo.
        requested: a candidate to take whatever the gate says, or `auto`.
        stack: the designs with a stacking network as one member more, when there is one.
    """
    made = {candidate.name: designs.of(candidate) for candidate in candidates}
    if stack is not None:
        made[STACK] = stack.of(STACK_CANDIDATE)
    nested = {name: design.regression.run(design.candidate.solve) for name, design in made.items()}
    columns = measure({name: (made[name], one) for name, one in nested.items()})
    columns |= {f"member {k}": errors[:, k] for k in range(errors.shape[1])}
    bootstrap = Bootstrap(columns, counts, group, metric=metric, draws=draws, seed=seed)
    groups = len(np.unique(group))
    rows = _climb(bootstrap, list(made), groups)
    best = next(row.rung for row in reversed(rows) if row.taken)
    rung = best if requested == AUTO else requested
    reason = _reason(rows, rung, best, errors.shape[1], groups)
    return Selection(rung, reason, rows, made[rung], nested[rung], bootstrap)


def _climb(bootstrap: Bootstrap, names: Sequence[str], groups: int) -> tuple[CandidateRow, ...]:
    rows, current = [], names[0]
    for name in names:
        on_ladder = not candidate_named(name).compared_only
        gain = bootstrap.difference(current, name)
        taken = name == names[0] or (on_ladder and groups >= MIN_GROUPS and gain.low > 0.0)
        rows.append(CandidateRow(name, bootstrap.estimate(name), current, gain, taken, on_ladder))
        if taken:
            current = name
    return tuple(rows)


def _reason(rows: Sequence[CandidateRow], rung: str, best: str, members: int, groups: int) -> str:
    row = next(row for row in rows if row.rung == rung)
    if rung != best:
        return f"Rung {rung} was asked for; by the gate it would be {best}."
    if members == 1 and rung == rows[0].rung:
        return "There is one source, so the blend is that source."
    if groups < MIN_GROUPS:
        return (
            f"Only {groups} groups of photos: at least {MIN_GROUPS} are needed to tell whether weights beat the best "
            "single source, so the blend is that source."
        )
    if rung == rows[0].rung:
        top = max((row for row in rows if row.on_ladder and row.rung != rung), key=lambda row: row.gain.value)
        return (
            f"No weights are credibly better than the best single source on photos that they were not fitted on (the "
            f"most promising, {top.rung}: {top.gain.signed}, not above zero with 95 % confidence), so the blend is "
            "that source."
        )
    text = f"{rung} gains {row.gain.signed} over {row.below} on photos not fitted on, above zero"
    later = [other.rung for other in rows[rows.index(row) + 1 :] if other.on_ladder]
    if not later:
        return f"{text}."
    return f"{text}; {_listed(later)} {'gains' if len(later) == 1 else 'gain'} nothing credible over it."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
