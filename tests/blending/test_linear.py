"""Weights that are linear in terms: against plain sums over pixels, scipy, and planted truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from support.grams import REGIONS, designs_of, features_of, gram_of, mixed_errors, residuals

from kit.blending.evaluation.intervals import pooled
from kit.blending.weights.candidates import CANDIDATES
from kit.blending.weights.features import PhotoFeatures, Term, feature_terms, region_terms, term_values
from kit.blending.weights.linear import Regression, RidgeSolver, moments, photo_errors, unregularised
from kit.blending.weights.solvers import SOLVERS, best_single, simplex


def test_moments_and_errors_equal_sums_over_values() -> None:
    rng = np.random.default_rng(0)
    z, features = residuals(rng, P=7), features_of(7)
    terms = (Term("one"), Term("depth", 1.0, 2.0), Term("contrast", -1.0, 0.5), Term("channel:green"))
    values = term_values(terms, features, REGIONS)
    coefficients = rng.normal(size=(4, 4))
    expected = mixed_errors(z, values @ coefficients)
    found = photo_errors(gram_of(z), values, coefficients)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    M = moments(gram_of(z), values)
    assert np.einsum("ja,jlab,lb->", coefficients, M, coefficients) == pytest.approx(expected.sum(), rel=1e-10)


@pytest.mark.parametrize("rung", sorted(CANDIDATES))
def test_every_rung_is_scored_by_weights_that_never_saw_the_fold(rung: str) -> None:
    rng = np.random.default_rng(1)
    z, fold, features = residuals(rng), np.arange(40) % 4, features_of(40)
    design = designs_of(gram_of(z), fold, features).of(CANDIDATES[rung])
    before = design.regression.run(CANDIDATES[rung].solve)
    for position, number in enumerate(before.folds):
        weights = design.regression.values @ before.coefficients[position]
        rows = fold == number
        np.testing.assert_allclose(before.sse[rows], mixed_errors(z, weights)[rows], rtol=1e-8)
        changed = z.copy()
        changed[rows] += rng.normal(0, 5, changed[rows].shape)
        # terms are centred on all photos, which knows no residual
        after = designs_of(gram_of(changed), fold, features).of(CANDIDATES[rung]).regression.run(CANDIDATES[rung].solve)
        assert after.coefficients[position].tobytes() == before.coefficients[position].tobytes()
        assert not np.allclose(after.sse[rows], before.sse[rows])


@pytest.mark.parametrize("rung", sorted(CANDIDATES))
@pytest.mark.parametrize("members", [1, 2, 6])
def test_weights_of_every_rung_sum_to_one_everywhere(rung: str, members: int) -> None:
    z = residuals(np.random.default_rng(2), K=members)
    for case in (
        z,
        np.repeat(z[:, :, :1], members, axis=2),
        np.zeros_like(z),
        z * np.array([1e-3, *[1.0] * (members - 1)])[:, None],
    ):
        design = designs_of(gram_of(case), np.arange(40) % 3).of(CANDIDATES[rung])
        model = design.model(design.regression.fit(CANDIDATES[rung].solve))
        weights = model.by_region(features_of(25, seed=5))
        assert np.isfinite(weights).all()
        np.testing.assert_allclose(weights[..., :-1].sum(axis=2), 1.0, atol=1e-9)


@pytest.mark.parametrize("rung", sorted(CANDIDATES))
def test_members_left_out_have_no_weight(rung: str) -> None:
    z, fold = residuals(np.random.default_rng(3), K=4), np.arange(40) % 3
    design = designs_of(gram_of(z), fold).of(CANDIDATES[rung])
    found = design.regression.run(CANDIDATES[rung].solve, [0, 2, 3])
    assert not found.coefficients[:, :, 1].any()
    small = designs_of(gram_of(z[:, :, [0, 2, 3]]), fold).of(CANDIDATES[rung]).regression.run(CANDIDATES[rung].solve)
    np.testing.assert_allclose(found.sse, small.sse, rtol=1e-7)


def test_rungs_without_terms_are_their_solvers() -> None:
    z, fold = residuals(np.random.default_rng(4), K=5), np.arange(40) % 5
    gram = gram_of(z)
    for name, solver in SOLVERS.items():
        design = designs_of(gram, fold).of(CANDIDATES[name])
        np.testing.assert_allclose(
            design.regression.fit(CANDIDATES[name].solve)[0, :-1], solver(pooled(gram)), atol=1e-9
        )


def test_best_single_is_chosen_without_the_held_out_fold() -> None:
    z = np.ones((4, 1, 2, 3))
    z[0, 0, 0], z[1:, 0, 0] = 10.0, 0.9  # member 0 is better everywhere but on the photo of fold 0
    regression = Regression(gram_of(z), np.arange(4), np.ones((4, 1, 1)))
    found = regression.run(unregularised(best_single)).coefficients[:, 0, :-1]
    np.testing.assert_array_equal(found, [[1, 0], [0, 1], [0, 1], [0, 1]])


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(2, 6), st.booleans())
@settings(max_examples=40, deadline=None)
def test_weights_of_any_sign_are_the_constrained_minimum(seed: int, K: int, intercept: bool) -> None:
    """With much data nothing is shrunk: then scipy must find the same minimum."""
    rng = np.random.default_rng(seed)
    z = residuals(rng, P=200, K=K, n=5) + (0.05 if intercept else 0.0)
    regression = Regression(gram_of(z), np.arange(200) % 5, np.ones((200, REGIONS, 1)))
    found = regression.fit(RidgeSolver(intercept=intercept))[0]
    flat = np.moveaxis(z, 2, 0).reshape(K, -1)

    def error(w: np.ndarray) -> float:
        return float(((w[:K] @ flat + (w[K] if intercept else 0.0)) ** 2).mean())

    constraint = {"type": "eq", "fun": lambda w: w[:K].sum() - 1.0}
    best = minimize(error, np.append(np.full(K, 1 / K), 0.0), constraints=constraint, options={"ftol": 1e-14})
    assert error(found) <= best.fun * (1 + 2e-4)
    assert bool(found[-1]) == intercept


def test_equal_members_get_equal_weights() -> None:
    """Where nothing tells members apart, fitted differences are noise, and are shrunk away."""
    rng = np.random.default_rng(6)
    z = rng.normal(0, 0.1, (12, REGIONS, 6, 1))
    ridge = Regression(gram_of(z), np.arange(12) % 3, np.ones((12, REGIONS, 1))).fit(RidgeSolver(intercept=False))[
        0, :-1
    ]
    free = np.linalg.solve(pooled(gram_of(z)), np.ones(6))
    free /= free.sum()
    assert np.abs(ridge - 1 / 6).max() < np.abs(free - 1 / 6).max()


def test_an_intercept_takes_a_common_bias_away() -> None:
    z = residuals(np.random.default_rng(7), P=100) + 0.2
    regression = Regression(gram_of(z), np.arange(100) % 5, np.ones((100, REGIONS, 1)))
    with_it, without = (regression.run(RidgeSolver(intercept=yes)) for yes in (True, False))
    assert with_it.sse.sum() < 0.5 * without.sse.sum()
    np.testing.assert_allclose(with_it.coefficients[:, 0, -1], -0.2, atol=0.03)


def test_features_find_what_the_best_member_depends_on() -> None:
    """Member 0 is good near the border, member 1 deep inside; member 2 is good on photos of much contrast."""
    rng = np.random.default_rng(8)
    P, features = 300, features_of(300)
    ring = np.repeat(np.arange(5), 3)
    noise = np.stack([0.02 + 0.05 * ring, 0.22 - 0.05 * ring, np.full(15, 0.15)])  # (K, R)
    scale = np.where(np.arange(3)[None] == 2, (0.2 / features.contrast)[:, None] ** 2, 1.0)
    z = rng.normal(size=(P, REGIONS, 3, 6)) * noise.T[None, :, :, None] * scale[:, None, :, None]
    designs = designs_of(gram_of(z), np.arange(P) % 5, features)
    errors = {}
    for name in ("simplex", "ridge", "features", "regions"):
        errors[name] = designs.of(CANDIDATES[name]).regression.run(CANDIDATES[name].solve).sse.sum()
    assert errors["features"] < 0.85 * errors["ridge"] and errors["regions"] < 0.85 * errors["simplex"]
    names = [term.name for term in designs.of(CANDIDATES["features"]).terms]
    assert names[0] == "one" and {"depth", "contrast", "size", "class:Cat", "channel:blue"} <= set(names)


def test_regions_that_are_alike_share_their_weights() -> None:
    """Regional deviations that are noise cost nothing: they are shrunk to the common weights."""
    z = residuals(np.random.default_rng(9), P=60, K=5, n=4)
    designs = designs_of(gram_of(z), np.arange(60) % 5)
    regions, ridge = (
        designs.of(CANDIDATES[name]).regression.run(CANDIDATES[name].solve).sse.sum() for name in ("regions", "ridge")
    )
    assert regions < 1.01 * ridge


def test_terms() -> None:
    features = PhotoFeatures(("Cat", "", "Dog"), np.array([64, 64, 64]), np.array([0.1, 0.2, 0.4]))
    counts = np.full((3, REGIONS), 10)
    terms = feature_terms(features, counts)
    assert "size" not in [term.name for term in terms]  # all holes are of one size: nothing depends on it
    values = term_values(terms, features, REGIONS)
    assert values.shape == (3, REGIONS, len(terms)) and np.isfinite(values).all()
    assert (values[..., 0] == 1).all()
    at = {term.name: place for place, term in enumerate(terms)}
    assert (values[1, :, at["class:Cat"]] == 0).all()  # of no known class: an average photo
    np.testing.assert_allclose(values[..., 1:].mean(axis=(0, 1)), 0.0, atol=1e-9)
    assert (np.diff(values[0, ::3, at["depth"]]) > 0).all()
    assert len(region_terms(REGIONS)) == 1 + REGIONS and len(region_terms(1)) == 1
    with pytest.raises(ValueError, match="not a term"):
        Term("nonsense").values(features, REGIONS)


def test_simplex_is_the_ladders_simplex() -> None:
    z = residuals(np.random.default_rng(10))
    weights = (
        designs_of(gram_of(z), np.arange(40) % 2).of(CANDIDATES["simplex"]).regression.fit(CANDIDATES["simplex"].solve)
    )
    np.testing.assert_allclose(weights[0, :-1], simplex(pooled(gram_of(z))), atol=1e-9)
