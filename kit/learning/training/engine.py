"""Train one experiment on a fold or on all photos: epochs, checkpoints, validation. Knows no competition and no blend.

A run killed at any moment and started again ends with the same bytes (on the CPU with the same number of threads): all
randomness is a function of (seed, epoch, step), and the checkpoint holds everything else. A kill costs the epoch, a run
that stops by itself (`--stop-after`) nothing: it writes a checkpoint between two steps. Nothing in a step waits for
the device; losses are read once an epoch.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol

import torch

from kit.core import deadline
from kit.core.bar_line import rate_text
from kit.core.moments import Pictures
from kit.core.numbers import counted
from kit.core.progress import progress
from kit.core.workspace import FULL, Fold
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import KitError, NotFinished, TrainingError, UsageError
from kit.learning.conditions import conditions_of
from kit.learning.datasets import TrainingPhotos
from kit.learning.experiments import Experiment, run_stamp, settings_of
from kit.learning.inference import fill_rmse, fold_rmse
from kit.learning.training.checkpoints import drop_checkpoints, load_checkpoint, save_checkpoint
from kit.learning.training.distributed import DistributedContext
from kit.learning.training.guards import check_device, check_diversity, check_finite
from kit.learning.training.methods import METHODS
from kit.learning.training.photos import training_photos, validation_inputs
from kit.learning.training.run_folder import Run, load_result, release_folder, reserve_folder, save_result, write_log
from kit.learning.training.state import CutEpoch, State, new_state, precision_on
from kit.learning.training.trackers import Tracked, open_trackers
from kit.learning.training.trainer import SECOND_STREAM, Trainer
from kit.learning.training.watching import Watch

PLANNING = 0.1  # of the time that --max-minutes allows, and no less than so many epochs:
PLANNING_EPOCHS = 3  # the first ones on a GPU are the slowest by far
FIRST_STEPS = 4  # of the first epoch tell how long it takes
AGREEMENT_STEPS = 8  # after so many steps several processes ask whether the time is over: asking waits for the device
CHECKPOINT_SECONDS = 20.0  # a kill costs at most one epoch or this much, whichever is longer


@dataclass(frozen=True)
class Options:
    """Options of running a training, without effect on what is trained."""

    max_minutes: float | None = None
    compiled: bool = False
    trackers: tuple[str, ...] = ()
    """Names of `kit.core.trackers.TRACKERS` that hear of each epoch."""
    pictures: Callable[[Project, str, Fold, Path], Pictures] | None = None
    """Takes project, source, fold and folder, and draws the training; None: no pictures."""
    on_validation: Callable[[int, float], None] | None = None
    """Called with the epoch and the fold's RMSE whenever it was measured; what it raises ends the training there."""
    place: str | None = None
    """Which of several trainings this is, such as "2 of 5"; None: say nothing of what begins."""


def check_buildable(experiment: Experiment, photos: int, device: torch.device = torch.device("cpu")) -> None:
    """Build the networks and pass a few pixels through: settings that do not fit fail before anything is written.

    Args:
        photos: to be trained on.
        device: to be trained on later; what is done here is done on the CPU.

    Raises:
        UsageError: the networks cannot be built, or not work at the sizes they see or on so few photos.
        TrainingError: the encoder's weights cannot be had.
    """
    count = min(2, experiment.batch_size, photos)  # batch norm wants more than one value a channel
    try:
        state = new_state(experiment, torch.device("cpu"))
        check_device(experiment, state.networks, device)
        for network in state.networks.values():
            network.train()
        for size in {experiment.smallest_size, experiment.size, experiment.size_predicted_at}:
            picture = torch.zeros(count, 3, size, size)
            with torch.no_grad():
                shape = METHODS[experiment.method].check_buildable(experiment, state.networks, picture)
            if shape != picture.shape:
                raise ValueError(f"the network gives {tuple(shape)} for {tuple(picture.shape)}")
    except (RuntimeError, ValueError, TypeError, AssertionError, LookupError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:150]
        raise _does_not_fit(experiment, reason.rstrip(".")) from None


