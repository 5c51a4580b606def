"""Training: killed at any moment and started again it ends with the same bytes; what it learns from and what not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from io import BytesIO
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import SLUG, Toy, make_toy_workspace

import kit.checkpoints
import kit.fitting
import kit.training
from kit.checkpoints import KEEP, list_checkpoints, load_checkpoint, save_checkpoint
from kit.errors import DamagedStore, Mismatch, MissingStep, TrainingError
from kit.experiments import Experiment, experiment
from kit.fitting import base_fills, fit_fold
from kit.project import Project
from kit.training import Run, device_named, learning_rate, load_generator, new_state, train_fold
from kit.workspace import Workspace

CPU = torch.device("cpu")
EPOCHS = 4
STEPS = 4  # an epoch of 16 photos in batches of 4


def tiny(name: str = "regress", *settings: str, rename: str | None = None) -> Experiment:
    """An experiment that trains in about a second."""
    common = ["encoder=tu-test_efficientnet", "decoder_channels=16,16,16", "base=mean", "size=64", "batch_size=4"]
    common += [f"epochs={EPOCHS}", "discriminator_width=16", "discriminator_layers=1"]
    return experiment(name, [*common, *settings], rename=rename)


def project_at(folder: Path) -> Project:
    """A fresh toy competition, the same in every folder, opened."""
    return opened(make_toy_workspace(folder, photos=24, test=4))


def opened(toy: Toy) -> Project:
    return Project(toy.workspace)


def train(project: Project, one: Experiment, fold: int = 0, **options: Any) -> Run:
    """`train_fold` with the project's own parts."""
    fill = base_fills(project, one)["oof"]
    parts = (project.workspace, project.index, project.pack, project.folds)
    return train_fold(*parts, one, fold, fill, device=CPU, **options)


def results(root: Path, name: str, fold: int = 0) -> dict[str, bytes]:
    """What a finished training leaves behind; seconds are measured, so the JSON files are not compared."""
    paths = [root / "runs" / name / f"fold_{fold}" / file for file in ("model.safetensors", "log.csv")]
    paths += [root / "predictions" / name / split / f"fold_{fold}.npy" for split in ("oof", "test")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


class Stopped(Exception):
    """Stands for Ctrl-C in tests that need no real kill."""


def stop_in_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make the training stop before its step of this number."""
    steps = iter(range(10**6))
    original = kit.training.train_step

    def step(*arguments: Any) -> dict[str, torch.Tensor]:
        if next(steps) == number:
            raise Stopped
        return original(*arguments)

    monkeypatch.setattr(kit.training, "train_step", step)
    monkeypatch.setattr(kit.training, "CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every epoch


# children: started by a fork server that has imported torch once, and killed without a chance to clean up


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(module: Any, name: str, number: int, do: Callable[..., Any]) -> None:
    """Let `do` take the place of the call of this number of a function of a module."""
    original = getattr(module, name)
    calls = iter(range(10**6))

    def replaced(*arguments: Any, **options: Any) -> Any:
        return (do if next(calls) == number else original)(*arguments, **options)

    setattr(module, name, replaced)


def half_a_checkpoint(state: Any, file: Any) -> None:
    whole = BytesIO()
    REAL_SAVE(state, whole)
    file.write(whole.getvalue()[: whole.tell() // 2])
    file.flush()
    die()


def save_and_die(*arguments: Any) -> None:
    save_checkpoint(*arguments)
    die()


def predict_one_and_die(*arguments: Any) -> Any:
    yield next(REAL_PREDICT(*arguments))
    die()


REAL_SAVE = torch.save
REAL_PREDICT = kit.fitting.predict

MOMENTS: dict[str, tuple[Any, str, int, Callable[..., Any]]] = {
    "in the first epoch": (kit.training, "train_step", 2, lambda *_: die()),
    "just after a checkpoint": (kit.training, "save_checkpoint", 0, save_and_die),
    "in the middle of an epoch": (kit.training, "train_step", STEPS + 1, lambda *_: die()),
    "while writing a checkpoint": (torch, "save", 0, half_a_checkpoint),
    "before the log of a checkpoint": (kit.training, "_write_log", 0, lambda *_: die()),
    "in the last epoch": (kit.training, "train_step", STEPS - 1, lambda *_: die()),
    "after the weights, before run.json": (kit.training, "write_json", 0, lambda *_: die()),
    "before the checkpoints are dropped": (kit.training, "drop_checkpoints", 0, lambda *_: die()),
    "while predicting its fold": (kit.fitting, "predict", 0, predict_one_and_die),
    "between its fold and the test photos": (kit.fitting, "predict", 1, lambda *_: die()),
    "while predicting the test photos": (kit.fitting, "predict", 0, predict_one_and_die),
}
# a training of four epochs is killed eleven times on its way; the order matters: each moment is reached from the one
# before it


def child(root: str, one: Experiment, moment: str | None, pause: float = 0.0) -> None:
    """Train and predict fold 0 in this process, dying at a moment."""
    torch.set_num_threads(1)
    kit.training.CHECKPOINT_SECONDS = 0.0
    if moment is not None:
        at_call(*MOMENTS[moment])
    if pause:
        original = kit.training.train_step

        def slow(*arguments: Any) -> dict[str, torch.Tensor]:
            time.sleep(pause)
            return original(*arguments)

        kit.training.train_step = slow
    fit_fold(Project(Workspace(Path(root), SLUG)), one, 0, device="cpu")


@pytest.fixture(scope="session")
def forks() -> Any:
    """A context whose processes begin with the kit imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kit.fitting", "test_training"])
    with pytest.MonkeyPatch.context() as patch:  # the server's own path begins without this folder
        folders = [str(Path(__file__).parent), str(Path(kit.__file__).parents[1])]
        patch.setenv("PYTHONPATH", os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]))
        forkserver.ensure_running()
    return context


