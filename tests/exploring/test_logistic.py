"""The small logistic regression against scikit-learn's, and what it says of features that mean nothing."""

from __future__ import annotations

import numpy as np
import pytest

from kit.exploring.auc import area_by_group
from kit.exploring.logistic import fit, scores, scores_out_of_fold


def drawn(seed: int, photos: int = 300, features: int = 6, shift: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    of_test = rng.random(photos) < 0.2
    found = rng.normal(size=(photos, features))
    found[:, 0] += shift * of_test
    return found, of_test


@pytest.mark.parametrize("penalty", [0.1, 1.0, 100.0])
def test_coefficients_are_scikit_learn_s(penalty: float) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    features, of_test = drawn(0)
    theirs = linear.LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(features, of_test)
    mine = fit(features, of_test, penalty)
    np.testing.assert_allclose(mine, np.r_[theirs.intercept_, theirs.coef_[0]], atol=1e-5)
    np.testing.assert_allclose(scores(features, mine), theirs.decision_function(features), atol=1e-4)


def test_sides_that_do_not_touch_still_have_an_answer() -> None:
    features = np.r_[np.full((20, 1), -1.0), np.full((20, 1), 1.0)]
    found = fit(features, np.arange(40) >= 20, 1.0)
    assert np.isfinite(found).all() and found[1] > 1


def test_a_shift_is_found_out_of_fold_and_so_is_another_spread() -> None:
    features, of_test = drawn(1)
    fold = np.arange(len(of_test)) % 5
    odds = scores_out_of_fold(features, of_test, fold)
    assert area_by_group(odds, of_test, np.arange(len(odds)), strata=fold).estimate.low > 0.55
    features, of_test = drawn(2, photos=600, shift=0.0)
    features[of_test, 3] *= 3  # the same mean: only its square tells
    odds = scores_out_of_fold(features, of_test, np.arange(600) % 5)
    assert area_by_group(odds, of_test, np.arange(600), strata=np.arange(600) % 5).estimate.low > 0.55


def test_features_without_meaning_tell_nothing() -> None:
    values = []
    for seed in range(12):
        features, of_test = drawn(seed, shift=0.0)
        fold = np.arange(len(of_test)) % 5
        odds = scores_out_of_fold(features, of_test, fold)
        values.append(area_by_group(odds, of_test, np.arange(len(odds)), strata=fold).estimate.value)
    assert 0.44 < np.mean(values) < 0.54


def test_what_is_missing_or_far_out_decides_nothing() -> None:
    features, of_test = drawn(3)
    features[5, 2], features[7, :] = np.nan, np.nan
    features[9, 1] = 1e12
    features[:, 4] = 2.5  # says nothing
    odds = scores_out_of_fold(features, of_test, np.arange(len(of_test)) % 5)
    assert np.isfinite(odds).all() and np.abs(odds).max() < 100
