"""Training batches: a function of (seed, epoch, photo), valid in range, known pixels untouched."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from support.toy import toy_photo

import kit.learning.datasets.batches
from kit.errors import UsageError
from kit.imaging.holes import Box, hole_of, random_boxes
from kit.imaging.images import resize
from kit.learning.datasets import INPUT_CHANNELS, Batch, BatchShard, MaskedPhotos, TrainingPhotos, network_input
from kit.learning.datasets.augment import DRAWS, augment
from kit.learning.datasets.base_fill import TOLERANCE
from kit.learning.datasets.batches import order_of_epoch, uniforms
from kit.learning.experiments import Experiment, experiment

FULL = 96
BOXES = (Box(0, 0, 14, 14), Box(0, 0, 14, 14))


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    """Twelve whole photos of noise."""
    return np.random.default_rng(0).integers(0, 256, (12, FULL, FULL, 3), np.uint8)


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """Twelve whole photos that look a little like photos: each has its own power and aspect."""
    rng = np.random.default_rng(1)
    tall = [toy_photo(rng, FULL) for _ in range(12)]
    return np.stack([resize(photo[: FULL - 6 * number], FULL, FULL) for number, photo in enumerate(tall)])


def asked(*settings: str) -> Experiment:
    return experiment("regress", ["batch_size=4", "base=harmonic", "box_copies=1", *settings])


def make(
    targets: np.ndarray, positions: list[int] | None = None, settings: tuple[str, ...] = (), **options: object
) -> TrainingPhotos:
    seen = np.array(range(len(targets)) if positions is None else positions)
    return TrainingPhotos(asked(*settings), targets, seen, BOXES, **options)


def batches(photos: TrainingPhotos, epoch: int) -> list[Batch]:
    """Every pass of an epoch."""
    draws, order = photos.begin_epoch(epoch)
    steps = [(step, number) for step in range(len(photos)) for number in range(photos.passes)]
    return [photos.batch(epoch, step, draws, order, number) for step, number in steps]


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [getattr(batch, field.name) for field in fields(Batch)]


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(first, second) for first, second in zip(tensors(one), tensors(other), strict=True))


def test_the_batches_of_an_epoch_do_not_depend_on_what_was_drawn_before(targets: np.ndarray) -> None:
    photos = make(targets)
    gone_through = [batches(photos, epoch) for epoch in range(4)][3]
    fresh = batches(make(targets), 3)
    assert all(same(one, other) for one, other in zip(gone_through, fresh, strict=True))


def test_a_batch_may_be_made_alone_and_out_of_order(targets: np.ndarray) -> None:
    photos = make(targets)
    draws, order = photos.begin_epoch(1)
    assert same(photos.batch(1, 2, draws, order), batches(make(targets), 1)[2])


def test_batches_leave_the_global_random_state_alone(targets: np.ndarray) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    batches(make(targets), 0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("other", [("seed=1", 0), ("seed=0", 1)])
def test_another_seed_or_epoch_gives_other_batches(targets: np.ndarray, other: tuple[str, int]) -> None:
    setting, epoch = other
    one, two = batches(make(targets), 0)[0], batches(make(targets, settings=(setting,)), epoch)[0]
    assert not torch.equal(one.target, two.target)
    assert not torch.equal(one.hole, two.hole)


def test_a_photo_is_augmented_alike_whatever_the_other_photos_of_the_fold_are(targets: np.ndarray) -> None:
    first, second = make(targets, [0, 2, 3, 7, 8]), make(targets, [1, 3, 5, 8, 10, 11])
    for epoch in (0, 6):
        seen = []
        for photos in (first, second):
            places = np.searchsorted(photos.positions, [3, 8])
            drawn = torch.from_numpy(photos.begin_epoch(epoch)[0][places])
            seen.append(augment(photos.photos[places].float() / 255, drawn, photos.settings))
        assert torch.equal(*seen)


def test_an_epoch_visits_every_photo_once() -> None:
    order = order_of_epoch(0, 3, 101)
    assert sorted(order) == list(range(101))
    assert not np.array_equal(order, order_of_epoch(0, 4, 101))


def test_uniforms_are_uniform_and_a_longer_draw_begins_like_a_shorter() -> None:
    drawn = uniforms(1, 2, 0, (5000, DRAWS))
    assert drawn.min() >= 0 and drawn.max() < 1
    assert np.abs(drawn.mean(axis=0) - 0.5).max() < 0.02
    assert np.array_equal(uniforms(1, 2, 0, (50, DRAWS)), drawn[:50])


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("base", ["fractional", "harmonic", "mean"])
def test_a_batch_is_in_range_and_known_pixels_are_the_targets(targets: np.ndarray, base: str, size: int) -> None:
    batch = batches(make(targets, settings=(f"base={base}", f"size={size}")), 0)[0]
    assert batch.filled.shape == batch.target.shape == (4, 3, size, size)
    assert batch.hole.shape == (4, 1, size, size)
    for values in tensors(batch)[:4]:  # a photo's condition is no pixel
        assert values.dtype == torch.float32
        assert float(values.min()) >= 0 and float(values.max()) <= 1 + 1e-6
    assert batch.weight is batch.hole
    known = (batch.hole == 0).expand_as(batch.target)
    assert torch.equal(batch.filled[known], batch.target[known])
    # two boxes, that may overlap
    hidden = batch.hole.sum(dim=(1, 2, 3)) / (size * 14 / FULL) ** 2
    assert (hidden >= 0.99).all() and (hidden <= 2.01).all()


def test_what_is_hidden_whole_is_not_in_the_input_of_a_harmonic_batch(targets: np.ndarray) -> None:
    # photos of noise: a fill that knew a hidden pixel would follow it
    batch = batches(make(targets, settings=("size=128", "jitter=0")), 0)[0]
    inside = (batch.hole == 1).expand_as(batch.target)
    filled, hidden = batch.filled[inside].numpy(), batch.target[inside].numpy()
    assert abs(np.corrcoef(filled, hidden)[0, 1]) < 0.35
    assert filled.std() < hidden.std() / 1.5


@pytest.mark.parametrize(("batch_size", "share"), [(5, 3), (4, 8), (6, 1), (2, 4), (4, 4)])
def test_photos_in_a_row_share_boxes_and_only_those(targets: np.ndarray, batch_size: int, share: int) -> None:
    photos = make(targets, settings=(f"photos_per_layout={share}", f"batch_size={batch_size}", "base=mean"))
    seen = [bytes(hole.numpy()) for batch in batches(photos, 0) for hole in batch.hole]
    alike = [[first == second for second in seen] for first in seen]
    assert alike == [[row // share == column // share for column in range(len(seen))] for row in range(len(seen))]


def test_no_layout_comes_again_in_another_epoch(targets: np.ndarray) -> None:
    photos = make(targets, settings=("photos_per_layout=1", "base=mean"))
    other_stream = 1 << 20  # what a method that wants two batches adds to the epoch
    epochs = (0, 1, 2, other_stream, other_stream + 1)
    seen = [bytes(hole.numpy()) for epoch in epochs for batch in batches(photos, epoch) for hole in batch.hole]
    assert len(set(seen)) == len(seen) == 60


def test_boxes_lie_everywhere(targets: np.ndarray) -> None:
    photos = make(targets)
    boxes = [box for layout in range(200) for box in photos._boxes(3, layout)]
    rows, columns = np.array([(box.row, box.col) for box in boxes]).T
    assert {(box.height, box.width) for box in boxes} == {(14, 14)}
    for places in (rows, columns):
        assert places.min() < 4 and places.max() > FULL - 14 - 4
        assert abs(places.mean() - (FULL - 14) / 2) < 4
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.15
    assert len(set(zip(rows, columns, strict=True))) > 380


def test_a_batch_larger_than_the_fold_holds_every_photo(targets: np.ndarray) -> None:
    photos = make(targets, settings=("batch_size=100", "photos_per_layout=1"))
    assert len(photos) == 1
    batch = batches(photos, 0)[0]
    assert len(batch.target) == 12
    assert len(set(map(bytes, batch.hole.numpy()))) == 12


def test_the_last_smaller_batch_of_an_epoch_is_left_out(targets: np.ndarray) -> None:
    photos = make(targets, settings=("batch_size=5",))
    assert [len(batch.target) for batch in batches(photos, 0)] == [5, 5]


def test_a_photo_is_hidden_by_so_many_copies_of_the_boxes(targets: np.ndarray) -> None:
    photos = make(targets, settings=("box_copies=3", "photos_per_layout=1"))
    assert [(box.height, box.width) for box in photos._boxes(0, 0)] == [(14, 14)] * 6
    shares = [float(batch.hole.mean()) for batch in batches(photos, 0)]
    once = [float(batch.hole.mean()) for batch in batches(make(targets, settings=("photos_per_layout=1",)), 0)]
    assert all(2 < many / few <= 3.1 for many, few in zip(shares, once, strict=True))


def test_a_step_of_several_passes_sees_each_photo_once(targets: np.ndarray) -> None:
    photos = make(targets, settings=("batch_size=2", "accumulate=3", "crop=1", "flip=no", "jitter=0"))
    assert (len(photos), photos.passes) == (2, 3)
    seen = [bytes(target.numpy()) for batch in batches(photos, 0) for target in batch.target]
    assert len(set(seen)) == len(seen) == 12


def test_fewer_photos_than_a_step_wants_are_shared_among_its_passes(targets: np.ndarray) -> None:
    photos = make(targets, settings=("batch_size=4", "accumulate=5"))
    assert (len(photos), photos.passes) == (1, 5)
    assert [len(batch.target) for batch in batches(photos, 0)] == [2] * 5
    few = make(targets, [3, 4], settings=("accumulate=5",))
    assert [len(batch.target) for batch in batches(few, 0)] == [1, 1]


def test_a_dcgan_sees_whole_photos_over_the_cheapest_fill(targets: np.ndarray) -> None:
    photos = TrainingPhotos(experiment("dcgan", ["batch_size=4"]), targets, np.arange(12), BOXES)
    assert photos.base.base == "mean"
    assert make(targets, settings=("base=fractional",)).base.base == "fractional"


@pytest.mark.parametrize("base", ["mean", "harmonic", "fractional"])
def test_bleed_changes_the_input_beside_the_boxes_and_no_target(smooth: np.ndarray, base: str) -> None:
    settings = (f"base={base}", "photos_per_layout=2")
    without, with_bleed = (batches(make(smooth, settings=(*settings, f"bleed={strength}")), 0) for strength in (0, 1))
    for plain, bled in zip(without, with_bleed, strict=True):
        assert torch.equal(plain.target, bled.target) and torch.equal(plain.hole, bled.hole)
        changed = (plain.filled - bled.filled).abs().amax(1, keepdim=True) > 1e-4
        beside = torch.nn.functional.max_pool2d(plain.hole, 7, 1, 3) > 0
        assert changed.any() and not (changed & ~beside).any()
        assert not (changed & (plain.hole == 1)).any()


def test_photos_of_another_shape_are_brought_to_the_working_size() -> None:
    tall = np.random.default_rng(1).integers(0, 256, (3, 70, 90, 3), np.uint8)
    photos = TrainingPhotos(
        experiment("regress", ["batch_size=2", "box_copies=1"]), tall, np.arange(3), (Box(0, 0, 20, 30),)
    )
    draws, order = photos.begin_epoch(0)
    batch = photos.batch(0, 0, draws, order)
    assert batch.target.shape == (2, 3, 64, 64)
    assert float(batch.hole[0].sum()) / 64**2 == pytest.approx(20 * 30 / (70 * 90), rel=1e-4)


def test_the_network_sees_fill_hole_and_place() -> None:
    filled, hole = torch.rand(2, 3, 4, 6), torch.rand(2, 1, 4, 6)
    x = network_input(filled, hole)
    assert x.shape == (2, INPUT_CHANNELS, 4, 6)
    assert torch.equal(x[:, 3:4], hole)
    assert torch.allclose(x[:, :3] / 4 + 0.5, filled, atol=1e-6)
    assert x[0, 4, :, 0].tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])
    assert x[1, 5, 0].tolist() == pytest.approx([-1, -0.6, -0.2, 0.2, 0.6, 1])


# several processes


def shared_batches(
    targets: np.ndarray, count: int, settings: tuple[str, ...], test_photos: MaskedPhotos | None = None
) -> list[list[torch.Tensor]]:
    """The passes of an epoch as several processes see them together."""
    parts = [
        batches(make(targets, settings=settings, shard=BatchShard(rank, count), test_photos=test_photos), 1)
        for rank in range(count)
    ]
    return [
        [torch.cat(pieces) for pieces in zip(*map(tensors, of_pass), strict=True)]
        for of_pass in zip(*parts, strict=True)
    ]


@pytest.mark.parametrize("base", ["mean", "fractional"])
@pytest.mark.parametrize(
    ("processes", "batch_size", "accumulate", "tolerance"),
    [
        (2, 2, 1, 1e-6),
        (2, 2, 3, 1e-6),
        (3, 2, 2, 1e-6),
        (2, 50, 1, 1e-6),
        # photos that share boxes are solved together until all are near enough: here some of them are with others
        (3, 1, 2, 2 * TOLERANCE),
        (4, 1, 1, 2 * TOLERANCE),
    ],
)
def test_processes_together_see_the_batches_of_one(
    smooth: np.ndarray, base: str, processes: int, batch_size: int, accumulate: int, tolerance: float
) -> None:
    common = (f"base={base}", f"accumulate={accumulate}", "photos_per_layout=2", "bleed=0.5")
    alone = batches(make(smooth, settings=(f"batch_size={batch_size * processes}", *common)), 1)
    together = shared_batches(smooth, processes, (f"batch_size={batch_size}", *common))
    assert len(alone) == len(together)
    for one, shared in zip(alone, together, strict=True):
        assert torch.allclose(one.filled, shared[0], atol=tolerance, rtol=0)
        for mine, other in zip(tensors(one)[1:], shared[1:], strict=True):
            assert torch.allclose(mine, other, atol=1e-6, rtol=0)


def test_processes_never_see_the_same_photo_in_an_epoch(targets: np.ndarray) -> None:
    settings = ("batch_size=2", "base=mean", "crop=1", "flip=no", "jitter=0")
    seen = [bytes(photo.numpy()) for of_pass in shared_batches(targets, 3, settings) for photo in of_pass[2]]
    assert len(set(seen)) == len(seen) == 12


def test_every_process_makes_as_many_steps_of_as_many_photos(targets: np.ndarray) -> None:
    for count in range(1, 13):
        for settings in (("batch_size=2", "accumulate=2"), ("batch_size=5",), ("batch_size=1", "accumulate=9")):
            parts = [
                make(targets, settings=(*settings, "base=mean"), shard=BatchShard(rank, count))
                for rank in (0, count - 1)
            ]
            sizes = [[len(batch.target) for batch in batches(one, 0)] for one in parts]
            assert sizes[0] == sizes[1] and min(sizes[0]) > 0


def test_fewer_photos_than_processes_are_refused(targets: np.ndarray) -> None:
    with pytest.raises(UsageError, match="2 training photos are too few for 3 processes"):
        make(targets, [4, 5], shard=BatchShard(0, 3))
    assert len(batches(make(targets, [4, 5], shard=BatchShard(1, 2)), 0)[0].target) == 1


# photos of which a part is known

ODD = (150, 170)  # brought to 128x128 before anything is cropped
CHANGING = ("rotate=20", "crop=0.5", "photos_per_layout=2", "batch_size=5")


@pytest.fixture(scope="module")
def odd() -> np.ndarray:
    """Ten photos that are not square."""
    rng = np.random.default_rng(2)
    return np.stack([resize(toy_photo(rng, 170), *ODD) for _ in range(10)])


def some_known(images: np.ndarray) -> MaskedPhotos:
    """Test photos, each with its own boxes, some overlapping or at the edge."""
    rng = np.random.default_rng(5)
    boxes = [tuple(random_boxes(rng, BOXES, *ODD)) for _ in images]
    boxes[:2] = (Box(20, 20, 14, 14), Box(27, 27, 14, 14)), (Box(0, 0, 14, 14), Box(136, 156, 14, 14))
    return MaskedPhotos(images, boxes)


def with_some_known(odd: np.ndarray, *settings: str, images: np.ndarray | None = None) -> TrainingPhotos:
    """Six whole photos and four of which a part is known."""
    test_photos = some_known(odd[6:] if images is None else images)
    return make(odd[:6], settings=(*CHANGING, *settings), test_photos=test_photos)


def repainted(odd: np.ndarray, level: int | None) -> np.ndarray:
    """The photos of which a part is known with something else under the holes: noise, or one level."""
    images = np.array(odd[6:])
    noise = np.random.default_rng(6).integers(0, 256, images.shape, np.uint8)
    for image, other, boxes in zip(images, noise, some_known(images).boxes, strict=True):
        hole = hole_of(boxes, *ODD)
        image[hole] = other[hole] if level is None else level
    return images


def hidden_in(photos: TrainingPhotos, epoch: int) -> list[torch.Tensor]:
    """For each batch of an epoch, which pixels a hidden pixel of a test photo has gone into."""
    boxes = [(), (), (), (), (), (), *some_known(np.zeros((4, *ODD, 3))).boxes]
    masks = [resize(hole_of(of_photo, *ODD).astype(np.float32), 128, 128) > 0 for of_photo in boxes]
    draws, order = photos.begin_epoch(epoch)
    masked = torch.from_numpy(np.stack(masks)[:, None].repeat(3, 1)).float()
    moved = augment(masked, torch.from_numpy(draws), asked(*CHANGING, "jitter=0"))[:, :1] > 0
    return list(moved[order].split(5))


def test_the_fill_is_told_whether_its_windows_cover_all_that_is_hidden(
    odd: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for photos in (with_some_known(odd), make(odd, settings=("batch_size=5",))):
        monkeypatch.setattr(photos, "base", lambda target, hole, groups, windows: seen.append((groups, windows)))
        draws, order = photos.begin_epoch(0)
        photos.batch(0, 0, draws, order)
    (alone, some), (together, every) = seen
    assert (some.complete, every.complete) == (False, True)
    assert (alone, together) == ([1] * 5, [5])  # what is hidden of a test photo is its own
    assert some.corners.shape == (5, 2, 2)


@pytest.mark.parametrize("base", ["mean", "harmonic", "fractional"])
def test_what_is_under_the_holes_of_test_photos_changes_nothing(odd: np.ndarray, base: str) -> None:
    settings = (f"base={base}", "bleed=1")
    one = batches(with_some_known(odd, *settings), 0)
    for level in (None, 0):
        other = batches(with_some_known(odd, *settings, images=repainted(odd, level)), 0)
        assert all(same(first, second) for first, second in zip(one, other, strict=True))


def test_the_holes_of_test_photos_are_hidden_and_not_asked_for(odd: np.ndarray) -> None:
    photos = with_some_known(odd)
    seen = 0
    for epoch in (0, 1):
        for batch, hidden in zip(batches(photos, epoch), hidden_in(photos, epoch), strict=True):
            assert (batch.weight[hidden] == 0).all()
            assert (batch.hole[hidden] == 1).all()
            assert torch.equal(batch.weight[~hidden], batch.hole[~hidden])
            seen += int(hidden.sum())
    assert seen > 250


@pytest.mark.parametrize("base", ["mean", "harmonic"])
def test_nothing_that_stands_in_for_a_hidden_pixel_is_seen(
    odd: np.ndarray, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (f"base={base}", "jitter=0", "bleed=1")
    grey = batches(with_some_known(odd, *settings), 0)
    white = iter(repainted(odd, 255))
    monkeypatch.setattr(kit.learning.datasets.batches, "_greyed", lambda image, boxes: next(white))
    for one, other in zip(grey, batches(with_some_known(odd, *settings), 0), strict=True):
        assert not torch.equal(one.target, other.target)
        assert torch.equal(one.weight, other.weight) and torch.equal(one.hole, other.hole)
        # the target matters where it is asked for, and where it is shown
        asked_or_shown = ((one.weight > 0) | (one.hole < 1)).expand_as(one.target)
        assert torch.equal(one.target[asked_or_shown], other.target[asked_or_shown])
        assert torch.equal(one.filled, other.filled)


def test_whole_photos_are_augmented_as_without_test_photos(odd: np.ndarray) -> None:
    both, alone = with_some_known(odd), make(odd[:6], settings=CHANGING)
    for epoch in (0, 3):
        draws, order = both.begin_epoch(epoch)
        assert np.array_equal(draws[:6], alone.begin_epoch(epoch)[0])
        assert sorted(order) == list(range(10))
        assert len(np.unique(draws)) > 75
    assert len(both) == 2 and len(alone) == 1


@pytest.mark.parametrize("base", ["mean", "fractional"])
def test_processes_share_test_photos_too(odd: np.ndarray, base: str) -> None:
    settings = (*CHANGING, f"base={base}")
    test_photos = some_known(odd[6:])
    alone = batches(make(odd[:6], settings=(*settings, "batch_size=4"), test_photos=test_photos), 1)
    together = shared_batches(odd[:6], 2, (*settings, "batch_size=2"), test_photos)
    for one, shared in zip(alone, together, strict=True):
        assert all(
            torch.allclose(mine, other, atol=1e-6, rtol=0) for mine, other in zip(tensors(one), shared, strict=True)
        )
