"""`kit blend` in one function: Grams, selection, members, errors, and the JSON. Prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from kit.blending.apply import check_made_here, check_members
from kit.blending.evaluation.crossfit import crossfit
from kit.blending.evaluation.intervals import leaderboard, residual_correlation
from kit.blending.evaluation.measured import Measured
from kit.blending.evaluation.pixels import photo_scores
from kit.blending.grams.cache import cached_gram
from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.result import (
    Blend,
    error_breakdown,
    leave_one_out,
    rmse_of,
    trajectory,
)
from kit.blending.scores import complete_sources, finite_gram, stack_recipe
from kit.blending.selection import Selection, select_candidate, squared_errors
from kit.blending.store import write_blend
from kit.blending.weights.candidates import (
    AUTO,
    CANDIDATES,
    DIRECT,
    DIRECT_CANDIDATE,
    STACK,
    Candidate,
    Design,
    Designs,
)
from kit.blending.weights.direct import BestByMetric, DirectSolver
from kit.blending.weights.features import photo_features
from kit.blending.weights.linear import Nested, Regression, photo_errors, unregularised
from kit.blending.weights.mixing import WeightModel, mix
from kit.blending.weights.solvers import SOLVERS
from kit.core.storage import digest_of
from kit.data.folds import Folds
from kit.data.prediction_store import SPLITS, SourceKind
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import Mismatch, MissingStep, UnknownName, UsageError

Values = Callable[[int], np.ndarray]
"""A photo's place in the Gram to `(n, 3)` float64."""


@dataclass(frozen=True)
class Stack:
    """A stacking network's predictions, and the Gram and designs with it as one member more."""

    oof: Predictions
    test: Predictions
    gram: ResidualGram
    designs: Designs


def make_blend(
    project: Project,
    sources: Sequence[str] | None = None,
    *,
    name: str | None = None,
    rung: str = AUTO,
    seed: int = 0,
    workers: int | None = None,
) -> Blend:
    """Blend these sources, by default every complete one that is not a stack, and write `blends/<name>.json`.

    Args:
        rung: `auto` climbs the ladder; a rung's name takes that one whatever the gate says.
        seed: of the intervals.

    Raises:
        UsageError: a source named twice, a name that cannot be a file's, photos in one fold or group.
        UnknownName: no such source or rung.
        MissingStep: a source lacks folds or test predictions; there is no complete source at all; no stack was trained.
        Mismatch: predictions for another index or other folds.
        PredictionsError: a value of a source that was named is not finite.
    """
    if name is not None:
        project.predictions.claim_name(name, SourceKind.BLEND, hint="Choose another one with --name.")
    rungs = [AUTO, STACK, *CANDIDATES, *([] if project.layout.measured_by.is_square else [DIRECT])]
    if rung not in rungs:
        raise UnknownName("rung", rung, rungs)
    chosen = chosen_members(project, sources)
    # in several threads the linear algebra of such small systems costs more than it saves, and has other last bits
    with threadpool_limits(1, user_api="blas"):
        blend = BlendBuilder(project, chosen, seed, workers).build(name, rung)
    write_blend(project.workspace, blend)
    return blend


def chosen_members(project: Project, sources: Sequence[str] | None) -> list[str]:
    """Return the members by name: their order is not part of a blend. Unless named, those with values that are not
    finite are left out.

    Raises:
        UsageError: a source named twice.
        MissingStep: none was named, and none is complete.
    """
    if sources:
        twice = sorted({source for source in sources if list(sources).count(source) > 1})
        if twice:
            raise UsageError(f"{', '.join(twice)} is named twice: name each source once.")
        return sorted(sources)
    complete = [source for source in complete_sources(project) if stack_recipe(project, source) is None]
    _, flaws = finite_gram(project, complete)
    complete = [source for source in complete if source not in flaws]
    if not complete:
        raise MissingStep("There is no source with all OOF and test predictions. Run: kit fill all")
    return complete


def nested_weights(project: Project, members: Sequence[str], *, workers: int | None = None) -> np.ndarray:
    """Return `(k, K)`: for each fold the ridge weights fitted on the others, which a stack starts from."""
    gram = cached_gram(project, members, workers=workers)
    _check_sample(gram, project.folds)
    one = np.ones((*gram.region_counts.shape, 1))
    return Regression(gram, project.folds.fold[gram.photos], one).run(CANDIDATES["ridge"].solve).coefficients[:, 0, :-1]


