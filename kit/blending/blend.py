"""The blend: fitted, gated, written, read, applied; and the scores of single sources. Knows the stores; prints nothing.

`blends/<name>.json` says all there is to say: members and the digests of their predictions, weights, scores with
intervals, what leaving each member out costs. The same inputs give the same name and the same bytes.

The gate: weights that were fitted are taken only if, on photos that they were not fitted on, they beat the best single
source (chosen on the same photos that the weights were fitted on) by a margin whose 95 % interval, over photos,
excludes zero. Otherwise the blend is that single source, and `reason` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit.blending.estimate import Bootstrap, CrossValidation, pooled, residual_correlation
from kit.blending.gram import ResidualGram, cached_gram
from kit.blending.solvers import SOLVERS, best_single, climb, simplex
from kit.errors import DamagedStore, KitError, Mismatch, MissingStep, UnknownName, UsageError
from kit.folds import Folds
from kit.index import Index
from kit.metrics import Estimate
from kit.pack import Pack
from kit.predictions import (
    ALL,
    Predictions,
    list_sources,
    missing_folds,
    read_manifest,
    read_predictions,
)
from kit.storage import digest_of, read_json, write_json
from kit.workspace import PredictionSplit, Workspace, checked_name

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
    values = float(gram.counts.sum())
    climbed = climb(G)
    best_step = int(np.argmin(climbed.errors)) + 1
    members = tuple(
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
        in_sample=_rmse(G, weights, values),
        best_single=gram.members[int(np.argmax(best_single(G)))],
        best_single_cv=bootstrap.estimate("rung single"),
        gain=gain,
        members=members,
        correlation=tuple(tuple(map(float, row)) for row in residual_correlation(gram)),
        ladder=tuple(RungRow(rung, bootstrap.estimate(f"rung {rung}")) for rung in SOLVERS),
        trajectory=tuple(
            (gram.members[pick], float(np.sqrt(max(error, 0.0) / values)))
            for pick, error in zip(climbed.picks[:best_step], climbed.errors[:best_step], strict=True)
        ),
    )


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


def _rmse(G: np.ndarray, weights: np.ndarray, values: float) -> float:
    return float(np.sqrt(max(float(weights @ G @ weights), 0.0) / values))


def make_blend(
    workspace: Workspace,
    index: Index,
    folds: Folds,
    pack: Pack,
    sources: Sequence[str] | None = None,
    *,
    name: str | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> Blend:
    """Blend these sources, by default every complete one, and write `blends/<name>.json`.

    Raises:
        UsageError: a source named twice, a name that cannot be a file's, photos in one fold or group.
        UnknownName: no such source.
        MissingStep: a source lacks folds or test predictions; or there is no complete source at all.
        Mismatch: predictions for another index or other folds.
        PredictionsError: a value is not finite.
    """
    if name is not None:
        checked_name("The blend", name)
        if name in list_sources(workspace):  # what is uploaded or shown by that name would be the source
            raise UsageError(f"{name} is the name of a source. Choose another one with --name.")
    chosen = _chosen(workspace, index, folds, sources)
    for source in chosen:  # before the long pass
        read_predictions(workspace, index, folds, source, "oof")
    tests = [read_predictions(workspace, index, folds, source, "test") for source in chosen]
    gram = cached_gram(workspace, index, folds, pack, chosen, workers=workers)
    blend = fit_blend(
        gram,
        folds,
        competition=workspace.slug,
        index=index.digest,
        test_digests=[test.digest for test in tests],
        name=name,
        seed=seed,
    )
    write_json(workspace.blend(blend.name), blend)
    return blend


def _chosen(workspace: Workspace, index: Index, folds: Folds, sources: Sequence[str] | None) -> list[str]:
    """The members by name: their order is not part of a blend."""
    if sources:
        twice = sorted({source for source in sources if list(sources).count(source) > 1})
        if twice:
            raise UsageError(f"{', '.join(twice)} is named twice: name each source once.")
        return sorted(sources)
    complete = complete_sources(workspace, index, folds)
    if not complete:
        raise MissingStep("There is no source with all OOF and test predictions. Run: kit fill all")
    return complete


def complete_sources(workspace: Workspace, index: Index, folds: Folds) -> list[str]:
    """Sources of this index and these folds with all OOF and all test predictions, by name."""
    return [source for source in list_sources(workspace) if _why_incomplete(workspace, index, folds, source) is None]


def left_out_sources(workspace: Workspace, index: Index, folds: Folds) -> dict[str, str]:
    """Every other source, and why it is not complete."""
    reasons = {source: _why_incomplete(workspace, index, folds, source) for source in list_sources(workspace)}
    return {source: reason for source, reason in reasons.items() if reason is not None}


def _why_incomplete(workspace: Workspace, index: Index, folds: Folds, source: str) -> str | None:
    try:
        for split in ("oof", "test"):
            read_predictions(workspace, index, folds, source, split)
    except KitError as error:
        return str(error)
    return None


def read_blend(workspace: Workspace, name: str | None = None) -> Blend:
    """Read one blend, by default the newest of this competition.

    Raises:
        MissingStep: there is none.
        UnknownName: there is none of that name.
        Mismatch: it is another competition's.
        DamagedStore: the file is not a blend.
    """
    paths = sorted(workspace.blends.glob("*.json"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    if name is not None:
        path = workspace.blend(name)
        if path not in paths:
            raise UnknownName("blend", name, [other.stem for other in paths])
        blend = _parse(path)
        if blend.competition != workspace.slug:
            raise Mismatch(f"{path} is a blend for {blend.competition}. Add: --competition {blend.competition}")
        return blend
    for path in paths:
        blend = _parse(path)
        if blend.competition == workspace.slug:
            return blend
    raise MissingStep(f"There is no blend for {workspace.slug} in {workspace.blends}. Run: kit blend")


def _parse(path: Path) -> Blend:
    fields = read_json(path, made_by="kit blend")
    try:
        return Blend(
            **{
                **fields,
                **{key: _estimate(fields[key]) for key in ("cv", "best_single_cv", "gain")},
                "members": tuple(
                    MemberRow(
                        **{**row, "cv": _estimate(row["cv"]), "without": row["without"] and _estimate(row["without"])}
                    )
                    for row in fields["members"]
                ),
                "correlation": tuple(map(tuple, fields["correlation"])),
                "ladder": tuple(RungRow(row["rung"], _estimate(row["cv"])) for row in fields["ladder"]),
                "trajectory": tuple((source, error) for source, error in fields["trajectory"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStore(
            f"{path} is not a blend that kit wrote ({error!r}). Delete it, then run: kit blend"
        ) from None


def _estimate(fields: dict[str, Any]) -> Estimate:
    return Estimate(float(fields["value"]), float(fields["low"]), float(fields["high"]))


def blend_test_values(workspace: Workspace, index: Index, folds: Folds, blend: Blend) -> Iterator[np.ndarray]:
    """The blend of each test photo in order, `(n, 3)` float32 RGB in [0, 1] in the order of its scored pixels.

    Weighted in pixel space, which is the same as in score space: all members share the photo's extremes, and the
    weights sum to one. Streams; the checks are made at once, before the first photo is asked for.

    Raises:
        Mismatch: index, folds or a member's predictions are not those of the blend.
        PredictionsError: a value is not finite.
    """
    for what, mine, here in (("index", blend.index, index.digest), ("folds", blend.folds, folds.digest)):
        if mine != here:
            raise Mismatch(f"Blend {blend.name} was made with another {what} ({mine}, here {here}). Run: kit blend")
    weighted = [row for row in blend.members if row.weight != 0.0]  # the others may be gone
    tests = []
    for row in weighted:
        _checked(workspace, index, folds, blend, row, "oof")
        tests.append(_checked(workspace, index, folds, blend, row, "test"))
    return _weighted(tests, [row.weight for row in weighted], len(index.test))


def _checked(
    workspace: Workspace, index: Index, folds: Folds, blend: Blend, row: MemberRow, split: PredictionSplit
) -> Predictions:
    predictions = read_predictions(workspace, index, folds, row.name, split)
    expected = row.oof if split == "oof" else row.test
    if predictions.digest != expected:
        raise Mismatch(
            f"The {split} predictions of {row.name} have changed since blend {blend.name} was made "
            f"({expected}, now {predictions.digest}). Run: kit blend"
        )
    return predictions


def _weighted(tests: list[Predictions], weights: list[float], photos: int) -> Iterator[np.ndarray]:
    for photo in range(photos):
        yield _sum(tests, weights, photo)


def _sum(members: list[Predictions], weights: list[float], photo: int) -> np.ndarray:
    total = members[0].values(photo) * np.float64(weights[0])
    for member, weight in zip(members[1:], weights[1:], strict=True):
        total += member.values(photo) * np.float64(weight)
    return total.astype(np.float32)


@dataclass(frozen=True)
class SourceScore:
    """What there is to know of one source."""

    name: str
    score: Estimate | None
    """CV RMSE on the photos that it has OOF predictions of; None when there are none that can be read."""
    photos: int
    """How many photos that is."""
    trained: bool
    """False for a source fitted on no fold: a classical fill, a pretrained generator."""
    missing_oof: tuple[int, ...]
    missing_test: tuple[int, ...]
    """Folds of which predictions are absent."""
    complete: bool
    """Whether `kit blend` takes it by itself."""
    seconds: float
    """Computing time noted with its predictions."""
    digest: str
    """Of its OOF predictions, "" when there are none."""
    reference: str = ""
    """For an incomplete source: the best complete training-free one on the same photos."""
    reference_score: Estimate | None = None
    difference: Estimate | None = None
    """Score less reference, paired; below 0: better than the reference."""
    problem: str = ""
    """Why it cannot be read, in one line."""


def score_sources(
    workspace: Workspace, index: Index, folds: Folds, pack: Pack, *, seed: int = 0, workers: int | None = None
) -> list[SourceScore]:
    """Score every source of the store: the complete ones from best to worst, then the rest by name.

    Raises:
        PredictionsError: a value is not finite; names the file and the command that makes it again.
    """
    complete = complete_sources(workspace, index, folds)
    gram = cached_gram(workspace, index, folds, pack, complete, workers=workers) if complete else None
    scores = []
    for source in list_sources(workspace):
        try:
            scores.append(_score(workspace, index, folds, pack, source, gram, seed, workers))
        except (MissingStep, Mismatch, DamagedStore) as error:
            scores.append(_unreadable(source, str(error)))
    return sorted(
        scores, key=lambda one: (not one.complete, one.score.value if one.complete and one.score else 0.0, one.name)
    )


def _unreadable(source: str, problem: str) -> SourceScore:
    return SourceScore(source, None, 0, False, (), (), False, 0.0, "", problem=problem)


def _score(
    workspace: Workspace,
    index: Index,
    folds: Folds,
    pack: Pack,
    source: str,
    complete: ResidualGram | None,
    seed: int,
    workers: int | None,
) -> SourceScore:
    missing_oof, missing_test = (_missing(workspace, folds, source, split) for split in ("oof", "test"))
    oof = read_predictions(workspace, index, folds, source, "oof", partial=True)
    trained = oof.parts[0].name != ALL
    test = None if missing_test else read_predictions(workspace, index, folds, source, "test")
    facts: dict[str, Any] = {
        "name": source,
        "photos": len(oof.photos),
        "trained": trained,
        "missing_oof": missing_oof,
        "missing_test": missing_test,
        "seconds": oof.seconds + (test.seconds if test else 0.0),
        "digest": oof.digest,
    }
    if complete is not None and source in complete.members:
        own = {"own": complete.sse[:, complete.of(source)]}
        bootstrap = Bootstrap(own, complete.counts, folds.group[complete.photos], seed=seed)
        return SourceScore(score=bootstrap.estimate("own"), complete=True, **facts)
    gram = cached_gram(workspace, index, folds, pack, [source], partial=True, workers=workers)
    reference = _reference(workspace, complete, gram.photos)
    errors = {"own": gram.sse[:, 0]}
    if complete is not None and reference:
        errors["reference"] = complete.on(gram.photos).sse[:, complete.of(reference)]
    bootstrap = Bootstrap(errors, gram.counts, folds.group[gram.photos], seed=seed)
    return SourceScore(
        score=bootstrap.estimate("own"),
        complete=False,
        reference=reference,
        reference_score=bootstrap.estimate("reference") if reference else None,
        difference=bootstrap.difference("own", "reference") if reference else None,
        **facts,
    )


def _missing(workspace: Workspace, folds: Folds, source: str, split: PredictionSplit) -> tuple[int, ...]:
    if read_manifest(workspace, source, split, None) is not None:
        return ()
    return tuple(missing_folds(workspace, folds, source, split))


def _reference(workspace: Workspace, complete: ResidualGram | None, photos: np.ndarray) -> str:
    """The best training-free member on these photos, "" when there is none."""
    if complete is None:
        return ""
    free = [member for member in complete.members if read_manifest(workspace, member, "oof", None) is not None]
    sse = complete.on(photos).sse.sum(axis=0)
    return min(free, key=lambda member: sse[complete.of(member)], default="")
