"""Several processes that train one network: together they make the steps of one, and one of them writes and speaks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.trainings import (
    CPU,
    SMALL,
    STEPS,
    finish,
    log_of,
    plain_descent,
    project_at,
    start_together,
    tiny,
    weights_of,
)

import kit.learning.training.state
from kit.data.project import Project
from kit.errors import TrainingError, UsageError
from kit.learning.experiments import Experiment, experiment
from kit.learning.models import build_generator
from kit.learning.training import DistributedContext, processes_on, started_by_torchrun
from kit.learning.training.checkpoints import list_checkpoints
from kit.learning.training.fit import fit_fold

EXACT = ["dropout=0", "pool=0", "epochs=2"]
"""What draws dropout or shown photos would draw them in another order."""

NO_BATCH_NORM = ["architecture=plain", "discriminator_norm=instance"]
"""On CPUs each process normalises its own batch: two processes equal one only where no batch is normalised."""


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> torch.Tensor:
    """How far training brought each weight, in one row."""
    return torch.cat([(after[name].float() - before[name].float()).flatten() for name in sorted(before)])


def weights_in(project: Project, name: str) -> dict[str, torch.Tensor]:
    return load_file(project.workspace.run(name, 0) / "model.safetensors")


def start_of(one: Experiment) -> dict[str, torch.Tensor]:
    """The weights before the first step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(one.seed)
        return build_generator(one).state_dict()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# with squared errors: an absolute one has a kink where a residual begins, and rounding decides on which side; the two
