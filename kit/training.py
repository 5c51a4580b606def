"""One experiment on one fold: batches, steps, checkpoints, weights. Knows no competition and no blend.

A run killed at any moment and started again ends with the same bytes (on the CPU with the same number of threads): all
randomness is a function of (seed, epoch, step), and the checkpoint holds everything else. Nothing in a step waits for
the device; losses are read once an epoch.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from kit.checkpoints import drop_checkpoints, load_checkpoint, save_checkpoint
from kit.datasets import Batch, TrainingPhotos, network_input
from kit.errors import DamagedStore, Mismatch, MissingStep, TrainingError, UsageError
from kit.experiments import Experiment, experiment_from, settings_of
from kit.folds import Folds
from kit.index import Index
from kit.inference import Inputs, fold_rmse, prepare_inputs
from kit.losses import discriminator_loss, generator_adversarial_loss, hole_l1_loss, hole_mse_loss
from kit.models import build_discriminator, build_generator
from kit.models.patchgan import patch_candidate
from kit.pack import Pack
from kit.predictions import Predictions
from kit.progress import progress
from kit.storage import digest_of, read_json, write_json, write_text, writing
from kit.workspace import Workspace

CHECKPOINT_SECONDS = 20.0  # a kill costs at most one epoch or this much, whichever is longer
VALIDATIONS = 8  # the fold's RMSE is measured about this often in a run


@dataclass
class State:
    """Everything that changes while training."""

    generator: nn.Module
    average: nn.Module
    generator_optimizer: torch.optim.Optimizer
    discriminator: nn.Module | None
    discriminator_optimizer: torch.optim.Optimizer | None
    epoch: int = 0
    step: int = 0
    planned: int = 0
    """Epochs this run will have; fewer than the experiment's when --max-minutes cuts it."""
    log: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    def modules(self) -> dict[str, Any]:
        """What has a state_dict, by name."""
        found = {
            "generator": self.generator,
            "average": self.average,
            "generator_optimizer": self.generator_optimizer,
            "discriminator": self.discriminator,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        return {name: module for name, module in found.items() if module is not None}

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        plain = {name: getattr(self, name) for name in ("epoch", "step", "planned", "log", "seconds")}
        return {**{name: module.state_dict() for name, module in self.modules().items()}, **plain}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        for name, module in self.modules().items():
            module.load_state_dict(state[name])
        for name in ("epoch", "step", "planned", "log", "seconds"):
            setattr(self, name, state[name])


def device_named(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` ... to a device. Raises `TrainingError` when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, AttributeError) as error:
        raise TrainingError(
            f"--device {name}: {str(error).splitlines()[0]} Use --device cpu or --device auto."
        ) from None
    return device


def new_state(experiment: Experiment, device: torch.device, *, pretrained: bool = True) -> State:
    """Networks and optimizers before the first step; the same for the same experiment.

    Args:
        pretrained: False leaves the encoder's weights to a checkpoint.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        generator = build_generator(experiment, pretrained=pretrained).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        discriminator = build_discriminator(experiment)
    average = copy.deepcopy(generator).requires_grad_(False)
    state = State(generator, average, _optimizer(generator, experiment), None, None, planned=experiment.epochs)
    if discriminator is not None:
        state.discriminator = discriminator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        state.discriminator_optimizer = _optimizer(discriminator, experiment)
    return state


def try_out(experiment: Experiment, photos: int) -> None:
    """Build the networks and pass a few pixels through: settings that do not fit fail before anything is written.

    Raises:
        UsageError: the networks cannot be built, or not work at this size or on so few photos.
        TrainingError: the encoder's weights cannot be had.
    """
    state = new_state(experiment, torch.device("cpu"))
    count = min(2, experiment.batch_size, photos)  # batch norm wants more than one value a channel
    picture = torch.zeros(count, 3, experiment.size, experiment.size)
    try:
        with torch.no_grad():
            residual = state.generator.train()(network_input(picture, picture[:, :1]))
            if state.discriminator is not None:
                state.discriminator.train()(patch_candidate(picture, picture[:, :1], picture))
    except (RuntimeError, ValueError, TypeError, AssertionError, LookupError) as error:
        raise _does_not_fit(experiment, (str(error) or type(error).__name__).splitlines()[0][:150]) from None
    if residual.shape != picture.shape:
        raise _does_not_fit(experiment, f"the network gives {tuple(residual.shape)} for {tuple(picture.shape)}")


def _does_not_fit(experiment: Experiment, reason: str) -> UsageError:
    parts = ["encoder", "architecture", "decoder_channels", "size", "batch_size"]
    parts += ["discriminator_layers"] if experiment.adversarial_weight else []
    chosen = " ".join(setting for setting in settings_of(experiment) if setting.partition("=")[0] in parts)
    return UsageError(
        f"{experiment.name} cannot be trained with {chosen}: {reason}. Change one with --set field=value."
    )


def _optimizer(module: nn.Module, experiment: Experiment) -> torch.optim.Optimizer:
    # norms and biases are not decayed: pulling them to zero regularises nothing
    decayed = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": experiment.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=experiment.learning_rate, betas=(experiment.beta1, 0.999), fused=True)


def learning_rate(experiment: Experiment, step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine to zero."""
    warm = max(1, round(experiment.warmup * steps))
    if step < warm:
        return experiment.learning_rate * (step + 1) / warm
    share = (step - warm) / max(1, steps - warm)
    return experiment.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def train_step(experiment: Experiment, state: State, batch: Batch) -> dict[str, torch.Tensor]:
    """One step of the generator and, when there is one, the discriminator. Returns losses, not yet read."""
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=batch.target.is_cuda)
    state.generator.train()
    with autocast:
        residual = state.generator(network_input(batch.filled, batch.hole)).float()
    predicted = batch.filled + residual
    losses: dict[str, torch.Tensor] = {}
    total = torch.zeros((), device=residual.device)
    if experiment.mse_weight:
        losses["mse"] = hole_mse_loss(predicted, batch.target, batch.hole)
        total = total + experiment.mse_weight * losses["mse"]
    if experiment.l1_weight:
        losses["l1"] = hole_l1_loss(predicted, batch.target, batch.hole)
        total = total + experiment.l1_weight * losses["l1"]
    if state.discriminator is not None:
        candidate = batch.filled + batch.hole * residual
        losses["discriminator"] = _discriminator_step(state, experiment, batch, candidate.detach())
        state.discriminator.requires_grad_(False)
        with autocast:
            verdict = state.discriminator(patch_candidate(batch.filled, batch.hole, candidate)).float()
        losses["adversarial"] = generator_adversarial_loss(verdict)
        total = total + experiment.adversarial_weight * losses["adversarial"]
    _descend(state.generator_optimizer, state.generator, total, experiment.clip)
    _update_average(state, experiment.ema)
    return {name: loss.detach() for name, loss in losses.items()}


def _discriminator_step(state: State, experiment: Experiment, batch: Batch, candidate: torch.Tensor) -> torch.Tensor:
    assert state.discriminator is not None and state.discriminator_optimizer is not None
    state.discriminator.requires_grad_(True)
    with torch.autocast("cuda", torch.bfloat16, enabled=candidate.is_cuda):
        real = state.discriminator(patch_candidate(batch.filled, batch.hole, batch.target)).float()
        fake = state.discriminator(patch_candidate(batch.filled, batch.hole, candidate)).float()
    loss = discriminator_loss(real, fake)
    _descend(state.discriminator_optimizer, state.discriminator, loss, experiment.clip)
    return loss


def _descend(optimizer: torch.optim.Optimizer, module: nn.Module, loss: torch.Tensor, clip: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()


@torch.no_grad()
def _update_average(state: State, decay: float) -> None:
    # early on the average would be mostly the random start, so its memory grows with the steps made
    decay = min(decay, (1 + state.step) / (10 + state.step))
    mean, now = state.average.state_dict(), state.generator.state_dict()
    floats = [name for name, value in now.items() if value.is_floating_point()]
    torch._foreach_lerp_([mean[name] for name in floats], [now[name] for name in floats], 1 - decay)
    for name in now.keys() - set(floats):
        mean[name].copy_(now[name])


@dataclass(frozen=True)
class Run:
    """Where one fold's training lives, and what it was."""

    folder: Path
    seconds: float
    epochs: int
    rmse: float
    skipped: bool = False


def train_fold(
    workspace: Workspace,
    index: Index,
    pack: Pack,
    folds: Folds,
    experiment: Experiment,
    fold: int,
    fill: Predictions,
    *,
    device: torch.device,
    max_minutes: float | None = None,
) -> Run:
    """Train one fold to the end, resuming what is there, and leave `model.safetensors`, `log.csv`, `run.json`.

    Args:
        fill: OOF predictions of the experiment's base fill.

    Raises:
        Mismatch: the folder holds a training with other settings or other folds.
        TrainingError: the loss is no longer finite.
    """
    folder = workspace.run(experiment.name, fold)
    stamp = run_stamp(index, folds, experiment)
    _claim(folder, stamp, experiment, fold)
    if (folder / "run.json").is_file() and (folder / "model.safetensors").is_file():
        done = _finished(folder, experiment, fold)
        drop_checkpoints(folder)  # they are still there after a kill in between
        return done
    photos = TrainingPhotos(experiment, pack.train_target, folds.train_positions(fold), index.train[0].boxes)
    inputs = prepare_inputs(experiment, pack.train_image, index.train, folds.valid_positions(fold), fill)
    saved = load_checkpoint(folder, device)
    state = new_state(experiment, device, pretrained=saved is None)
    if saved is not None:
        state.load_state_dict(saved)
    try:
        _epochs(experiment, state, photos, inputs, pack, folder, device, fold, max_minutes)
    except torch.OutOfMemoryError:
        raise TrainingError(
            f"{experiment.name} does not fit into the memory of {device}. Train a smaller batch under another name: "
            f"kit train ... --as NAME --set batch_size={max(1, experiment.batch_size // 2)}"
        ) from None
    return _finish(folder, state)


def _finished(folder: Path, experiment: Experiment, fold: int) -> Run:
    path, again = folder / "run.json", _again(experiment, fold)
    done = read_json(path, made_by=again)
    try:
        return Run(folder, float(done["seconds"]), int(done["epochs"]), float(done["fold_rmse"]), skipped=True)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStore(f"{path} is not what kit wrote ({error!r}). Train again: {again}") from None


def run_stamp(index: Index, folds: Folds, experiment: Experiment) -> dict[str, Any]:
    """What a training depends on; another stamp in the same folder is refused."""
    return {"experiment": dataclasses.asdict(experiment), "index": index.digest, "folds": folds.digest}


def _again(experiment: Experiment, fold: int) -> str:
    return f"kit train {experiment.name} --fold {fold} --force"


def _claim(folder: Path, stamp: dict[str, Any], experiment: Experiment, fold: int) -> None:
    path = folder / "experiment.json"
    if path.is_file():
        found = read_json(path, made_by=_again(experiment, fold))
        if digest_of(found) != digest_of(stamp):
            raise Mismatch(
                f"{folder} holds a training with other {_differences(found, stamp)}. Keep it and store this one under "
                f"another name with --as NAME, or replace it: {_again(experiment, fold)}"
            )
        return
    write_json(path, stamp)


def _differences(found: dict[str, Any], stamp: dict[str, Any]) -> str:
    settings = found.get("experiment")
    settings = settings if isinstance(settings, dict) else {}
    names = [name for name, value in stamp["experiment"].items() if digest_of(settings.get(name)) != digest_of(value)]
    names += [name for name in ("index", "folds") if found.get(name) != stamp[name]]
    return ", ".join(names)


def _epochs(
    experiment: Experiment,
    state: State,
    photos: TrainingPhotos,
    inputs: Inputs,
    pack: Pack,
    folder: Path,
    device: torch.device,
    fold: int,
    max_minutes: float | None,
) -> None:
    steps = len(photos)
    saved = time.monotonic()
    with progress(f"Training {experiment.name}, fold {fold}", state.planned * steps, "steps") as bar:
        bar.start_at(state.step)
        while state.epoch < state.planned:
            started = time.monotonic()
            row = _epoch(experiment, state, photos, device, bar)
            state.epoch += 1
            last = state.epoch >= state.planned or (max_minutes is not None and state.epoch == 1)
            if last or state.epoch % max(1, state.planned // VALIDATIONS) == 0:
                row["fold_rmse"] = fold_rmse(state.average, experiment, inputs, pack, device)
                _check_finite(experiment, state.epoch, row)
                bar.update(0, f"fold RMSE {row['fold_rmse']:.4f}")
            state.log.append(row)
            state.seconds += time.monotonic() - started
            if max_minutes is not None and state.epoch == 1:
                # the schedule is stretched over what the time allows, and the checkpoint remembers it
                state.planned = max(1, min(state.planned, int(max_minutes * 60 / state.seconds)))
                bar.total = state.planned * steps
            if state.epoch >= state.planned or time.monotonic() - saved > CHECKPOINT_SECONDS:
                save_checkpoint(folder, state.epoch, state.state_dict())
                _write_log(folder, state.log)
                saved = time.monotonic()


def _epoch(
    experiment: Experiment, state: State, photos: TrainingPhotos, device: torch.device, bar: Any
) -> dict[str, float]:
    draws, order = photos.begin_epoch(state.epoch)
    sums: dict[str, torch.Tensor] = {}
    rate = 0.0
    for step in range(len(photos)):
        torch.manual_seed(experiment.seed * 1_000_003 + state.step)  # dropout: a function of the step alone
        rate = learning_rate(experiment, state.step, state.planned * len(photos))
        for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
            for group in optimizer.param_groups if optimizer is not None else ():
                group["lr"] = rate
        batch = photos.batch(state.epoch, step, draws, order)
        batch = Batch(batch.filled.to(device), batch.hole.to(device), batch.target.to(device))
        for name, loss in train_step(experiment, state, batch).items():
            sums[name] = sums[name] + loss if name in sums else loss.clone()
        state.step += 1
        bar.update()
    means = {name: float(total) / len(photos) for name, total in sums.items()}
    # the last step's loss was finite before the step: a checkpoint must not hold what it broke
    values = (*state.generator.parameters(), *state.average.buffers())
    norms = [value.detach().norm() for value in values if value.is_floating_point()]
    _check_finite(experiment, state.epoch + 1, {**means, "weights": float(torch.stack(norms).sum())})
    return {"epoch": state.epoch + 1, "learning_rate": rate, **means}


def _check_finite(experiment: Experiment, epoch: int, values: dict[str, float]) -> None:
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise TrainingError(
            f"{experiment.name}: {wrong[0]} is no longer finite in epoch {epoch}. The last good checkpoint is kept. "
            f"Train gentler under another name: kit train ... --as NAME --set learning_rate="
            f"{experiment.learning_rate / 4:g}"
        )


def _write_log(folder: Path, log: list[dict[str, float]]) -> None:
    columns = list(dict.fromkeys(name for row in log for name in row))
    lines = [",".join(columns)]
    lines += [",".join(f"{row[name]:.8g}" if name in row else "" for name in columns) for row in log]
    write_text(folder / "log.csv", "\n".join(lines) + "\n")


def _finish(folder: Path, state: State) -> Run:
    """Write the averaged weights, then `run.json` as the sign that they are whole, then drop the checkpoints."""
    weights = {name: value.detach().cpu().contiguous() for name, value in state.average.state_dict().items()}
    with writing(folder / "model.safetensors") as file:
        file.write(save(weights))
    _write_log(folder, state.log)
    rmse = state.log[-1]["fold_rmse"]
    write_json(
        folder / "run.json",
        {
            "epochs": state.epoch,
            "steps": state.step,
            "seconds": round(state.seconds, 2),
            "steps_per_second": round(state.step / max(state.seconds, 1e-9), 3),
            "fold_rmse": rmse,
        },
    )
    drop_checkpoints(folder)
    return Run(folder, state.seconds, state.epoch, rmse)


def load_generator(workspace: Workspace, name: str, fold: int, device: torch.device) -> tuple[Experiment, nn.Module]:
    """The trained generator of one fold, for prediction.

    Raises:
        MissingStep: it has not been trained to the end.
        DamagedStore: its weights are not those of its experiment.
    """
    folder = workspace.run(name, fold)
    again = f"kit train {name} --fold {fold}"
    stamp = read_json(folder / "experiment.json", made_by=again)
    if not (folder / "run.json").is_file():
        raise MissingStep(f"{folder} holds no finished training. Run: {again}")
    try:
        experiment = experiment_from(stamp)
    except (KeyError, TypeError, ValueError, UsageError):
        raise DamagedStore(
            f"{folder / 'experiment.json'} does not hold an experiment of this version. Train again: {again} --force"
        ) from None
    generator = build_generator(experiment, pretrained=False)
    path = folder / "model.safetensors"
    try:
        generator.load_state_dict(load_file(path))
    except Exception as error:  # safetensors and torch each have their own family for damaged or foreign files
        reason = str(error).splitlines()[0][:120]
        raise DamagedStore(f"{path} cannot be loaded ({reason}). Train again: {again} --force") from None
    return experiment, generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
