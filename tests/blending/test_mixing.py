"""What is done with pixels is what the Grams say: every rung, applied to values, has the error that was fitted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from support.toy import Toy, make_toy_workspace, noisy, write_toy_source

from kit.blending import RUNGS, Blend, blend_test_values, blend_values, make_blend, nested_weights, read_blend
from kit.blending.evaluation.crossfit import Crossfit, crossfit
from kit.blending.extremes import ExtremesRule, errors_by, fit_extremes, nested_extremes
from kit.blending.grams.bands import BANDS, band_gram, bands_of, boxes_of, from_frequencies, to_frequencies
from kit.blending.grams.residual_gram import residual_gram
from kit.blending.weights.features import photo_facts
from kit.blending.weights.mixing import checked_recipe, mix, plain_recipe
from kit.competitions import to_score_space
from kit.data.prediction_store import read_predictions
from kit.errors import DamagedStore, UnknownName
from kit.imaging.holes import RINGS, rings_of, scored_pixels


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    toy = make_toy_workspace(tmp_path, photos=40, test=6, k=4, box=13)
    for number, name in enumerate(("harmonic", "mean", "telea")):
        write_toy_source(toy, name, 0.1 + 0.03 * number, seed=number, predict=noisy(0.1, number, blur=0.1 * number))
    write_toy_source(toy, "unet", 0.09, seed=9, by_fold=True)
    return toy


def truths(toy: Toy) -> list[np.ndarray]:
    found = []
    for photo, sample in enumerate(toy.index.train):
        truth = toy.pack.train_target[photo][scored_pixels(sample.boxes)] / 255.0
        found.append(to_score_space(truth, toy.pack.train_extremes[photo]))
    return found


def rmse_of(toy: Toy, values: list[np.ndarray], clip: bool = False) -> float:
    squares, count = 0.0, 0
    for photo, (one, y) in enumerate(zip(values, truths(toy), strict=True)):
        scored = to_score_space(one, toy.pack.train_estimated[photo])
        squares += float((((np.clip(scored, 0, 1) if clip else scored) - y) ** 2).sum())
        count += y.size
    return float(np.sqrt(squares / count))


@pytest.mark.parametrize("rung", sorted(RUNGS))
def test_every_rung_applied_to_pixels_has_the_error_of_its_gram(toy: Toy, rung: str) -> None:
    blend = make_blend(*toy.parts, rung=rung)
    assert blend.rung == rung and blend.asked == rung
    values = blend_values(*toy.parts, _with_rule(blend, 0.0, 0.0), "oof")
    error = rmse_of(toy, [values(photo) for photo in range(len(toy.index.train))])
    assert error == pytest.approx(blend.in_sample, rel=1e-5)
    assert blend.in_sample <= blend.cv.value * (1 + 1e-6) or rung in ("mean", "bagged")
    assert read_blend(toy.workspace, blend.name) == blend
    found = list(blend_test_values(*toy.parts, blend))
    assert len(found) == 6 and all(np.isfinite(one).all() and one.dtype == np.float32 for one in found)
    assert sum(blend.weights.values()) == pytest.approx(1.0)


def _with_rule(blend: Blend, beyond: float, room: float) -> Blend:
    return dataclasses.replace(blend, extremes=dataclasses.replace(blend.extremes, beyond=beyond, room=room))


def test_an_unknown_rung_is_named(toy: Toy) -> None:
    with pytest.raises(UnknownName, match=r"no rung 'best'.*simplex"):
        make_blend(*toy.parts, rung="best")


def test_weights_under_a_stack_are_nested(toy: Toy) -> None:
    weights = nested_weights(*toy.parts, ["telea", "unet"])
    assert weights.shape == (4, 2)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)


# --- frequencies -----------------------------------------------------------------------------------------------------


def test_bands_add_up_to_the_gram(toy: Toy) -> None:
    members = [read_predictions(toy.workspace, toy.index, toy.folds, name, "oof") for name in ("telea", "unet")]
    gram = residual_gram(toy.index, toy.pack, members)
    bands = band_gram(toy.index, toy.pack, members, gram.photos)
    assert bands.by_region.shape == (40, 3 * len(BANDS), 2, 2)
    np.testing.assert_allclose(bands.products, gram.products, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(bands.sums, gram.sums, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(bands.counts, gram.counts)
    assert (
        bands.by_region.tobytes() == band_gram(toy.index, toy.pack, members, gram.photos, workers=1).by_region.tobytes()
    )


def test_the_transform_is_orthonormal_and_bands_partition_it() -> None:
    rng = np.random.default_rng(0)
    box = rng.normal(size=(9, 14, 3))
    spectrum = to_frequencies(box)
    np.testing.assert_allclose((spectrum**2).sum(), (box**2).sum())
    np.testing.assert_allclose(from_frequencies(spectrum), box, atol=1e-12)
    assert spectrum[0, 0, 1] == pytest.approx(box[..., 1].mean() * np.sqrt(9 * 14))
    for shape in ((75, 75), (9, 14), (1, 1)):
        bands = bands_of(*shape)
        assert bands[0, 0] == 0 and (bands.reshape(-1)[1:] > 0).all() and bands.max() < len(BANDS)
    assert set(np.unique(bands_of(75, 75))) == set(range(len(BANDS)))


def test_boxes_are_cut_in_the_order_of_scored_pixels(toy: Toy) -> None:
    sample, photo = toy.index.train[0], toy.pack.train_target[0]
    values = photo[scored_pixels(sample.boxes)]
    for cut, box in zip(boxes_of(values, sample.boxes), sample.boxes, strict=True):
        expected = photo[box.row : box.row + box.height, box.col : box.col + box.width]
        np.testing.assert_array_equal(cut, expected)


# --- mixing ----------------------------------------------------------------------------------------------------------


def test_mixing_by_region_is_what_a_loop_would_do(toy: Toy) -> None:
    blend = make_blend(*toy.parts, rung="regions")
    recipe = blend.recipe
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=recipe.array.shape)
    sample, facts = toy.index.train[3], photo_facts(toy.index, toy.pack, "train").of(np.array([3]))
    values = rng.random((4, sample.scored, 3)).astype(np.float32)
    span = np.array([0.5, 1.0, 0.8])
    weights = coefficients[0] + coefficients[1:]  # the common ones, and each region's own
    expected = np.empty((sample.scored, 3))
    for pixel, ring in enumerate(rings_of(sample.boxes, sample.height, sample.width)):
        for channel in range(3):
            w = weights[3 * ring + channel]
            expected[pixel, channel] = w[:-1] @ values[:, pixel, channel] + w[-1] * span[channel]
    np.testing.assert_allclose(mix(recipe, coefficients, values, sample, facts, span), expected, rtol=1e-6)


def test_a_recipe_that_cannot_be_is_refused(toy: Toy) -> None:
    good = plain_recipe([0.25, 0.75])
    assert checked_recipe(good, 2) is good
    for weights, members in (([0.5, 0.6], 2), ([1.0], 2), ([np.nan, 1.0], 2)):
        with pytest.raises(ValueError, match=r"weights|coefficients"):
            checked_recipe(plain_recipe(weights), members)
    blend = make_blend(*toy.parts, rung="features", name="mine")
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


# --- errors of cross-fitted values, and extremes ---------------------------------------------------------------------


def test_crossfit_measures_what_plain_numpy_does(toy: Toy) -> None:
    rng = np.random.default_rng(0)
    photos = np.array([1, 4, 5])
    values = {place: rng.normal(0.5, 0.4, (toy.index.train[photo].scored, 3)) for place, photo in enumerate(photos)}
    found = crossfit(toy.index, toy.pack, photos, values.__getitem__)
    for place, photo in enumerate(photos):
        sample, y = toy.index.train[photo], truths(toy)[photo]
        rings = rings_of(sample.boxes, sample.height, sample.width)
        for errors, extremes in (
            (found.clipped, toy.pack.train_estimated[photo]),
            (found.known, toy.pack.train_extremes[photo]),
        ):
            squares = (np.clip(to_score_space(values[place], extremes), 0, 1) - y) ** 2
            for ring in range(len(RINGS)):
                np.testing.assert_allclose(errors[place, ring], squares[rings == ring].sum(axis=0), atol=1e-12)
        b = values[place]
        np.testing.assert_allclose(
            found.sums[place].T, [b.sum(0), (b**2).sum(0), (b * y).sum(0), y.sum(0), (y**2).sum(0)]
        )
        np.testing.assert_array_equal(found.range[place], [b.min(axis=0), b.max(axis=0)])
        np.testing.assert_array_equal(found.counts[place], np.bincount(rings, minlength=len(RINGS)))


def scenario(rng: np.random.Generator, P: int = 80) -> tuple[Crossfit, np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Photos whose hidden pixels reach beyond the known ones half as far again as the blend does."""
    estimated = np.stack([np.full((P, 3), 0.3), np.full((P, 3), 0.7)], axis=1)
    blended = [rng.uniform(rng.uniform(0.1, 0.3), rng.uniform(0.7, 0.9), (50, 3)) for _ in range(P)]
    y = []
    for values in blended:
        low, high = 0.3 - 1.5 * (0.3 - values.min(0)).clip(0), 0.7 + 1.5 * (values.max(0) - 0.7).clip(0)
        y.append((values - low) / (high - low) + rng.normal(0, 0.01, values.shape))
    sums = [np.stack([b, b**2, b * t, t, t**2]).sum(axis=1).T for b, t in zip(blended, y, strict=True)]
    extent = [np.stack([b.min(axis=0), b.max(axis=0)]) for b in blended]
    empty = np.zeros((P, 1, 3))
    return Crossfit(empty, empty, np.full((P, 1), 50), np.stack(extent), np.stack(sums)), estimated, blended, y


