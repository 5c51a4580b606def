"""Training batches by tensor operations alone: photos, fresh boxes, crops, flips, jitter. Knows no network.

Photos are held once, resized to twice the working size. Every draw is a function of (seed, epoch, photo) or of
(seed, epoch, place in the epoch) for the box layouts, never of worker or rank, so a resumed training needs only the
epoch's number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from kit.experiments import Experiment
from kit.holes import Box, random_boxes
from kit.images import resize
from kit.spectral import SpectralFill

DRAWS = 8  # uniforms a photo and epoch: flip, scale, row, column, brightness, contrast, saturation, spare


@dataclass(frozen=True)
class Batch:
    """What a training step sees, at working size S."""

    filled: torch.Tensor
    """`(N, 3, S, S)` float32 in [0, 1]: the photo, the base fill inside the holes."""
    hole: torch.Tensor
    """`(N, 1, S, S)` float32: the share of each pixel that is hidden."""
    target: torch.Tensor
    """`(N, 3, S, S)` float32 in [0, 1]: the whole photo."""


def uniforms(seed: int, epoch: int, stream: int, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers in [0, 1) that depend on the arguments alone (Philox: Salmon et al. 2011)."""
    return np.random.Generator(np.random.Philox(key=[seed, (epoch << 8) | stream])).random(shape, np.float32)


