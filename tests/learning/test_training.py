"""Training: killed at any moment and started again it ends with the same bytes; what it learns from and what not."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.toy import SLUG
from support.trainings import (
    CPU,
    EPOCHS,
    HERE,
    MOMENTS,
    SOME_MOMENTS,
    STEPS,
    Stopped,
    finish,
    log_of,
    photos_of,
    project_at,
    results,
    start,
    tiny,
    train,
    train_until,
    weights_of,
)

import kit.learning.training.engine
import kit.learning.training.trainer
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.errors import DamagedStore, Mismatch, MissingStep, TrainingError, UsageError
from kit.imaging.holes import hole_of
from kit.learning.experiments import EXPERIMENTS, Experiment
from kit.learning.training import State, device_named, load_generator, new_state
from kit.learning.training.checkpoints import KEEP, list_checkpoints, load_checkpoint, save_checkpoint
from kit.learning.training.fit import fit_fold
from kit.learning.training.trainer import SECOND_STREAM, Trainer

KILLED = {"regress": tuple(MOMENTS), "pix2pix": SOME_MOMENTS, "cyclegan": SOME_MOMENTS, "dcgan": SOME_MOMENTS}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, forks: Any) -> dict[str, dict[str, bytes]]:
    """The results of trainings that nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    project_at(folder)
    found = {}
    for name in KILLED:
        assert finish(start(forks, folder, tiny(name))) == 0
        found[name] = results(folder, name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_a_training_killed_again_and_again_ends_with_the_bytes_of_one_never_killed(
    name: str, tmp_path: Path, forks: Any, uninterrupted: dict[str, dict[str, bytes]]
) -> None:
    project_at(tmp_path)
    for moment in KILLED[name]:
        assert finish(start(forks, tmp_path, tiny(name), moment)) == -signal.SIGKILL, moment
        assert len(list_checkpoints(tmp_path / "runs" / name / "fold_0")) <= KEEP
    assert finish(start(forks, tmp_path, tiny(name))) == 0
    assert results(tmp_path, name) == uninterrupted[name]
    assert not list_checkpoints(tmp_path / "runs" / name / "fold_0")


@pytest.mark.slow
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


@pytest.mark.slow
def test_of_two_processes_on_one_fold_one_trains_and_the_other_says_so(
    tmp_path: Path, forks: Any, uninterrupted: dict[str, dict[str, bytes]]
) -> None:
    project_at(tmp_path)
    both = [start(forks, tmp_path, tiny(), pause=pause) for pause in (0.02, 0.03)]
    assert sorted(finish(process) for process in both) == [0, 1]
    assert results(tmp_path, "regress") == uninterrupted["regress"]
    assert fit_fold(Project(Workspace(tmp_path, SLUG)), tiny(), 0, device="cpu").skipped


# resume without processes


def interrupted(folder: Path, step: int = 3 * STEPS + 1) -> Project:
    """A project whose training of fold 0 stopped in its fourth epoch."""
    project = project_at(folder)
    train_until(project, tiny(), step)
    return project


def test_only_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    project = interrupted(tmp_path)
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
    capfd: pytest.CaptureFixture[str],
    uninterrupted: dict[str, dict[str, bytes]],
) -> None:
    project = interrupted(tmp_path)
    newest = list_checkpoints(project.workspace.run("regress", 0))[-1][1]
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    train(project, tiny())
    warnings = [line for line in capfd.readouterr().err.splitlines() if "Warning" in line]
    assert len(warnings) == 1 and newest.name in warnings[0] and "\x1b" not in warnings[0]
    assert weights_of(project) == uninterrupted["regress"]["runs/regress/fold_0/model.safetensors"]


def test_a_training_whose_checkpoints_are_all_damaged_begins_again(
    tmp_path: Path, uninterrupted: dict[str, dict[str, bytes]]
) -> None:
    project = interrupted(tmp_path)
    for _, path in list_checkpoints(project.workspace.run("regress", 0)):
        path.write_bytes(b"")
    train(project, tiny())
    assert weights_of(project) == uninterrupted["regress"]["runs/regress/fold_0/model.safetensors"]


def taught(project: Project, one: Experiment, state: State) -> dict[str, float]:
    """Make one more step; its losses."""
    photos = photos_of(project, one)
    trainer = Trainer(one, state, HERE)
    draws = [photos.begin_epoch(stream * SECOND_STREAM) for stream in range(trainer.method.streams)]
    return {name: float(loss) for name, loss in trainer.step(photos, draws, 100).items()}


