"""`kit blend` in one function: Grams, ladder, members, errors, and the JSON. Prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from kit.blending.evaluation.crossfit import crossfit
from kit.blending.evaluation.intervals import leaderboard, residual_correlation
from kit.blending.grams.cache import cached_gram
from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.result import (
    Blend,
    best_member,
    judge_members,
    rmse_of,
    slices,
    trajectory,
)
from kit.blending.scores import complete_sources, stack_recipe
from kit.blending.selection import Ladder, climb_ladder
from kit.blending.store import write_blend
from kit.blending.weights.candidates import AUTO, RUNGS, STACK, Designs
from kit.blending.weights.features import photo_facts
from kit.blending.weights.linear import Regression, photo_errors
from kit.blending.weights.mixing import Recipe, mix
from kit.core.storage import digest_of
from kit.core.workspace import PredictionSplit, Workspace, checked_name
from kit.data.fill_sources import SPLITS
from kit.data.folds import Folds
from kit.data.index import Index
from kit.data.pack import Pack
from kit.data.prediction_store import list_sources, read_predictions
from kit.data.predictions import Predictions
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
    workspace: Workspace,
    index: Index,
    folds: Folds,
    pack: Pack,
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
        PredictionsError: a value is not finite.
    """
    if name is not None:
        checked_name("The blend", name)
        if name in list_sources(workspace):  # what is uploaded or shown by that name would be the source
            raise UsageError(f"{name} is the name of a source. Choose another one with --name.")
    if rung not in (AUTO, STACK, *RUNGS):
        raise UnknownName("rung", rung, [AUTO, STACK, *RUNGS])
    chosen = chosen_members(workspace, index, folds, sources)
    # in several threads the linear algebra of such small systems costs more than it saves, and has other last bits
    with threadpool_limits(1, user_api="blas"):
        blend = _Maker(workspace, index, folds, pack, chosen, seed, workers).make(name, rung)
    write_blend(workspace, blend)
    return blend


def chosen_members(workspace: Workspace, index: Index, folds: Folds, sources: Sequence[str] | None) -> list[str]:
    """The members by name: their order is not part of a blend.

    Raises:
        UsageError: a source named twice.
        MissingStep: none was named, and none is complete.
    """
    if sources:
        twice = sorted({source for source in sources if list(sources).count(source) > 1})
        if twice:
            raise UsageError(f"{', '.join(twice)} is named twice: name each source once.")
        return sorted(sources)
    complete = [
        source for source in complete_sources(workspace, index, folds) if stack_recipe(workspace, source) is None
    ]
    if not complete:
        raise MissingStep("There is no source with all OOF and test predictions. Run: kit fill all")
    return complete


def nested_weights(
    workspace: Workspace,
    index: Index,
    folds: Folds,
    pack: Pack,
    members: Sequence[str],
    *,
    workers: int | None = None,
) -> np.ndarray:
    """`(k, K)`: for each fold the weights, shrunk and of any sign, fitted on the others: what a stack has under it."""
    gram = cached_gram(workspace, index, folds, pack, members, workers=workers)
    _check_sample(gram, folds)
    one = np.ones((*gram.region_counts.shape, 1))
    return Regression(gram, folds.fold[gram.photos], one).run(RUNGS["ridge"].solve).coefficients[:, 0, :-1]


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


