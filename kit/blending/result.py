"""A blend as data, and the tables in it: members left out one by one, the error broken down. Knows no files.

See `kit.blending.selection` for the gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.blending.evaluation.crossfit import Crossfit
from kit.blending.evaluation.intervals import Bootstrap, Leaderboard, pooled
from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.selection import CandidateRow, Measure, Selection, squared_errors
from kit.blending.weights.candidates import DIRECT, Designs, candidate_named
from kit.blending.weights.features import CHANNELS, PhotoFeatures
from kit.blending.weights.linear import RidgeSolver
from kit.blending.weights.mixing import WeightModel
from kit.blending.weights.solvers import climb
from kit.imaging.holes import RINGS
from kit.imaging.metrics import RMSE, Estimate, Metric


@dataclass(frozen=True)
class MemberRow:
    """One member of a blend."""

    name: str
    oof: str
    """Digest of its OOF predictions, from which the weights come."""
    test: str
    """Digest of its test predictions, which the weights are for."""
    weight: float
    """On average over all hidden values, where weights differ by region or photo."""
    cv: Estimate
    """Its own CV RMSE."""
    without: Estimate | None
    """Change of the fitted blend's nested CV RMSE when this member is left out; above 0: it helps. None if alone."""


@dataclass(frozen=True)
class BreakdownRow:
    """The blend's error on a part of the hidden values."""

    by: str
    """distance, channel or class."""
    name: str
    share: float
    """Of all hidden values."""
    cv: Estimate
    """Nested, after clipping."""


@dataclass(frozen=True)
class Blend:
    """Weights for sources, and how good they are by the competition's metric, in score space. CV unless said
    otherwise."""

    name: str
    competition: str
    index: str
    folds: str
    """Digests of index and folds."""
    seed: int
    photos: int
    groups: int
    """Groups of near duplicates: the sample size."""
    asked: str
    """`auto`, or the rung that was asked for."""
    rung: str
    reason: str
    """Why this rung, in one sentence."""
    cv: Estimate
    """Nested by fold: every photo scored by weights that never saw its fold; before clipping, like the sources' own."""
    in_sample: float
    """RMSE of the final weights on the photos that they were fitted on."""
    best_single: str
    best_single_cv: Estimate
    """Nested as well: the source that was best on the other folds."""
    gain: Estimate
    """RMSE of the best single source less that of the blend, paired; above 0: the blend is better."""
    leaderboard: Leaderboard
    members: tuple[MemberRow, ...]
    """By name; on rung `stack` the network comes last."""
    fitted: str
    """The rung of whose weights `members` tells what leaving one out changes."""
    correlation: tuple[tuple[float, ...], ...]
    """Of the members' residuals, in the order of `members`."""
    ladder: tuple[CandidateRow, ...]
    """Every rung, nested."""
    trajectory: tuple[tuple[str, float], ...]
    """The hill climb on all photos up to its best step: the source taken, and the RMSE then (in sample)."""
    slices: tuple[BreakdownRow, ...]
    recipe: WeightModel
    """What is done with the members' values."""
    metric: str = RMSE.name
    """What the scores are."""

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each member, on average."""
        return {member.name: member.weight for member in self.members}


def leave_one_out(
    gram: ResidualGram,
    designs: Designs,
    selection: Selection,
    group: np.ndarray,
    weights: np.ndarray,
    test_digests: Sequence[str],
    seed: int,
    metric: Metric = RMSE,
    measure: Measure = squared_errors,
) -> tuple[str, tuple[MemberRow, ...]]:
    """Leave each member out in turn; return the rung whose weights that is about, and a row for each member."""
    fitted = fitted_rung(selection)
    K = len(gram.members)
    without: list[Estimate | None] = [None] * K
    if K > 1:
        design = designs.of(candidate_named(fitted))
        solve = design.candidate.solve
        if isinstance(solve, RidgeSolver):  # shrunk alike with and without: what differs is the member alone
            solve = solve.fixed(solve.penalties(design.regression.moments))
        runs = {"all": (design, design.regression.run(solve))}
        for k in range(K):
            others = [other for other in range(K) if other != k]
            runs[str(k)] = design, design.regression.run(solve, others)
        bootstrap = Bootstrap(measure(runs), gram.counts, group, metric=metric, seed=seed)
        without = [bootstrap.difference(str(k), "all") for k in range(K)]
    rows = (
        MemberRow(
            name=gram.members[k],
            oof=gram.digests[k],
            test=test_digests[k],
            weight=float(weights[k]),
            cv=selection.bootstrap.estimate(f"member {k}"),
            without=without[k],
        )
        for k in range(K)
    )
    return fitted, tuple(rows)


def fitted_rung(selection: Selection) -> str:
    """Return the chosen rung, or a plainer one in place of a single source, of which nothing can be left out, and of
    weights by the metric itself, which take too long to find so often."""
    return {"single": "simplex", DIRECT: "ridge"}.get(selection.rung, selection.rung)


def trajectory(gram: ResidualGram) -> tuple[tuple[str, float], ...]:
    """Return the hill climb's picks up to its best step, with the RMSE after each, in sample."""
    climbed = climb(pooled(gram))
    steps = zip(climbed.picks[: climbed.best], climbed.errors[: climbed.best], strict=True)
    return tuple((gram.members[pick], rmse_of(error, gram)) for pick, error in steps)


def error_breakdown(
    found: Crossfit, features: PhotoFeatures, group: np.ndarray, seed: int, metric: Metric = RMSE
) -> tuple[BreakdownRow, ...]:
    """Return the blend's error by distance to the border, by channel, and by class."""
    total = 3.0 * found.counts.sum()
    rows = []

    def add(by: str, name: str, sse: np.ndarray, counts: np.ndarray) -> None:
        use = counts > 0
        if use.any():
            bootstrap = Bootstrap({name: sse[use]}, counts[use], group[use], metric=metric, seed=seed)
            rows.append(BreakdownRow(by, name, float(counts.sum() / total), bootstrap.estimate(name)))

    for ring, name in enumerate(ring_names()):
        add("distance", name, found.clipped[:, ring].sum(axis=1), 3 * found.counts[:, ring])
    for channel, name in enumerate(CHANNELS):
        add("channel", name, found.clipped[:, :, channel].sum(axis=1), found.counts.sum(axis=1))
    klass = np.array(features.klass)
    for name in sorted(set(features.klass)):
        of_class = klass == name
        add("class", name or "none", found.clipped.sum(axis=(1, 2)), 3 * found.counts.sum(axis=1) * of_class)
    return tuple(rows)


def ring_names() -> list[str]:
    """Return `1-2`, ..., `21+`: pixels to the nearest known one."""
    nexts = [*RINGS[1:], 0]
    return [
        f"{low}+" if not high else (f"{low}" if high == low + 1 else f"{low}-{high - 1}")
        for low, high in zip(RINGS, nexts, strict=True)
    ]


def rmse_of(squares: float, gram: ResidualGram) -> float:
    """Return the RMSE of a sum of squares over all of a Gram's values."""
    return float(np.sqrt(max(squares, 0.0) / float(gram.counts.sum())))