def test_errors_by_a_rule_equal_plain_sums() -> None:
    found, estimated, blended, y = scenario(np.random.default_rng(0))
    for rule in (ExtremesRule(), ExtremesRule(0.7, 0.1)):
        expected = [
            ((to_score_space(b, rule(e, b)) - t) ** 2).sum() for b, e, t in zip(blended, estimated, y, strict=True)
        ]
        np.testing.assert_allclose(errors_by(rule, found, estimated), expected, rtol=1e-8)


def test_the_rule_is_found_and_never_sees_the_fold_that_it_is_scored_on() -> None:
    found, estimated, *_ = scenario(np.random.default_rng(1))
    fold = np.arange(80) % 4
    nested = nested_extremes(found, estimated, fold)
    assert nested.rule.beyond == pytest.approx(1.5, abs=0.1)
    assert nested.sse.sum() < 0.2 * errors_by(ExtremesRule(), found, estimated).sum()
    for number in range(4):
        assert nested.of_fold[number] == fit_extremes(found, estimated, np.flatnonzero(fold != number))


def test_a_rule_leaves_photos_alone_that_have_no_contrast_or_no_room() -> None:
    rule = ExtremesRule(1.0, 0.3)
    flat = np.stack([np.full(3, 0.4), np.full(3, 0.4)])
    np.testing.assert_array_equal(rule(flat, np.random.default_rng(0).random((9, 3))), flat)
    full = np.stack([np.zeros(3), np.ones(3)])
    np.testing.assert_array_equal(rule(full, np.random.default_rng(0).normal(0.5, 2, (9, 3))), full)
    assert ExtremesRule().is_plain and not rule.is_plain