def _does_not_fit(experiment: Experiment, reason: str) -> UsageError:
    parts = ["encoder", "architecture", "decoder_channels", "width", "blocks", "size", "batch_size"]
    parts += ["first_size"] if experiment.smallest_size != experiment.size else []
    parts += ["predict_size"] if experiment.predict_size else []
    parts += ["discriminator_layers", "discriminator_norm"] if experiment.adversarial_weight else []
    chosen = " ".join(setting for setting in settings_of(experiment) if setting.partition("=")[0] in parts)
    return UsageError(
        f"{experiment.name} cannot be trained with {chosen}: {reason}. Change one with --set field=value."
    )


def train_fold(
    project: Project,
    experiment: Experiment,
    fold: Fold,
    fill: Predictions,
    *,
    processes: DistributedContext,
    options: Options = Options(),
    folder: Path | None = None,
) -> Run:
    """Train one fold to the end, resuming what is there, and leave `model.safetensors`, `log.csv`, `run.json`.

    The full model is trained to the end of its schedule, and nothing is measured: no photo is left to measure on.

    Args:
        fill: OOF predictions of the experiment's base fill.
        folder: where to, if not to the experiment's own run.

    Raises:
        Mismatch: the folder holds a training with other settings or other folds.
        TrainingError: the loss is no longer finite, the generator has collapsed, or the device's memory is too small.
    """
    folder = folder or project.workspace.run(experiment.name, fold)
    if processes.is_main_process:
        reserve_folder(folder, run_stamp(project, experiment, fold), experiment, fold)
    processes.wait()
    if (done := load_result(folder, experiment, fold)) is not None:
        if processes.is_main_process:
            drop_checkpoints(folder)  # they are still there after a kill in between
        return done
    pack, device, shard = project.pack, processes.device, processes.shard
    alone: float | None = None
    try:
        conditions = conditions_of(project, experiment, fold, device)
        photos: dict[int, TrainingPhotos] = {
            size: training_photos(
                project, replace(experiment, size=size, first_size=0), fold, conditions, device, shard
            )
            for size in {experiment.smallest_size, experiment.size}
        }
        inputs = None if fold == FULL else validation_inputs(project, experiment, fold, fill, conditions)
        if inputs is not None:
            alone = processes.from_main(fill_rmse(inputs, pack) if processes.is_main_process else 0.0)
        state = _state(folder, experiment, processes)
        trainer = Trainer(experiment, state, processes, compiled=options.compiled)
        with _watched(project, trainer, folder, fold, options, alone) as watch:
            measure = partial(fold_rmse, state.average, experiment)
            validate = None if inputs is None else partial(measure, inputs, pack, device, watch.see)
            _Fold(trainer, photos, validate, folder, fold, options, watch).train()
    except torch.OutOfMemoryError:
        release_folder(folder)
        raise _does_not_fit_into(device, experiment) from None
    except KitError:
        release_folder(folder)
        raise
    a_step = photos[experiment.size].photos_a_step
    return save_result(folder, experiment, state, processes, a_step, alone)


def _watched(
    project: Project, trainer: Trainer, folder: Path, fold: Fold, options: Options, fill_rmse: float | None
) -> Watch:
    """Return what shows the training; in all processes but the main one nothing does."""
    experiment, state, workspace = trainer.experiment, trainer.state, project.workspace
    if not trainer.processes.is_main_process:
        return Watch(folder, experiment, state, fill_rmse, is_silent=True)
    about = Tracked(
        folder, workspace.root, workspace.slug, experiment.name, str(fold), experiment.fields, start=state.step
    )
    trackers = open_trackers(options.trackers, about)
    pictures = options.pictures and options.pictures(project, experiment.name, fold, folder)
    return Watch(folder, experiment, state, fill_rmse, pictures, trackers)