class _Maker:
    """One blend in the making."""

    def __init__(
        self,
        workspace: Workspace,
        index: Index,
        folds: Folds,
        pack: Pack,
        members: Sequence[str],
        seed: int,
        workers: int | None,
    ) -> None:
        self.workspace, self.index, self.folds, self.pack = workspace, index, folds, pack
        self.seed, self.workers = seed, workers
        # before the long pass: what is missing is said at once
        read = [[self._read(source, split) for split in SPLITS] for source in members]
        self.oof, self.test = [oof for oof, _ in read], [test for _, test in read]
        self.gram = cached_gram(workspace, index, folds, pack, members, workers=workers)
        _check_sample(self.gram, folds)
        photos = self.gram.photos
        self.fold, self.group = folds.fold[photos], folds.group[photos]
        self.estimated = np.asarray(pack.train_estimated)[photos]
        self.facts = photo_facts(index, pack, "train").of(photos)
        self.designs = Designs(self.gram, self.facts, self.fold)
        self.plain = self.gram

    def _read(self, source: str, split: PredictionSplit) -> Predictions:
        return read_predictions(self.workspace, self.index, self.folds, source, split)

    def make(self, name: str | None, asked: str) -> Blend:
        """The finished blend."""
        stack = self._stack()
        if asked == STACK and stack is None:
            raise MissingStep("No stack has been trained on these members and folds. Run: kit blend --stack")
        ladder = self._ladder(asked, stack)
        if ladder.rung == STACK:
            assert stack is not None
            self._join(stack)
        gram, recipe = self.gram, ladder.recipe()
        fitted, members = judge_members(
            gram,
            self.designs,
            ladder,
            self.group,
            recipe.mean_weights(self.facts, gram.region_counts),
            [one.digest for one in self.test],
            self.seed,
        )
        found = crossfit(self.index, self.pack, gram.photos, self._values(ladder, recipe), workers=self.workers)
        whole = 3 * found.counts.sum(axis=1)
        clipped, known = (errors.sum(axis=(1, 2)) for errors in (found.clipped, found.known))
        identity = [self.workspace.slug, self.index.digest, self.folds.digest, self.seed, asked]
        identity.append([(member.name, member.oof, member.test) for member in members])
        return Blend(
            name=name or f"blend-{digest_of(identity)[:8]}",
            competition=self.workspace.slug,
            index=self.index.digest,
            folds=self.folds.digest,
            seed=self.seed,
            photos=len(gram),
            groups=len(np.unique(self.group)),
            asked=asked,
            rung=ladder.rung,
            reason=ladder.reason,
            cv=ladder.row(ladder.rung).cv,
            in_sample=self._in_sample(ladder, recipe),
            best_single=best_member(self.plain),
            best_single_cv=ladder.row("single").cv,
            gain=ladder.bootstrap.difference("single", ladder.rung),
            leaderboard=leaderboard(clipped, known, whole, self.group, len(self.index.test), seed=self.seed),
            members=members,
            fitted=fitted,
            correlation=tuple(tuple(map(float, row)) for row in residual_correlation(gram)),
            ladder=ladder.rows,
            trajectory=trajectory(self.plain),
            slices=slices(found, self.facts, self.group, self.seed),
            recipe=recipe,
        )

    def _ladder(self, asked: str, stack: Stack | None) -> Ladder:
        return climb_ladder(
            self.designs,
            (stack.gram if stack else self.gram).sse,
            self.gram.counts,
            self.group,
            rungs=tuple(RUNGS.values()),
            ask=asked,
            stack=stack.designs if stack else None,
            seed=self.seed,
        )

    def _stack(self) -> Stack | None:
        """A stacking network that was trained on these very values, the last by name of several."""
        members = {one.source: [one.digest, test.digest] for one, test in zip(self.oof, self.test, strict=True)}
        for source in reversed(list_sources(self.workspace)):
            recipe = stack_recipe(self.workspace, source)
            if recipe is None or recipe.get("members") != members:
                continue
            try:
                oof, test = self._read(source, "oof"), self._read(source, "test")
            except (MissingStep, Mismatch):  # not all folds yet, or of other folds
                continue
            names = [*self.gram.members, source]
            gram = cached_gram(self.workspace, self.index, self.folds, self.pack, names, workers=self.workers)
            return Stack(oof, test, gram, Designs(gram, self.facts, self.fold))
        return None

    def _join(self, stack: Stack) -> None:
        """Take the network as one member more."""
        self.oof, self.test = [*self.oof, stack.oof], [*self.test, stack.test]
        self.gram, self.designs = stack.gram, stack.designs

    def _in_sample(self, ladder: Ladder, recipe: Recipe) -> float:
        regression = ladder.design.regression
        return rmse_of(float(photo_errors(regression.gram, regression.values, recipe.array).sum()), self.gram)

    def _values(self, ladder: Ladder, recipe: Recipe) -> Values:
        """A photo's place to its blend by the weights of the other folds."""
        of_fold = dict(zip(ladder.nested.folds, ladder.nested.coefficients, strict=True))
        used = np.flatnonzero(np.abs(ladder.nested.coefficients[..., :-1]).max(axis=(0, 1)))
        members = [self.oof[k].opened() for k in used]

        def values(place: int) -> np.ndarray:
            photo = int(self.gram.photos[place])
            sample = self.index.train[photo]
            raw = np.empty((len(members), sample.scored, 3), np.float16)
            for one, row in zip(members, raw, strict=True):
                one.raw(photo, 0, row)  # the Gram's pass has seen that all are finite
            coefficients = of_fold[int(self.fold[place])][:, [*used, -1]]
            low, high = self.estimated[place]
            return mix(recipe, coefficients, raw, sample, self.facts.of(np.array([place])), high - low)

        return values
