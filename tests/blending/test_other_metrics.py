"""Blends by MAE, PSNR and SSIM: scores against plain formulas, and weights that beat those of least squares by them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from skimage.metrics import structural_similarity
from support.grams import gram_of
from support.toy import Toy, write_toy_source

from kit.blending import blend_oof_values, blend_values, make_blend, read_blend, score_sources
from kit.blending.evaluation.pixels import source_errors
from kit.blending.grams.cache import cached_gram
from kit.blending.weights.candidates import CANDIDATES, DIRECT
from kit.blending.weights.direct import ByAbsolutes, ByDecibels
from kit.competitions import Competition
from kit.data.project import Project
from kit.errors import Mismatch, UnknownName
from kit.imaging.holes import scored_pixels
from kit.imaging.metrics import METRICS

OTHERS = ("mae", "psnr", "ssim")


class Graded(Project):
    """A project of another metric."""

    metric = "rmse"

    @property
    def layout(self) -> Competition:
        return replace(super().layout, metric=self.metric)


@pytest.fixture
def filled(toy: Toy) -> Toy:
    """Return a toy competition with three sources."""
    for name, noise in (("fine", 0.05), ("rough", 0.1), ("wild", 0.2)):
        write_toy_source(toy, name, noise=noise)
    return toy


@pytest.fixture
def graded(filled: Toy, request: pytest.FixtureRequest) -> Iterator[Graded]:
    project = Graded(filled.workspace)
    project.metric = request.param
    yield project


def truth_and_oof(project: Project, values: np.ndarray, photo: int) -> tuple[np.ndarray, np.ndarray]:
    """Return hidden values of truth and prediction in score space."""
    low, high = np.asarray(project.pack.train_estimated_range[photo])
    true_low, true_high = np.asarray(project.pack.train_value_range[photo])
    row = project.index.train[photo]
    truth = np.asarray(project.pack.train_target[photo])[scored_pixels(row.boxes)] / 255.0
    return (truth - true_low) / (true_high - true_low), (values - low) / (high - low)


def by_hand(project: Project, metric: str, photo: int, values: np.ndarray) -> float:
    """Return a photo's mean absolute error, or its PSNR or SSIM."""
    truth, found = truth_and_oof(project, values.astype(np.float64), photo)
    if metric == "mae":
        return float(np.abs(found - truth).mean())
    if metric == "psnr":
        return float(-10 * np.log10(np.square(found - truth).mean()))
    row = project.index.train[photo]
    whole = np.asarray(project.pack.train_target[photo]) / 255.0
    filled = whole.copy()
    filled[scored_pixels(row.boxes)] = values.clip(0, 1)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(whole, filled, data_range=1.0, channel_axis=2, **options))


@pytest.mark.parametrize("graded", OTHERS, indirect=True)
def test_sources_are_scored_by_it(graded: Graded) -> None:
    sign = -1 if METRICS[graded.metric].higher_is_better else 1
    scores = [one for one in score_sources(graded) if one.complete]
    for one in scores:
        oof = graded.predictions.read(one.name, "oof")
        photos = [by_hand(graded, graded.metric, photo, oof.values(photo)) for photo in range(len(graded.index.train))]
        assert one.score is not None and one.score.value == pytest.approx(np.mean(photos), rel=1e-5)  # boxes are alike
    values = [sign * one.score.value for one in scores if one.score]
    assert values == sorted(values) and len(values) > 2


@pytest.mark.parametrize("graded", OTHERS, indirect=True)
def test_a_blend_is_selected_and_scored_by_it(graded: Graded) -> None:
    metric = METRICS[graded.metric]
    blend = make_blend(graded, name=f"by-{graded.metric}")
    rungs = [row.rung for row in blend.ladder]
    assert set(rungs) == {*CANDIDATES, DIRECT} and rungs.index(DIRECT) == rungs.index("ridge") + 1
    of_rung = {row.rung: row.cv.value for row in blend.ladder}
    values = blend_oof_values(graded, blend)
    photos = [by_hand(graded, graded.metric, photo, values(photo)) for photo in range(blend.photos)]
    assert blend.cv.value == pytest.approx(np.mean(photos), rel=1e-5) == of_rung[blend.rung]
    best = max if metric.higher_is_better else min
    assert blend.best_single == best(blend.members, key=lambda row: row.cv.value).name
    assert read_blend(graded.workspace, blend.name) == blend
    assert metric.gain(np.asarray(blend.best_single_cv.value), np.asarray(blend.cv.value)) >= 0
    again = make_blend(graded, name="again")
    assert replace(again, name=blend.name) == blend  # samples and cache make no difference