def order_of_epoch(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order in which an epoch visits `count` photos."""
    return np.argsort(uniforms(seed, epoch, 1, (count,)), kind="stable")


def load_photos(targets: np.ndarray, positions: np.ndarray, side: int) -> torch.Tensor:
    """The photos at these positions, `(n, 3, side, side)` uint8, by area."""
    photos = np.empty((len(positions), 3, side, side), np.uint8)
    for place, position in enumerate(positions):
        photos[place] = resize(np.asarray(targets[position]), side, side).transpose(2, 0, 1)
    return torch.from_numpy(photos)


class TrainingPhotos:
    """The photos that one fold's model may see, and the batches made of them."""

    def __init__(
        self, experiment: Experiment, targets: np.ndarray, positions: np.ndarray, boxes: tuple[Box, ...]
    ) -> None:
        """
        Args:
            targets: `(N, H, W, 3)` uint8, all whole training photos.
            positions: which of them this model may see.
            boxes: the competition's box sizes; fresh ones are of the same size and number.
        """
        self.experiment = experiment
        self.positions = positions
        self.boxes = boxes
        self.full = targets.shape[1:3]
        # twice the size, so that a crop of half the side still has a pixel for every pixel
        self.photos = load_photos(targets, positions, min(2 * experiment.size, min(self.full)))
        self.base = SpectralFill(experiment.base)

    def __len__(self) -> int:
        """Steps in an epoch; the last, smaller batch is left out unless it is the only one."""
        return max(1, len(self.positions) // self.experiment.batch_size)

    def batch(self, epoch: int, step: int, draws: np.ndarray, order: np.ndarray) -> Batch:
        """The batch of one step; `draws` and `order` are the epoch's (`begin_epoch`)."""
        size = self.experiment.batch_size
        chosen = order[step * size : (step + 1) * size]
        target = augment(self.photos[chosen], draws[chosen], self.experiment)
        fields = self.base.fields_of(target)
        # photos of like aspect share a layout, and with it one matrix that nearly suits each of them
        alike = np.argsort(fields[:, 1], kind="stable")
        filled = torch.empty_like(target)
        holes = torch.empty_like(target[:, :1])
        for number, group in enumerate(np.array_split(alike, min(self.experiment.layouts, len(chosen)))):
            hole = coverage(self._boxes(epoch, step, number), self.full, self.experiment.size)
            power, aspect = fields[group].mean(axis=0)
            filled[group] = self.base(target[group], hole, power=power, aspect=aspect)
            holes[group] = hole
        return Batch(filled, holes, target)

    def _boxes(self, epoch: int, step: int, number: int) -> list[Box]:
        """Fresh boxes of one layout, a function of (seed, epoch, place in the epoch)."""
        key = [self.experiment.seed, (epoch << 40) | (step << 8) | (number + 2)]
        return random_boxes(np.random.Generator(np.random.Philox(key=key)), self.boxes, *self.full)

    def begin_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws by photo and the order of an epoch."""
        seed = self.experiment.seed
        draws = uniforms(seed, epoch, 0, (int(self.positions.max()) + 1, DRAWS))
        return draws[self.positions], order_of_epoch(seed, epoch, len(self.positions))


def coverage(boxes: list[Box] | tuple[Box, ...], full: tuple[int, int], size: int) -> torch.Tensor:
    """The share of each pixel hidden by boxes given at full size, `(1, 1, S, S)` float32.

    Exact for one box; where boxes overlap the larger share counts, exact wherever a pixel is hidden whole.
    """
    hidden = torch.zeros(size, size)
    for box in boxes:
        rows = _share(box.row, box.height, full[0], size)
        columns = _share(box.col, box.width, full[1], size)
        hidden = torch.maximum(hidden, rows[:, None] * columns[None, :])
    return hidden[None, None]


def _share(start: int, length: int, full: int, size: int) -> torch.Tensor:
    scale = size / full
    edges = torch.arange(size + 1, dtype=torch.float64)
    inside = edges.clamp(start * scale, (start + length) * scale)
    return (inside[1:] - inside[:-1]).float()


def augment(photos: torch.Tensor, draws: np.ndarray, experiment: Experiment) -> torch.Tensor:
    """Crop, resize, mirror and jitter a batch at once, `(n, 3, S, S)` float32 in [0, 1].

    Args:
        photos: `(n, 3, s, s)` uint8.
        draws: `(n, DRAWS)` uniforms.
    """
    u = torch.from_numpy(draws)
    scale = experiment.crop + (1 - experiment.crop) * u[:, 1]
    theta = torch.zeros(len(photos), 2, 3)
    theta[:, 0, 0] = torch.where((u[:, 0] < 0.5) & experiment.flip, -scale, scale)
    theta[:, 1, 1] = scale
    theta[:, 0, 2] = (1 - scale) * (2 * u[:, 2] - 1)
    theta[:, 1, 2] = (1 - scale) * (2 * u[:, 3] - 1)
    grid = F.affine_grid(theta, [len(photos), 3, experiment.size, experiment.size], align_corners=False)
    x = F.grid_sample(photos.float().div_(255), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return jitter_colours(x, u[:, 4:7], experiment.jitter) if experiment.jitter else x


def jitter_colours(x: torch.Tensor, draws: torch.Tensor, strength: float) -> torch.Tensor:
    """Change brightness, contrast and saturation of each photo by up to `strength`, clipped to [0, 1]."""
    factor = (1 + strength * (2 * draws - 1))[:, :, None, None, None]
    brightness, contrast, saturation = factor[:, 0], factor[:, 1], factor[:, 2]
    x = x * brightness
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * contrast
    grey = x.mean(dim=1, keepdim=True)
    return (grey + (x - grey) * saturation).clamp_(0, 1)


def network_input(filled: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """`(N, 6, S, S)`: filled photo about zero, hole, row and column coordinates in [-1, 1]."""
    count, _, height, width = filled.shape
    rows = torch.linspace(-1, 1, height, device=filled.device)[:, None].expand(height, width)
    columns = torch.linspace(-1, 1, width, device=filled.device)[None, :].expand(height, width)
    coordinates = torch.stack([rows, columns]).expand(count, -1, -1, -1)
    stacked = torch.cat([(filled - 0.5) * 4, hole, coordinates], dim=1)
    return stacked.contiguous(memory_format=torch.channels_last)


INPUT_CHANNELS = 6
