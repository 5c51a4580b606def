"""Is a network fit to be trained and to predict? Each check gives one line, on made-up photos. Writes nothing."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn

from kit.errors import KitError, TrainingError
from kit.imaging.fills import fill_photo
from kit.imaging.holes import Box, hole_of
from kit.imaging.images import resize
from kit.learning.datasets import TrainingPhotos, coverage, network_input
from kit.learning.experiments import Experiment
from kit.learning.experiments.code import called
from kit.learning.inference import residuals
from kit.learning.losses import hole_mse_loss
from kit.learning.models import build_generator
from kit.learning.training.distributed import DistributedContext
from kit.learning.training.state import State, new_state
from kit.learning.training.trainer import Trainer

PHOTOS, STEPS = 8, 4
OTHER_SIZES = (32, 64, 128)
_ALONE = 1e-3  # sums in another order differ by rounding; a batch's own statistics differ by far more
_CPU = torch.device("cpu")


def check_model(experiment: Experiment) -> Iterator[str]:
    """Check the network of an experiment, and yield a line for each thing that is as it should be.

    Raises:
        TrainingError: something is not; names the file, the class and what is wrong.
    """
    small = dataclasses.replace(experiment, batch_size=2, accumulate=1, box_copies=1, first_size=0, base="mean")
    small = dataclasses.replace(small, precision="float32", test_photos=False, extra="none", epochs=1, predict_size=0)
    try:
        yield f"builds: {_parameters(build_generator(small))} parameters"
        yield f"shapes: {_check_shapes(small)}"
        yield f"gradients: {_check_gradients(small)}"
        yield f"seed: {_check_seed(small)}"
        yield f"hidden pixels: {_check_hidden_pixels(small)}"
        trained = _trained(small)
        yield f"batches: {_check_batches(small, trained.model)}"
        yield f"weights file: {_check_weights_file(small, trained.model)}"
        yield f"trains: {_check_training(small, trained)}"
    except KitError as error:
        raise TrainingError(str(error)) from None
    except (RuntimeError, ValueError, TypeError, LookupError) as error:  # torch's, of what this has not foreseen
        raise _wrong(small, f"{type(error).__name__}: {error}") from None


def _wrong(one: Experiment, what: str) -> TrainingError:
    return TrainingError(f"{called(one.model)}: {what}")


def _parameters(network: nn.Module) -> str:
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{count / 1e6:.2f} million" if count >= 10_000 else str(count)


def _photos(size: int) -> np.ndarray:
    """Return smooth random photos, `(PHOTOS, size, size, 3)` uint8."""
    rng = np.random.default_rng(0)
    photos = [resize(rng.normal(0.5, 0.25, (5, 5, 3)).astype(np.float32), size, size) for _ in range(PHOTOS)]
    return np.stack([np.clip(np.rint(photo * 255), 0, 255).astype(np.uint8) for photo in photos])


def _boxes(size: int) -> tuple[Box, Box]:
    side = size // 3
    return Box(2, 2, side, side), Box(size - side - 1, size // 2, side, side)


def _inputs(size: int, under: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return photos as a network sees them, filled, and their holes.

    Args:
        under: the value that the files have under their holes.
    """
    boxes, filled = _boxes(size), []
    hole = hole_of(boxes, size, size)
    for photo in _photos(size):
        photo[hole] = under
        seen = photo.astype(np.float32) / 255
        seen[hole] = fill_photo("mean", photo, hole)[hole]
        filled.append(seen.transpose(2, 0, 1))
    holes = coverage(boxes, (size, size), size).expand(PHOTOS, -1, -1, -1)
    return torch.from_numpy(np.stack(filled)), holes


def _built(one: Experiment) -> nn.Module:
    return new_state(one, _CPU).model


def _check_shapes(one: Experiment) -> str:
    network, works, fails = _built(one).eval(), [], []
    for size in (one.size, *(size for size in OTHER_SIZES if size != one.size)):
        filled, hole = _inputs(size)
        try:
            with torch.no_grad():
                finite = bool(torch.isfinite(network(network_input(filled[:2], hole[:2]))).all())
        except KitError:
            if size == one.size:
                raise
            fails.append(str(size))
            continue
        if not finite:
            raise _wrong(one, f"gives values that are not finite for photos of {size} pixels")
        works.append(str(size))
    others = f" and {', '.join(works[1:])}" if works[1:] else ""
    return f"right at {works[0]}{others}" + (f"; it does not work at {', '.join(fails)}" if fails else "")