def test_errors_on_disk_are_those_of_the_pass(filled: Toy) -> None:
    gram = cached_gram(filled.project, ["fine", "rough"])
    first = source_errors(filled.project, gram, METRICS["mae"])
    files = sorted((filled.workspace.blends / ".cache").glob("*.npy"))
    np.testing.assert_array_equal(source_errors(filled.project, gram, METRICS["mae"]), first)
    for path in files:
        path.write_bytes(b"cut")
    np.testing.assert_array_equal(source_errors(filled.project, gram, METRICS["mae"], workers=1), first)
    assert files and all(path.stat().st_size > 100 for path in files)


def test_direct_is_no_rung_where_least_squares_are_the_metric(toy: Toy) -> None:
    with pytest.raises(UnknownName, match="no rung 'direct'"):
        make_blend(toy.project, rung="direct")


def test_the_least_absolute_error_is_that_of_linear_programming() -> None:
    rng = np.random.default_rng(0)
    truth = rng.laplace(0, 1, 400)
    residuals = np.stack([truth * 0.3 + rng.laplace(0, scale, 400) for scale in (0.4, 0.6, 1.0)], axis=1)
    found = ByAbsolutes(residuals.astype(np.float32), np.zeros(400))(np.full(3, 1 / 3), [0], np.arange(3))
    N = len(residuals)
    program = linprog(  # minimise sum t where -t <= R w <= t and sum w = 1
        np.r_[np.zeros(3), np.ones(N)],
        A_ub=np.block([[residuals, -np.eye(N)], [-residuals, -np.eye(N)]]),
        b_ub=np.zeros(2 * N),
        A_eq=np.r_[np.ones(3), np.zeros(N)][None],
        b_eq=[1.0],
        bounds=[(None, None)] * 3 + [(0, None)] * N,
    )
    assert found.sum() == pytest.approx(1.0)
    assert np.abs(residuals @ found).sum() == pytest.approx(program.fun, rel=1e-4)


def test_the_best_decibels_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    loud = rng.gamma(1.0, 1.0, 30)[:, None, None]  # photos of very different errors
    z = loud * rng.normal(0, [0.2, 0.3, 0.5], (30, 50, 3)) + 0.05 * rng.normal(0, 1, (30, 50, 1))
    gram = gram_of(z.transpose(0, 2, 1)[:, None])  # one region
    fold = np.zeros(30, int)
    start = np.full(3, 1 / 3)
    found = ByDecibels(gram, fold)(start, [0], np.arange(3))

    def cost(step: np.ndarray) -> float:
        weights = np.array([*step, 1 - step.sum()])
        return float(np.log(np.einsum("pkl,k,l->p", gram.products, weights, weights)).mean())

    plain = minimize(cost, start[:2], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
    assert cost(found[:2]) == pytest.approx(plain.fun, abs=1e-6) and cost(found[:2]) < cost(start[:2])


def test_a_blend_by_another_metric_is_not_taken_for_one_by_this(filled: Toy) -> None:
    made = make_blend(filled.project, name="by-rmse")
    assert "metric" not in json.loads(filled.workspace.blend("by-rmse").read_text())  # as it always was
    other = Graded(filled.workspace)
    other.metric = "mae"
    with pytest.raises(Mismatch, match=r"by-rmse was chosen by RMSE, and here MAE counts\. Run: kit blend"):
        blend_values(other, made, "test")
    by_mae = make_blend(other, name="by-mae")
    assert read_blend(filled.workspace, "by-mae").metric == by_mae.metric == "mae"
    with pytest.raises(Mismatch, match="chosen by MAE, and here RMSE"):
        blend_values(filled.project, by_mae, "test")
