"""The m-curve and the shrinking of the mean toward a fill."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from support.toy import Toy, make_toy_workspace, write_toy_source

from kit.blending import score_sources
from kit.core.storage import write_json
from kit.data.fill_sources import make_fill_source
from kit.data.project import Project
from kit.errors import UsageError
from kit.imaging.holes import Box, scored_count, scored_pixels
from kit.pretrained.diffusion.curve import Curve, pair_terms
from kit.pretrained.diffusion.samples import mean_and_spread
from kit.pretrained.diffusion.shrink_to_fill import SIGMAS, ShrinkToFill, best_shrink, blurred, photo_sums
from kit.pretrained.diffusion.shrunk_source import ShrunkSourceWriter

# --- the m-curve --------------------------------------------------------------


def test_the_curve_is_the_mean_over_all_choices_of_samples() -> None:
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(5, 7, 3)) + rng.normal(size=(7, 3))
    shared, own = pair_terms(errors)
    for m in range(1, 6):
        chosen = [np.sum(errors[list(some)].mean(0) ** 2) for some in itertools.combinations(range(5), m)]
        assert shared + own / m == pytest.approx(np.mean(chosen))


def test_the_mean_of_m_posterior_samples_has_1_plus_1_over_m_times_the_least_squared_error() -> None:
    """A Gaussian field whose posterior is known: the squared error of its mean is the least there is."""
    rng = np.random.default_rng(1)
    size, hidden, photos, samples = 24, 8, 1500, 4
    place = np.arange(size)
    covariance = np.exp(-np.abs(place[:, None] - place) / 6)
    known = np.r_[0:8, 16:24]
    hole = np.r_[8:16]
    gain = covariance[np.ix_(hole, known)] @ np.linalg.inv(covariance[np.ix_(known, known)])
    posterior = covariance[np.ix_(hole, hole)] - gain @ covariance[np.ix_(known, hole)]
    least = np.trace(posterior)
    fields = rng.multivariate_normal(np.zeros(size), covariance, photos, method="cholesky")
    means = fields[:, known] @ gain.T
    drawn = means + rng.multivariate_normal(np.zeros(hidden), posterior, (samples, photos), method="cholesky")
    terms = np.array([pair_terms(drawn[:, photo] - fields[photo, hole]) for photo in range(photos)])
    curve = Curve(samples, photos, *terms.T, np.full(photos, hidden), np.arange(photos))
    for m in (1, 2, 3, 4, 8):
        law = np.sqrt((1 + 1 / m) * least / hidden)
        assert curve.rmse(m).low < law < curve.rmse(m).high, m
        assert curve.rmse(m).value == pytest.approx(law, rel=0.03)
    assert curve.limit.value == pytest.approx(np.sqrt(least / hidden), rel=0.03)
    assert curve.ratio == pytest.approx(1, abs=0.06)
    mean, spread = mean_and_spread(drawn[:, 0, :, None])
    assert mean.shape == spread.shape == (hidden, 1)
    error = (drawn.mean(0) - fields[:, hole]) ** 2  # on fresh fields, without the algebra
    assert error.sum(1).mean() == pytest.approx((1 + 1 / samples) * least, rel=0.05)


def test_a_limit_that_is_estimated_below_zero_is_zero() -> None:
    curve = Curve(2, 3, np.array([-1.0, 0.5, 0.1]), np.ones(3), np.full(3, 3), np.arange(3))
    assert curve.limit.value == 0 and curve.ratio == float("inf")


# --- shrinking ----------------------------------------------------------------


def test_the_weight_is_the_least_squares_solution_and_sums_are_exact() -> None:
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 1.5, 2.0])
    total, pieces = None, []
    for _ in range(4):
        boxes = [Box(4, 5, 10, 10), Box(9, 10, 10, 10)]
        count = scored_count(boxes)
        difference, missing = rng.normal(size=(count, 3)).astype(np.float32), rng.normal(size=(count, 3))
        missing += 0.4 * difference * scale
        smooth = blurred(difference, boxes, 32, 32)
        pieces.append((smooth * scale, missing))
        sums = photo_sums(smooth, missing, scale)
        total = sums if total is None else total + sums
    assert total is not None
    shrink = best_shrink("harmonic", total)
    errors = {}
    for number, sigma in enumerate(SIGMAS):
        x = np.concatenate([piece[0][number].reshape(-1) for piece in pieces])
        y = np.concatenate([piece[1].reshape(-1) for piece in pieces])
        weight = max(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0], 0)
        errors[sigma] = np.sum((y - weight * x) ** 2)
        if sigma == shrink.sigma:
            assert shrink.weight == pytest.approx(weight)
    assert errors[shrink.sigma] == min(errors.values()) <= total.fill
    assert total.squared_errors(np.zeros(len(SIGMAS)))[0] == pytest.approx(total.fill)


def test_without_a_blur_and_with_weight_one_the_mean_is_as_it_was() -> None:
    rng = np.random.default_rng(0)
    boxes = [Box(1, 2, 10, 10), Box(6, 7, 10, 10)]
    fill, smooth = rng.random((200, 3)).astype(np.float32), rng.random((32, 32, 3)).astype(np.float32)
    mean = smooth[scored_pixels(boxes)]
    fill = smooth[::-1][scored_pixels(boxes)]
    assert np.allclose(ShrinkToFill("x", 0.0, 1.0)(mean, fill, boxes, 32, 32), mean, atol=1e-6)
    assert np.array_equal(ShrinkToFill("x", 3.0, 0.0)(mean, fill, boxes, 32, 32), fill)


def test_shrinking_is_nothing_where_the_samples_say_nothing() -> None:
    boxes = [Box(1, 2, 10, 10)]
    zero = np.zeros((100, 3), np.float32)
    shrink = best_shrink("mean", photo_sums(blurred(zero, boxes, 32, 32), np.ones((100, 3)), np.ones(3)))
    assert shrink.weight == 0


# --- the source NAME-shrunk ---------------------------------------------------


def shrunk(toy: Toy) -> list[tuple[int, ShrinkToFill, bool]]:
    return ShrunkSourceWriter(Project(toy.workspace), "x", "kit sd").write()


def test_a_noisy_mean_is_drawn_toward_the_best_fill_and_beats_both(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path / "w", photos=24, test=3, size=32)
    write_toy_source(toy, "x-mean", noise=0.15)
    for name in ("mean", "harmonic"):
        make_fill_source(toy.project, name)
    found = shrunk(toy)
    assert [fold for fold, _, _ in found] == [0, 1, 2] and all(fresh for _, _, fresh in found)
    assert all(shrink.fill == "harmonic" and 0 < shrink.weight < 1.5 for _, shrink, _ in found)
    scores = {score.name: score.score for score in score_sources(toy.project)}
    assert scores["x-shrunk"].value < min(scores["x-mean"].value, scores["harmonic"].value)
    assert Project(toy.workspace).predictions.read("x-shrunk", "test").places.shape == (3, 3, 2)
    assert not any(fresh for _, _, fresh in shrunk(toy))
    write_toy_source(toy, "x-mean", noise=0.1)
    assert all(fresh for _, _, fresh in shrunk(toy))


def test_what_is_fitted_for_a_fold_does_not_see_its_photos(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path / "w", photos=24, test=3, size=32)
    write_toy_source(toy, "x-mean", noise=0.15)
    make_fill_source(toy.project, "harmonic")
    before = [shrink for _, shrink, _ in shrunk(toy)]
    path = toy.workspace.pack / "train_target.npy"
    targets = np.load(path)
    targets[toy.folds.valid_positions(1)] ^= 255
    np.save(path, targets)
    after = [shrink for _, shrink, _ in shrunk(toy)]
    assert after[1] == before[1] and after[0] != before[0] and after[2] != before[2]


def test_a_name_of_another_source_is_not_overwritten(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path / "w", photos=6, test=2, size=32, k=2)
    write_toy_source(toy, "x-mean", noise=0.15)
    write_json(toy.workspace.run("x-shrunk", 0) / "experiment.json", {})
    with pytest.raises(UsageError, match="x-shrunk is the name of a trained experiment"):
        shrunk(toy)
