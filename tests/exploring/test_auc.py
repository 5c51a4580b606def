"""The area under the curve against its definition, its error against repetition, and groups as one."""

from __future__ import annotations

import numpy as np
import pytest

from kit.exploring.auc import area_by_group, is_credible


def by_definition(scores: np.ndarray, of_test: np.ndarray) -> float:
    """Every pair, ties half."""
    test, train = scores[of_test][:, None], scores[~of_test]
    return float(((test > train) + 0.5 * (test == train)).mean())


def drawn(seed: int, trains: int = 60, tests: int = 25, shift: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    of_test = np.arange(trains + tests) >= trains
    return np.round(rng.normal(size=trains + tests) + shift * of_test, 1), of_test  # rounded: ties


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_the_share_of_pairs_and_scikit_learn_s(seed: int) -> None:
    scores, of_test = drawn(seed)
    found = area_by_group(scores, of_test, np.arange(len(scores))).estimate
    assert found.value == pytest.approx(by_definition(scores, of_test), abs=1e-12)
    metrics = pytest.importorskip("sklearn.metrics")
    assert found.value == pytest.approx(metrics.roc_auc_score(of_test, scores), abs=1e-12)
    assert found.low < found.value < found.high


def test_photos_without_kin_have_the_error_of_delong() -> None:
    scores, of_test = drawn(1)
    test, train = scores[of_test], scores[~of_test]
    kernel = (test[:, None] > train) + 0.5 * (test[:, None] == train)
    expected = np.sqrt(kernel.mean(1).var(ddof=1) / len(test) + kernel.mean(0).var(ddof=1) / len(train))
    area = area_by_group(scores, of_test, np.arange(len(scores)))
    assert area.distance == pytest.approx((area.estimate.value - 0.5) / expected, rel=0.35)
    from scipy.stats import t

    half = (area.estimate.high - area.estimate.low) / 2
    assert half == pytest.approx(expected * t.ppf(0.975, len(scores) - 1), rel=0.01)


def test_photos_that_are_there_four_times_tell_no_more_than_once() -> None:
    scores, of_test = drawn(2)
    once = area_by_group(scores, of_test, np.arange(len(scores)))
    copied = [np.tile(one, 4) for one in (scores, of_test, np.arange(len(scores)))]
    together = area_by_group(*copied)  # type: ignore[arg-type]
    apart = area_by_group(copied[0], copied[1], np.arange(len(copied[0])))
    assert together.estimate.value == pytest.approx(once.estimate.value, abs=1e-12)
    assert together.estimate.high == pytest.approx(once.estimate.high, abs=0.003)
    assert apart.estimate.high < once.estimate.high - 0.02


def test_the_interval_holds_the_truth_in_nineteen_of_twenty() -> None:
    from scipy.special import ndtr

    truth = float(ndtr(0.5 / np.sqrt(2)))
    held = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        of_test = np.arange(120) >= 80
        found = area_by_group(rng.normal(size=120) + 0.5 * of_test, of_test, np.arange(120)).estimate
        held.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(held) <= 0.98


def test_only_photos_of_one_stratum_are_compared() -> None:
    scores = np.array([0.0, 1.0, 100.0, 101.0])
    of_test = np.array([False, True, True, False])
    strata = np.array([0, 0, 1, 1])
    assert area_by_group(scores, of_test, np.arange(4), strata=strata).estimate.value == 0.5
    assert area_by_group(scores, of_test, np.arange(4)).estimate.value == 0.5  # 1 > 0, 100 > 0; 1, 100 < 101
    assert area_by_group(scores[:2], of_test[:2], np.arange(2)).estimate.value == 1.0


def test_few_photos_are_not_credible_however_clear_and_equal_numbers_never() -> None:
    scores, of_test = np.arange(10.0), np.arange(10) >= 5
    few = area_by_group(scores, of_test, np.arange(10))
    assert few.estimate.value == 1.0 and not is_credible(few.distance, few.groups, 46)
    same = area_by_group(np.zeros(10), of_test, np.arange(10))
    assert (same.estimate.value, same.distance) == (0.5, 0.0)
    many = area_by_group(np.arange(200.0), np.arange(200) >= 100, np.arange(200))
    assert is_credible(many.distance, many.groups, 46)


def test_one_in_twenty_sets_of_questions_finds_something_by_chance() -> None:
    of_test = np.arange(150) >= 100
    false = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        areas = [area_by_group(rng.normal(size=150), of_test, np.arange(150)) for _ in range(10)]
        false += any(is_credible(area.distance, area.groups, len(areas)) for area in areas)
    assert false / 200 < 0.1