def test_widened_extremes_reach_the_submission(toy: Toy) -> None:
    blend = make_blend(*toy.parts, rung="simplex")
    wide = _with_rule(blend, 1.0, 0.1)
    plain, widened = (blend_values(*toy.parts, one, "test") for one in (_with_rule(blend, 0.0, 0.0), wide))
    for photo in range(6):
        estimated, b = toy.pack.test_estimated[photo], plain(photo)
        expected = to_score_space(b, wide.extremes.rule(estimated, b))
        np.testing.assert_allclose(to_score_space(widened(photo), estimated), expected, atol=1e-5)


def test_widened_extremes_are_let_in_where_they_help(toy: Toy) -> None:
    """Toy members are noisy and reach as far as the truth does: what they reach beyond the known pixels is real."""
    blend = make_blend(*toy.parts, rung="mean")
    assert not blend.extremes.rule.is_plain and "widened" in blend.extremes.reason and blend.extremes.gain.low > 0
    plain, mended = (
        rmse_of(toy, [values(photo) for photo in range(40)], clip=True)
        for values in (blend_values(*toy.parts, one, "oof") for one in (_with_rule(blend, 0.0, 0.0), blend))
    )
    assert mended < plain
    assert blend.leaderboard.score.value == pytest.approx(mended, rel=0.02)
    assert blend.leaderboard.extremes.value < plain - rmse_of(toy, _known(toy, blend), clip=True)


def _known(toy: Toy, blend: Blend) -> list[np.ndarray]:
    """The blend, so shifted that scaling it by the estimated extremes is scaling by the true ones."""
    values = blend_values(*toy.parts, _with_rule(blend, 0.0, 0.0), "oof")
    found = []
    for photo in range(40):
        low, high = toy.pack.train_estimated[photo]
        found.append(low + to_score_space(values(photo), toy.pack.train_extremes[photo]) * (high - low))
    return found