# generators of a CycleGAN make differences a hundred times larger with each step
TOGETHER = {
    "regress": ["learning_rate=0.05", *NO_BATCH_NORM],
    "pix2pix": ["learning_rate=0.01", "l1_weight=0", "mse_weight=10", *NO_BATCH_NORM],
    "cyclegan": ["learning_rate=0.001", "epochs=1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TOGETHER)
def test_two_processes_with_four_photos_each_make_the_steps_of_one_with_eight(
    name: str, tmp_path: Path, forks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, alone = project_at(tmp_path / "shared"), project_at(tmp_path / "alone")
    settings = [*EXACT, *TOGETHER[name]]
    assert list(map(finish, start_together(forks, shared.workspace.root, tiny(name, *settings)))) == [0, 0]
    monkeypatch.setattr(kit.learning.training.state, "make_optimizer", plain_descent)
    fit_fold(alone, tiny(name, *settings, "batch_size=8"), 0, device="cpu")
    fit_fold(alone, tiny(name, *settings, rename="four"), 0, device="cpu")
    start = start_of(tiny(name, *settings))
    one, both, four = (moved(start, weights_in(*where)) for where in ((alone, name), (shared, name), (alone, "four")))
    rounding = (one - both).norm()
    assert rounding < 0.005 * one.norm() and 50 * rounding < (one - four).norm()
    ours, theirs = log_of(shared.workspace.run(name, 0)), log_of(alone.workspace.run(name, 0))
    spreads = {"spread", "real_spread"}  # of the photos of one process
    for row, other in zip(ours, theirs, strict=True):
        assert row.keys() == other.keys()
        for column in row.keys() - spreads:
            assert row[column] == pytest.approx(other[column], rel=1e-4), column
    found = json.loads((shared.workspace.run(name, 0) / "run.json").read_text())
    assert (found["processes"], found["steps"]) == (2, tiny(name, *settings).epochs * STEPS // 2)


@pytest.mark.slow
def test_processes_that_are_killed_together_go_on_together(tmp_path: Path, forks: Any) -> None:
    one = tiny("regress", *EXACT, "learning_rate=0.05")
    whole, cut = project_at(tmp_path / "whole"), project_at(tmp_path / "cut")
    assert list(map(finish, start_together(forks, whole.workspace.root, one))) == [0, 0]
    killed = start_together(forks, cut.workspace.root, one, steps=STEPS // 2 + 1)
    assert [finish(process) for process in killed] == [-signal.SIGKILL, -signal.SIGKILL]
    assert [epoch for epoch, _ in list_checkpoints(cut.workspace.run("regress", 0))] == [1]
    assert list(map(finish, start_together(forks, cut.workspace.root, one))) == [0, 0]
    assert weights_of(cut) == weights_of(whole)


TORCHRUN = "torch.distributed.run --nproc-per-node 2 --standalone"  # a free port: --master-port 0 would wait for ever
ACCELERATE = (
    "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, pytest.param(ACCELERATE, marks=pytest.mark.long)])
def test_launchers_train_with_the_real_command_and_one_process_speaks(launcher: str, tmp_path: Path) -> None:
    project = project_at(tmp_path / "w")
    command = [sys.executable, "-m", *launcher.split()]
    if launcher == ACCELERATE:
        command += ["--main_process_port", str(free_port())]
    command += ["-m", "kit", "-w", str(project.workspace.root), "train", "regress", "pix2pix", "--fold", "0"]
    settings = [*SMALL, *EXACT, *NO_BATCH_NORM, "batch_size=4"]
    read = ("base", "size", "box_copies", "width", "blocks")
    small = [setting for setting in SMALL if setting.partition("=")[0] in read]
    small += [setting for setting in SMALL if setting.startswith("discriminator_")]
    chosen = [*small, "dropout=0", "epochs=2", *NO_BATCH_NORM, "batch_size=4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command += [*(word for setting in chosen for word in ("--set", setting)), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    *lines, following = done.stdout.splitlines()
    assert following.startswith("Next: kit ") and following.endswith(" train regress --fold 1,2")
    assert [line[: line.index(", fold 0: fold RMSE")] for line in lines] == ["Trained: regress", "Trained: pix2pix"]
    said = [line for line in done.stderr.splitlines() if not line.startswith("Warning: regress is worse than mean")]
    assert [line.partition(" on cpu")[0] for line in said] == ["regress, fold 0 (1 of 2)", "pix2pix, fold 0 (2 of 2)"]
    for name in ("regress", "pix2pix"):
        folder = project.workspace.run(name, 0)
        assert sorted(path.name for path in folder.iterdir()) == [
            "experiment.json", "log.csv", "model.safetensors", "progress.png", "run.json", "strip.png"
        ]  # fmt: skip
        again = fit_fold(project, experiment(name, settings), 0, device="cpu")
        assert again.skipped
        shutil.copytree(folder, tmp_path / name)
        run = fit_fold(project, experiment(name, [*settings, "batch_size=8"]), 0, device="cpu", force=True)
        for row, other in zip(log_of(tmp_path / name), log_of(run.folder), strict=True):
            assert row == pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize("encoder", ["tu-test_efficientnet", "tu-test_resnet"])
def test_batch_norms_see_all_processes_on_cuda_and_keep_to_themselves_on_a_cpu(encoder: str) -> None:
    network = build_generator(tiny("regress", f"encoder={encoder}"))
    norms = [name for name, layer in network.named_modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    before, weights, x = network.state_dict(), list(network.parameters()), torch.randn(2, 6, 32, 32)
    expected = network.eval()(x)
    assert DistributedContext(CPU, 0, 2).prepare(network) is network and DistributedContext(
        torch.device("cuda")
    ).prepare(network)
    assert [name for name, layer in network.named_modules() if isinstance(layer, torch.nn.BatchNorm2d)] == norms
    assert torch.equal(network(x), expected)
    prepared = DistributedContext(torch.device("cuda"), 0, 2).prepare(network)
    found = {name for name, layer in prepared.named_modules() if isinstance(layer, torch.nn.SyncBatchNorm)}
    assert found == set(norms) and len(found) > 3
    assert prepared.state_dict().keys() == before.keys()
    assert all(one is other for one, other in zip(prepared.parameters(), weights, strict=True))  # the optimizer's own


def test_a_step_needs_a_photo_for_each_process(tmp_path: Path) -> None:
    from kit.learning.datasets import BatchShard, TrainingPhotos

    project = project_at(tmp_path)
    with pytest.raises(UsageError, match="too few for 17 processes"):
        TrainingPhotos(
            tiny(),
            project.pack.train_target,
            project.folds.train_positions(0),
            project.index.train[0].boxes,
            shard=BatchShard(0, 17),
        )


def test_one_process_alone_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not started_by_torchrun()
    alone = processes_on("cpu")
    assert alone == DistributedContext(CPU) and alone.is_main_process and alone.shard.count == 1
    network = torch.nn.Linear(2, 2)
    assert alone.prepare(network) is network
    network(torch.ones(1, 2)).sum().backward()
    before = network.weight.grad.clone()
    alone.average_gradients(network.parameters())
    assert torch.equal(network.weight.grad, before)
    assert alone.from_main(0.25) == 0.25 and alone.mean(torch.ones(2)).tolist() == [1, 1]
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    assert started_by_torchrun()


@pytest.mark.parametrize(
    ("environment", "wrong"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE=abc"),
        ({"WORLD_SIZE": "2"}, "RANK is not set"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR is not set"),
        ({"WORLD_SIZE": "2", "RANK": "5", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}, "RANK=5"),
    ],
)
def test_an_environment_that_torchrun_did_not_make_is_said(
    environment: dict[str, str], wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError, match=f"{wrong}.*unset WORLD_SIZE"):
        processes_on("cpu")