def _check_gradients(one: Experiment) -> str:
    network, (filled, hole) = _built(one).train(), _inputs(one.size)
    predicted = filled + network(network_input(filled, hole))
    if not predicted.requires_grad:
        raise _wrong(one, "its output depends on no parameter")
    hole_mse_loss(predicted, torch.rand(predicted.shape), hole).backward()  # type: ignore[no-untyped-call]
    learning = {name: one for name, one in network.named_parameters() if one.requires_grad}
    for name, parameter in learning.items():
        if parameter.grad is None:
            raise _wrong(one, f"no gradient reaches {_plain(name)}: its output does not depend on it")
        if not torch.isfinite(parameter.grad).all():
            raise _wrong(one, f"the gradient of {_plain(name)} is not finite")
    return f"finite, and reach all {len(learning)} parameter tensors"


def _check_seed(one: Experiment) -> str:
    first, second = _built(one).state_dict(), _built(one).state_dict()
    if name := _first_difference(first, second):
        raise _wrong(one, f"the same seed gives other weights ({_plain(name)}): take random numbers from torch alone")
    return "the same one gives the same weights"


def check_answers(one: Experiment) -> None:
    """Ask a network twice for the same photos, which takes a moment.

    Raises:
        TrainingError: it gives two answers, or depends on what a file has under its holes.
    """
    network = _built(one)
    black, white = (residuals(network, one, *_inputs(one.size, under)) for under in (0, 255))
    if not torch.equal(black, white):
        raise _wrong(
            one, "gives two answers for one photo: in eval() it must not depend on chance or on the call before"
        )


def _check_hidden_pixels(one: Experiment) -> str:
    check_answers(one)
    return "what a file has under its holes changes nothing"


def _check_batches(one: Experiment, network: nn.Module) -> str:
    filled, hole = _inputs(one.size)
    together, alone = (residuals(network, one, filled[:count], hole[:count])[:1] for count in (PHOTOS, 1))
    scale = float(together.abs().max()) + 1e-6
    if float((together - alone).abs().max()) > _ALONE * scale:
        raise _wrong(one, "in eval() its answer for a photo depends on the other photos in the batch")
    return "a photo's answer does not depend on the others"


def _check_weights_file(one: Experiment, network: nn.Module) -> str:
    filled, hole = _inputs(one.size)
    weights = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    again = build_generator(dataclasses.replace(one, seed=one.seed + 1))
    again.load_state_dict(load(save(weights)))
    if not torch.equal(residuals(network, one, filled, hole), residuals(again, one, filled, hole)):
        raise _wrong(one, "with its weights read back it answers otherwise: something of it is in no state_dict")
    return "read back, it gives the same answers"


def _trained(one: Experiment, steps: int = STEPS, saved: bytes = b"") -> State:
    """Return the state after so many steps on the photos, from the beginning or from a checkpoint."""
    state = new_state(one, _CPU)
    if saved:
        state.load_state_dict(torch.load(io.BytesIO(saved), weights_only=True))
    photos = TrainingPhotos(one, _photos(one.size), np.arange(PHOTOS), _boxes(one.size))
    trainer = Trainer(one, state, DistributedContext(_CPU))
    draws = [photos.begin_epoch(0)]
    while state.step < steps:
        for name, loss in trainer.step(photos, draws, STEPS).items():
            if not torch.isfinite(loss):
                raise _wrong(one, f"the loss {name} is not finite in step {state.step}")
    return state


def _check_training(one: Experiment, whole: State) -> str:
    file = io.BytesIO()
    torch.save(_trained(one, STEPS // 2).state_dict(), file)
    resumed = _trained(one, saved=file.getvalue())
    for part, other in ((whole.model, resumed.model), (whole.average, resumed.average)):
        if name := _first_difference(part.state_dict(), other.state_dict()):
            raise _wrong(
                one, f"stopped and resumed it ends with other weights ({_plain(name)}): something is in no state_dict"
            )
    return f"{STEPS} steps; stopped after {STEPS // 2} and resumed, it ends with the same bytes"


def _first_difference(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> str:
    return next((name for name, value in first.items() if not torch.equal(value, second[name])), "")


def _plain(name: str) -> str:
    """Return a parameter's name as the user's class has it."""
    while name.startswith("network."):
        name = name.removeprefix("network.")
    return name
