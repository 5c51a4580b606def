"""Training steps of the kit against a plain loop of the same networks, in the same run.

    python scripts/bench/step.py --workspace ws                  # a workspace after `kit fetch` and `kit folds`
    python scripts/bench/step.py --workspace ws --batch 16 --device cuda
    python scripts/bench/step.py --workspace ws --experiment regress-imagenet --batch 64 --device cuda --compile

`pix2pix-paper` (the default) is compared with the paper's networks as most public code has them; an experiment without
a discriminator with its own network, squared error and the mean in the holes. The plain loop is written as most public
code is: NCHW, `nn.Conv2d` and `nn.ConvTranspose2d`, Adam as it comes, a DataLoader that decodes JPEGs, and losses read
with `.item()` in every step. Each way has a process of its own, and they take turns; medians are printed, with the
share of the device's measured matrix throughput that the kit's steps reach.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
from batches import DecodedPhotos, boxes_of

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.learning.datasets import TrainingPhotos, network_input
from kit.learning.experiments import Experiment, experiment
from kit.learning.models import build_generator
from kit.learning.training import new_state, processes_on
from kit.learning.training.trainer import Trainer


class Level(nn.Module):
    """One level of the U-Net of Isola et al. 2017 around the next one."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None, inputs: int | None = None, drop: bool = False):
        super().__init__()
        outermost, innermost = inputs is not None, below is None
        down: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2)]
        down.append(nn.Conv2d(inputs or outer, inner, 4, 2, 1, bias=False))
        down += [] if outermost or innermost else [nn.BatchNorm2d(inner)]
        up: list[nn.Module] = [nn.ReLU()]
        up.append(nn.ConvTranspose2d(inner if innermost else 2 * inner, outer, 4, 2, 1, bias=outermost))
        up += [nn.Tanh()] if outermost else [nn.BatchNorm2d(outer)]
        up += [nn.Dropout(0.5)] if drop else []
        self.outermost = outermost
        self.model = nn.Sequential(*down, *([] if below is None else [below]), *up)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


def plain_unet(inputs: int) -> nn.Module:
    """U-Net 256 with 64 channels."""
    level = Level(512, 512, None)
    for _ in range(3):
        level = Level(512, 512, level, drop=True)
    for outer in (256, 128, 64):
        level = Level(outer, 2 * outer, level)
    return Level(3, 64, level, inputs=inputs)


def plain_patchgan(inputs: int) -> nn.Module:
    """70x70 PatchGAN."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, 64, 4, 2, 1), nn.LeakyReLU(0.2)]
    for inside, outside, stride in ((64, 128, 2), (128, 256, 2), (256, 512, 1)):
        layers += [nn.Conv2d(inside, outside, 4, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 1))


def plain_steps(project: Project, one: Experiment, device: torch.device) -> Iterator[None]:
    """The plain loop, one step at a time."""
    generator, discriminator = plain_unet(4).to(device), plain_patchgan(7).to(device)
    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
    adam_g, adam_d = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (generator, discriminator))
    ones, zeros = (lambda x: torch.ones_like(x)), (lambda x: torch.zeros_like(x))
    criterion = nn.BCEWithLogitsLoss()
    for filled, hole, target in plain_batches(project, one, device):
        condition = torch.cat([filled * 2 - 1, hole], 1)
        fake, real = generator(condition), target * 2 - 1
        adam_d.zero_grad()
        on_fake = discriminator(torch.cat([condition, fake.detach()], 1))
        on_real = discriminator(torch.cat([condition, real], 1))
        loss_d = (criterion(on_fake, zeros(on_fake)) + criterion(on_real, ones(on_real))) / 2
        loss_d.backward()
        adam_d.step()
        discriminator.requires_grad_(False)
        adam_g.zero_grad()
        verdict = discriminator(torch.cat([condition, fake], 1))
        loss_l1 = F.l1_loss(fake, real)
        loss_g = criterion(verdict, ones(verdict)) + 100 * loss_l1
        loss_g.backward()
        adam_g.step()
        discriminator.requires_grad_(True)
        _ = loss_d.item(), loss_g.item(), loss_l1.item()
        yield


def plain_regression(project: Project, one: Experiment, device: torch.device) -> Iterator[None]:
    """The plain loop of one network and the squared error, one step at a time."""
    generator = build_generator(one).to(device)
    adam = torch.optim.Adam([value for value in generator.parameters() if value.requires_grad], 1e-3)
    for filled, hole, target in plain_batches(project, one, device):
        adam.zero_grad()
        predicted = filled + generator(network_input(filled, hole))
        loss = ((predicted - target).square() * hole).sum() / (3 * hole.sum())
        loss.backward()
        adam.step()
        _ = loss.item()
        yield


def plain_batches(project: Project, one: Experiment, device: torch.device) -> Iterator[list[torch.Tensor]]:
    """Batches from JPEGs by a DataLoader, for ever."""
    paths = [project.workspace.raw / photo_row.target for photo_row in project.index.train]
    dataset = DecodedPhotos(paths, boxes_of(project), one)
    workers = len(os.sched_getaffinity(0))
    loader = DataLoader(dataset, one.batch_size, shuffle=True, num_workers=workers, persistent_workers=True)
    while True:
        for batch in loader:
            yield [part.to(device) for part in batch]


def kit_steps(project: Project, one: Experiment, device: str, compiled: bool) -> Iterator[None]:
    """The kit's engine, one step at a time."""
    processes = processes_on(device)
    trainer = Trainer(one, new_state(one, processes.device), processes, compiled=compiled)
    targets = project.pack.train_target
    photos = TrainingPhotos(one, targets, np.arange(len(targets)), boxes_of(project), device=processes.device)
    for epoch in range(10**6):
        trainer.state.epoch = epoch
        draws = [photos.begin_epoch(epoch)]
        for _ in range(len(photos)):
            trainer.step(photos, draws, 10**6)
            yield


