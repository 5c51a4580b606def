"""How a step is made: learning rates, accumulation, precision, patience, guards, compilation, and what is written."""

from __future__ import annotations

import copy
import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.trainings import (
    CPU,
    HERE,
    STEPS,
    events_of,
    log_of,
    photos_of,
    plain_descent,
    project_at,
    tiny,
    train,
    train_until,
    weights_of,
)
from torch import nn

import kit.core.progress
import kit.learning.training.engine
import kit.learning.training.guards
import kit.learning.training.state
import kit.learning.training.trainer
from kit.data.project import Project
from kit.errors import TrainingError
from kit.learning.experiments import EXPERIMENTS, Experiment
from kit.learning.inference import fold_rmse, prepare_inputs
from kit.learning.training import State, learning_rate, load_generator, new_state
from kit.learning.training.checkpoints import list_checkpoints, load_checkpoint
from kit.learning.training.fit import base_fills
from kit.learning.training.guards import COLLAPSED, FIRST_STEPS, check_diversity
from kit.learning.training.optim import average_weight, ema_weight, update_average
from kit.learning.training.trainer import SECOND_STREAM, Trainer

QUICK = ["architecture=plain", "blocks=1", "dropout=0"]  # and no batch norm


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A toy competition to train in."""
    return project_at(tmp_path)


def taught(project: Project, one: Experiment, steps: int = 3, **options: Any) -> State:
    """A training's state after some steps."""
    photos, state = photos_of(project, one), new_state(one, CPU)
    trainer = Trainer(one, state, HERE, **options)
    while state.step < steps:
        epoch = state.step // len(photos)
        draws = [photos.begin_epoch(epoch + stream * SECOND_STREAM) for stream in range(trainer.method.streams)]
        for _ in range(min(len(photos), steps - state.step)):
            trainer.step(photos, draws, one.epochs * len(photos))
        state.epoch += 1
    return state


def furthest(one: nn.Module, other: nn.Module) -> float:
    """The largest difference of two networks' tensors."""
    values, others = one.state_dict(), other.state_dict()
    return max(float((values[name].double() - others[name].double()).abs().max()) for name in values)


# --- learning rates


def rates(*settings: str, steps: int = 100) -> list[float]:
    one = tiny("regress", "learning_rate=0.01", *settings)
    return [learning_rate(one, step, steps) for step in range(steps)]


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    found = rates("warmup=0.1")
    assert max(found) == pytest.approx(0.01) == found[10]
    assert found[:10] == pytest.approx([0.001 * (step + 1) for step in range(10)])
    assert found[10:] == sorted(found[10:], reverse=True)
    assert found[55] == pytest.approx(0.005)  # half of the cosine
    assert 0 < found[-1] < 1e-4


def test_the_linear_schedule_is_constant_for_half_of_the_run_and_falls_straight() -> None:
    found = rates("schedule=linear", "warmup=0")
    assert found[:51] == [0.01] * 51
    assert found[50:] == pytest.approx([0.01 * (1 - step / 50) for step in range(50)])
    warmed = rates("schedule=linear", "warmup=0.2")
    assert warmed[:20] == pytest.approx([0.0005 * (step + 1) for step in range(20)]) and warmed[20:] == found[20:]


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs_have_a_learning_rate(schedule: str, steps: int) -> None:
    for rate in rates(f"schedule={schedule}", "warmup=0.9", steps=steps):
        assert 0 < rate <= 0.01


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_optimizer_has_the_experiments_numbers_and_owns_each_parameter_once(name: str) -> None:
    one = tiny(name, "beta1=0.25", "weight_decay=0.125")
    state = new_state(one, CPU)
    owned = [id(parameter) for optimizer in state.optimizers.values() for parameter in _parameters(optimizer)]
    networks = state.networks.values()
    learning = [id(each) for network in networks for each in network.parameters() if each.requires_grad]
    assert sorted(owned) == sorted(learning)
    for optimizer in state.optimizers.values():
        assert type(optimizer) is (torch.optim.AdamW if one.optimizer == "adamw" else torch.optim.Adam)
        for group in optimizer.param_groups:
            assert group["betas"] == (0.25, 0.999)
            for parameter in group["params"]:
                assert group["weight_decay"] == (0.125 if parameter.ndim > 1 else 0.0)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def test_a_frozen_encoder_keeps_its_weights_while_the_decoder_learns(project: Project) -> None:
    one = tiny("regress", "encoder_rate=0")
    before, after = dict(new_state(one, CPU).model.named_parameters()), taught(project, one).model
    for name, parameter in after.named_parameters():
        same = torch.equal(parameter, before[name])
        assert same if "encoder." in name else not same or "decoder" not in name, name


