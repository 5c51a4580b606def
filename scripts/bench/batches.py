"""Training batches a second: from the pack, against decoding JPEGs with a DataLoader, in the same run.

    python scripts/bench/batches.py --workspace ws               # a workspace after `kit fetch` and `kit folds`
    python scripts/bench/batches.py --workspace ws --size 256 --batch 16

Both make the same thing: crop, mirror, colour jitter, fresh boxes, the mean of the known pixels in them. The plain way
is what most public code does: a Dataset that decodes one photo with OpenCV and changes it with torchvision, in a
DataLoader with as many workers as there are cores. Rounds alternate; medians and their ratio are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.imaging.holes import Box, random_boxes
from kit.learning.datasets import TrainingPhotos
from kit.learning.experiments import Experiment, experiment

# the loader's workers fill their queues after a round, and must not do so in the next one's time
PREFETCH_SECONDS = 1.0


class DecodedPhotos(Dataset):
    """One photo at a time, from its JPEG."""

    def __init__(self, paths: list[Path], boxes: tuple[Box, ...], one: Experiment) -> None:
        self.paths, self.boxes, self.size = paths, boxes, one.size
        changes = [
            v2.RandomResizedCrop(one.size, scale=(one.crop**2, 1.0), ratio=(1.0, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.ColorJitter(one.jitter, one.jitter, one.jitter),
        ]
        self.change = v2.Compose(changes)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        image = cv2.cvtColor(cv2.imread(str(self.paths[number])), cv2.COLOR_BGR2RGB)
        target = self.change(torch.from_numpy(image.transpose(2, 0, 1).copy()))
        hole = torch.zeros(1, self.size, self.size)
        scale = self.size / image.shape[0]
        for box in random_boxes(np.random.default_rng(), self.boxes, *image.shape[:2]):
            row, col = round(box.row * scale), round(box.col * scale)
            hole[:, row : row + round(box.height * scale), col : col + round(box.width * scale)] = 1
        known = 1 - hole
        mean = (target * known).sum((1, 2), keepdim=True) / known.sum()
        return torch.where(hole > 0, mean, target), hole, target


def from_pack(project: Project, one: Experiment) -> Iterator[torch.Tensor]:
    """Batches of the kit, for ever."""
    photos = TrainingPhotos(one, project.pack.train_target, np.arange(len(project.index.train)), boxes_of(project))
    for epoch in range(10**6):
        draws, order = photos.begin_epoch(epoch)
        for step in range(len(photos)):
            yield photos.batch(epoch, step, draws, order).filled


def from_jpegs(project: Project, one: Experiment, workers: int) -> Iterator[torch.Tensor]:
    """Batches of the plain way, for ever."""
    paths = [project.workspace.raw / photo_row.target for photo_row in project.index.train]
    dataset = DecodedPhotos(paths, boxes_of(project), one)
    options = {"shuffle": True, "num_workers": workers, "drop_last": True, "persistent_workers": True}
    loader = DataLoader(dataset, one.batch_size, **options)
    while True:
        for batch in loader:
            yield batch[0]


def boxes_of(project: Project) -> tuple[Box, ...]:
    return project.index.train[0].boxes


def photos_a_second(batches: Iterator[torch.Tensor], count: int) -> float:
    started = time.perf_counter()
    made = sum(len(batch) for batch in islice(batches, count))
    return made / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=100, help="in a round")
    arguments = parser.parse_args()
    project = Project(Workspace(arguments.workspace))
    cores = len(os.sched_getaffinity(0))
    one = experiment("regress", [f"size={arguments.size}", f"batch_size={arguments.batch}", "base=mean", "rotate=0"])
    fractional = experiment("regress", [f"size={arguments.size}", f"batch_size={arguments.batch}", "rotate=0"])
    ways = {
        "JPEGs, DataLoader": from_jpegs(project, one, cores),
        "pack": from_pack(project, one),
        "pack, fractional fill": from_pack(project, fractional),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for batches in ways.values():
        photos_a_second(batches, 3)  # workers start, tables are made
    for _ in range(arguments.rounds):
        for name, batches in ways.items():
            time.sleep(PREFETCH_SECONDS)
            speeds[name].append(photos_a_second(batches, arguments.batches))
    plain = statistics.median(speeds["JPEGs, DataLoader"])
    print(f"{arguments.size} px, batches of {arguments.batch}, {cores} cores, {torch.get_num_threads()} threads")
    for name, values in speeds.items():
        median = statistics.median(values)
        print(f"{name:24} {median:8.0f} photos/s   {median / plain:5.1f} times")


if __name__ == "__main__":
    main()