def blend_oof_values(project: Project, blend: Blend, *, workers: int | None = None) -> Callable[[int], np.ndarray]:
    """Return a training photo's position to its blend `(n, 3)` float64 by weights fitted on the other folds: what the
    blend's CV is measured on. A blend's file has the weights of all photos alone, so they are fitted again.

    Raises:
        Mismatch: index, folds or a member's predictions are not those of the blend.
    """
    check_made_here(project, blend)
    check_members(project, blend, blend.members)
    sources = [row.name for row in (blend.members[:-1] if blend.rung == STACK else blend.members)]
    with threadpool_limits(1, user_api="blas"):
        builder = BlendBuilder(project, sources, blend.seed, workers)
        values = builder.nested_values(blend.rung)
    places = {int(photo): place for place, photo in enumerate(builder.gram.photos)}
    return lambda photo: values(places[photo])


def _check_sample(gram: ResidualGram, folds: Folds) -> None:
    fold, group = folds.fold[gram.photos], folds.group[gram.photos]
    if len(np.unique(group)) < 2:
        raise UsageError(
            f"All {len(gram)} photos are near duplicates of one another: a score of one photo has no interval. "
            "Give the competition more photos: kit fetch --force"
        )
    if len(np.unique(fold)) < 2:
        raise UsageError(
            f"All {len(gram)} photos lie in fold {fold[0]}: weights need at least 2 folds, one to fit on and one to "
            "score. Make folds: kit folds --k 5 --force"
        )


