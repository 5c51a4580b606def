"""Commands with `--on ray` on a real cluster of two machines: the same bytes as here, and whatever is lost goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from core.test_jobs import is_gone, until
from support import processes
from support.ray_cluster import jobs_in
from support.trainings import flags, project_at, results

import kit

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

REGRESS = f"train regress {flags('regress')} --device cpu"
SECRET = "a-key-that-nobody-may-read"


def started(root: Path, line: str, **environment: str) -> subprocess.Popen[str]:
    """`kit -w ROOT LINE` as a process, with one thread as the cluster's."""
    return processes.started(root, line, **{"OMP_NUM_THREADS": "1", **environment})


def ended(root: Path, line: str, **environment: str) -> tuple[int, str, str]:
    """Run it to its end: exit code and both streams."""
    return processes.ended(root, line, **{"OMP_NUM_THREADS": "1", **environment})


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy workspace with the base fill."""
    root = project_at(tmp_path_factory.mktemp("on_ray") / "w").workspace.root
    assert ended(root, "fill mean")[0] == 0
    return root


@pytest.fixture
def root(filled: Path, tmp_path: Path) -> Path:
    """A copy of it to be written to."""
    return Path(shutil.copytree(filled, tmp_path / "w"))


def test_a_grid_ends_with_the_bytes_of_one_that_is_trained_here_and_a_failure_stops_no_other(
    root: Path, tmp_path: Path
) -> None:
    here = Path(shutil.copytree(root, tmp_path / "here"))
    (root / "runs" / "regress").mkdir(parents=True)
    (root / "runs" / "regress" / "fold_1").write_text("in the way")
    line = f"{REGRESS} --epochs 2"
    code, out, err = ended(root, f"{line} --fold 0,1,2 --on ray", KAGGLE_KEY=SECRET)
    assert code == 1 and "Error: 1 of 3 trainings failed: regress, fold 1." in err.splitlines()[-1], err
    trained = sorted(text.split(": fold RMSE")[0] for text in out.splitlines())
    assert trained == ["Trained: regress, fold 0", "Trained: regress, fold 2"]
    assert err.count(" begins on ") == 3 and SECRET not in out + err and "raylet" not in out + err
    code, out, err = ended(root, "predict regress --fold 0 --on ray --force")
    assert (code, out) == (0, "Predicted: regress, fold 0\n"), err
    assert ended(here, f"{line} --fold 0,2")[0] == 0
    for fold in (0, 2):
        assert results(root, "regress", fold) == results(here, "regress", fold)


def test_a_training_whose_worker_is_killed_goes_on_from_its_checkpoint_to_the_same_bytes(
    root: Path, tmp_path: Path
) -> None:
    whole = Path(shutil.copytree(root, tmp_path / "whole"))
    line = f"{REGRESS} --fold 0 --epochs 40"
    assert ended(root, f"{line} --stop-after 4s")[0] == 75  # leaves a checkpoint in its midst
    process = started(root, f"{line} --on ray")
    for text in process.stderr:
        if "of them done" in text:
            break
    ((child, worker),) = jobs_in(root).items()
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and out.startswith("Trained: regress, fold 0"), err
    assert "its worker on " in err and "was lost; goes on on " in err and "of them done" in err
    assert is_gone(child) and ended(whole, line)[0] == 0
    assert results(root, "regress", 0) == results(whole, "regress", 0)


@pytest.mark.long
def test_what_force_replaces_is_replaced_once_though_a_worker_is_killed(root: Path) -> None:
    line = f"{REGRESS} --fold 0 --epochs 2"
    assert ended(root, line)[0] == 0
    before = results(root, "regress", 0)
    process = started(root, f"{line} --seed 5 --force --on ray")
    folder = root / "runs" / "regress"
    until(lambda: (folder / "fold_0" / "experiment.json").is_file() and not (folder / "fold_0" / "run.json").is_file())
    ((_, worker),) = jobs_in(root).items()
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and out.startswith("Trained: regress, fold 0"), err
    assert results(root, "regress", 0) != before


def test_ctrl_c_ends_the_children_and_the_same_command_goes_on(root: Path) -> None:
    line = f"{REGRESS} --fold 0,1 --epochs 80 --on ray"
    process = started(root, line)
    seen = 0
    for text in process.stderr:
        seen += "on cpu in float32" in text
        if seen == 2:
            break
    children = jobs_in(root)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("Stopped. Run the same command again")
    assert len(children) == 2 and all(is_gone(child) for child in children) and time.monotonic() - began < 20
    assert not list(root.rglob("run.json"))
    code, out, err = ended(root, line)
    assert code == 0 and out.count("Trained: regress") == 2 and err.count("of them done") == 2, err


@pytest.mark.long
def test_python_trains_on_the_cluster_too(root: Path) -> None:
    settings = dict(setting.split("=", 1) for setting in flags("regress").replace("--set ", "").split())
    kinds = {name: int(value) if value.isdecimal() else value for name, value in settings.items()}
    kinds["decoder_channels"] = (16, 16, 16)
    trained = kit.open(root).train("regress", [0, 1], device="cpu", on="ray", cpus=1, epochs=2, **kinds)
    assert [(one.fold, one.already) for one in trained] == [(0, False), (1, False)]


@pytest.mark.long
def test_a_study_on_the_cluster_finds_what_it_would_find_here(root: Path, tmp_path: Path) -> None:
    here = Path(shutil.copytree(root, tmp_path / "here"))
    small = flags("regress").replace("--set batch_size=4", "")
    line = f"tune regress {small} --set epochs=2 --device cpu --space learning_rate=0.001:0.01 --trials 2"
    code, out, err = ended(root, f"{line} --on ray --cpus 1")
    assert (
        code == 0
        and "2 trials: 2 done" in out
        and "[regress-tuned, trial 2] begins on" in err
        and "Trial 2 of 2: " in err
    )
    assert ended(here, line)[0] == 0
    for name in ("regress-tuned.toml", "regress-tuned/best.csv"):
        assert (root / "tuning" / name).read_bytes() == (here / "tuning" / name).read_bytes()


def test_fills_have_the_same_bytes_from_one_two_and_four_workers_and_from_here(root: Path, tmp_path: Path) -> None:
    ways = ["", "--on ray --jobs 1", "--on ray --jobs 2", "--on ray --jobs 4"]
    roots = [root, *(Path(shutil.copytree(root, tmp_path / str(number))) for number in (1, 2, 4))]
    for where, more in zip(roots, ways, strict=True):
        code, out, err = ended(where, f"fill harmonic telea {more}")
        assert code == 0 and out.startswith("Filled: harmonic\nFilled: telea"), err
    for path in sorted((root / "predictions").rglob("all.npy")):
        assert len({(other / path.relative_to(root)).read_bytes() for other in roots}) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--on slurm", "There is no place to run jobs on 'slurm'. Known: ray."),
        ("--on ray --gpus all", "--gpus all: with --on ray it is how many GPUs each job has"),
        ("--on ray --gpus 1 --device cpu", "--device cpu and --gpus 1 contradict each other"),
        ("--cpus 2", "--cpus are those of each job on a cluster"),
        ("--on ray --try", "leave out --on"),
        ("--on ray --gpus 1.5", "--gpus 1.5: with --on ray it is how many GPUs each job has"),
    ],
)
def test_what_cannot_be_is_told_before_anything_begins(root: Path, words: str, said: str) -> None:
    code, _, err = ended(root, f"train regress --fold 0 {flags('regress')} {words}")
    assert code == 2 and said in err and err.count("\n") == 1


def test_a_cluster_that_does_not_answer_is_one_line(root: Path) -> None:
    code, _, err = ended(root, "fill telea --on ray", RAY_ADDRESS="127.0.0.1:9")
    assert (
        code == 1 and err.startswith("Error: Ray cannot be reached at RAY_ADDRESS=127.0.0.1:9") and err.count("\n") == 1
    )


def test_without_a_cluster_ray_runs_on_this_machine_alone(root: Path) -> None:
    code, out, err = ended(root, "fill telea --on ray", RAY_ADDRESS="")
    assert code == 0 and out.startswith("Filled: telea") and err.startswith("Ray runs on this machine alone")
    code, out, err = ended(root, "fill telea --on ray", RAY_ADDRESS="127.0.0.1:9")  # nothing is left to be asked for
    assert code == 0 and out.startswith("There already: telea") and not err
