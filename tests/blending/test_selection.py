"""The gate, simulated: intervals that cover, and a blend that is not worse than its best member."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from support.grams import REGIONS, designs_of, gram_of

from kit.blending.evaluation.intervals import leaderboard
from kit.blending.selection import Selection, select_candidate
from kit.blending.weights.candidates import CANDIDATES, STACK, Candidate
from kit.blending.weights.features import PhotoFeatures, term_values
from kit.blending.weights.linear import photo_errors

LADDER = [rung for rung in CANDIDATES.values() if not rung.compared_only]
LINEAR = LADDER[: [rung.name for rung in LADDER].index("intercept") + 1]


def photos(rng: np.random.Generator, P: int, noise: np.ndarray, n: int = 4) -> np.ndarray:
    """Residuals `(P, R, K, n)`: hard and easy photos, a part that all members share, an error of each photo's own."""
    hard = np.sqrt(rng.gamma(4.0, 0.25, (P, 1, 1, 1)))
    shared = rng.normal(0, 0.16, (P, REGIONS, 1, n))
    own = rng.normal(0, 1.0, (P, REGIONS, len(noise), n)) * noise[:, None]
    return hard * (shared + own) + rng.normal(0, 0.02, (P, 1, len(noise), 1)) * noise[:, None] / 0.05


def features_like(rng: np.random.Generator, P: int) -> PhotoFeatures:
    return PhotoFeatures(tuple(rng.choice(["Cat", "Dog"], P)), np.full(P, 100), rng.gamma(10, 0.02, P))


class Population:
    """So many photos that errors on them are the truth."""

    def __init__(self, noise: np.ndarray) -> None:
        rng = np.random.default_rng(1000)
        self.gram, self.features = gram_of(photos(rng, 3000, noise)), features_like(rng, 3000)
        self.best = float(np.sqrt(self.gram.sse.sum(axis=0).min() / self.gram.counts.sum()))

    def rmse(self, sse: np.ndarray) -> float:
        return float(np.sqrt(sse.sum() / self.gram.counts.sum()))

    def of(self, selection: Selection) -> float:
        """What the chosen weights score on all photos there are."""
        model = selection.model()
        return self.rmse(photo_errors(self.gram, term_values(model.terms, self.features, REGIONS), model.array))


def draw(rng: np.random.Generator, P: int, noise: np.ndarray, rungs: list[Candidate], seed: int) -> Selection:
    gram = gram_of(photos(rng, P, noise))
    designs = designs_of(gram, rng.permutation(P) % 5, features_like(rng, P))
    return select_candidate(designs, gram.sse, gram.counts, np.arange(P), candidates=rungs, seed=seed, draws=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "size"),
    [((0.03, 0.05, 0.08, 0.15), 40), ((0.03, 0.03, 0.03, 0.03), 80), ((0.002, 0.002, 0.002), 60)],
)
def test_intervals_cover_what_the_chosen_weights_score_on_all_photos(noise: tuple[float, ...], size: int) -> None:
    rng, deviations = np.random.default_rng(0), np.array(noise)
    population = Population(deviations)
    hits = 0
    draws = 250
    for seed in range(draws):
        selection = draw(rng, size, deviations, LINEAR[:3], seed)
        cv = selection.row(selection.rung).cv
        hits += cv.low <= population.of(selection) <= cv.high
    assert 0.92 <= hits / draws <= 0.98


@pytest.mark.slow
def test_gains_cover_the_true_gain() -> None:
    """The interval by which a rung is admitted, for weights that are the same in every draw."""
    rng, deviations = np.random.default_rng(1), np.array([0.03, 0.05, 0.08])
    population = Population(deviations)
    mean = population.rmse(np.einsum("pkl->p", population.gram.products) / 9)
    single = population.rmse(population.gram.sse[:, 0])
    hits = 0
    for seed in range(250):
        gain = draw(rng, 60, deviations, LINEAR[:2], seed).row("mean").gain
        hits += gain.low <= single - mean <= gain.high
    assert 0.92 <= hits / 250 <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("noise", [(0.03, 0.05, 0.08, 0.15), (0.002, 0.002, 0.002), (0.01, 0.3, 0.3, 0.3)])
