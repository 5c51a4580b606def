"""Intervals by photo, on Grams made from arrays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit

from kit.blending.evaluation.intervals import Bootstrap, resampled_totals, residual_correlation
from kit.blending.grams.residual_gram import ResidualGram
from kit.imaging.metrics import interval, resample_counts, score_by_photo, student_quantile


def gram_of(z: np.ndarray) -> ResidualGram:
    """The Gram of residuals `(P, K, n)`."""
    P, K, n = z.shape
    names = tuple(f"m{k}" for k in range(K))
    products, sums, counts = (z @ z.transpose(0, 2, 1))[:, None], z.sum(axis=2)[:, None], np.full((P, 1), n)
    return ResidualGram(names, names, np.arange(P), products, sums, counts)


def members(rng: np.random.Generator, P: int = 40, K: int = 4, n: int = 30) -> np.ndarray:
    """Residuals that share a part, and differ by photo and by value."""
    shared = rng.normal(0, 0.1, (P, 1, n))
    return shared + rng.normal(0, 0.05, (P, K, 1)) + rng.normal(0, 0.1, (P, K, n)) * np.linspace(0.8, 1.4, K)[:, None]


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 57, 600, 2039, 100_000])
def test_the_quantile_of_students_t_is_scipys(freedom: int) -> None:
    assert student_quantile(freedom) == pytest.approx(stdtrit(freedom, 0.975), rel=1e-10)


# --- intervals -------------------------------------------------------------------------------------------------------


def test_resampled_totals_are_those_of_the_counts() -> None:
    rng = np.random.default_rng(0)
    statistics, groups = rng.random((30, 4)), rng.integers(0, 17, 30)
    totals = resampled_totals(statistics, groups, 230, seed=3)
    np.testing.assert_allclose(totals, resample_counts(groups, 230, 3) @ statistics)


def test_bootstrap_equals_score_by_photo() -> None:
    rng = np.random.default_rng(1)
    sse, counts, groups = rng.random(25), rng.integers(50, 90, 25), np.arange(25) // 2
    mine = Bootstrap({"a": sse}, counts, groups, seed=5).estimate("a")
    reference = score_by_photo(sse, counts, groups, seed=5)
    assert (mine.value, mine.low, mine.high) == pytest.approx((reference.value, reference.low, reference.high))


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(2)
    hard = rng.gamma(1.0, 1.0, 60)  # photos differ much, the two weightings by a hundredth
    bootstrap = Bootstrap({"a": hard * 1.02, "b": hard}, np.full(60, 10), np.arange(60))
    difference = bootstrap.difference("a", "b")
    assert 0 < difference.low < difference.value < difference.high
    own = bootstrap.estimate("a")
    assert difference.high - difference.low < 0.05 * (own.high - own.low)
    none = bootstrap.difference("a", "a")
    assert (none.low, none.value, none.high) == (0.0, 0.0, 0.0)


def test_duplicates_widen_the_interval() -> None:
    sse = np.repeat(np.random.default_rng(3).gamma(1.0, 1.0, 20), 5)
    counts = np.full(100, 10)
    apart = Bootstrap({"a": sse}, counts, np.arange(100)).estimate("a")
    together = Bootstrap({"a": sse}, counts, np.arange(100) // 5).estimate("a")
    assert together.value == apart.value
    assert together.high - together.low > 1.7 * (apart.high - apart.low)


def test_intervals_cover_the_truth() -> None:
    """95 % intervals of a score and of a paired difference, over simulated sets of 80 groups of photos."""
    rng = np.random.default_rng(4)
    truth = np.sqrt(4.0), np.sqrt(4.0) - np.sqrt(3.0)  # mean squared errors 4 and 3 a value
    hits = np.zeros(2)
    repeats = 300
    for _ in range(repeats):
        hard = np.repeat(rng.gamma(4.0, 1.0, 80), 2)  # two photos a group, equally hard
        sse = {"a": hard * 10, "b": 10 * 0.75 * hard * rng.gamma(50, 1 / 50, 160)}
        bootstrap = Bootstrap(sse, np.full(160, 10), np.arange(160) // 2, draws=400, seed=int(rng.integers(1 << 30)))
        for place, found in enumerate((bootstrap.estimate("a"), bootstrap.difference("a", "b"))):
            hits[place] += found.low <= truth[place] <= found.high
    assert ((hits / repeats >= 0.92) & (hits / repeats <= 0.98)).all()


def test_residual_correlation_equals_numpy() -> None:
    z = members(np.random.default_rng(5)) + 0.3
    flat = z.transpose(1, 0, 2).reshape(z.shape[1], -1)
    np.testing.assert_allclose(residual_correlation(gram_of(z)), np.corrcoef(flat), atol=1e-9)


def test_a_constant_residual_has_no_correlation() -> None:
    z = members(np.random.default_rng(6), K=2)
    z[:, 0] = 0.25
    np.testing.assert_array_equal(residual_correlation(gram_of(z)), np.eye(2))
    np.testing.assert_array_equal(residual_correlation(gram_of(np.zeros((3, 2, 4)))), np.eye(2))


def test_few_groups_widen_the_interval() -> None:
    drawn = np.random.default_rng(7).normal(0.0, 1.0, 1000)
    few, many = interval(0.0, drawn, 5), interval(0.0, drawn, 5000)
    assert few.high - few.low > 1.5 * (many.high - many.low)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (many.low, many.high) == pytest.approx((low, high), rel=1e-3)
