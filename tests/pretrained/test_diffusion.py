"""The parts of `kit sd` that need no model: records, locks, jobs, prompts, pixels, the m-curve, the shrinking."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toy import Toy, make_toy_workspace, write_toy_source

from kit.blending import score_sources
from kit.core.workspace import Workspace
from kit.data.fill_sources import make_fill_source
from kit.data.project import Project
from kit.errors import DamagedStore, KitError, UsageError
from kit.imaging.holes import Box, hole_of, scored_count, scored_pixels
from kit.pretrained.diffusion.curve import Curve, pair_terms
from kit.pretrained.diffusion.locks import SampleLocks
from kit.pretrained.diffusion.plan import (
    PhotoSelection,
    SampleSpec,
    Shard,
    key_of,
    known_templates,
    remember_templates,
    sample_specs,
    seed_of,
    shard_of,
    stored_specs,
)
from kit.pretrained.diffusion.preprocess import (
    hidden_values,
    is_picture,
    model_mask,
    model_picture,
    ring_shifts,
    shifted,
)
from kit.pretrained.diffusion.sample_store import Cache, Record, Writer
from kit.pretrained.diffusion.samples import mean_and_spread
from kit.pretrained.diffusion.settings import SamplingRecipe, SamplingSettings, stored_recipe
from kit.pretrained.diffusion.shrink_to_fill import SIGMAS, ShrinkToFill, best_shrink, blurred, photo_sums
from kit.pretrained.diffusion.shrunk_source import ShrunkSourceWriter
from kit.pretrained.diffusion.status import count_samples
from kit.pretrained.prompts import PROMPTS, prompt_for, templates_of


def record(number: int, pixels: int = 20) -> Record:
    rng = np.random.default_rng(number)
    values = rng.integers(0, 256, (pixels, 3)).astype(np.uint8)
    return Record(values, rng.normal(size=(2, 3)).astype(np.float32), float(number), number % 2)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def write(folder: Path, *numbers: int) -> None:
    writer = Writer(folder)
    for number in numbers:
        writer.append([(key(number), record(number))])
    writer.close()


def same(first: Record, second: Record) -> bool:
    return (
        np.array_equal(first.values, second.values)
        and np.array_equal(first.shifts, second.shifts)
        and (first.seconds, first.flags) == (second.seconds, second.flags)
    )


# --- records ------------------------------------------------------------------


def test_records_of_several_writers_are_read_back_bit_for_bit(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    cache = Cache(tmp_path).refresh()
    assert key(1) in cache and key(3) not in cache
    write(tmp_path, 3)
    assert key(3) in cache.refresh()
    assert all(same(cache.read(key(number)), record(number)) for number in (1, 2, 3))
    assert cache.check() == 0 and len(list(tmp_path.iterdir())) == 2


@given(st.data())
@settings(max_examples=30)
def test_a_file_cut_anywhere_loses_only_the_records_behind_the_cut(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, 1, 2, 3)
        (path,) = folder.iterdir()
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        cache = Cache(folder).refresh()
        there = [number for number in (1, 2, 3) if key(number) in cache]
        assert there == [1, 2, 3][: cut * 3 // len(whole)] and cache.check() == 0
        assert all(same(cache.read(key(number)), record(number)) for number in there)
        path.write_bytes(whole)  # the writer was alive after all: its rest arrives
        assert all(key(number) in cache.refresh() for number in (1, 2, 3))


@given(st.integers(0, 10**9), st.integers(1, 255))
@settings(max_examples=200)
def test_a_changed_byte_costs_its_record_and_no_other(place: int, change: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, 1, 2, 3)
        (path,) = folder.iterdir()
        whole = bytearray(path.read_bytes())
        place %= len(whole)
        hit = place * 3 // len(whole) + 1
        whole[place] ^= change
        path.write_bytes(bytes(whole))
        cache = Cache(folder).refresh()
        cache.check()
        for number in {1, 2, 3} - {hit}:
            assert same(cache.read(key(number)), record(number))
        assert key(hit) not in cache and len(cache.entries) == 2


def test_a_damaged_record_that_was_made_again_is_read_from_the_new_file(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    (tmp_path / "0-first.bin").write_bytes(bytes(data))
    cache = Cache(tmp_path).refresh()
    with pytest.raises(DamagedStore, match="0-first"):
        cache.read(key(1))
    assert key(1) not in cache
    write(tmp_path, 1)
    fresh = Cache(tmp_path).refresh()
    assert fresh.check() == 0 and same(fresh.read(key(1)), record(1))


def test_a_full_disk_is_one_line_and_costs_only_the_last_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path)
    writer.append([(key(1), record(1))])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(KitError, match="No room left"):
            writer.append([(key(2), record(2)), (key(3), record(3))])
    cache = Cache(tmp_path).refresh()
    assert key(1) in cache and key(2) not in cache and cache.check() == 0
    writer.append([(key(2), record(2))])
    writer.close()
    assert same(cache.refresh().read(key(2)), record(2))


def test_a_writer_that_never_wrote_leaves_no_file(tmp_path: Path) -> None:
    Writer(tmp_path).close()
    assert not list(tmp_path.iterdir())


# --- locks -------------------------------------------------------------------


def test_a_lock_keeps_other_processes_away_and_dies_with_its_process(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from kit.pretrained.diffusion.locks import SampleLocks
with SampleLocks(Path({str(tmp_path)!r})) as locks:
    print(locks.acquire({key(1)!r}), locks.acquire({(b"x" * 16)!r}), flush=True)
    time.sleep(60)
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "True True\n"
    with SampleLocks(tmp_path) as locks:
        assert not locks.acquire(b"x" * 16) and locks.acquire(b"y" * 16)
        other.kill()
        other.wait()
        assert locks.acquire(b"x" * 16)
        locks.release(b"x" * 16)


# --- prompts ------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy_workspace(tmp_path_factory.mktemp("toy"), photos=12, test=4, size=32)


def test_the_two_prompts_of_the_report_are_built_in(toy: Toy) -> None:
    templates = templates_of([])
    assert templates == ("Real image of an {animal}, no text", "Natural looking seamless image, no text")
    assert prompt_for(templates[0], toy.index.train[1]) == "Real image of an dog, no text"
    assert prompt_for(templates[1], toy.index.train[1]) == templates[1]
    assert templates_of(["seamless", "x", "x"]) == (PROMPTS["seamless"], "x")
    assert prompt_for("a {class}", toy.index.train[0], lambda _: "") == "a animal"


@pytest.mark.parametrize(
    ("template", "said"),
    [("a {dog}", "there is no {dog}"), ("", "is empty"), ("a {", "cannot be read"), ("{0}", "{0}")],
)
def test_a_template_that_cannot_be_filled_in_is_refused(template: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        templates_of([template])
    assert said in str(error.value)


# --- settings -----------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"scheduler": "magic"},
        {"dtype": "int8"},
        {"steps": 0},
        {"guidance": float("nan")},
        {"strength": 0.0},
        {"strength": 1.5},
        {"steps": 3, "strength": 0.2},
        {"size": 4},
        {"seed": -1},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        SamplingSettings(**wrong)


def test_every_setting_and_the_model_name_another_folder(tmp_path: Path) -> None:
    others: list[dict] = [
        {"negative": "x"}, {"scheduler": "ddim"}, {"steps": 31}, {"guidance": 7.0}, {"strength": 0.5}, {"size": 256},
        {"dtype": "float16"}, {"seed": 1}, {"dilated": False},
    ]  # fmt: skip
    digests = [SamplingRecipe(SamplingSettings(**other), "m", "x").digest for other in [{}, *others]]
    assert len({*digests, SamplingRecipe(SamplingSettings(), "n", "x").digest}) == len(others) + 2
    assert SamplingRecipe(SamplingSettings(), "m", "other name").digest == digests[0]


def test_samples_are_found_without_their_model(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    recipe = SamplingRecipe(SamplingSettings(dtype="float16"), "abc", "name")
    recipe.save(workspace)
    assert stored_recipe(workspace, SamplingSettings(), "name") == recipe
    assert stored_recipe(workspace, SamplingSettings(), "other") is None
    assert stored_recipe(workspace, SamplingSettings(), "other", "abc") == SamplingRecipe(
        recipe.settings, "abc", "other"
    )
    assert stored_recipe(workspace, SamplingSettings(dtype="float32"), "name") is None
    SamplingRecipe(SamplingSettings(dtype="bfloat16"), "abc", "name").save(workspace)
    assert stored_recipe(workspace, SamplingSettings(), "name") is None  # which of the two cannot be told


# --- jobs ---------------------------------------------------------------------


def test_a_sample_is_named_by_photo_hole_prompt_and_number(toy: Toy) -> None:
    import dataclasses

    photo = toy.index.train[0]
    others = [
        key_of(dataclasses.replace(photo, digest="0"), "p", 0),
        key_of(dataclasses.replace(photo, boxes=(Box(0, 0, 10, 10),)), "p", 0),
        key_of(photo, "q", 0),
        key_of(photo, "p", 1),
    ]
    assert len({key_of(photo, "p", 0), *others}) == 5
    assert key_of(dataclasses.replace(photo, id="x", klass="y", name="z"), "p", 0) == key_of(photo, "p", 0)


def test_shards_share_the_photos_out_and_layers_come_one_after_the_other(toy: Toy) -> None:
    photos = PhotoSelection(toy.index, ("oof", "test"))
    layers = sample_specs(templates_of([]), 2)
    assert [layer.sample for layer in layers] == [0, 0, 1, 1]
    whole = [job.key for job in photos.jobs(layers)]
    assert len(whole) == len(set(whole)) == 4 * 16
    parts = [[job.key for job in photos.jobs(layers, Shard(number, 3))] for number in (1, 2, 3)]
    assert sorted(itertools.chain(*parts)) == sorted(whole)
    assert {len(part) for part in parts} == {4 * 5, 4 * 6}
    seeds = {seed_of(job, seed) for job in photos.jobs(layers) for seed in (0, 1)}
    assert len(seeds) == 2 * len(whole) and all(0 <= seed < 2**63 for seed in seeds)


def test_a_larger_limit_takes_the_same_photos_and_more(toy: Toy) -> None:
    chosen = [set(PhotoSelection(toy.index, ("oof",), limit).positions("oof")) for limit in (3, 6, 99)]
    assert chosen[0] < chosen[1] < chosen[2] and len(chosen[0]) == 3 and len(chosen[2]) == 12


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        (None, {}, None),
        ("2/4", {}, Shard(2, 4)),
        (None, {"RANK": "1", "WORLD_SIZE": "2"}, Shard(2, 2)),
        (None, {"RANK": "0", "WORLD_SIZE": "1"}, None),
    ],
)
def test_a_shard_is_typed_or_comes_from_torchrun(text: str | None, environment: dict, expected: Shard | None) -> None:
    assert shard_of(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment"),
    [("0/4", {}), ("5/4", {}), ("1", {}), ("1/2", {"RANK": "0", "WORLD_SIZE": "2"}), (None, {"RANK": "x"}),
     (None, {"RANK": "3", "WORLD_SIZE": "2"})],
)  # fmt: skip
def test_a_shard_that_cannot_be_is_refused(text: str | None, environment: dict) -> None:
    with pytest.raises(UsageError):
        shard_of(text, {"WORLD_SIZE": "2", **environment} if environment else {})


def test_layers_are_known_when_every_photo_has_them(toy: Toy, tmp_path: Path) -> None:
    photos = PhotoSelection(toy.index, ("oof", "test"))
    templates = ("a", "b")
    remember_templates(tmp_path, templates)
    assert known_templates(tmp_path) == templates
    writer = Writer(tmp_path / "samples")
    done = [
        *photos.jobs([SampleSpec("a", 0), SampleSpec("b", 0), SampleSpec("b", 1)]),
        *list(photos.jobs([SampleSpec("a", 1)]))[:-1],
    ]
    writer.append([(job.key, record(1, job.photo.scored)) for job in done])
    writer.close()
    cache = Cache(tmp_path / "samples").refresh()
    assert stored_specs(photos, cache, templates) == [SampleSpec("a", 0), SampleSpec("b", 0), SampleSpec("b", 1)]
    state = count_samples(cache, photos, sample_specs(templates, 2))
    assert (state.hits, state.missing, state.seconds_left) == (63, 1, 1.0)
    (tmp_path / "prompts" / "0.json").write_text("{}")
    with pytest.raises(DamagedStore, match="is not what kit wrote"):
        known_templates(tmp_path)


# --- pixels -------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 64, 48, 512])
@pytest.mark.parametrize("cell", [1, 8])
def test_the_mask_covers_every_hidden_pixel_in_whole_cells_and_little_more(size: int, cell: int) -> None:
    rng = np.random.default_rng(size)
    for _ in range(5):
        boxes = [Box(int(rng.integers(0, 23)), int(rng.integers(0, 23)), 10, 10) for _ in range(2)]
        mask = model_mask(boxes, 32, 32, size, cell)
        rows, columns = (np.arange(size) + 0.5) * 32 / size, (np.arange(size) + 0.5) * 32 / size
        hidden = hole_of(boxes, 32, 32)[rows.astype(int)[:, None], columns.astype(int)]
        assert mask[hidden].all()
        cells = mask.reshape(size // cell, cell, size // cell, cell)
        assert (cells.min((1, 3)) == cells.max((1, 3))).all()
        reach = int(np.ceil(2 * cell * 32 / size)) + 1
        far = hole_of(boxes, 32, 32)
        near = np.zeros_like(far)
        for box in boxes:
            near[
                max(box.row - reach, 0) : box.row + box.height + reach,
                max(box.col - reach, 0) : box.col + box.width + reach,
            ] = True
        assert not mask[~near[rows.astype(int)[:, None], columns.astype(int)]].any()


def test_what_is_under_the_hole_has_no_influence(toy: Toy) -> None:
    rng = np.random.default_rng(0)
    photo = toy.index.train[0]
    image = np.array(toy.pack.train_image[0])
    other = np.where(photo.hole[..., None], rng.integers(0, 256, image.shape).astype(np.uint8), image)
    pictures = [model_picture(one, photo.boxes, 64, "harmonic") for one in (image, other)]
    assert np.array_equal(*pictures) and pictures[0].shape == (64, 64, 3)
    painted = rng.random((32, 32, 3)).astype(np.float32)
    assert np.array_equal(ring_shifts(painted, image, photo.boxes), ring_shifts(painted, other, photo.boxes))


def test_hidden_values_are_means_of_the_painted_blocks(toy: Toy) -> None:
    painted = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    photo = toy.index.train[0]
    values, whole = hidden_values(painted, photo.boxes, 32, 32)
    blocks = painted.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(whole - blocks).max() < 1e-6
    rows, columns = scored_pixels(photo.boxes)
    assert np.abs(values / 255 - blocks[rows, columns]).max() <= 0.5001 / 255


def test_a_constant_shift_of_colours_is_undone_exactly(toy: Toy) -> None:
    photo, truth = toy.index.train[1], np.array(toy.pack.train_target[1])
    shift = np.array([10, -6, 4]) / 255
    painted = np.clip(truth / 255 + shift, 0, 1).astype(np.float32)
    values, whole = hidden_values(painted, photo.boxes, 32, 32)
    shifts = ring_shifts(whole, np.array(toy.pack.train_image[1]), photo.boxes)
    rows, columns = scored_pixels(photo.boxes)
    inside = (truth[rows, columns] > 10) & (truth[rows, columns] < 245)  # what was not cut off
    error = np.abs(shifted(values, shifts, photo.boxes) - truth[rows, columns] / 255)[inside]
    assert error.max() < 4 / 255 and np.abs(shifts + shift).max() < 3 / 255


def test_a_box_without_known_surroundings_is_not_shifted() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    assert (ring_shifts(np.ones((8, 8, 3), np.float32), image, [Box(0, 0, 8, 8)]) == 0).all()


def test_black_and_not_finite_outputs_are_no_pictures_but_a_dark_photo_may_be_dark() -> None:
    bright, dark = np.full((4, 4, 3), 200, np.uint8), np.zeros((4, 4, 3), np.uint8)
    black = np.zeros((8, 8, 3), np.float32)
    assert not is_picture(black, bright) and is_picture(black, dark) and is_picture(black + 0.5, bright)
    broken = black + 0.5
    broken[0, 0, 0] = np.nan
    assert not is_picture(broken, bright) and not is_picture(broken, dark)


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
    (toy.workspace.runs / "x-shrunk").mkdir(parents=True)
    with pytest.raises(UsageError, match="x-shrunk is the name of a trained experiment"):
        shrunk(toy)
