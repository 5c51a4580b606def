"""Weights from Grams, against independent references and the conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.grams import kkt_violation, slsqp_on_pixels

from kit.blending.weights.solvers import SOLVERS, best_single, climb, hill_climb, mean, simplex


@pytest.mark.parametrize("seed", range(20))
def test_simplex_equals_slsqp_on_the_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    K = int(rng.integers(2, 9))
    common = rng.normal(size=2000)
    z = 0.5 * common + rng.normal(size=(K, 2000)) * rng.uniform(0.3, 1.5, (K, 1)) + rng.normal(0, 0.1, (K, 1))
    weights = simplex(z @ z.T)
    np.testing.assert_allclose(weights, slsqp_on_pixels(z), atol=1e-6)


@st.composite
def grams(draw: st.DrawFn) -> np.ndarray:
    """Grams of 1 to 50 members, many of them singular: few pixels, copies, zeros, wild scales."""
    K = draw(st.integers(1, 50))
    n = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    z = rng.normal(size=(K, n)) + draw(st.sampled_from([0.0, 1.0, 30.0])) * rng.normal(size=n)
    kind = draw(st.sampled_from(["plain", "copies", "zero", "near copies", "scaled", "same"]))
    if kind == "copies":
        z = z[rng.integers(0, max(1, K // 3), K)]
    elif kind == "zero":
        z[rng.integers(0, K)] = 0.0
    elif kind == "near copies":
        z = z[:1] + 1e-7 * z
    elif kind == "scaled":
        z *= 10.0 ** rng.uniform(-2, 2, (K, 1))
    elif kind == "same":
        z = np.repeat(z[:1], K, axis=0)
    return z @ z.T * 10.0 ** draw(st.sampled_from([-12, 0, 9]))


@given(grams())
@settings(max_examples=400, deadline=None)
def test_simplex_satisfies_kkt(G: np.ndarray) -> None:
    weights = simplex(G)
    assert (weights >= 0.0).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert kkt_violation(G, weights) <= 1e-10


def test_kkt_violation_sees_weights_that_are_not_optimal() -> None:
    G = np.diag([1.0, 2.0, 3.0])
    optimal = np.array([6.0, 3.0, 2.0]) / 11
    assert kkt_violation(G, optimal) < 1e-15
    np.testing.assert_allclose(simplex(G), optimal)
    for other in (mean(G), best_single(G), simplex(G) + np.array([0.01, -0.01, 0.0])):
        assert kkt_violation(G, other) > 1e-3


@pytest.mark.slow
@given(grams())
@settings(max_examples=100, deadline=None)
def test_no_solver_is_better_than_simplex_nor_simplex_worse_than_the_best(G: np.ndarray) -> None:
    slack = 1e-9 * float(np.diagonal(G).min())
    errors = {name: float(w @ G @ w) for name, w in ((name, solver(G)) for name, solver in SOLVERS.items())}
    assert errors["simplex"] <= min(errors.values()) + slack
    assert errors["simplex"] <= float(np.diagonal(G).min()) + slack
    assert errors["hill-climb"] <= errors["single"] + slack


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_every_solver_gives_weights_that_sum_to_one(name: str) -> None:
    rng = np.random.default_rng(0)
    for K in (1, 2, 7, 50):
        z = rng.normal(size=(K, 200))
        weights = SOLVERS[name](z @ z.T)
        assert weights.shape == (K,) and weights.sum() == pytest.approx(1.0) and (weights >= 0).all()
        assert SOLVERS[name](np.zeros((K, K))).sum() == pytest.approx(1.0)


def test_best_single_takes_the_first_of_equals() -> None:
    np.testing.assert_array_equal(best_single(np.diag([2.0, 1.0, 1.0])), [0, 1, 0])
    np.testing.assert_array_equal(mean(np.eye(4)), [0.25] * 4)


@pytest.mark.parametrize("seed", range(5))
def test_hill_climbing_on_gram_matches_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(6, 500)) + 0.7 * rng.normal(size=500)
    path = climb(z @ z.T, steps=40)
    total = np.zeros(500)
    for step, (pick, error) in enumerate(zip(path.picks, path.errors, strict=True), 1):
        candidates = [float((((total + one) / step) ** 2).sum()) for one in z]
        assert pick == int(np.argmin(candidates))
        assert error == pytest.approx(candidates[pick], rel=1e-10)
        total += z[pick]
    best = path.best
    assert path.errors[best - 1] == pytest.approx(min(path.errors), rel=1e-11)
    counts = np.bincount(path.picks[:best], minlength=6) / best
    np.testing.assert_allclose(path.weights, counts)
    np.testing.assert_allclose(hill_climb(z @ z.T), climb(z @ z.T).weights)


def test_hill_climb_prefers_members_already_in() -> None:
    G = np.ones((3, 3))  # three identical members: every pick is a tie
    assert set(climb(G, steps=5).picks) == {0}
    np.testing.assert_array_equal(hill_climb(G), [1, 0, 0])