def _state(folder: Path, experiment: Experiment, processes: DistributedContext) -> State:
    """Load the state as it was left, or make a new one."""
    saved = load_checkpoint(folder, processes.device)
    state = new_state(experiment, processes.device, pretrained=saved is None)
    if saved is not None:
        state.load_state_dict(saved)
    processes.wait()  # none writes before all have read
    return state


def _does_not_fit_into(device: torch.device, experiment: Experiment) -> TrainingError:
    return TrainingError(
        f"{experiment.name} does not fit into the memory of {device}. Train smaller batches, as many photos a "
        f"step: --set batch_size={max(1, experiment.batch_size // 2)} --set accumulate={2 * experiment.accumulate}"
    )


class _Bar(Protocol):
    """Count steps, show a note, and print lines."""

    total: int
    speed: str

    def limit(self, seconds: float | None) -> None:
        """Say within which time the work ends."""

    def say(self, text: str) -> None:
        """Print a line."""

    def update(self, advance: int = 1, note: str = "") -> None:
        """Count `advance` more."""


@dataclass
class _Fold:
    """The epochs of one fold."""

    trainer: Trainer
    photos: dict[int, TrainingPhotos]
    """By the size at which they are shown; as many steps an epoch at each."""
    validate: Callable[[], float] | None
    """Returns the fold's RMSE; None where there is no photo to measure on."""
    folder: Path
    fold: Fold
    options: Options
    watch: Watch
    saved: float = -math.inf
    """When the last checkpoint was written: the first epoch's is written at once."""
    durations: list[float] = field(default_factory=list)
    """Of this process's epochs in seconds, their validations not counted."""
    validation_seconds: float = 0.0
    """Of the faster one of the validations after the first two epochs, where the time is limited."""
    is_too_long: bool = False
    """Whether one epoch takes longer than --max-minutes allows, which has been said."""

    @property
    def state(self) -> State:
        return self.trainer.state

    @property
    def steps(self) -> int:
        """Return the steps of an epoch."""
        return len(self.photos[self.trainer.experiment.size])

    def train(self) -> None:
        """Train until the plan is done or patience has run out."""
        experiment, state, main = self.trainer.experiment, self.state, self.trainer.processes.is_main_process
        title = f"Training {experiment.name}, fold {self.fold}" if main else ""
        limit = None if self.options.max_minutes is None else 60 * self.options.max_minutes - state.seconds
        self.watch.begin(self.steps, limit)
        if not main:
            self._epochs(_Silent())
            return
        with progress(title, state.planned * self.steps, "steps", stops=False) as bar:
            bar.start_at(state.step)
            if limit is not None:
                bar.limit(limit)
            if self.options.place is not None:
                bar.say(self._announcement(self.options.place))
            self._epochs(bar)

    def _announcement(self, place: str) -> str:
        """Return one line of what is trained on what, and how long."""
        experiment, state, device = self.trainer.experiment, self.state, self.trainer.processes.device
        millions = sum(parameter.numel() for parameter in state.model.parameters()) / 1e6
        precision = str(precision_on(experiment, device)).removeprefix("torch.")
        done = f", {state.step / self.steps:.3g} of them done" if state.step else ""
        minutes = self.options.max_minutes
        planned = "" if minutes is None else f", as many as {minutes:g} min of training allow"
        which = f"fold {self.fold} ({place})" if place else f"fold {self.fold}"
        return (
            f"{experiment.name}, {which} on {device} in {precision}: {millions:.2f} million parameters, "
            f"{counted(state.planned, 'epoch')} of {counted(self.steps, 'step')}{done}{planned}"
        )

    def _epochs(self, bar: _Bar) -> None:
        state, processes = self.state, self.trainer.processes
        while state.epoch < state.planned:
            before = 0.0 if state.cut is None else state.cut.seconds
            started = time.monotonic() - before
            row = self._epoch(bar, started)
            seconds = time.monotonic() - started
            state.epoch += 1
            state.cut = None
            if self.validate is not None and self._should_validate():
                self._validate(self.validate, row, bar)
                validation = time.monotonic() - started - seconds
                self.validation_seconds = min(validation, self.validation_seconds or validation)
            state.log.append(row)
            state.seconds = processes.from_main(state.seconds + time.monotonic() - started)
            self._plan(bar, seconds)
            self.watch.epoch(row)  # before the checkpoint: a kill in between repeats the epoch, and loses none
            self._save()
            if self.options.on_validation is not None and "fold_rmse" in row:
                self.options.on_validation(state.epoch, row["fold_rmse"])
            if state.epoch < state.planned and self._time_is_over():
                self._leave()

    def _epoch(self, bar: _Bar, began: float) -> dict[str, float]:
        """Train one epoch, or what is left of it, and return its row of the log.

        Args:
            began: when it did, or would have if it had not been cut.
        """
        trainer, state = self.trainer, self.state
        experiment, steps = trainer.experiment, state.planned * self.steps
        photos = self.photos[experiment.size_at(state.epoch, state.planned)]
        draws = [photos.begin_epoch(state.epoch + SECOND_STREAM * stream) for stream in range(trainer.method.streams)]
        sums: dict[str, torch.Tensor] = {} if state.cut is None else dict(state.cut.sums)
        started, first = time.monotonic(), state.step
        for left in reversed(range(len(photos) - state.step % len(photos))):
            for name, loss in trainer.step(photos, draws, steps).items():
                sums[name] = sums.get(name, 0.0) + loss
            speed = (state.step - first) * photos.photos_a_step / max(1e-9, time.monotonic() - started)
            bar.speed = rate_text(speed, "photos")
            bar.update(1, self._scores())
            self.watch.step(speed)
            self._tell_long_epoch(bar, time.monotonic() - began, left)
            if left and self._time_is_over():
                shared = {name: trainer.processes.mean(total) for name, total in sums.items()}
                state.cut = CutEpoch(shared, time.monotonic() - began)
                self._leave()
        names = sorted(sums)
        means = trainer.processes.mean(torch.stack([sums[name].float() for name in names]).cpu() / len(photos))
        losses = dict(zip(names, means.tolist(), strict=True))
        # the last step's loss was finite before the step: a checkpoint must not hold what it broke
        check_finite(experiment, state.epoch + 1, {**losses, "weights": _norm(state)})
        check_diversity(experiment, state.epoch + 1, state.step, losses)
        rate = next(iter(state.optimizers.values())).param_groups[-1]["lr"]
        return {"epoch": state.epoch + 1, "learning_rate": rate, **losses}

    def _tell_long_epoch(self, bar: _Bar, seconds: float, left: int) -> None:
        """Say once that the first epoch takes longer than --max-minutes allows.

        Args:
            seconds: of its steps so far.
            left: steps that it still has.
        """
        minutes, done = self.options.max_minutes, self.steps - left
        if minutes is None or self.is_too_long or self.state.epoch > 0 or done < min(FIRST_STEPS, self.steps):
            return
        epoch = seconds / done * self.steps
        if epoch > 60 * minutes:
            self.is_too_long = True
            bar.total = self.steps
            bar.limit(None)
            bar.say(
                f"One epoch takes about {max(1, round(epoch))} s, longer than --max-minutes {minutes:g}: it is trained "
                "to its end, and is the only one."
            )

    def _time_is_over(self) -> bool:
        """Return whether to stop here: the same in all processes."""
        processes = self.trainer.processes
        if processes.count == 1:
            return deadline.is_over()
        if not deadline.is_set() or self.state.step % AGREEMENT_STEPS:
            return False
        return processes.from_main(float(deadline.is_over())) > 0

    def _leave(self) -> NoReturn:
        """Write a checkpoint from which exactly this goes on, and raise `NotFinished`."""
        state, processes = self.state, self.trainer.processes
        if processes.is_main_process:
            save_checkpoint(self.folder, state.epoch, state.state_dict())
            if state.log:
                write_log(self.folder, state.log)
        processes.wait()  # torchrun ends the others as soon as one has left
        name, steps = self.trainer.experiment.name, state.planned * self.steps
        raise NotFinished(f"training {name}, fold {self.fold}: {state.step} of {steps} steps")

    def _scores(self, *newest: dict[str, float]) -> str:
        """Return the last epoch's loss and the last RMSE, for the bar: `mse 0.0123, fold RMSE 0.1502`.

        Of the epoch before, not of this step: a GPU would have to be waited for.
        """
        rows = [*self.state.log, *newest]
        names = [name for name in (rows[-1] if rows else ()) if name not in ("epoch", "learning_rate", "fold_rmse")]
        losses = [f"{names[0]} {rows[-1][names[0]]:.4f}"] if names else []
        return ", ".join([*losses, *[f"fold RMSE {row['fold_rmse']:.4f}" for row in rows if "fold_rmse" in row][-1:]])

    def _should_validate(self) -> bool:
        state, every = self.state, max(1, self.state.planned // self.trainer.experiment.validations)
        planning = self.options.max_minutes is not None and state.epoch < PLANNING_EPOCHS
        return state.epoch >= state.planned or planning or state.epoch % every == 0

    def _validate(self, measure: Callable[[], float], row: dict[str, float], bar: _Bar) -> None:
        experiment, state, processes = self.trainer.experiment, self.state, self.trainer.processes
        rmse = row["fold_rmse"] = processes.from_main(measure() if processes.is_main_process else 0.0)
        check_finite(experiment, state.epoch, row)
        bar.update(0, self._scores(row))
        if not experiment.patience:
            return
        if state.best is None or rmse < state.best["rmse"]:
            weights = {name: value.detach().clone() for name, value in state.average.state_dict().items()}
            state.best = {"rmse": rmse, "epoch": state.epoch, "weights": weights}
            state.validations_without_improvement = 0
        else:
            state.validations_without_improvement += 1

    def _plan(self, bar: _Bar, seconds: float) -> None:
        """Stretch the schedule over what the time allows; stop when patience has run out.

        Args:
            seconds: of the last epoch, its validation not counted.
        """
        self.durations.append(seconds)
        state, experiment, patience = self.state, self.trainer.experiment, self.trainer.experiment.patience
        if self.options.max_minutes is not None:
            limit = 60 * self.options.max_minutes
            if state.epoch <= PLANNING_EPOCHS or state.seconds < PLANNING * limit:
                left = limit - state.seconds
                left -= min(left / 2, experiment.validations * self.validation_seconds)
                usual = statistics.median(self.durations[1:] or self.durations)
                an_epoch = self.trainer.processes.from_main(usual) * _mean_cost(experiment)
                state.planned = max(state.epoch, min(experiment.epochs, state.epoch + int(left / an_epoch)))
        if patience and state.validations_without_improvement >= patience:
            state.planned = state.epoch
        bar.total = state.planned * self.steps

    def _save(self) -> None:
        if not self.trainer.processes.is_main_process:
            return
        if self.state.epoch >= self.state.planned or time.monotonic() - self.saved > CHECKPOINT_SECONDS:
            save_checkpoint(self.folder, self.state.epoch, self.state.state_dict())
            write_log(self.folder, self.state.log)
            self.saved = time.monotonic()


def _mean_cost(experiment: Experiment) -> float:
    """Return about how much longer than the first epoch all take on average: time goes with the pixels."""
    share = experiment.first_share
    return share + (1 - share) * (experiment.size / experiment.smallest_size) ** 2


class _Silent:
    """Stand in for the bar in processes that say nothing."""

    total: int = 0
    speed: str = ""

    def limit(self, seconds: float | None) -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""

    def update(self, advance: int = 1, note: str = "") -> None:
        """Do nothing."""


def _norm(state: State) -> float:
    values = [*state.average.buffers()]
    for network in state.networks.values():
        values += network.parameters()
    return float(torch.stack([value.detach().norm() for value in values if value.is_floating_point()]).sum())