def start(forks: Any, root: Path, one: Experiment, moment: str | None = None, pause: float = 0.0) -> Any:
    process = forks.Process(target=child, args=(str(root), one, moment, pause))
    process.start()
    return process


def finish(process: Any) -> int:
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, forks: Any) -> dict[str, dict[str, bytes]]:
    """The results of trainings that nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    project_at(folder)
    found = {}
    for name in ("regress", "pix2pix"):
        assert finish(start(forks, folder, tiny(name))) == 0
        found[name] = results(folder, name)
    return found


@pytest.mark.parametrize("name", ["regress", "pix2pix"])
def test_a_training_killed_again_and_again_ends_with_the_bytes_of_one_never_killed(
    name: str, tmp_path: Path, forks: Any, uninterrupted: dict[str, dict[str, bytes]]
) -> None:
    project_at(tmp_path)
    for moment in MOMENTS:
        assert finish(start(forks, tmp_path, tiny(name), moment)) == -signal.SIGKILL, moment
        assert len(list_checkpoints(tmp_path / "runs" / name / "fold_0")) <= KEEP
    assert finish(start(forks, tmp_path, tiny(name))) == 0
    assert results(tmp_path, name) == uninterrupted[name]
    assert not list_checkpoints(tmp_path / "runs" / name / "fold_0")


def test_a_training_killed_from_outside_at_arbitrary_times_ends_with_the_same_bytes(
    tmp_path: Path, forks: Any, uninterrupted: dict[str, dict[str, bytes]]
) -> None:
    project_at(tmp_path)
    kills = 0
    for wait in (0.15, 0.6, 1.0, 1.5, 120):
        process = start(forks, tmp_path, tiny(), pause=0.05)
        process.join(wait)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills >= 2
    assert results(tmp_path, "regress") == uninterrupted["regress"]
    assert not list(tmp_path.rglob("*.partial*"))


def test_two_processes_on_one_fold_waste_time_but_damage_nothing(
    tmp_path: Path, forks: Any, uninterrupted: dict[str, dict[str, bytes]]
) -> None:
    project_at(tmp_path)
    both = [start(forks, tmp_path, tiny(), pause=pause) for pause in (0.02, 0.03)]
    assert [finish(process) for process in both] == [0, 0]
    assert results(tmp_path, "regress") == uninterrupted["regress"]
    assert fit_fold(Project(Workspace(tmp_path, SLUG)), tiny(), 0, device="cpu").skipped


# resume without processes


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch, step: int = 3 * STEPS + 1) -> Project:
    """A project whose training of fold 0 stopped in its fourth epoch."""
    project = project_at(folder)
    with monkeypatch.context() as patch:
        stop_in_step(patch, step)
        with pytest.raises(Stopped):
            train(project, tiny())
    return project


def test_only_the_last_two_checkpoints_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = interrupted(tmp_path, monkeypatch)
    assert [epoch for epoch, _ in list_checkpoints(project.workspace.run("regress", 0))] == [2, 3]


def change_bytes(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 1 for byte in data[middle : middle + 200]) + data[middle + 200 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "changed inside": change_bytes,
    "text": lambda data: b"not a checkpoint at all\n" * 50,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(
    damage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    uninterrupted: dict[str, dict[str, bytes]],
) -> None:
    project = interrupted(tmp_path, monkeypatch)
    newest = list_checkpoints(project.workspace.run("regress", 0))[-1][1]
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    train(project, tiny())
    warnings = [line for line in capfd.readouterr().err.splitlines() if "Warning" in line]
    assert len(warnings) == 1 and newest.name in warnings[0] and "\x1b" not in warnings[0]
    weights = (project.workspace.run("regress", 0) / "model.safetensors").read_bytes()
    assert weights == uninterrupted["regress"]["runs/regress/fold_0/model.safetensors"]


def test_a_training_whose_checkpoints_are_all_damaged_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, dict[str, bytes]]
) -> None:
    project = interrupted(tmp_path, monkeypatch)
    for _, path in list_checkpoints(project.workspace.run("regress", 0)):
        path.write_bytes(b"")
    train(project, tiny())
    weights = (project.workspace.run("regress", 0) / "model.safetensors").read_bytes()
    assert weights == uninterrupted["regress"]["runs/regress/fold_0/model.safetensors"]


def test_a_checkpoint_holds_tensors_and_numbers_alone(tmp_path: Path) -> None:
    state = new_state(tiny("pix2pix"), CPU)
    save_checkpoint(tmp_path, 3, state.state_dict())
    found = load_checkpoint(tmp_path, CPU)  # reads weights only
    assert found is not None
    assert set(found) == {*state.modules(), "epoch", "step", "planned", "log", "seconds"}
    assert load_checkpoint(tmp_path / "nothing", CPU) is None


def test_a_resumed_training_needs_no_pretrained_weights_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = project_at(tmp_path / "workspace")
    path = tmp_path / "weights.pth"
    import timm

    torch.save(timm.create_model("test_efficientnet").state_dict(), path)
    one = tiny("regress", f"encoder_weights={path}")
    with monkeypatch.context() as patch:
        stop_in_step(patch, 2 * STEPS)
        with pytest.raises(Stopped):
            fit_fold(project, one, 0, device="cpu")
    path.unlink()
    run = fit_fold(project, one, 0, device="cpu")
    assert run.epochs == EPOCHS


# what a training depends on


def corrupted(project: Project, positions: np.ndarray) -> None:
    """Overwrite whole training photos in the pack, as if they had been others; the index stays."""
    path = project.workspace.pack / "train_target.npy"
    targets = np.load(path, mmap_mode="r+")
    targets[positions] = np.random.default_rng(9).integers(0, 256, targets[positions].shape, np.uint8)
    targets.flush()


@pytest.mark.parametrize("seen", [False, True])
def test_the_weights_depend_on_the_other_folds_photos_and_not_on_its_own(
    seen: bool, tmp_path: Path, uninterrupted: dict[str, dict[str, bytes]]
) -> None:
    project = project_at(tmp_path)
    corrupted(project, project.folds.train_positions(0)[:1] if seen else project.folds.valid_positions(0))
    train(Project(project.workspace), tiny())
    weights = (project.workspace.run("regress", 0) / "model.safetensors").read_bytes()
    assert (weights != uninterrupted["regress"]["runs/regress/fold_0/model.safetensors"]) is seen


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    project = project_at(tmp_path)
    one, same, other = (tiny("regress", "epochs=1", f"seed={seed}", rename=f"a{n}") for n, seed in enumerate((0, 0, 1)))
    weights = [train(project, each).folder / "model.safetensors" for each in (one, same, other)]
    assert weights[0].read_bytes() == weights[1].read_bytes() != weights[2].read_bytes()


def test_training_lowers_the_loss_and_the_error_on_photos_it_has_not_seen(tmp_path: Path) -> None:
    settings = ["epochs=20", "learning_rate=0.003", "ema=0.9", "dropout=0", "jitter=0", "crop=1"]
    run = train(project_at(tmp_path), tiny("regress", *settings))
    header, *rows = [line.split(",") for line in (run.folder / "log.csv").read_text().splitlines()]
    losses = [float(row[header.index("mse")]) for row in rows]
    measured = [float(row[header.index("fold_rmse")]) for row in rows if row[header.index("fold_rmse")]]
    assert len(losses) == run.epochs == 20
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])
    assert measured[-1] == pytest.approx(run.rmse, rel=1e-6) and run.rmse < measured[0]


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    one = tiny("regress", "learning_rate=0.01", "warmup=0.1")
    rates = [learning_rate(one, step, 100) for step in range(100)]
    assert max(rates) == pytest.approx(0.01) == rates[10]
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 1e-4


def test_the_average_of_weights_follows_the_weights() -> None:
    state = new_state(tiny(), CPU)
    with torch.no_grad():
        for parameter in state.generator.parameters():
            parameter.fill_(1.0)
    before = [parameter.clone() for parameter in state.average.parameters()]
    state.step = 1000
    kit.training._update_average(state, 0.9)
    for old, new in zip(before, state.average.parameters(), strict=True):
        assert torch.allclose(new, 0.9 * old + 0.1, atol=1e-6)


# trainings that cannot go on


@pytest.mark.parametrize("when", ["loss", "weights"])
def test_a_divergence_is_said_and_the_last_good_checkpoint_is_kept(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_at(tmp_path)
    monkeypatch.setattr(kit.training, "CHECKPOINT_SECONDS", 0.0)
    original = kit.training.train_step

    def diverging(one: Experiment, state: kit.training.State, batch: Any) -> dict[str, torch.Tensor]:
        losses = original(one, state, batch)
        if when == "loss" and state.step == 2 * STEPS:
            losses["mse"] = losses["mse"] * float("inf")
        if when == "weights" and state.step == 3 * STEPS - 1:  # the last step of an epoch: no loss will tell
            with torch.no_grad():
                next(state.generator.parameters()).fill_(float("nan"))
        return losses

    monkeypatch.setattr(kit.training, "train_step", diverging)
    with pytest.raises(TrainingError, match=r"no longer finite in epoch 3.*--as NAME --set learning_rate=0.00025"):
        train(project, tiny())
    folder = project.workspace.run("regress", 0)
    assert [epoch for epoch, _ in list_checkpoints(folder)] == [1, 2]
    kept = load_checkpoint(folder, CPU)
    assert kept is not None
    assert all(value.isfinite().all() for value in kept["generator"].values())
    assert not (folder / "run.json").exists()


def test_a_device_out_of_memory_is_said_with_a_smaller_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(kit.training, "train_step", full)
    with pytest.raises(TrainingError, match="batch_size=2"):
        train(project_at(tmp_path), tiny())


@pytest.mark.parametrize("name", ["meta", "nope", "cuda:99", "", "hpu"])
def test_a_device_that_is_not_there_is_said(name: str) -> None:
    with pytest.raises(TrainingError, match="Use --device cpu or --device auto"):
        device_named(name)


def test_a_folder_with_another_training_is_refused_and_kept(tmp_path: Path) -> None:
    project = project_at(tmp_path)
    folder = train(project, tiny("regress", "epochs=1")).folder
    before = (folder / "experiment.json").read_bytes()
    with pytest.raises(Mismatch, match=r"other epochs, seed\..*--as NAME.*--force"):
        train(project, tiny("regress", "epochs=2", "seed=1"))
    assert (folder / "experiment.json").read_bytes() == before


def test_a_training_that_is_done_is_skipped(tmp_path: Path) -> None:
    project = project_at(tmp_path)
    first = train(project, tiny("regress", "epochs=1"))
    again = train(project, tiny("regress", "epochs=1"))
    assert (first.skipped, again.skipped) == (False, True)
    assert again.rmse == first.rmse


# --max-minutes


class Clock:
    """A clock on which every step takes ten seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def slow_steps(monkeypatch: pytest.MonkeyPatch, stop: int | None = None) -> None:
    clock = Clock()
    original = kit.training.train_step
    steps = iter(range(10**6))

    def step(*arguments: Any) -> dict[str, torch.Tensor]:
        if next(steps) == stop:
            raise Stopped
        clock.now += 10.0
        return original(*arguments)

    monkeypatch.setattr(kit.training, "train_step", step)
    monkeypatch.setattr(kit.training, "time", clock)
    monkeypatch.setattr(kit.training, "CHECKPOINT_SECONDS", 0.0)


