"""A Gram to a blend: weights, nested scores, and the gate. Pure: knows neither files nor models.

The gate: weights that were fitted are taken only if, on photos that they were not fitted on, they beat the best single
source (chosen on the same photos that the weights were fitted on) by a margin whose 95 % interval, over photos,
excludes zero. Otherwise the blend is that single source, and `reason` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.blending.estimate import Bootstrap, CrossValidation, pooled, residual_correlation
from kit.blending.gram import ResidualGram
from kit.blending.solvers import SOLVERS, best_single, climb, simplex
from kit.errors import UsageError
from kit.folds import Folds
from kit.metrics import Estimate
from kit.storage import digest_of

MIN_GROUPS = 10  # a percentile interval from fewer photos is too narrow to admit anything by


@dataclass(frozen=True)
class MemberRow:
    """One member of a blend."""

    name: str
    oof: str
    """Digest of its OOF predictions, from which the weights come."""
    test: str
    """Digest of its test predictions, which the weights are for."""
    weight: float
    cv: Estimate
    """Its own CV RMSE."""
    without: Estimate | None
    """Change of the fitted blend's nested CV RMSE when this member is left out; above 0: it helps. None if alone."""


@dataclass(frozen=True)
class RungRow:
    """One way of finding weights, and what it scores on photos that it was not fitted on."""

    rung: str
    cv: Estimate


@dataclass(frozen=True)
class Blend:
    """Weights for sources, and how good they are. RMSE in score space; CV unless said otherwise."""

    name: str
    competition: str
    index: str
    folds: str
    """Digests of index and folds."""
    seed: int
    photos: int
    groups: int
    """Groups of near duplicates: the sample size."""
    rung: str
    """"simplex", or "single" when the gate kept the best source."""
    reason: str
    """Why this rung, in one sentence."""
    cv: Estimate
    """Nested by fold: every photo scored by weights that never saw its fold."""
    in_sample: float
    """RMSE of the final weights on the photos that they were fitted on."""
    best_single: str
    best_single_cv: Estimate
    """Nested as well: the source that was best on the other folds."""
    gain: Estimate
    """RMSE of the best single source less that of the fitted blend, paired; above 0: the blend is better."""
    members: tuple[MemberRow, ...]
    """By name."""
    correlation: tuple[tuple[float, ...], ...]
    """Of the members' residuals, in the order of `members`."""
    ladder: tuple[RungRow, ...]
    """Every solver, nested, for comparison."""
    trajectory: tuple[tuple[str, float], ...]
    """The hill climb on all photos up to its best step: the source taken, and the RMSE then (in sample)."""

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each member."""
        return {member.name: member.weight for member in self.members}


def fit_blend(
    gram: ResidualGram,
    folds: Folds,
    *,
    competition: str,
    index: str,
    test_digests: Sequence[str],
    name: str | None = None,
    seed: int = 0,
) -> Blend:
    """Fit, score and gate. Pure: reads and writes nothing.

    Args:
        gram: of OOF predictions; `gram.photos` says which training photos.
        index: the index's digest.
        test_digests: of each member's test predictions.
        seed: of the bootstrap.

    Raises:
        UsageError: all photos lie in one fold or one group.
    """
    fold, group = folds.fold[gram.photos], folds.group[gram.photos]
    groups = len(np.unique(group))
    if groups < 2:
        raise UsageError(
            f"All {len(gram)} photos are near duplicates of one another: a score of one photo has no interval. "
            "Give the competition more photos: kit fetch --force"
        )
    cross_validation = CrossValidation(gram, fold)
    K = len(gram.members)
    sse = {f"rung {rung}": cross_validation.run(solver).sse for rung, solver in SOLVERS.items()}
    sse |= {f"member {k}": gram.sse[:, k] for k in range(K)}
    if K > 1:
        for k in range(K):
            sse[f"without {k}"] = cross_validation.run(simplex, [other for other in range(K) if other != k]).sse
    bootstrap = Bootstrap(sse, gram.counts, group, seed=seed)
    gain = bootstrap.difference("rung single", "rung simplex")
    rung, reason = _gate(gain, K, groups)
    G = pooled(gram)
    weights = SOLVERS[rung](G)
    members = _members(gram, test_digests, weights, bootstrap)
    identity = [competition, index, folds.digest, seed, [(member.name, member.oof, member.test) for member in members]]
    return Blend(
        name=name or f"blend-{digest_of(identity)[:8]}",
        competition=competition,
        index=index,
        folds=folds.digest,
        seed=seed,
        photos=len(gram),
        groups=groups,
        rung=rung,
        reason=reason,
        cv=bootstrap.estimate(f"rung {rung}"),
        in_sample=_rmse(float(weights @ G @ weights), gram),
        best_single=gram.members[int(np.argmax(best_single(G)))],
        best_single_cv=bootstrap.estimate("rung single"),
        gain=gain,
        members=members,
        correlation=tuple(tuple(map(float, row)) for row in residual_correlation(gram)),
        ladder=tuple(RungRow(rung, bootstrap.estimate(f"rung {rung}")) for rung in SOLVERS),
        trajectory=_trajectory(gram, G),
    )


def _members(
    gram: ResidualGram, test_digests: Sequence[str], weights: np.ndarray, bootstrap: Bootstrap
) -> tuple[MemberRow, ...]:
    K = len(gram.members)
    return tuple(
        MemberRow(
            name=gram.members[k],
            oof=gram.digests[k],
            test=test_digests[k],
            weight=float(weights[k]),
            cv=bootstrap.estimate(f"member {k}"),
            without=bootstrap.difference(f"without {k}", "rung simplex") if K > 1 else None,
        )
        for k in range(K)
    )


def _trajectory(gram: ResidualGram, G: np.ndarray) -> tuple[tuple[str, float], ...]:
    """The hill climb's picks up to its best step, with the RMSE after each."""
    climbed = climb(G)
    best = int(np.argmin(climbed.errors)) + 1
    steps = zip(climbed.picks[:best], climbed.errors[:best], strict=True)
    return tuple((gram.members[pick], _rmse(error, gram)) for pick, error in steps)


def _gate(gain: Estimate, members: int, groups: int) -> tuple[str, str]:
    text = f"{gain.value:+.5f} [{gain.low:+.5f}, {gain.high:+.5f}]"
    if members == 1:
        return "single", "There is one source, so the blend is that source."
    if groups < MIN_GROUPS:
        return "single", (
            f"Only {groups} groups of photos: at least {MIN_GROUPS} are needed to tell whether weights beat the best "
            "single source, so the blend is that source."
        )
    if gain.low > 0.0:
        return "simplex", f"Gain over the best single source on photos not fitted on: {text}, above zero."
    return "single", (
        f"The weights' gain over the best single source on photos not fitted on is {text}: not above zero with 95 % "
        "confidence, so the blend is the best single source."
    )


def _rmse(squares: float, gram: ResidualGram) -> float:
    return float(np.sqrt(max(squares, 0.0) / float(gram.counts.sum())))
