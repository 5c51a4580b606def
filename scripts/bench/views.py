"""What more views of a photo would bring to a trained source: mirrored outward, shifted, shown at other sizes.

    python scripts/bench/views.py NAME --workspace ws --fold 0 --margins 16 32 48 64 --shifts 2 4 --sizes 112 144

Predicts the fold's photos as kit does (the photo and its mirror image), from each other view, and from the mean of
both; prints the RMSE in score space of each. Shifts are by so many pixels in both directions, around the edges. Nothing
is stored.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.imaging.holes import scored_pixels
from kit.learning.experiments import Experiment
from kit.learning.inference import prepare_inputs, residuals, rmse_of
from kit.learning.training import load_generator

CHUNK = 32


class Fold:
    """The photos of one fold at full size, filled, with their holes and truth."""

    def __init__(self, project: Project, one: Experiment, fold: int) -> None:
        self.project, self.fill = project, project.predictions.read(one.base, "oof")
        positions, rows = project.folds.valid_positions(fold), project.index.train
        self.inputs = prepare_inputs(one, project.pack.train_image, rows, positions, self.fill)
        photos, holes = [], []
        for position in positions:
            photo = np.asarray(project.pack.train_image[position]).astype(np.float32) / 255
            hole = np.zeros((1, *photo.shape[:2]), np.float32)
            rows, columns = scored_pixels(project.index.train[position].boxes)
            photo[rows, columns], hole[0, rows, columns] = self.fill.values(position), 1
            photos.append(photo.transpose(2, 0, 1))
            holes.append(hole)
        self.photos, self.holes = torch.from_numpy(np.stack(photos)), torch.from_numpy(np.stack(holes))

    def rmse(self, residual: torch.Tensor) -> float:
        """Return the RMSE of the fill plus a residual `(n, 3, H, W)`."""
        return rmse_of(self.predicted(residual), self.inputs, self.project.pack)

    def predicted(self, residual: torch.Tensor) -> Iterator[np.ndarray]:
        """Yield the hidden pixels of each photo, `(n, 3)`."""
        for number, position in enumerate(self.inputs.positions):
            rows, columns = scored_pixels(self.inputs.photo_rows[number].boxes)
            yield np.clip(residual[number].numpy()[:, rows, columns].T + self.fill.values(position), 0, 1)


def residual_from(
    generator: nn.Module, one: Experiment, fold: Fold, margin: int, size: int | None = None
) -> torch.Tensor:
    """Return the residual at full size, seen with so many mirrored pixels around the photo, at a size or the usual."""
    size = size or one.size
    height, width = fold.photos.shape[2:]
    around = (margin,) * 4
    found = []
    for start in range(0, len(fold.photos), CHUNK):
        piece = slice(start, start + CHUNK)
        photos = F.pad(fold.photos[piece], around, mode="reflect")
        holes = F.pad(fold.holes[piece], around)
        small = (F.interpolate(x, size=(size, size), mode="area") for x in (photos, holes))
        seen = F.interpolate(residuals(generator, one, *small), size=photos.shape[2:], mode="bilinear")
        found.append(seen[:, :, margin : margin + height, margin : margin + width])
    return torch.cat(found)


def residual_at_size(generator: nn.Module, one: Experiment, fold: Fold, size: int) -> torch.Tensor:
    """Return the residual at full size, seen at another size than in training."""
    return residual_from(generator, one, fold, 0, size)


def residual_shifted(generator: nn.Module, one: Experiment, fold: Fold, shift: int) -> torch.Tensor:
    """Return the mean of the residuals of the photos moved by so many pixels, down right and up left."""
    photos, holes, moved = fold.photos, fold.holes, []
    for by in (shift, -shift):
        fold.photos, fold.holes = (torch.roll(x, (by, by), (2, 3)) for x in (photos, holes))
        moved.append(torch.roll(residual_from(generator, one, fold, 0), (-by, -by), (2, 3)))
    fold.photos, fold.holes = photos, holes
    return (moved[0] + moved[1]) / 2


def main() -> None:
    """Print one line a view."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a trained source")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--margins", type=int, nargs="*", default=[16, 32, 48, 64], help="pixels at full size")
    parser.add_argument("--shifts", type=int, nargs="*", default=[], help="pixels at full size")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="to which photos are brought")
    given = parser.parse_args()
    project = Project(Workspace(given.workspace))
    one, generator = load_generator(project.workspace, given.name, given.fold, torch.device("cpu"))
    fold = Fold(project, one, given.fold)
    usual = residual_from(generator, one, fold, 0)
    print(f"{len(fold.photos)} photos; as kit predicts: {fold.rmse(usual):.5f}")
    views = [(f"{margin} pixels around", residual_from, margin) for margin in given.margins]
    views += [(f"shifted by {shift} pixels", residual_shifted, shift) for shift in given.shifts]
    views += [(f"at {size} pixels", residual_at_size, size) for size in given.sizes]
    for called, see, by in views:
        other = see(generator, one, fold, by)
        both = fold.rmse((usual + other) / 2)
        print(f"{called}: {fold.rmse(other):.5f} alone, {both:.5f} with the usual view", flush=True)


if __name__ == "__main__":
    main()