def test_an_encoder_learns_at_its_share_of_the_rate(project: Project) -> None:
    one = tiny("regress", "encoder_rate=0.1", "learning_rate=0.01", "warmup=0", "schedule=linear")
    state = taught(project, one)
    names = {id(parameter): name for name, parameter in state.model.named_parameters()}
    seen = {}
    for group in state.optimizers["generator"].param_groups:
        for parameter in group["params"]:
            seen[".encoder." in names[id(parameter)]] = group["lr"]
    assert seen == {True: pytest.approx(0.001), False: pytest.approx(0.01)}
    (row,) = log_of(train(project, tiny("regress", "encoder_rate=0.1", "epochs=1", "schedule=linear")).folder)
    assert row["learning_rate"] == pytest.approx(0.001 * learning_rate(one, STEPS - 1, STEPS) / 0.01)  # the decoder's


def test_the_average_of_weights_follows_the_weights() -> None:
    state = new_state(tiny(), CPU)
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter.fill_(1.0)
    before = [parameter.clone() for parameter in state.average.parameters()]
    update_average(state.average, state.model, ema_weight(0.9, 1000))
    for old, new in zip(before, state.average.parameters(), strict=True):
        assert torch.allclose(new, 0.9 * old + 0.1, atol=1e-6)
    update_average(state.average, state.model, ema_weight(0.0, 1001))
    assert furthest(state.average, state.model) == 0.0


def test_swa_predicts_with_the_plain_mean_of_the_last_quarter() -> None:
    one, steps = tiny("regress", "average=swa"), 40
    state = new_state(one, CPU)
    for step in range(steps):
        with torch.no_grad():
            for parameter in state.model.parameters():
                parameter.fill_(float(step))
        update_average(state.average, state.model, average_weight(one, step, steps))
        expected = step if step < 30 else (30 + step) / 2
        assert all(torch.allclose(value, torch.tensor(float(expected))) for value in state.average.parameters())


# --- passes