class BlendBuilder:
    """Builds one blend, step by step."""

    def __init__(self, project: Project, members: Sequence[str], seed: int, workers: int | None) -> None:
        self.project, self.seed, self.workers = project, seed, workers
        # before the long pass: what is missing is said at once
        self.oof = [project.predictions.read(source, "oof") for source in members]
        self.test = [project.predictions.read(source, "test") for source in members]
        self.gram = cached_gram(project, members, workers=workers)
        _check_sample(self.gram, project.folds)
        photos, pack = self.gram.photos, project.pack
        self.fold, self.group = project.folds.fold[photos], project.folds.group[photos]
        self.estimated_range = np.asarray(pack.train_estimated_range)[photos]
        features = photo_features(project.index.train, pack.train_image, pack.train_estimated_range)
        self.features = features.of(photos)
        self.designs = Designs(self.gram, self.features, self.fold)
        self.plain_gram = self.gram
        self.metric = project.layout.measured_by
        self.measured = Measured(project, self.metric, workers)

    def nested_values(self, rung: str) -> Values:
        """Return each photo's blend on this rung by the weights of the other folds."""
        stack = self._stack() if rung == STACK else None
        selection = self._select(rung, stack)
        if stack is not None:
            self._join(stack)
        return self._values(selection.model(), selection.nested, self.oof)

    def build(self, name: str | None, requested_rung: str) -> Blend:
        """Return the finished blend."""
        stack = self._stack()
        if requested_rung == STACK and stack is None:
            raise MissingStep("No stack has been trained on these members and folds. Run: kit blend --stack")
        selection = self._select(requested_rung, stack)
        if selection.rung == STACK:
            assert stack is not None
            self._join(stack)
        gram, model = self.gram, selection.model()
        fitted, members = leave_one_out(
            gram,
            self.designs,
            selection,
            self.group,
            model.mean_weights(self.features, gram.region_counts),
            [one.digest for one in self.test],
            self.seed,
            self.metric,
            lambda runs: self._measure(runs, self.oof),
        )
        found = crossfit(
            self.project.index.train,
            self.project.pack,
            gram.photos,
            self._values(model, selection.nested, self.oof),
            absolute=self.metric.of == "absolutes",
            workers=self.workers,
        )
        whole = 3 * found.counts.sum(axis=1)
        clipped, known = (errors.sum(axis=(1, 2)) for errors in (found.clipped, found.known))
        if self.metric.of == "pictures":  # compared in pixel values, clipped to them: no value range is in it
            clipped = known = self._measure({"": (selection.design, selection.nested)}, self.oof)[""]
        identity = [
            self.project.workspace.slug,
            self.project.index.digest,
            self.project.folds.digest,
            self.seed,
            requested_rung,
        ]
        identity.append([(member.name, member.oof, member.test) for member in members])
        return Blend(
            name=name or f"blend-{digest_of(identity)[:8]}",
            competition=self.project.workspace.slug,
            index=self.project.index.digest,
            folds=self.project.folds.digest,
            seed=self.seed,
            photos=len(gram),
            groups=len(np.unique(self.group)),
            asked=requested_rung,
            rung=selection.rung,
            reason=selection.reason,
            cv=selection.row(selection.rung).cv,
            in_sample=self._in_sample(selection, model),
            best_single=self.measured.best_member(self.plain_gram),
            best_single_cv=selection.row("single").cv,
            gain=selection.bootstrap.difference("single", selection.rung),
            leaderboard=leaderboard(
                clipped, known, whole, self.group, len(self.project.index.test), metric=self.metric, seed=self.seed
            ),
            members=members,
            fitted=fitted,
            correlation=tuple(tuple(map(float, row)) for row in residual_correlation(gram)),
            ladder=selection.rows,
            trajectory=trajectory(self.plain_gram),
            slices=error_breakdown(found, self.features, self.group, self.seed, self.measured.of_parts),
            recipe=model,
            metric=self.metric.name,
        )

    def _select(self, requested_rung: str, stack: Stack | None) -> Selection:
        gram = stack.gram if stack else self.gram
        oof = [*self.oof, stack.oof] if stack else self.oof
        return select_candidate(
            self.designs,
            self.measured.of_members(gram),
            self.gram.counts,
            self.group,
            candidates=self._candidates(),
            requested=requested_rung,
            stack=stack.designs if stack else None,
            metric=self.metric,
            measure=lambda runs: self._measure(runs, oof),
            seed=self.seed,
        )

    def _candidates(self) -> tuple[Candidate, ...]:
        """Return the rungs; where squares are not the metric the best single source is the best by it, and weights by
        the metric itself follow on those of least squares."""
        if self.metric.is_square:
            return tuple(CANDIDATES.values())
        found = []
        for candidate in CANDIDATES.values():
            if candidate.name == "single":
                best = BestByMetric(self.measured.of_members(self.gram), self.gram.counts, self.fold, self.metric)
                candidate = replace(candidate, solve=DirectSolver(unregularised(SOLVERS["mean"]), best))
            found.append(candidate)
            if candidate.name == "ridge":
                improve = self.measured.improver(self.gram, self.fold, self.oof)
                found.append(replace(DIRECT_CANDIDATE, solve=DirectSolver(DIRECT_CANDIDATE.solve, improve)))
        return tuple(found)

    def _measure(self, runs: Mapping[str, tuple[Design, Nested]], oof: Sequence[Predictions]) -> dict[str, np.ndarray]:
        """Return for each of these nested weights what the metric sums of each photo, `(P,)`."""
        if self.metric.of == "squares":
            return squared_errors(runs)
        blends = [self._values(design.model(nested.coefficients[0]), nested, oof) for design, nested in runs.values()]
        places = {int(photo): place for place, photo in enumerate(self.gram.photos)}
        errors = photo_scores(
            self.project,
            self.metric,
            self.gram.photos,
            lambda photo: [values(places[photo]) for values in blends],
            workers=self.workers,
        )
        return dict(zip(runs, errors.T, strict=True))

    def _stack(self) -> Stack | None:
        """Return a stacking network that was trained on these very values, the last by name of several."""
        members = {one.source: [one.digest, test.digest] for one, test in zip(self.oof, self.test, strict=True)}
        for source in reversed(self.project.predictions.sources()):
            recipe = stack_recipe(self.project, source)
            if recipe is None or recipe.get("members") != members:
                continue
            try:
                oof, test = (self.project.predictions.read(source, split) for split in SPLITS)
            except (MissingStep, Mismatch):  # not all folds yet, or of other folds
                continue
            names = [*self.gram.members, source]
            gram = cached_gram(self.project, names, workers=self.workers)
            return Stack(oof, test, gram, Designs(gram, self.features, self.fold))
        return None

    def _join(self, stack: Stack) -> None:
        """Take the network as one member more."""
        self.oof, self.test = [*self.oof, stack.oof], [*self.test, stack.test]
        self.gram, self.designs = stack.gram, stack.designs

    def _in_sample(self, selection: Selection, model: WeightModel) -> float:
        regression = selection.design.regression
        return rmse_of(float(photo_errors(regression.gram, regression.values, model.array).sum()), self.gram)

    def _values(self, model: WeightModel, nested: Nested, oof: Sequence[Predictions]) -> Values:
        """Return a function from a photo's place to its blend by the weights of the other folds."""
        of_fold = dict(zip(nested.folds, nested.coefficients, strict=True))
        used = np.flatnonzero(np.abs(nested.coefficients[..., :-1]).max(axis=(0, 1)))
        members = [oof[int(k)].opened() for k in used]

        def values(place: int) -> np.ndarray:
            photo = int(self.gram.photos[place])
            photo_row = self.project.index.train[photo]
            raw = np.empty((len(members), photo_row.scored, 3), np.float16)
            for one, row in zip(members, raw, strict=True):
                one.raw(photo, 0, row)  # the Gram's pass has seen that all are finite
            coefficients = of_fold[int(self.fold[place])][:, [*used, -1]]
            low, high = self.estimated_range[place]
            return mix(model, coefficients, raw, photo_row, self.features.of(np.array([place])), high - low)

        return values
