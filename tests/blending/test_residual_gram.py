"""The streaming pass: exact sums, in score space, the same bits for any number of workers."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.grams import poke
from support.toy import Toy, make_toy_workspace, write_toy_source

import kit.blending.grams.residual_gram
from kit.blending.grams.cache import cached_gram
from kit.blending.grams.residual_gram import REGIONS, ResidualGram, residual_gram
from kit.competitions import to_score_space
from kit.data.predictions import Predictions
from kit.errors import PredictionsError, UsageError
from kit.imaging.holes import RINGS, border_distances, hole_of, rings_of, scored_pixels

pytestmark = pytest.mark.toy(
    shared=True,
    duplicates=2,
    sources=[
        {"name": "m0", "noise": 0.05, "seed": 0},
        {"name": "m1", "noise": 0.07, "seed": 1},
        {"name": "m2", "noise": 0.09, "seed": 2, "by_fold": True},
        {"name": "m3", "noise": 0.11, "seed": 3},
        {"name": "partial", "noise": 0.1, "seed": 7, "by_fold": True, "present": [0, 2]},
    ],
)


def read(toy: Toy, *names: str, partial: bool = False) -> list[Predictions]:
    return [toy.project.predictions.read(name, "oof", partial=partial) for name in names]


def residuals(toy: Toy, photo: int, names: list[str]) -> np.ndarray:
    """`(K, values)` the slow way: pixel by pixel through `scored_pixels`."""
    y = to_score_space(toy.true_values("oof", photo), toy.pack.train_value_range[photo])
    return np.stack(
        [
            (to_score_space(one.values(photo), toy.pack.train_estimated_range[photo]) - y).reshape(-1)
            for one in read(toy, *names)
        ]
    )


MEMBERS = ["m0", "m1", "m2", "m3"]


def test_gram_equals_sums_over_pixels(toy: Toy) -> None:
    gram = residual_gram(toy.index.train, toy.pack, read(toy, *MEMBERS))
    assert gram.members == tuple(MEMBERS) and len(gram) == len(toy.index.train)
    for row, photo in enumerate(gram.photos):
        z = residuals(toy, photo, MEMBERS)
        np.testing.assert_allclose(gram.products[row], z @ z.T, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(gram.sums[row], z.sum(axis=1), rtol=1e-9, atol=1e-10)
        assert gram.counts[row] == z.shape[1] == 3 * 200


def test_overlapping_boxes_count_twice(toy: Toy) -> None:
    photo = next(n for n, photo_row in enumerate(toy.index.train) if photo_row.hole.sum() < photo_row.scored)
    gram = residual_gram(toy.index.train, toy.pack, read(toy, "m0"))
    z = residuals(toy, photo, ["m0"])[0].reshape(-1, 3)
    rows, columns = scored_pixels(toy.index.train[photo].boxes)
    _, first = np.unique(rows * 32 + columns, return_index=True)
    assert gram.counts[photo] == 3 * toy.index.train[photo].scored
    assert gram.sse[photo, 0] == pytest.approx(float((z**2).sum()))
    assert gram.sse[photo, 0] > float((z[first] ** 2).sum()) + 1e-6  # each hidden pixel once is less


def test_predictions_are_scaled_by_the_estimated_value_range_and_truth_by_the_true_one(toy: Toy) -> None:
    assert not np.array_equal(toy.pack.train_value_range, toy.pack.train_estimated_range)  # else this test says nothing
    write_toy_source(toy, "truth", predict=lambda _split, _photo, truth: truth)
    (perfect,) = read(toy, "truth")
    sse = residual_gram(toy.index.train, toy.pack, [perfect]).sse[:, 0]
    known = np.isclose(toy.pack.train_value_range, toy.pack.train_estimated_range).all(axis=(1, 2))
    assert known.any() and (sse[known] < 600 * 1e-6).all()  # float16 alone
    assert (sse[~known] > sse[known].max()).all()  # the error of the value range is in the score


@pytest.mark.parametrize("workers", [2, 5])
def test_bits_do_not_depend_on_workers(toy: Toy, workers: int) -> None:
    expected = residual_gram(toy.index.train, toy.pack, read(toy, *MEMBERS), workers=1)
    assert_same(residual_gram(toy.index.train, toy.pack, read(toy, *MEMBERS), workers=workers), expected)


def assert_same(gram: ResidualGram, expected: ResidualGram) -> None:
    for field in dataclasses.fields(ResidualGram):
        mine, other = getattr(gram, field.name), getattr(expected, field.name)
        assert mine.tobytes() == other.tobytes() if isinstance(mine, np.ndarray) else mine == other


@pytest.mark.parametrize("members", [["m0"], ["m1", "m3"], ["m0", "m2", "m3"], ["m3", "m1", "m0"]])
def test_bits_of_a_pair_do_not_depend_on_other_members(toy: Toy, members: list[str]) -> None:
    expected = residual_gram(toy.index.train, toy.pack, read(toy, *MEMBERS)).of_members(
        [int(name[1]) for name in members]
    )
    assert_same(residual_gram(toy.index.train, toy.pack, read(toy, *members)), expected)


def test_large_boxes_have_the_sums_of_their_rings(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path, photos=6, test=1, size=96, box=61, k=2)
    for number in range(3):
        write_toy_source(toy, f"m{number}", 0.05 + 0.02 * number, seed=number, splits=("oof",))
    gram = residual_gram(toy.index.train, toy.pack, read(toy, *MEMBERS[:3]))
    for row, photo in enumerate(gram.photos):
        photo_row, z = toy.index.train[photo], residuals(toy, photo, MEMBERS[:3]).reshape(3, -1, 3)
        rings = rings_of(photo_row.boxes, photo_row.height, photo_row.width)
        for region in range(REGIONS):
            part = z[:, rings == region // 3, region % 3]
            np.testing.assert_allclose(gram.by_region[row, region], part @ part.T, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(gram.region_sums[row, region], part.sum(axis=1), rtol=1e-9, atol=1e-10)
            assert gram.region_counts[row, region] == part.shape[1]


def test_regions_are_rings_by_channel(toy: Toy) -> None:
    gram = residual_gram(toy.index.train, toy.pack, read(toy, *MEMBERS))
    assert gram.by_region.shape == (len(gram), REGIONS, 4, 4)
    for row, photo in enumerate(gram.photos[:8]):
        photo_row = toy.index.train[photo]
        hole = np.pad(hole_of(photo_row.boxes, photo_row.height, photo_row.width), 1, constant_values=True)
        known = np.argwhere(~hole) - 1
        rows, columns = scored_pixels(photo_row.boxes)
        deep = np.abs(np.stack([rows, columns], 1)[:, None] - known[None]).max(axis=2).min(axis=1)
        np.testing.assert_array_equal(border_distances(photo_row.boxes, photo_row.height, photo_row.width), deep)
        z = residuals(toy, photo, MEMBERS).reshape(4, -1, 3)
        for ring, least in enumerate(RINGS):
            most = (*RINGS, 999)[ring + 1]
            inside = (deep >= least) & (deep < most)
            for channel in range(3):
                part, region = z[:, inside, channel], 3 * ring + channel
                np.testing.assert_allclose(gram.by_region[row, region], part @ part.T, rtol=1e-12, atol=1e-12)
                np.testing.assert_allclose(gram.region_sums[row, region], part.sum(axis=1), rtol=1e-9, atol=1e-10)
                assert gram.region_counts[row, region] == part.shape[1]


def test_a_gram_too_large_by_region_is_one_of_whole_photos(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = residual_gram(toy.index.train, toy.pack, read(toy, *MEMBERS))
    monkeypatch.setattr(kit.blending.grams.residual_gram, "LARGEST", 1)
    small = residual_gram(toy.index.train, toy.pack, read(toy, *MEMBERS))
    assert small.by_region.shape == (len(whole), 1, 4, 4)
    for field in ("products", "sums", "counts"):
        np.testing.assert_array_equal(getattr(small, field), getattr(whole, field))


@pytest.mark.parametrize("members", [["m0", "m1"], ["m0", "m1", "m2"], ["m3", "m1"]])
def test_a_member_that_comes_later_gives_the_same_bits(toy: Toy, members: list[str]) -> None:
    known = residual_gram(toy.index.train, toy.pack, read(toy, *members))
    order = [*members, *(name for name in MEMBERS if name not in members)]
    extended = residual_gram(toy.index.train, toy.pack, read(toy, *order), known=known)
    extended = extended.of_members([order.index(name) for name in MEMBERS])
    assert_same(extended, residual_gram(toy.index.train, toy.pack, read(toy, *MEMBERS)))


def test_a_partial_source_is_scored_on_its_photos(toy: Toy) -> None:
    (partial,) = read(toy, "partial", partial=True)
    gram = residual_gram(toy.index.train, toy.pack, [partial])
    assert set(toy.folds.fold[gram.photos]) == {0, 2}
    both = residual_gram(toy.index.train, toy.pack, [*read(toy, "m0"), partial])
    np.testing.assert_array_equal(both.photos, gram.photos)
    np.testing.assert_allclose(both.sse[:, 1], gram.sse[:, 0])


def test_rows_of_chosen_photos(toy: Toy) -> None:
    gram = residual_gram(toy.index.train, toy.pack, read(toy, "m0", "m1"))
    some = gram.on(np.array([3, 5, 8]))
    assert_same(some.on(some.photos), some)
    np.testing.assert_array_equal(some.products, gram.products[[3, 5, 8]])


def test_nothing_to_score_is_said(toy: Toy) -> None:
    with pytest.raises(UsageError, match="kit sources"):
        residual_gram(toy.index.train, toy.pack, [])
    first, second = read(toy, "partial", partial=True) + read(toy, "partial", partial=True)
    first = dataclasses.replace(first, places=np.where((toy.folds.fold == 0)[:, None, None], first.places, -1))
    second = dataclasses.replace(second, places=np.where((toy.folds.fold == 2)[:, None, None], second.places, -1))
    with pytest.raises(UsageError, match="No photo is predicted by all"):
        residual_gram(toy.index.train, toy.pack, [first, second])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_name_file_and_command(tmp_path: Path, value: float) -> None:
    toy = make_toy_workspace(tmp_path, photos=12, k=2)
    write_toy_source(toy, "good")
    write_toy_source(toy, "bad", by_fold=True)
    assert cached_gram(toy.project, ["bad", "good"]).counts.sum() > 0  # a cache must not hide what comes later
    path = toy.workspace.source("bad", "oof") / "fold_1.npy"
    poke(path, -1, value)
    with pytest.raises(PredictionsError, match=r"bad/oof/fold_1\.npy.*kit train bad --force"):
        cached_gram(toy.project, ["bad", "good"])


def test_values_outside_the_unit_interval_are_taken_as_they_are(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path, photos=12, k=2)
    write_toy_source(toy, "odd")
    for row, value in enumerate((-0.0, -0.5, 1.5)):
        poke(toy.workspace.source("odd", "oof") / "all.npy", row, value)
    z = residuals(toy, 0, ["odd"])[0]
    assert residual_gram(toy.index.train, toy.pack, read(toy, "odd")).sse[0, 0] == pytest.approx(float(z @ z))


# --- the cache -------------------------------------------------------------------------------------------------------


def test_the_cache_gives_the_same_bits_without_a_pass(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = cached_gram(toy.project, MEMBERS)
    monkeypatch.setattr("kit.blending.grams.cache.residual_gram", lambda *_, **__: pytest.fail("read the pixels again"))
    assert_same(cached_gram(toy.project, MEMBERS), fresh)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "shape"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: str) -> None:
    toy = make_toy_workspace(tmp_path, photos=12, k=2)
    write_toy_source(toy, "m")
    fresh = cached_gram(toy.project, ["m"])
    (path,) = (toy.workspace.blends / ".cache").glob("*.npz")
    data = bytearray(path.read_bytes())
    middle = data.find(fresh.by_region.tobytes()[:24])
    assert middle > 0
    data[middle] ^= 0xFF
    contents = {"empty": b"", "cut": bytes(data[: len(data) // 2]), "flipped": bytes(data), "text": b"not an archive"}
    if damage == "shape":
        with np.load(path) as stored:
            parts = {name: stored[name] for name in stored.files}
        np.savez(path, **{**parts, "by_region": fresh.by_region[:, :, :0]})
    else:
        path.write_bytes(contents[damage])
    assert_same(cached_gram(toy.project, ["m"]), fresh)
    assert_same(cached_gram(toy.project, ["m"]), fresh)  # and it was mended


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fresh, copy = cached_gram(toy.project, MEMBERS), toy.copy(tmp_path / "w")
    shutil.rmtree(copy.workspace.blends)

    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refused)
    assert_same(cached_gram(copy.project, MEMBERS), fresh)
    assert not copy.workspace.blends.exists()


def test_the_cache_is_extended_when_a_member_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = make_toy_workspace(tmp_path, photos=12, k=2)
    for seed, name in enumerate(("b", "d", "a", "c")):
        write_toy_source(toy, name, 0.1, seed)
    fresh = residual_gram(toy.index.train, toy.pack, read(toy, "a", "b", "c", "d"))
    cached_gram(toy.project, ["b", "d"])
    used: list[tuple[str, ...]] = []

    def watched(*arguments: Any, known: ResidualGram | None = None, **options: Any) -> ResidualGram:
        used.append(known.members if known else ())
        return residual_gram(*arguments, known=known, **options)

    monkeypatch.setattr("kit.blending.grams.cache.residual_gram", watched)
    for names in (["b", "c", "d"], ["a", "b", "c", "d"], ["a", "d"]):
        columns = ["abcd".index(name) for name in names]
        assert_same(cached_gram(toy.project, names), fresh.of_members(columns))
    assert used == [("b", "d"), ("b", "c", "d"), ()]
    write_toy_source(toy, "b", 0.2, 9)  # what was known of it is no longer true
    cached_gram(toy.project, ["a", "b", "c", "d"])
    assert used[-1] == ("a", "d")


def test_new_predictions_are_not_taken_from_the_cache(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path, photos=12, k=2)
    write_toy_source(toy, "m", 0.1)
    before = cached_gram(toy.project, ["m"])
    write_toy_source(toy, "m", 0.05)
    after = cached_gram(toy.project, ["m"])
    assert after.digests != before.digests and after.sse.sum() < before.sse.sum()


def test_another_value_range_is_not_taken_from_the_cache(toy: Toy) -> None:
    before = cached_gram(toy.project, ["m0"])
    project = toy.project
    vars(project)["pack"] = dataclasses.replace(
        toy.pack, train_estimated_range=np.array(toy.pack.train_estimated_range) + 0.1
    )
    after = cached_gram(project, ["m0"])
    assert not np.allclose(before.products, after.products)


def test_old_caches_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.blending.grams.cache.CACHE_BYTES", 14_000)
    toy = make_toy_workspace(tmp_path, photos=12, k=2)
    for seed in range(6):
        write_toy_source(toy, "m", 0.1, seed)
        newest = cached_gram(toy.project, ["m"])
    kept = list((toy.workspace.blends / ".cache").iterdir())
    assert 1 <= len(kept) < 6 and sum(path.stat().st_size for path in kept) <= 14_000
    monkeypatch.setattr("kit.blending.grams.cache.residual_gram", lambda *_, **__: pytest.fail("read the pixels again"))
    assert_same(cached_gram(toy.project, ["m"]), newest)