@pytest.mark.parametrize(
    ("name", "settings"),
    [("regress", QUICK), ("regress", ["architecture=bilstm"]), ("cyclegan", ["pool=0", "discriminator_norm=none"])],
)
def test_two_passes_of_four_photos_make_the_step_of_eight(
    name: str, settings: list[str], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "cyclegan":  # Adam makes steps out of the rounding of gradients that are nearly zero
        monkeypatch.setattr(kit.learning.training.state, "make_optimizer", plain_descent)
        settings = [*settings, "learning_rate=0.001"]
    whole = taught(project, tiny(name, *settings, "batch_size=8"), steps=2)
    halves = taught(project, tiny(name, *settings, "batch_size=4", "accumulate=2"), steps=2)
    alone = taught(project, tiny(name, *settings, "batch_size=4"), steps=2)
    for network in whole.networks:
        rounding = furthest(whole.networks[network], halves.networks[network])
        assert rounding < 1e-5 and 50 * rounding < furthest(whole.networks[network], alone.networks[network])


def test_a_training_in_passes_makes_fewer_steps(project: Project) -> None:
    run = train(project, tiny("regress", *QUICK, "accumulate=2", "epochs=2"))
    assert json.loads((run.folder / "run.json").read_text())["steps"] == 2 * STEPS // 2


# --- precision


@pytest.mark.parametrize(("name", "precision"), [("regress", "bfloat16"), ("regress", "float16"), ("dcgan", "float16")])
def test_a_training_in_half_precision_stays_finite_and_survives_an_interruption(
    name: str, precision: str, tmp_path: Path
) -> None:
    settings = [] if name == "dcgan" else ["architecture=partialconv"]
    one = tiny(name, *settings, f"precision={precision}", "epochs=2")
    whole, cut = project_at(tmp_path / "whole"), project_at(tmp_path / "cut")
    run = train(whole, one)
    for row in log_of(run.folder):
        assert all(math.isfinite(value) for value in row.values())
    train_until(cut, one, STEPS + 1)
    saved = load_checkpoint(cut.workspace.run(name, 0), CPU)
    assert saved is not None
    assert bool(saved["scaler"]) is (precision == "float16")
    train(cut, one)
    assert weights_of(cut, name) == weights_of(whole, name)
    weights = load_file(run.folder / "model.safetensors")
    assert all(value.isfinite().all() and value.dtype != torch.float16 for value in weights.values())
    train(whole, tiny(name, *settings, "epochs=2", rename="single"))
    assert weights_of(whole, "single") != weights_of(whole, name)


def test_a_training_may_go_on_on_a_device_of_another_precision() -> None:
    single, half = (new_state(tiny("regress", *QUICK, f"precision={name}"), CPU) for name in ("float32", "float16"))
    half.load_state_dict(single.state_dict())
    single.load_state_dict(half.state_dict())
    assert half.scaler.is_enabled() and not single.scaler.is_enabled()


def test_a_gradient_that_overflows_is_skipped_with_a_smaller_scale_next(project: Project) -> None:
    one = tiny("regress", *QUICK, "precision=float16")
    photos, state = photos_of(project, one), new_state(one, CPU)
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 2.0**120})
    before = copy.deepcopy(state.model)
    Trainer(one, state, HERE).step(photos, [photos.begin_epoch(0)], 10)
    assert furthest(state.model, before) == 0.0
    assert state.scaler.get_scale() == 2.0**119


# --- patience


