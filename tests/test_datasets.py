"""Training batches: a function of (seed, epoch, photo), valid in range, known pixels untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kit.datasets import (
    DRAWS,
    INPUT_CHANNELS,
    Batch,
    TrainingPhotos,
    augment,
    jitter_colours,
    load_photos,
    network_input,
    order_of_epoch,
    uniforms,
)
from kit.experiments import experiment
from kit.holes import Box

FULL = 96
BOXES = (Box(0, 0, 14, 14), Box(0, 0, 14, 14))


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    """Twelve whole photos."""
    return np.random.default_rng(0).integers(0, 256, (12, FULL, FULL, 3), np.uint8)


def make(targets: np.ndarray, positions: list[int] | None = None, settings: tuple[str, ...] = ()) -> TrainingPhotos:
    one = experiment("regress", ["batch_size=4", "base=harmonic", *settings])
    return TrainingPhotos(one, targets, np.array(range(len(targets)) if positions is None else positions), BOXES)


def batches(photos: TrainingPhotos, epoch: int) -> list[Batch]:
    draws, order = photos.begin_epoch(epoch)
    return [photos.batch(epoch, step, draws, order) for step in range(len(photos))]


def same(one: Batch, other: Batch) -> bool:
    pairs = ((one.filled, other.filled), (one.hole, other.hole), (one.target, other.target))
    return all(torch.equal(first, second) for first, second in pairs)


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
            seen.append(augment(photos.photos[places], photos.begin_epoch(epoch)[0][places], photos.experiment))
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
    for values in (batch.filled, batch.hole, batch.target):
        assert values.dtype == torch.float32
        assert float(values.min()) >= 0 and float(values.max()) <= 1 + 1e-6
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


def test_as_many_box_layouts_as_asked_for_are_in_a_batch_and_none_comes_again(targets: np.ndarray) -> None:
    photos = make(targets, settings=("layouts=2", "base=mean"))
    seen = [set(map(bytes, batch.hole.numpy())) for epoch in range(3) for batch in batches(photos, epoch)]
    assert [len(layouts) for layouts in seen] == [2] * 9
    assert len(set.union(*seen)) == 18


def test_a_batch_larger_than_the_fold_holds_every_photo(targets: np.ndarray) -> None:
    photos = make(targets, settings=("batch_size=100", "layouts=100"))
    assert len(photos) == 1
    batch = batches(photos, 0)[0]
    assert len(batch.target) == 12
    assert len(set(map(bytes, batch.hole.numpy()))) == 12


def test_the_last_smaller_batch_of_an_epoch_is_left_out(targets: np.ndarray) -> None:
    photos = make(targets, settings=("batch_size=5",))
    assert [len(batch.target) for batch in batches(photos, 0)] == [5, 5]


def test_a_photo_that_is_not_changed_is_the_photo(targets: np.ndarray) -> None:
    one = experiment("regress", ["crop=1", "flip=no", "jitter=0"])
    small = load_photos(targets, np.arange(3), 64)
    assert torch.allclose(augment(small, uniforms(0, 0, 0, (3, DRAWS)), one), small / 255, atol=1e-5)


def test_half_of_the_photos_are_mirrored(targets: np.ndarray) -> None:
    one = experiment("regress", ["crop=1", "jitter=0"])
    small = load_photos(targets, np.arange(2), 64)
    draws = np.full((2, DRAWS), 0.5, np.float32)
    draws[0, 0] = 0.49
    both = augment(small, draws, one)
    assert torch.allclose(both[0], small[0].flip(2) / 255, atol=1e-5)
    assert torch.allclose(both[1], small[1] / 255, atol=1e-5)


def test_a_crop_lies_inside_the_photo() -> None:
    # a photo with a bright rim: the smallest crop in the middle does not see it, a crop in the corner sees two sides
    photo = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    photo[:, :, :8] = photo[:, :, -8:] = photo[:, :, :, :8] = photo[:, :, :, -8:] = 255
    one = experiment("regress", ["crop=0.5", "jitter=0", "flip=no"])
    draws = np.full((1, DRAWS), 0.5, np.float32)
    draws[0, 1] = 0.0
    assert not augment(photo, draws, one).any()
    draws[0, 2:4] = 0.0
    corner = augment(photo, draws, one)
    assert corner[..., :8, :].all() and corner[..., :, :8].all()
    assert not corner[..., 20:, 20:].any()


def test_jitter_without_strength_changes_nothing_and_with_it_stays_in_range() -> None:
    x, draws = torch.rand(8, 3, 16, 16), torch.rand(8, 3)
    assert torch.allclose(jitter_colours(x.clone(), draws, 0.0), x, atol=1e-6)
    strong = jitter_colours(x.clone(), draws, 0.9)
    assert float(strong.min()) >= 0 and float(strong.max()) <= 1
    assert (strong - x).abs().max() > 0.1


def test_photos_of_another_shape_are_brought_to_the_working_size() -> None:
    tall = np.random.default_rng(1).integers(0, 256, (3, 70, 90, 3), np.uint8)
    photos = TrainingPhotos(experiment("regress", ["batch_size=2"]), tall, np.arange(3), (Box(0, 0, 20, 30),))
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
