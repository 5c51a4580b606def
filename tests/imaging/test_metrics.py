"""Scores against scikit-image and plain formulas; intervals that treat the photo as the sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import metrics as reference

from kit.errors import UnknownName
from kit.imaging.metrics import METRICS, Estimate, metric_named, resample_counts, rmse, score_by_photo, sse

values = arrays(np.float64, 12, elements=st.floats(0, 1, width=32))


@given(values, values)
def test_scores_are_those_of_scikit_image(a: np.ndarray, b: np.ndarray) -> None:
    assert rmse(a, b) == pytest.approx(np.sqrt(reference.mean_squared_error(b, a)), abs=1e-12)
    assert sse(a, b) == pytest.approx(12 * rmse(a, b) ** 2)


def test_rmse_is_zero_for_equal_arrays() -> None:
    a = np.linspace(0, 1, 7, dtype=np.float16)
    assert rmse(a, a) == 0.0


def test_a_difference_that_rounds_to_zero_has_no_sign() -> None:
    assert Estimate(-1e-9, -0.00051, 4e-6).signed == "0.00000 [-0.00051, 0.00000]"
    assert Estimate(0.00051, 6e-6, -0.0).signed == "+0.00051 [+0.00001, 0.00000]"


def test_sums_are_made_in_float64() -> None:
    a, b = np.full(200_000, 1.0, np.float16), np.zeros(200_000, np.float16)
    assert sse(a, b) == 200_000.0


def test_an_estimate_reads_as_value_and_interval() -> None:
    assert str(Estimate(0.16411, 0.16, 0.168)) == "0.1641 [0.1600, 0.1680]"


def test_groups_are_drawn_together_and_every_draw_has_as_many_groups() -> None:
    groups = np.array([5, 5, 7, 9, 9, 9])
    counts = resample_counts(groups, 500, 0)
    assert counts.shape == (500, 6)
    np.testing.assert_array_equal(counts[:, 0], counts[:, 1])
    np.testing.assert_array_equal(counts[:, 3], counts[:, 5])
    np.testing.assert_array_equal(counts[:, [0, 2, 3]].sum(axis=1), 3)
    assert counts.mean() == pytest.approx(1.0, abs=0.05)
    np.testing.assert_array_equal(counts, resample_counts(groups, 500, 0))


def test_the_interval_covers_the_value_and_widens_with_groups() -> None:
    rng = np.random.default_rng(1)
    errors, counts = np.repeat(rng.gamma(2, 1, 40), 5), np.full(200, 10)
    alone = score_by_photo(errors, counts, np.arange(200))
    together = score_by_photo(errors, counts, np.repeat(np.arange(40), 5))
    assert alone.value == together.value == pytest.approx(np.sqrt(errors.sum() / 2000))
    assert together.low < alone.low < alone.value < alone.high < together.high


def test_one_photo_has_an_interval_without_width() -> None:
    estimate = score_by_photo(np.array([4.0]), np.array([16]), np.array([0]))
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.5, 0.5)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        errors = rng.gamma(2, 0.5, 60)  # mean 1
        estimate = score_by_photo(errors, np.ones(60), np.arange(60), draws=200)
        hits += estimate.low <= 1.0 <= estimate.high
    assert 175 <= hits <= 198


@pytest.mark.parametrize("name", [one.name for one in METRICS.values() if one.of != "pictures"])
def test_a_metric_of_parts_is_that_of_all_values(name: str) -> None:
    """Against the definition, on photos of several sizes."""
    rng = np.random.default_rng(1)
    photos = [rng.normal(0, 0.1, (size, 3)) for size in (5, 40, 200)]
    metric = metric_named(name)
    errors, counts = np.array([metric.errors(one) for one in photos]), np.array([one.size for one in photos])
    every = np.concatenate(photos)
    expected = {
        "rmse": np.sqrt(np.mean(every**2)),
        "mse": np.mean(every**2),
        "mae": np.mean(np.abs(every)),
        "psnr": np.mean([-10 * np.log10(np.mean(one**2)) for one in photos]),
    }[name]
    found = score_by_photo(errors, counts, np.arange(3), metric=metric)
    assert found.value == pytest.approx(expected) and found.low < found.value < found.high
    better = metric.value(*(part.sum() for part in metric.statistics(errors / 2, counts)))
    assert metric.is_better(float(better), found.value) and not metric.is_better(found.value, float(better))
    assert float(metric.gain(np.asarray(found.value), better)) > 0
    perfect = metric.value(*(part.sum() for part in metric.statistics(np.zeros(3), counts)))
    assert perfect == (100.0 if name == "psnr" else 0.0)


def test_a_metric_that_is_not_there_is_told() -> None:
    with pytest.raises(UnknownName, match="There is no metric 'fid'"):
        metric_named("fid")


def test_a_metric_of_pictures_is_the_mean_of_those_that_hide_something() -> None:
    metric = metric_named("ssim")
    found = score_by_photo(np.array([0.8, 0.0, 0.6]), np.array([30, 0, 3]), np.arange(3), metric=metric)
    assert found.value == pytest.approx(0.7)
    assert metric.is_better(0.8, 0.7) and not metric_named("lpips").is_better(0.8, 0.7)