def measuring(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> list[dict[str, torch.Tensor]]:
    """Let the fold's RMSE be these values; gives the weights that were measured."""
    seen: list[dict[str, torch.Tensor]] = []

    def measure(average: nn.Module, *_: Any) -> float:
        seen.append({name: value.clone() for name, value in average.state_dict().items()})
        return values[len(seen) - 1]

    monkeypatch.setattr(kit.learning.training.engine, "fold_rmse", measure)
    return seen


PATIENT = tiny("regress", *QUICK, "patience=2", "validations=100", "epochs=30")


def test_a_training_without_progress_stops_and_keeps_its_best_weights(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = measuring(monkeypatch, [0.5, 0.4, 0.45, 0.3, 0.31, 0.3, 0.1])
    run = train(project, PATIENT)
    assert (run.epochs, run.rmse) == (6, 0.3)
    found = json.loads((run.folder / "run.json").read_text())
    assert (found["epochs"], found["best_epoch"], found["fold_rmse"]) == (6, 4, 0.3)
    stored = load_file(run.folder / "model.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in seen[3].items())
    assert [row["fold_rmse"] for row in log_of(run.folder)] == [0.5, 0.4, 0.45, 0.3, 0.31, 0.3]


def test_the_best_weights_have_the_rmse_that_is_told(project: Project) -> None:
    one = tiny("regress", *QUICK, "patience=1", "validations=100", "epochs=12", "learning_rate=0.02", "ema=0")
    run = train(project, one)
    assert run.epochs < 12 and run.rmse < log_of(run.folder)[-1]["fold_rmse"]
    _, generator = load_generator(project.workspace, "regress", 0, CPU)
    fill, valid = base_fills(project, one)["oof"], project.folds.valid_positions(0)
    inputs = prepare_inputs(one, project.pack.train_image, project.index.train, valid, fill)
    assert fold_rmse(generator, one, inputs, project.pack, CPU) == pytest.approx(run.rmse, rel=1e-6)
    assert json.loads((run.folder / "run.json").read_text())["fold_rmse"] == run.rmse


@pytest.mark.parametrize("epoch", [3, 4])
def test_patience_survives_an_interruption(epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [0.5, 0.4, 0.45, 0.46, 0.1]
    whole, cut = project_at(tmp_path / "whole"), project_at(tmp_path / "cut")
    with monkeypatch.context() as patch:
        measuring(patch, values)
        assert train(whole, PATIENT).epochs == 4
    with monkeypatch.context() as patch:
        measuring(patch, values)
        if epoch == 4:  # it had stopped, but its weights were not yet stored
            patch.setattr(kit.learning.training.engine, "save_result", _interrupted)
            with pytest.raises(KeyboardInterrupt):
                train(cut, PATIENT)
        else:
            train_until(cut, PATIENT, epoch * STEPS + 1)
    with monkeypatch.context() as patch:
        measuring(patch, values[epoch:])
        run = train(cut, PATIENT)
    assert (run.epochs, run.rmse) == (4, 0.4)
    assert weights_of(cut) == weights_of(whole)


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_without_patience_the_last_weights_are_kept_though_they_are_worse(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring(monkeypatch, [0.2, 0.3, 0.4, 0.5])
    assert train(project, tiny("regress", *QUICK, "validations=100")).rmse == 0.5


# --- guards


def test_photos_that_hardly_differ_are_a_collapse_once_a_generator_had_time_to_begin() -> None:
    one, real = tiny("cyclegan"), 0.2
    for step, spread, collapsed in (
        (FIRST_STEPS - 1, 0.0, False),
        (FIRST_STEPS, 0.0, True),
        (FIRST_STEPS, COLLAPSED * real, False),
        (10 * FIRST_STEPS, 0.9 * COLLAPSED * real, True),
    ):
        if collapsed:
            with pytest.raises(TrainingError, match=r"collapsed in epoch 7.*--as NAME --set learning_rate=5e-05"):
                check_diversity(one, 7, step, {"spread": spread, "real_spread": real})
        else:
            check_diversity(one, 7, step, {"spread": spread, "real_spread": real})
    check_diversity(one, 7, FIRST_STEPS, {"mse": 0.1})


@pytest.mark.parametrize("name", ["cyclegan", "dcgan", "pix2pix-paper"])
def test_a_collapsed_generator_is_said_and_the_last_good_checkpoint_is_kept(
    name: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tiny(name, "epochs=2")
    monkeypatch.setattr(kit.learning.training.guards, "FIRST_STEPS", 2 * STEPS)
    monkeypatch.setattr(kit.learning.training.guards, "COLLAPSED", 10.0)  # no generator spreads so far
    monkeypatch.setattr(kit.learning.training.engine, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(TrainingError, match="collapsed in epoch 2"):
        train(project, one)
    folder = project.workspace.run(name, 0)
    assert [epoch for epoch, _ in list_checkpoints(folder)] == [1]
    kept = load_checkpoint(folder, CPU)
    assert kept is not None and kept["epoch"] == 1
    monkeypatch.undo()
    assert train(project, one).epochs == 2


# --- what is written


def test_feature_matching_has_its_column_in_the_log(project: Project) -> None:
    (row,) = log_of(train(project, tiny("pix2pix", *QUICK, "feature_weight=10", "epochs=1")).folder)
    losses = {"adversarial", "discriminator", "l1", "features"}
    assert row.keys() == losses | {"epoch", "learning_rate", "fold_rmse"} and row["features"] > 0


def test_the_folds_rmse_is_measured_as_often_as_asked_and_at_the_end(project: Project) -> None:
    log = log_of(train(project, tiny("regress", *QUICK, "epochs=7", "validations=3")).folder)
    assert [row["epoch"] for row in log if "fold_rmse" in row] == [2, 4, 6, 7]


def test_the_progress_tells_photos_a_second_and_the_last_measurement(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kit.core.progress, "PLAIN_LONGEST", 0.0)
    run = train(project, tiny("regress", *QUICK, "epochs=2"))
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("Training regress, fold 0: ")]
    assert out == "" and len(lines) >= 2 * STEPS
    assert " photos/" in lines[0] and "fold RMSE" not in lines[0] and " 1/8 steps" in lines[0]
    first = log_of(run.folder)[0]["fold_rmse"]
    assert lines[-3].endswith(f", fold RMSE {first:.4f}") and "photos/s  " in lines[-3]
    found = json.loads((run.folder / "run.json").read_text())
    assert found["photos_per_second"] == pytest.approx(2 * 16 / found["seconds"], rel=0.3)
    assert (found["processes"], found["device"]) == (1, "cpu")


# --- TensorBoard


@pytest.mark.parametrize("stop", [None, 2 * STEPS + 1])
def test_tensorboard_reads_the_numbers_of_the_log_also_after_an_interruption(
    stop: int | None, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tiny("pix2pix", *QUICK, "validations=2")
    if stop is not None:
        with monkeypatch.context() as patch:  # the last epoch's events are there, its checkpoint is not
            patch.setattr(
                kit.learning.training.engine,
                "save_checkpoint",
                _only_the_first(kit.learning.training.engine.save_checkpoint),
            )
            train_until(project, one, stop, trackers=("tensorboard",))
    run = train(project, one, trackers=("tensorboard",))
    found, log = events_of(run.folder), log_of(run.folder)
    assert set(found) == set().union(*log) - {"epoch"}
    for name, values in found.items():
        expected = {int(row["epoch"]) * STEPS: row[name] for row in log if name in row}
        assert values == pytest.approx(expected, rel=1e-6)


def _only_the_first(original: Callable[..., None]) -> Callable[..., None]:
    def save(folder: Path, epoch: int, state: dict[str, Any]) -> None:
        if epoch == 1:
            original(folder, epoch, state)

    return save


def test_without_tensorboard_the_way_to_it_is_said_and_nothing_is_claimed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch.utils.tensorboard", None)
        with pytest.raises(TrainingError, match="pip install tensorboard"):
            train(project, tiny("regress", *QUICK), trackers=("tensorboard",))
        assert not (project.workspace.run("regress", 0) / "experiment.json").exists()
        assert train(project, tiny("regress", *QUICK, "epochs=1")).epochs == 1
    assert not (project.workspace.run("regress", 0) / "tensorboard").exists()


# --- torch.compile


def losses_of(project: Project, one: Experiment, **options: Any) -> list[float]:
    return [row["mse"] for row in log_of(train(project, one, **options).folder)]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_training_has_about_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    settings = ["architecture=partialconv", "epochs=2"]
    plain = losses_of(project_at(tmp_path / "plain"), tiny("regress", *settings))
    compiled = losses_of(project_at(tmp_path / "compiled"), tiny("regress", *settings), compiled=True)
    assert compiled == pytest.approx(plain, rel=1e-4)
    assert "going on without it" not in capfd.readouterr().err


def failing(when: str) -> Callable[..., Any]:
    """A `torch.compile` that does not work."""

    def compile_(network: nn.Module) -> Callable[..., torch.Tensor]:
        def run(x: torch.Tensor) -> torch.Tensor:
            if when == "backward":
                y: torch.Tensor = network(x)
                y.register_hook(lambda _: _no_compiler())
                return y
            network(x)  # moves the statistics of its batch norms
            _no_compiler()
            raise AssertionError

        return run

    return compile_


def _no_compiler() -> None:
    raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nin config.cpp.cxx")


@pytest.mark.parametrize("when", ["forward", "backward", "works"])
def test_a_trial_of_the_compiler_leaves_no_trace_and_a_broken_one_is_gone_on_without(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plain, compiled = project_at(tmp_path / "plain"), project_at(tmp_path / "compiled")
    one = tiny("regress", "epochs=1")  # with batch norm
    train(plain, one)
    monkeypatch.setattr(torch, "compile", failing(when) if when != "works" else lambda network: network)
    kit.core.speech.begin_command()  # what an earlier training of this process said is said again
    train(compiled, one, compiled=True)
    assert weights_of(plain) == weights_of(compiled)
    warnings = [line for line in capfd.readouterr().err.splitlines() if "Warning" in line]
    if when == "works":
        assert not warnings
    else:
        (warning,) = warnings
        assert warning.startswith("Warning: torch.compile does not work here (InvalidCxxCompiler: No working C++")
        assert warning.endswith("going on without it.")


def test_a_dcgan_is_not_compiled_and_says_so(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    train(project, tiny("dcgan", "epochs=1"), compiled=True)
    assert "Warning: a DCGAN is trained without --compile." in capfd.readouterr().err
