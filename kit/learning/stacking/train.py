"""Train the network of one fold on the photos of all other folds, resumed after a kill. Knows no member by name.

It has a loop of its own: the engine of `kit.learning.training` runs an `Experiment` on photos that it crops and fills,
and would need a second kind of batch, schedule, measurement and checkpoint for the sixty lines that are saved here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from kit.core.progress import progress
from kit.errors import TrainingError
from kit.imaging.holes import scored_pixels
from kit.learning.datasets.batches import order_of_epoch, uniforms
from kit.learning.stacking.inputs import StackInputs, truth_of, views_of, weighted_sum
from kit.learning.stacking.network import StackNetwork, Views
from kit.learning.stacking.settings import StackSettings
from kit.learning.training.checkpoints import load_checkpoint, save_checkpoint
from kit.learning.training.optim import ema_weight, update_average

CHUNK = 32  # photos predicted at once


@dataclass
class _State:
    """Everything that changes while training."""

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]


def new_network(members: int, settings: StackSettings, seed: int, device: torch.device) -> nn.Module:
    """Build the network before the first step; the same for the same arguments."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = StackNetwork(members, settings)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def train_network(
    inputs: StackInputs,
    positions: np.ndarray,
    base: np.ndarray,
    *,
    settings: StackSettings,
    seed: int,
    device: torch.device,
    folder: Path,
    title: str,
) -> nn.Module:
    """Train on these photos alone; checkpoints go to `folder`, and are resumed from there.

    Args:
        inputs: the training photos.
        positions: `(n,)` int, which of them the network may see.
        base: `(K,)`, weights of the linear blend under it.

    Raises:
        TrainingError: the loss is no longer finite.
    """
    state = _state(len(base), settings, seed, device, folder)
    steps = math.ceil(len(positions) / settings.batch_size)
    weights = torch.from_numpy(base.astype(np.float32)).to(device)
    generators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(generators), progress(title, settings.epochs * steps, "steps") as bar:
        bar.start_at(state.epoch * steps)
        note = ""
        while state.epoch < settings.epochs:
            loss = _epoch(state, inputs, positions, weights, settings, seed, bar.update, note)
            note = f"loss {loss:.5f}"
            _check(loss, state, title)
            state.epoch += 1
            save_checkpoint(folder, state.epoch, state.state_dict())
    return state.average


