"""What is done with pixels is what the Grams say: every rung, applied to values, has the error that was fitted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.toy import Toy, noisy

from kit.blending import CANDIDATES, blend_test_values, blend_values, make_blend, nested_weights, read_blend
from kit.blending.evaluation.crossfit import crossfit
from kit.blending.weights.features import photo_features
from kit.blending.weights.mixing import checked_model, mix, plain_model
from kit.competitions import to_score_space
from kit.errors import DamagedStore, UnknownName
from kit.imaging.holes import RINGS, rings_of

pytestmark = pytest.mark.toy(
    photos=40,
    k=4,
    box=13,
    sources=[
        {"name": "harmonic", "predict": noisy(0.1, 0)},
        {"name": "mean", "predict": noisy(0.1, 1, blur=0.1)},
        {"name": "telea", "predict": noisy(0.1, 2, blur=0.2)},
        {"name": "unet", "noise": 0.09, "seed": 9, "by_fold": True},
    ],
)


def truths(toy: Toy) -> list[np.ndarray]:
    found = []
    for photo in range(len(toy.index.train)):
        found.append(to_score_space(toy.true_values("oof", photo), toy.pack.train_value_range[photo]))
    return found


def rmse_of(toy: Toy, values: list[np.ndarray], clip: bool = False) -> float:
    squares, count = 0.0, 0
    for photo, (one, y) in enumerate(zip(values, truths(toy), strict=True)):
        scored = to_score_space(one, toy.pack.train_estimated_range[photo])
        squares += float((((np.clip(scored, 0, 1) if clip else scored) - y) ** 2).sum())
        count += y.size
    return float(np.sqrt(squares / count))


@pytest.mark.slow
@pytest.mark.parametrize("rung", sorted(CANDIDATES))
def test_every_rung_applied_to_pixels_has_the_error_of_its_gram(toy: Toy, rung: str) -> None:
    blend = make_blend(toy.project, rung=rung)
    assert blend.rung == rung and blend.asked == rung
    values = blend_values(toy.project, blend, "oof")
    error = rmse_of(toy, [values(photo) for photo in range(len(toy.index.train))])
    assert error == pytest.approx(blend.in_sample, rel=1e-5)
    assert blend.in_sample <= blend.cv.value * (1 + 1e-6) or rung in ("mean", "bagged")
    assert read_blend(toy.workspace, blend.name) == blend
    found = list(blend_test_values(toy.project, blend))
    assert len(found) == 6 and all(np.isfinite(one).all() and one.dtype == np.float32 for one in found)
    assert sum(blend.weights.values()) == pytest.approx(1.0)


def test_an_unknown_rung_is_named(toy: Toy) -> None:
    with pytest.raises(UnknownName, match=r"no rung 'best'.*simplex"):
        make_blend(toy.project, rung="best")


def test_weights_under_a_stack_are_nested(toy: Toy) -> None:
    weights = nested_weights(toy.project, ["telea", "unet"])
    assert weights.shape == (4, 2)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)


# --- mixing ----------------------------------------------------------------------------------------------------------


def test_mixing_by_region_is_what_a_loop_would_do(toy: Toy) -> None:
    blend = make_blend(toy.project, rung="regions")
    recipe = blend.recipe
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=recipe.array.shape)
    photo_row, features = (
        toy.index.train[3],
        photo_features(toy.index.train, toy.pack.train_image, toy.pack.train_estimated_range).of(np.array([3])),
    )
    values = rng.random((4, photo_row.scored, 3)).astype(np.float32)
    span = np.array([0.5, 1.0, 0.8])
    weights = coefficients[0] + coefficients[1:]  # the common ones, and each region's own
    expected = np.empty((photo_row.scored, 3))
    for pixel, ring in enumerate(rings_of(photo_row.boxes, photo_row.height, photo_row.width)):
        for channel in range(3):
            w = weights[3 * ring + channel]
            expected[pixel, channel] = w[:-1] @ values[:, pixel, channel] + w[-1] * span[channel]
    np.testing.assert_allclose(mix(recipe, coefficients, values, photo_row, features, span), expected, rtol=1e-6)


def test_a_model_that_cannot_be_is_refused(toy: Toy) -> None:
    good = plain_model([0.25, 0.75])
    assert checked_model(good, 2) is good
    for weights, members in (([0.5, 0.6], 2), ([1.0], 2), ([np.nan, 1.0], 2)):
        with pytest.raises(ValueError, match=r"weights|coefficients"):
            checked_model(plain_model(weights), members)
    blend = make_blend(toy.project, rung="features", name="mine")
    path = toy.workspace.blend("mine")
    fields = json.loads(path.read_text())
    recipe = fields["recipe"]
    for damage in (
        {**recipe, "domain": "time"},
        {**recipe, "regions": 7},
        {**recipe, "coefficients": recipe["coefficients"][1:]},
        {**recipe, "terms": []},
        None,
        {},
    ):
        path.write_text(json.dumps({**fields, "recipe": damage}))
        with pytest.raises(DamagedStore, match=r"mine\.json is not a blend"):
            read_blend(toy.workspace, blend.name)


# --- errors of cross-fitted values -----------------------------------------------------------------------------------


def test_crossfit_measures_what_plain_numpy_does(toy: Toy) -> None:
    rng = np.random.default_rng(0)
    photos = np.array([1, 4, 5])
    values = {place: rng.normal(0.5, 0.4, (toy.index.train[photo].scored, 3)) for place, photo in enumerate(photos)}
    found = crossfit(toy.index.train, toy.pack, photos, values.__getitem__)
    for place, photo in enumerate(photos):
        photo_row, y = toy.index.train[photo], truths(toy)[photo]
        rings = rings_of(photo_row.boxes, photo_row.height, photo_row.width)
        for errors, value_range in (
            (found.clipped, toy.pack.train_estimated_range[photo]),
            (found.known, toy.pack.train_value_range[photo]),
        ):
            squares = (np.clip(to_score_space(values[place], value_range), 0, 1) - y) ** 2
            for ring in range(len(RINGS)):
                np.testing.assert_allclose(errors[place, ring], squares[rings == ring].sum(axis=0), atol=1e-12)
        np.testing.assert_array_equal(found.counts[place], np.bincount(rings, minlength=len(RINGS)))
