"""Training batches by tensor operations alone.

Photos are held once, on the training's device, resized to twice the working size. Every draw is a function of
(seed, epoch, photo) or of (seed, epoch, place in the epoch) for the box layouts, never of worker or rank, so a resumed
training needs only the epoch's number, and several processes together see the batches that one would see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from kit.data.extra_photos import ExtraPhotos
from kit.data.photo_list import PhotoArray, sizes_of
from kit.errors import UsageError
from kit.imaging.holes import Box, hole_of, random_boxes
from kit.imaging.images import resize
from kit.learning.datasets.augment import DRAWS, augment
from kit.learning.datasets.base_fill import SpectralFill, Windows
from kit.learning.datasets.boxes import as_tensor, bleed, coverage_of, hidden_share, windows_of
from kit.learning.datasets.shapes import HoleShapes
from kit.learning.experiments import DataSettings


@dataclass(frozen=True)
class Batch:
    """One pass of a training step, at working size S."""

    filled: torch.Tensor
    """`(N, 3, S, S)` float32 in [0, 1]: the photo, the base fill inside the holes."""
    hole: torch.Tensor
    """`(N, 1, S, S)` float32: the share of each pixel that is hidden."""
    target: torch.Tensor
    """`(N, 3, S, S)` float32 in [0, 1]: the whole photo."""
    weight: torch.Tensor
    """`(N, 1, S, S)` float32: the share that is hidden and whose truth is known, what losses count. The hole itself,
    but for test photos."""
    condition: torch.Tensor
    """`(N, D)` float32: each photo's condition; D is 0 where the network takes none."""

    @property
    def extra_inputs(self) -> tuple[torch.Tensor, ...]:
        """Return the inputs of a network besides pixels: the condition, or nothing."""
        return (self.condition,) if self.condition.shape[1] else ()

    def to(self, device: torch.device | str) -> Batch:
        """Return it on a device; trainers of other libraries call this."""
        return Batch(*(getattr(self, one.name).to(device) for one in fields(self)))


@dataclass(frozen=True)
class BatchShard:
    """The share of each batch that one training process takes: its number from 0, and the number of processes."""

    rank: int = 0
    count: int = 1