def test_max_minutes_shortens_the_plan_after_the_first_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_steps(monkeypatch)
    run = train(project_at(tmp_path), tiny("regress", "epochs=100"), max_minutes=2.0)
    assert run.epochs == 3  # of 40 s
    assert run.seconds <= 120
    log = (run.folder / "log.csv").read_text().splitlines()
    rates = [float(line.split(",")[1]) for line in log[1:]]
    assert len(rates) == 3
    assert rates[-1] < rates[1] / 2  # the learning rate reaches the end of its fall


@pytest.mark.parametrize("minutes", [0.01, 0.7])
def test_max_minutes_shorter_than_an_epoch_is_one_measured_epoch(
    minutes: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_steps(monkeypatch)
    run = train(project_at(tmp_path), tiny("regress", "epochs=100"), max_minutes=minutes)
    assert run.epochs == 1
    assert 0 < run.rmse < 2


def test_more_minutes_than_needed_change_nothing(tmp_path: Path, uninterrupted: dict[str, dict[str, bytes]]) -> None:
    run = train(project_at(tmp_path), tiny(), max_minutes=600)
    weights = (run.folder / "model.safetensors").read_bytes()
    assert weights == uninterrupted["regress"]["runs/regress/fold_0/model.safetensors"]


def test_a_shortened_plan_survives_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = tiny("regress", "epochs=100")
    with monkeypatch.context() as patch:
        slow_steps(patch)
        whole = train(project_at(tmp_path / "whole"), one, max_minutes=2.0)
    project = project_at(tmp_path / "cut")
    with monkeypatch.context() as patch:
        slow_steps(patch, stop=2 * STEPS + 1)
        with pytest.raises(Stopped):
            train(project, one, max_minutes=2.0)
    cut = train(project, one)  # not even told again
    assert cut.epochs == whole.epochs == 3
    for file in ("model.safetensors", "log.csv"):
        assert (cut.folder / file).read_bytes() == (whole.folder / file).read_bytes()


# stored weights


def test_a_stored_generator_predicts_as_the_trained_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = project_at(tmp_path)
    states = []
    original = kit.training._finish
    monkeypatch.setattr(
        kit.training, "_finish", lambda folder, state: (states.append(state), original(folder, state))[1]
    )
    one = tiny("regress", "epochs=2")
    train(project, one)
    found, generator = load_generator(project.workspace, "regress", 0, CPU)
    x = torch.randn(2, 6, 64, 64)
    assert found == one
    assert torch.equal(generator.eval()(x), states[0].average.eval()(x))


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("model.safetensors", b"", DamagedStore),
        ("model.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", DamagedStore),
        ("experiment.json", b'{"experiment": {"name": "regress", "colour": "red"}}', DamagedStore),
        ("experiment.json", b"{}", DamagedStore),
        ("experiment.json", b"{", DamagedStore),
        ("run.json", None, MissingStep),
        ("experiment.json", None, MissingStep),
    ],
)
def test_a_damaged_run_says_how_to_train_again(
    file: str, content: bytes | None, error: type[Exception], finished: Project, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(finished.workspace.root, tmp_path / "copy")
    workspace = Workspace(tmp_path / "copy", SLUG)
    path = workspace.run("regress", 0) / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(error, match="kit train regress --fold 0"):
        load_generator(workspace, "regress", 0, CPU)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one finished training; not to be written to."""
    project = project_at(tmp_path_factory.mktemp("finished"))
    train(project, tiny("regress", "epochs=1"))
    return project