def _state(members: int, settings: StackSettings, seed: int, device: torch.device, folder: Path) -> _State:
    """Load the state as it was left, or make a new one."""
    model = new_network(members, settings, seed, device)
    groups = [
        {"params": [one for one in model.parameters() if one.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [one for one in model.parameters() if one.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    state = _State(model, copy.deepcopy(model).requires_grad_(False), optimizer)
    if (saved := load_checkpoint(folder, device)) is not None:
        state.load_state_dict(saved)
    return state


def _epoch(
    state: _State,
    inputs: StackInputs,
    positions: np.ndarray,
    base: torch.Tensor,
    settings: StackSettings,
    seed: int,
    on_step: Callable[[int, str], None],
    note: str,
) -> float:
    """Pass once over the photos and return their mean loss.

    All that is random is a function of (seed, epoch, photo or step).
    """
    steps = math.ceil(len(positions) / settings.batch_size)
    total = torch.zeros((), device=base.device)
    draws = uniforms(seed, state.epoch, 0, (int(positions.max()) + 1, 2 + len(base)))
    order = positions[order_of_epoch(seed, state.epoch, len(positions))]
    for step in range(steps):
        photos = order[step * settings.batch_size : (step + 1) * settings.batch_size]
        global_step = state.epoch * steps + step
        torch.manual_seed(seed * 1_000_003 + global_step)  # of dropout
        _set_rate(state.optimizer, settings, global_step / (settings.epochs * steps))
        total += _step(state, inputs, photos, base, draws[photos], settings, global_step) * len(photos)
        on_step(1, note)
    return float(total) / len(positions)


def _set_rate(optimizer: torch.optim.Optimizer, settings: StackSettings, share: float) -> None:
    """Warm up over a twentieth of the steps, then a half cosine to zero."""
    rate = settings.learning_rate * min(1.0, (share + 1e-3) / 0.05) * 0.5 * (1 + math.cos(math.pi * share))
    for group in optimizer.param_groups:
        group["lr"] = rate


def _step(
    state: _State,
    inputs: StackInputs,
    photos: np.ndarray,
    base: torch.Tensor,
    draws: np.ndarray,
    settings: StackSettings,
    global_step: int,
) -> torch.Tensor:
    """Make one step and return the loss, not yet read."""
    stored = inputs.read(photos).to(device=base.device, non_blocking=True)
    scale = torch.from_numpy(inputs.scale[photos].astype(np.float32)).to(base.device)
    drawn = torch.from_numpy(draws).to(base.device)
    state.model.train()
    loss = stack_loss(state.model, stored, base, scale, drawn, settings)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.model.parameters(), settings.clip)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    update_average(state.average, state.model, ema_weight(settings.ema, global_step))
    return loss.detach()


def stack_loss(
    network: nn.Module,
    stored: torch.Tensor,
    base: torch.Tensor,
    scale: torch.Tensor,
    draws: torch.Tensor,
    settings: StackSettings,
) -> torch.Tensor:
    """Return the mean over photos of each photo's mean squared error in score space, over scored pixels.

    Args:
        stored: `(N, C, S, S)` float32, see `kit.learning.stacking.inputs`.
        base: `(K,)`.
        scale: `(N, 3)`, by how much score space stretches each channel.
        draws: `(N, 2 + K)` uniforms: mirror, order of the channels, and which members look like the blend.
    """
    if settings.flip:
        stored = torch.where(draws[:, 0, None, None, None] < 0.5, stored.flip(-1), stored)
    if settings.permute:
        stored, scale = _permuted(stored, scale, draws[:, 1], len(base))
    views = views_of(stored, base)
    count, truth = truth_of(stored, len(base))
    # the mean over what is hidden of a pixel, not over the pixel
    wanted = (truth - views.blend) / views.hole.clamp(min=1e-3)
    seen = views
    if settings.member_dropout:
        kept = (draws[:, 2:] >= settings.member_dropout).to(stored.dtype)[:, :, None, None, None]
        seen = Views(views.blend, views.deviations * kept, views.hole, views.distance)
    residual = residual_of(network(seen), views)
    error = (residual - wanted).square() * count * scale.square()[:, :, None, None]
    return (error.sum((1, 2, 3)) / (3 * count.sum((1, 2, 3)).clamp(min=1e-6))).mean()


_ORDERS = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])


def _permuted(
    stored: torch.Tensor, scale: torch.Tensor, draws: torch.Tensor, members: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put red, green and blue of each photo into one of their six orders."""
    order = _ORDERS.to(stored.device)[(draws * 6).long()]
    after = 3 * members + 3
    groups = [3 * group + order for group in range(members + 1)]
    rest = torch.arange(after, after + 3, device=stored.device).expand(len(order), -1)
    index = torch.cat([*groups, rest, after + 3 + order], 1)
    photos = torch.arange(len(stored), device=stored.device)[:, None]
    return stored[photos, index], scale.gather(1, order)


def residual_of(output: torch.Tensor, views: Views) -> torch.Tensor:
    """Return what a network's output adds to the linear blend, `(N, 3, S, S)`.

    Weights that vary over the photo act on the deviations as they are here, not at full size: their fine grain would
    be weighted by what was learnt of the smooth part, and scored worse when it was tried.
    """
    output = F.interpolate(output, size=views.blend.shape[2:], mode="bilinear")
    if output.shape[1] == 3:
        return output
    deviations = views.deviations / views.hole.clamp(min=1e-3)[:, None]
    return output[:, :3] + (output[:, 3:, None] * deviations).sum(1)


def _check(loss: float, state: _State, title: str) -> None:
    norm = torch.stack([one.detach().float().norm() for one in state.model.parameters()]).sum()
    if not (math.isfinite(loss) and math.isfinite(float(norm))):
        raise TrainingError(
            f"{title}: the loss is no longer finite in epoch {state.epoch + 1} ({loss:g}). Nothing was stored. Leave "
            f"out the member that has gone wrong, or blend without a stack: kit blend"
        )


@torch.no_grad()
def predict(
    network: nn.Module,
    inputs: StackInputs,
    positions: np.ndarray,
    base: np.ndarray,
    *,
    settings: StackSettings,
    title: str,
) -> Iterator[np.ndarray]:
    """Yield the scored pixels of each photo, `(n, 3)` float32: linear blend and residual at full size."""
    network.eval()
    device = next(network.parameters()).device
    weights = torch.from_numpy(base.astype(np.float32)).to(device)
    with progress(title, len(positions), "photos") as bar:
        for start in range(0, len(positions), CHUNK):
            photos = positions[start : start + CHUNK]
            views = views_of(inputs.read(photos).to(device), weights)
            output = network(views)
            if settings.flip:
                mirrored = torch.ones(len(photos), dtype=torch.bool, device=device)
                output = (output + network(views.flipped(mirrored)).flip(-1)) / 2
            residuals = settings.shrink * residual_of(output.float(), views).cpu()
            for photo, residual in zip(photos, residuals, strict=True):
                yield _at_full_size(inputs, int(photo), residual, base)
                bar.update()


def _at_full_size(inputs: StackInputs, photo: int, residual: torch.Tensor, base: np.ndarray) -> np.ndarray:
    photo_row = inputs.photo_rows[photo]
    rows, columns = scored_pixels(photo_row.boxes)
    full = F.interpolate(residual[None], size=(photo_row.height, photo_row.width), mode="bilinear")[0].numpy()
    blend = weighted_sum([one.values(photo) for one in inputs.members], base)
    values: np.ndarray = np.clip(blend + full[:, rows, columns].T, 0.0, 1.0).astype(np.float32)
    return values