def flops_of_a_step(step: Callable[[], None]) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        step()
    return float(counter.get_total_flops())


def matrix_throughput(device: torch.device, side: int) -> float:
    """FLOP a second of a float32 (CPU) or bfloat16 (GPU) matrix product."""
    kind = torch.float32 if device.type == "cpu" else torch.bfloat16
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    seconds = []
    for _ in range(7):
        wait_for(device)
        started = time.perf_counter()
        a @ b
        wait_for(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds)


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def serve(connection: Connection, way: str, arguments: argparse.Namespace, batch: int) -> None:
    """A process that makes one way's steps when told to, and answers with seconds a step and FLOP of a step."""
    project, device = Project(Workspace(arguments.workspace)), torch.device(arguments.device)
    usual = ["crop=0.9", "jitter=0"] if arguments.experiment == "pix2pix-paper" else ["first_size=0"]
    one = experiment(arguments.experiment, [f"batch_size={batch}", *usual, *arguments.set])
    if way == "kit":
        steps = kit_steps(project, one, arguments.device, arguments.compile)
    elif arguments.experiment == "pix2pix-paper":
        steps = plain_steps(project, one, device)
    else:
        steps = plain_regression(project, one, device)
    flops = flops_of_a_step(lambda: next(steps))
    next(steps)
    connection.send((0.0, flops))
    while count := connection.recv():
        wait_for(device)
        started = time.perf_counter()
        for _ in range(count):
            next(steps)
        wait_for(device)
        connection.send(((time.perf_counter() - started) / count, flops))
    os._exit(0)  # the loader's workers need no farewell


def measure(arguments: argparse.Namespace, batch: int) -> tuple[dict[str, float], float]:
    """Median seconds a step of each way, each in a process of its own, and the kit's FLOP of a step."""
    ends = {}
    for way in ("plain loop", "kit"):
        here, there = multiprocessing.Pipe()
        multiprocessing.get_context("spawn").Process(target=serve, args=(there, way, arguments, batch)).start()
        ends[way] = here
    flops = {way: end.recv()[1] for way, end in ends.items()}
    seconds: dict[str, list[float]] = {way: [] for way in ends}
    for _ in range(arguments.rounds):
        for way, end in ends.items():
            end.send(arguments.steps)
            seconds[way].append(end.recv()[0])
    for end in ends.values():
        end.send(0)
    return {way: statistics.median(values) for way, values in seconds.items()}, flops["kit"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--experiment", default="pix2pix-paper")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="in a round")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    peak = matrix_throughput(device, 2048 if device.type == "cpu" else 8192)
    print(f"{device}, {torch.get_num_threads()} threads, matrix products at {peak / 1e9:.0f} GFLOP/s")
    for batch in arguments.batch:
        medians, flops = measure(arguments, batch)
        ratio, share = medians["plain loop"] / medians["kit"], flops / medians["kit"] / peak
        for name, seconds in medians.items():
            print(f"batch {batch:3} {name:12} {seconds:8.3f} s a step {batch / seconds:8.1f} photos/s")
        text = f"{flops / 1e9:.0f} GFLOP a step, {share:.0%} of the matrix product's"
        print(f"batch {batch:3} kit is {ratio:.2f} times as fast; {text}", flush=True)


if __name__ == "__main__":
    main()