def uniforms(seed: int, epoch: int, stream: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return uniform numbers in [0, 1) that depend on the arguments alone (Philox: Salmon et al. 2011)."""
    return _generator(seed, (epoch << 8) | stream).random(shape, np.float32)


def _generator(*key: int) -> np.random.Generator:
    # numpy makes floats of a list in which one number needs 64 bits, and forgets the lowest of them
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64)))


def order_of_epoch(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order in which an epoch visits `count` photos."""
    return np.argsort(uniforms(seed, epoch, 1, (count,)), kind="stable")


def load_photos(targets: PhotoArray, positions: np.ndarray, side: int) -> torch.Tensor:
    """Load the photos at these positions, `(n, 3, side, side)` uint8, by area."""
    photos = np.empty((len(positions), 3, side, side), np.uint8)
    for place, position in enumerate(positions):
        photos[place] = resize(np.asarray(targets[position]), side, side).transpose(2, 0, 1)
    return torch.from_numpy(photos)


@dataclass(frozen=True)
class MaskedPhotos:
    """The test photos, whose hidden pixels are known to nobody."""

    images: PhotoArray
    """`(n, H, W, 3)` uint8; what is under the holes is not looked at."""
    boxes: Sequence[Sequence[Box]]


class TrainingPhotos:
    """The photos that one fold's model may see, and the batches made of them."""

    def __init__(
        self,
        settings: DataSettings,
        targets: PhotoArray,
        positions: np.ndarray,
        holes: tuple[Box, ...] | HoleShapes,
        *,
        extra: ExtraPhotos | None = None,
        test_photos: MaskedPhotos | None = None,
        condition: torch.Tensor | None = None,
        device: torch.device | str = "cpu",
        shard: BatchShard = BatchShard(),
    ) -> None:
        """
        Args:
            targets: `(N, H, W, 3)` uint8, all whole training photos.
            positions: which of them this model may see.
            holes: the competition's box sizes, of which fresh ones are in size and number; or shapes to draw from.
            extra: whole photos of the same size to be trained on besides.
            test_photos: photos to be trained on besides, on what is known of them.
            condition: `(n, D)`, that of each photo at `positions`, then of those of `test_photos`; mirrored, cropped or
                with other boxes, a photo keeps it.
            device: where photos are kept and batches made.
            shard: of each step's photos, that of this process.

        Raises:
            UsageError: fewer photos than processes.
        """
        self.settings = settings
        self.positions = positions
        self.shapes = holes.at(settings.size) if isinstance(holes, HoleShapes) else None
        self.boxes = () if isinstance(holes, HoleShapes) else holes * settings.box_copies
        sizes = np.array(sizes_of(targets))
        self.full: tuple[int, int] = (int(np.median(sizes[:, 0])), int(np.median(sizes[:, 1])))
        self.shard = shard
        # twice the size, so that a crop of half the side still has a pixel for every pixel
        side = min(2 * settings.size, min(self.full))
        photos = load_photos(targets, positions, side)
        if extra is not None:
            photos = torch.cat([photos, load_photos(extra.photos, extra.taken, side)])
        self.whole = len(photos)
        self.hidden: torch.Tensor | None = None
        if test_photos is not None:
            greyed = [_greyed(*one) for one in zip(test_photos.images, test_photos.boxes, strict=True)]
            small = [torch.from_numpy(resize(image, side, side).transpose(2, 0, 1).copy()) for image in greyed]
            photos = torch.cat([photos, torch.stack(small)])
            covered = [
                hidden_share(of_photo, (image.shape[0], image.shape[1]), side)[0]
                for of_photo, image in zip(test_photos.boxes, greyed, strict=True)
            ]
            self.hidden = torch.cat([torch.zeros(self.whole, 1, side, side), torch.stack(covered)]).to(device)
        if len(photos) < shard.count:
            raise UsageError(f"{len(photos)} training photos are too few for {shard.count} processes.")
        self.photos = photos.to(device)
        self.condition = (torch.zeros(len(photos), 0) if condition is None else condition).to(device)
        self.base = SpectralFill(settings.training_base)

    def __len__(self) -> int:
        """Return the steps in an epoch; the last, smaller one is left out unless it is the only one."""
        return max(1, len(self.photos) // self._in_a_step)

    @property
    def photos_a_step(self) -> int:
        """Photos of all processes in a step."""
        return len(self.photos) // len(self)

    @property
    def passes(self) -> int:
        """Return the batches of this process in a step."""
        return max(1, min(self.settings.accumulate, len(self.photos) // self.shard.count))

    @property
    def _in_a_step(self) -> int:
        return self.settings.batch_size * self.settings.accumulate * self.shard.count

    def begin_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return draws by photo, and the order of an epoch."""
        seed = self.settings.seed
        draws = uniforms(seed, epoch, 0, (int(self.positions.max()) + 1, DRAWS))[self.positions]
        if more := self.whole - len(draws):
            draws = np.concatenate([draws, uniforms(seed, epoch, 3, (more, DRAWS))])
        if self.hidden is not None:
            draws = np.concatenate([draws, uniforms(seed, epoch, 2, (len(self.photos) - self.whole, DRAWS))])
        return draws, order_of_epoch(seed, epoch, len(self.photos))

    def batch(self, epoch: int, step: int, draws: np.ndarray, order: np.ndarray, number: int = 0) -> Batch:
        """Return a batch of one step; `draws` and `order` are from `begin_epoch`, `number` is the pass."""
        places = self._places(step, number)
        chosen, device = order[places], self.photos.device
        drawn = torch.from_numpy(draws[chosen]).to(device, non_blocking=True)
        number_of = torch.from_numpy(chosen).to(device)
        target, hidden = self._augmented(number_of, drawn)
        layouts = [place // self.settings.photos_per_layout for place in range(places.start, places.stop)]
        groups = [layouts.count(layout) for layout in dict.fromkeys(layouts)]
        numbers, windows, hole = self._fresh(epoch, layouts, complete=hidden is None)
        weight = hole
        if hidden is not None:
            unknown = hidden > 0
            hole, weight = torch.where(unknown, 1.0, hole), torch.where(unknown, 0.0, weight)
            groups = [1] * len(layouts)
        filled = self.base(target, hole, groups=groups, windows=windows)
        if self.settings.bleed and numbers is not None:
            filled = bleed(filled, numbers, self.full, self.settings.bleed)
        return Batch(filled, hole, target, weight, self.condition[number_of])

    def _fresh(
        self, epoch: int, layouts: list[int], *, complete: bool
    ) -> tuple[torch.Tensor | None, Windows | None, torch.Tensor]:
        """Return fresh boxes as numbers and the windows around them, None for other shapes; and the share that is
        hidden, `(N, 1, S, S)`.

        Args:
            complete: nothing else is hidden.
        """
        device, size = self.photos.device, self.settings.size
        if self.shapes is not None:
            copies = self.settings.box_copies
            drawn = {one: self.shapes.draw(self._draws(epoch, one), copies) for one in dict.fromkeys(layouts)}
            return None, None, torch.stack([drawn[layout] for layout in layouts]).to(device)
        fresh = {layout: self._boxes(epoch, layout) for layout in dict.fromkeys(layouts)}
        boxes = [fresh[layout] for layout in layouts]
        numbers = as_tensor(boxes, device)
        windows = windows_of(boxes, self.full, size, device)._replace(complete=complete)
        return numbers, windows, coverage_of(numbers, self.full, size)

    def _places(self, step: int, number: int) -> slice:
        """Return the places in the epoch's order that this pass of this process takes."""
        parts = self.passes * self.shard.count
        size = min(self.settings.batch_size, len(self.photos) // parts)
        first = step * self._in_a_step + (number * self.shard.count + self.shard.rank) * size
        return slice(first, first + size)

    def _augmented(self, index: torch.Tensor, draws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        photos = self.photos[index].float().div_(255)
        if self.hidden is None:
            return augment(photos, draws, self.settings), None
        both = augment(torch.cat([photos, self.hidden[index]], 1), draws, self.settings)
        return both[:, :3], both[:, 3:]

    def _boxes(self, epoch: int, layout: int) -> list[Box]:
        """Return fresh boxes of one layout."""
        return random_boxes(self._draws(epoch, layout), self.boxes, *self.full)

    def _draws(self, epoch: int, layout: int) -> np.random.Generator:
        """Return the source of one layout's randomness, a function of (seed, epoch, place in the epoch)."""
        return _generator(self.settings.seed, (1 << 63) | (epoch << 32) | layout)


def _greyed(image: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Return a photo with grey in the holes: what was painted there shall not come out of a resize."""
    greyed = np.array(image)
    greyed[hole_of(boxes, greyed.shape[0], greyed.shape[1])] = 128
    return greyed