def leaves(value: Any) -> list[Any]:
    """Everything in nested dictionaries and lists."""
    if isinstance(value, dict):
        return [*value, *(leaf for one in value.values() for leaf in leaves(one))]
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, list | tuple) else [value]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_checkpoint_holds_tensors_and_numbers_alone_and_all_that_the_next_step_depends_on(
    name: str, tmp_path: Path
) -> None:
    project, one = project_at(tmp_path), tiny(name, "precision=float32", "patience=3")
    state = new_state(one, CPU)
    taught(project, one, state)
    state.best = {"rmse": 0.25, "epoch": 1, "weights": state.average.state_dict()}
    save_checkpoint(tmp_path, 3, state.state_dict())
    found = load_checkpoint(tmp_path, CPU)  # reads weights only
    assert found is not None
    assert {type(leaf) for leaf in leaves(found)} <= {torch.Tensor, int, float, bool, str, type(None)}
    again = new_state(one, CPU, pretrained=False)
    again.load_state_dict(found)
    assert taught(project, one, again) == taught(project, one, state)
    for key, value in state.state_dict()["average"].items():
        assert torch.equal(again.average.state_dict()[key], value), key
    assert load_checkpoint(tmp_path / "nothing", CPU) is None


def test_a_resumed_training_needs_no_pretrained_weights_again(tmp_path: Path) -> None:
    project = project_at(tmp_path / "workspace")
    path = tmp_path / "weights.pth"
    import timm

    torch.save(timm.create_model("test_efficientnet").state_dict(), path)
    one = tiny("regress", f"encoder_weights={path}")
    train_until(project, one, 2 * STEPS)
    path.unlink()
    assert fit_fold(project, one, 0, device="cpu").epochs == EPOCHS


def test_the_first_epochs_are_trained_small_and_a_stop_at_the_change_leaves_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tiny("regress", "first_size=32", "first_share=0.5", "size=64")
    sizes: list[int] = []
    step = Trainer.step

    def watched(self: Trainer, photos: Any, *rest: Any) -> Any:
        sizes.append(photos.settings.size)
        return step(self, photos, *rest)

    whole, stopped = (project_at(tmp_path / name) for name in ("whole", "stopped"))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", watched)
        train(whole, one)
    small = round(0.5 * EPOCHS)
    assert sizes == [32] * small * STEPS + [64] * (EPOCHS - small) * STEPS
    train_until(stopped, one, small * STEPS)
    train(Project(stopped.workspace), one)
    assert weights_of(whole) == weights_of(stopped)


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
    assert (weights_of(project) != uninterrupted["regress"]["runs/regress/fold_0/model.safetensors"]) is seen


def scribbled(project: Project, *, hidden: bool) -> None:
    """Overwrite what is under the holes of the test photos, or a known part of one."""
    path = project.workspace.pack / "test_image.npy"
    images = np.load(path, mmap_mode="r+")
    for image, photo_row in zip(images, project.index.test, strict=True):
        hole = hole_of(photo_row.boxes, *image.shape[:2])
        image[hole if hidden else ~hole] = np.random.default_rng(5).integers(0, 256, 3)
    images.flush()


def test_training_on_test_photos_looks_at_what_is_known_of_them_and_under_no_hole(tmp_path: Path) -> None:
    settings = ["architecture=partialconv", "epochs=2"]
    one = tiny("regress", *settings, "test_photos=true")
    projects = [project_at(tmp_path / name) for name in ("as they are", "under the holes", "beside them")]
    scribbled(projects[1], hidden=True)
    scribbled(projects[2], hidden=False)
    for project in projects:
        train(Project(project.workspace), one)
    asis, under, beside = map(weights_of, projects)
    assert asis == under != beside
    without = train(projects[0], tiny("regress", *settings, rename="without"))
    assert asis != (without.folder / "model.safetensors").read_bytes()


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    project = project_at(tmp_path)
    one, same, other = (tiny("regress", "epochs=1", f"seed={seed}", rename=f"a{n}") for n, seed in enumerate((0, 0, 1)))
    weights = [train(project, each).folder / "model.safetensors" for each in (one, same, other)]
    assert weights[0].read_bytes() == weights[1].read_bytes() != weights[2].read_bytes()


def test_training_lowers_the_loss_and_the_error_on_photos_it_has_not_seen(tmp_path: Path) -> None:
    settings = ["epochs=20", "learning_rate=0.003", "ema=0.9", "dropout=0", "jitter=0", "crop=1"]
    run = train(project_at(tmp_path), tiny("regress", *settings))
    log = log_of(run.folder)
    losses = [row["mse"] for row in log]
    measured = [row["fold_rmse"] for row in log if "fold_rmse" in row]
    assert len(losses) == run.epochs == 20
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])
    assert measured[-1] == pytest.approx(run.rmse, rel=1e-6) and run.rmse < measured[0]


# trainings that cannot go on