def test_the_chosen_blend_is_hardly_ever_worse_than_the_best_member(noise: tuple[float, ...]) -> None:
    """By more than 0.1 % in at most 1 of 120 draws, the whole ladder climbed."""
    rng, deviations = np.random.default_rng(2), np.array(noise)
    population = Population(deviations)
    worse, chosen = 0, Counter()
    for seed in range(120):
        selection = draw(rng, 50, deviations, LADDER, seed)
        chosen[selection.rung] += 1
        worse += population.of(selection) > 1.001 * population.best
    assert worse <= 1, chosen


def test_rungs_are_climbed_one_by_one() -> None:
    selection = draw(np.random.default_rng(3), 60, np.array([0.05, 0.06, 0.2]), list(CANDIDATES.values()), 0)
    current = "single"
    for row in selection.rows:
        assert row.below == current
        assert row.on_ladder != CANDIDATES[row.rung].compared_only
        assert row.taken == (row.rung == "single" or (row.on_ladder and row.gain.low > 0))
        current = row.rung if row.taken else current
    assert selection.rung == current and current in selection.reason
    assert not selection.row("hill-climb").taken


def test_a_rung_that_is_asked_for_is_taken_whatever_the_gate_says() -> None:
    rng = np.random.default_rng(4)
    gram = gram_of(photos(rng, 40, np.array([0.02, 0.2])))
    designs = designs_of(gram, np.arange(40) % 4)
    for rung in CANDIDATES:
        selection = select_candidate(
            designs,
            gram.sse,
            gram.counts,
            np.arange(40),
            candidates=list(CANDIDATES.values()),
            requested=rung,
            draws=100,
        )
        assert selection.rung == rung
        best = [row.rung for row in selection.rows if row.taken][-1]
        assert ("was asked for" in selection.reason) == (rung != best)


def test_a_stack_enters_like_any_rung() -> None:
    rng = np.random.default_rng(5)
    noise = np.array([0.05, 0.06])
    z, features, fold = photos(rng, 60, noise), features_like(rng, 60), np.arange(60) % 5
    for shared, taken in ((0.3, True), (0.0, False)):  # a network that knows part of the truth, and one that knows none
        network = shared * z.mean(axis=2, keepdims=True) + rng.normal(0, 0.05 if shared else 3.0, (60, REGIONS, 1, 4))
        plain, joined = gram_of(z), gram_of(np.concatenate([z, network], axis=2))
        designs, stack = designs_of(plain, fold, features), designs_of(joined, fold, features)
        selection = select_candidate(
            designs, joined.sse, plain.counts, np.arange(60), candidates=LADDER, stack=stack, draws=200
        )
        assert selection.row(STACK).taken == taken and (selection.rung == STACK) == taken
        assert len(selection.model().coefficients[0]) == (4 if taken else 3)


@pytest.mark.slow
def test_the_leaderboards_interval_covers_scores_of_new_photos() -> None:
    rng = np.random.default_rng(6)
    hits, draws, test = 0, 250, 100
    for seed in range(draws):
        hard = rng.gamma(2.0, 1.0, 300)
        found = leaderboard(hard * 10, hard * 9, np.full(300, 10), np.arange(300), test, seed=seed, draws=300)
        score = np.sqrt(rng.gamma(2.0, 1.0, test).mean())
        hits += found.score.low <= score <= found.score.high
        assert found.extremes.low <= found.extremes.value <= found.extremes.high
        assert found.sampling > found.estimation > 0  # fewer test than training photos
    assert 0.91 <= hits / draws <= 0.985
