"""Fresh holes of any shape for training: drawn from the photos' own, and photos of several sizes in one batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.strokes import stroke_mask
from support.toy import toy_photo

from kit.data.index import PhotoRow
from kit.data.photo_list import PhotoList, PhotoReader, sizes_of, starts_of
from kit.imaging.holes import Box, boxes_of, hole_of
from kit.learning.datasets import MaskedPhotos, TrainingPhotos, area_share, coverage, fresh_holes, hidden_share
from kit.learning.datasets.shapes import MOST_SHAPES, HoleShapes
from kit.learning.experiments import experiment

SIZES = [(96, 96), (96, 72), (64, 96), (80, 80)]


def rows_of(boxes: list[tuple[Box, ...]]) -> list[PhotoRow]:
    return [PhotoRow(str(n), "", str(n), "", "", one, *SIZES[n % len(SIZES)], "", "") for n, one in enumerate(boxes)]


def strokes(count: int = 8) -> list[PhotoRow]:
    rng = np.random.default_rng(3)
    return rows_of([boxes_of(stroke_mask(rng, *SIZES[n % len(SIZES)]) > 0) for n in range(count)])


def listed(count: int = 8) -> PhotoList:
    rng = np.random.default_rng(4)
    sizes = [SIZES[n % len(SIZES)] for n in range(count)]
    photos = [toy_photo(rng, 96)[:height, :width] for height, width in sizes]
    return PhotoList(np.concatenate([photo.reshape(-1) for photo in photos]), sizes)


def test_boxes_of_the_same_sizes_stay_boxes_and_all_else_is_shapes() -> None:
    alike = rows_of([(Box(n, 2, 20, 30), Box(5, n, 10, 10)) for n in range(4)])
    assert fresh_holes(alike, 32) == alike[0].boxes
    other = [*alike, *rows_of([(Box(0, 0, 9, 9),)])]
    for rows in (other, strokes()):
        found = fresh_holes(rows, 32)
        assert isinstance(found, HoleShapes) and found.shares.shape == (len(rows), 32, 32)
    many = fresh_holes([*strokes(2)] * (MOST_SHAPES // 2 + 40), 16)
    assert isinstance(many, HoleShapes) and len(many.shares) <= MOST_SHAPES
    whole = fresh_holes(rows_of([(), (Box(0, 0, 9, 9),)]), 16)  # a photo that hides nothing is no shape
    assert isinstance(whole, HoleShapes) and len(whole.shares) == 1


def test_fresh_shapes_are_the_photos_own_turned_mirrored_and_moved() -> None:
    shapes = fresh_holes(strokes(), 32)
    assert isinstance(shapes, HoleShapes)
    areas = shapes.shares.sum((1, 2)) / 255
    rng = np.random.default_rng(0)
    drawn = [shapes.draw(rng, 1) for _ in range(64)]
    assert all(one.shape == (1, 32, 32) and one.min() >= 0 and one.max() <= 1 for one in drawn)
    assert len({one.numpy().tobytes() for one in drawn}) > 48
    assert max(float(one.sum()) for one in drawn) <= areas.max() + 1e-3  # moved over an edge it becomes smaller
    assert np.mean([float(one.sum()) for one in drawn]) > 0.7 * areas.mean()
    assert float(shapes.draw(rng, 3).sum()) > float(areas.min())


@pytest.mark.parametrize("hidden", [False, True])
def test_batches_of_several_sizes_hide_and_fill(hidden: bool) -> None:
    one = experiment("regress", ["batch_size=4", "base=harmonic", "box_copies=1", "size=32", "photos_per_layout=2"])
    rows, photos = strokes(), listed()
    test = MaskedPhotos(photos, [row.boxes for row in rows]) if hidden else None
    made = TrainingPhotos(one, photos, np.arange(8), fresh_holes(rows, one.size), test_photos=test)
    draws, order = made.begin_epoch(1)
    batch = made.batch(1, 0, draws, order)
    again = made.batch(1, 0, draws, order)
    assert batch.target.shape == (4, 3, 32, 32) and torch.equal(batch.hole, again.hole)
    assert torch.equal(batch.filled, again.filled) and 0 < float(batch.hole.mean()) < 1
    known = batch.hole == 0
    assert torch.allclose(
        batch.filled[known.expand(-1, 3, -1, -1)], batch.target[known.expand(-1, 3, -1, -1)], atol=1e-6
    )
    if not hidden:
        assert torch.equal(batch.hole[0], batch.hole[1]) and not torch.equal(batch.hole[1], batch.hole[2])
    assert not torch.equal(made.batch(2, 0, *made.begin_epoch(2)).hole, batch.hole)


def test_the_share_that_tiles_hide_is_their_area_and_that_of_boxes_as_in_training() -> None:
    hole = stroke_mask(np.random.default_rng(1), 90, 70) > 0
    tiles = boxes_of(hole)
    assert torch.equal(hidden_share(tiles, hole.shape, 32), area_share(hole, 32))
    assert float(hidden_share(tiles, hole.shape, 32).mean()) == pytest.approx(hole.mean(), rel=2e-2)
    boxes = (Box(3, 4, 20, 21), Box(10, 10, 15, 15))
    assert torch.equal(hidden_share(boxes, (96, 96), 32), coverage(boxes, (96, 96), 32))


def test_photos_of_several_sizes_are_read_as_they_were_written(tmp_path) -> None:
    photos = listed()
    np.save(tmp_path / "flat.npy", photos.flat)
    mapped = PhotoList(np.load(tmp_path / "flat.npy", mmap_mode="r"), photos.sizes)
    reader = PhotoReader(mapped)
    buffer = reader.buffer()
    for place in (7, 0, 3, 2):
        assert np.array_equal(mapped[place], photos[place]) and mapped[place].shape == (*SIZES[place % 4], 3)
        assert np.array_equal(reader.read(place, buffer), photos[place])
    reader.close()
    assert [photo.shape[:2] for photo in mapped] == sizes_of(mapped) and np.array_equal(mapped[-1], photos[7])
    assert starts_of([(1, 2), (3, 4)]) == [0, 6, 42]
    with pytest.raises(IndexError):
        mapped[8]


def test_a_hole_of_any_shape_comes_back_from_its_boxes() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        hole = rng.random((13, 17)) < rng.uniform(0, 1)
        assert np.array_equal(hole_of(boxes_of(hole), 13, 17), hole)