@pytest.mark.parametrize("when", ["loss", "weights"])
def test_a_divergence_is_said_and_the_last_good_checkpoint_is_kept(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_at(tmp_path)
    monkeypatch.setattr(kit.learning.training.engine, "CHECKPOINT_SECONDS", 0.0)
    original = kit.learning.training.trainer.train_step

    def diverging(trainer: Trainer, *batches: Any) -> dict[str, torch.Tensor]:
        losses = original(trainer, *batches)
        if when == "loss" and trainer.state.step == 2 * STEPS:
            losses["mse"] = losses["mse"] * float("inf")
        if when == "weights" and trainer.state.step == 3 * STEPS - 1:  # an epoch's last step: no loss will tell
            with torch.no_grad():
                next(trainer.state.model.parameters()).fill_(float("nan"))
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(kit.learning.training.trainer, "train_step", diverging)
        with pytest.raises(TrainingError, match=r"no longer finite in epoch 3.*--as NAME --set learning_rate=0.00025"):
            train(project, tiny())
    folder = project.workspace.run("regress", 0)
    assert [epoch for epoch, _ in list_checkpoints(folder)] == [1, 2]
    kept = load_checkpoint(folder, CPU)
    assert kept is not None
    assert all(value.isfinite().all() for value in kept["generator"].values())
    assert not (folder / "run.json").exists()
    assert train(project, tiny()).epochs == EPOCHS  # what broke it has gone


def test_a_training_that_fails_before_its_first_checkpoint_gives_its_name_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    project = project_at(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(kit.learning.training.trainer, "train_step", full)
        with pytest.raises(TrainingError, match=r"memory of cpu.*--set batch_size=2 --set accumulate=2"):
            train(project, tiny())
    assert not list(project.workspace.run("regress", 0).iterdir())
    assert train(project, tiny("regress", "batch_size=2", "accumulate=2", "epochs=1")).epochs == 1


def test_a_device_out_of_memory_later_keeps_what_was_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = project_at(tmp_path)
    train_until(project, tiny(), 2 * STEPS)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(kit.learning.training.trainer, "train_step", full)
    with pytest.raises(TrainingError, match="batch_size=2"):
        train(project, tiny())
    with pytest.raises(Mismatch, match="batch_size"):
        train(project, tiny("regress", "batch_size=2"))
    assert len(list_checkpoints(project.workspace.run("regress", 0))) == KEEP


@pytest.mark.parametrize("name", ["meta", "nope", "cuda:99", "", "hpu"])
def test_a_device_that_is_not_there_is_said(name: str) -> None:
    with pytest.raises(UsageError, match="Use --device cpu or --device auto"):
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


def slow_steps(
    monkeypatch: pytest.MonkeyPatch, stop: int | None = None, *, first: float = 10.0, later: float = 10.0
) -> None:
    """Let the steps of the first epoch, and those after it, take so many seconds."""
    clock = Clock()
    original = kit.learning.training.trainer.train_step
    steps = iter(range(10**6))

    def step(*arguments: Any) -> dict[str, torch.Tensor]:
        number = next(steps)
        if number == stop:
            raise Stopped
        clock.now += first if number < STEPS else later
        return original(*arguments)

    monkeypatch.setattr(kit.learning.training.trainer, "train_step", step)
    monkeypatch.setattr(kit.learning.training.engine, "time", clock)
    monkeypatch.setattr(kit.learning.training.engine, "CHECKPOINT_SECONDS", -math.inf)


def test_max_minutes_shortens_the_plan_after_the_first_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_steps(monkeypatch)
    run = train(project_at(tmp_path), tiny("regress", "epochs=100"), max_minutes=2.0)
    assert run.epochs == 3  # of 40 s
    assert run.seconds <= 120
    rates = [row["learning_rate"] for row in log_of(run.folder)]
    assert len(rates) == 3
    assert rates[-1] < rates[1] / 2  # the learning rate reaches the end of its fall


@pytest.mark.parametrize(("first", "later", "epochs"), [(5.0, 2.0, 36), (25.0, 2.0, 26)])
def test_max_minutes_are_used_although_the_first_epoch_is_slow(
    first: float, later: float, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is on a GPU, where libraries choose their ways in the first steps."""
    slow_steps(monkeypatch, first=first, later=later)
    run = train(project_at(tmp_path), tiny("regress", "epochs=100"), max_minutes=5.0)
    assert run.epochs == epochs  # the first alone would promise 15 and 3
    assert run.seconds <= 300


def test_the_plan_is_said_at_once_and_that_an_epoch_is_longer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tiny("regress", "epochs=100")
    assert train(project_at(tmp_path), one, max_minutes=1e-4, place="2 of 5").epochs == 1
    begins, longer = capsys.readouterr().err.splitlines()
    assert begins.startswith("regress, fold 0 (2 of 5) on cpu in float32: ") and "million parameters" in begins
    assert begins.endswith("100 epochs of 4 steps, as many as 0.0001 min of training allow")
    assert "longer than --max-minutes 0.0001: it is trained to its end, and is the only one." in longer


@pytest.mark.parametrize("minutes", [0.01, 0.7])
def test_max_minutes_shorter_than_an_epoch_is_one_measured_epoch(
    minutes: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_steps(monkeypatch)
    run = train(project_at(tmp_path), tiny("regress", "epochs=100"), max_minutes=minutes)
    assert run.epochs == 1
    assert 0 < run.rmse < 2


def test_more_minutes_than_needed_change_nothing(tmp_path: Path, uninterrupted: dict[str, dict[str, bytes]]) -> None:
    project = project_at(tmp_path)
    train(project, tiny(), max_minutes=600)
    assert weights_of(project) == uninterrupted["regress"]["runs/regress/fold_0/model.safetensors"]


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
    original = kit.learning.training.engine.save_result
    monkeypatch.setattr(
        kit.learning.training.engine,
        "save_result",
        lambda *arguments: (states.append(arguments[2]), original(*arguments))[1],
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
