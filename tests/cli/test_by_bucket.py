"""Commands on a cluster whose machines share no folder: files go by way of a real object store, with the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import fsspec
import pytest
from core.test_jobs import is_gone, until
from support import processes
from support.object_store import SECRET
from support.ray_cluster import jobs_in
from support.trainings import flags, project_at, results

from kit.core.bucket.errand import SCRATCH

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

REGRESS = f"train regress {flags('regress')} --device cpu"


def started(root: Path, line: str, **environment: str) -> subprocess.Popen[str]:
    return processes.started(root, line, **{"OMP_NUM_THREADS": "1", **environment})


def ended(root: Path, line: str, **environment: str) -> tuple[int, str, str]:
    return processes.ended(root, line, **{"OMP_NUM_THREADS": "1", **environment})


def objects(bucket: str, folder: str) -> list[str]:
    """Names of what a bucket has there."""
    system = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    return sorted(system.find(f"{bucket}/{folder}"))


def working_children() -> dict[int, int]:
    """The children of Ray's workers that work in a workspace of their own, each with its worker."""
    return jobs_in(os.environ[SCRATCH])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy workspace with the base fill."""
    root = project_at(tmp_path_factory.mktemp("by_bucket") / "w").workspace.root
    assert ended(root, "fill mean")[0] == 0
    return root


@pytest.fixture
def root(filled: Path, tmp_path: Path) -> Path:
    """A copy of it to be written to."""
    return Path(shutil.copytree(filled, tmp_path / "w"))


def test_trainings_and_predictions_come_home_with_the_bytes_of_those_made_here(
    root: Path, tmp_path: Path, bucket: str
) -> None:
    here = Path(shutil.copytree(root, tmp_path / "here"))
    line = f"{REGRESS} --epochs 2 --fold 0,1"
    code, out, err = ended(root, f"{line} --on ray --bucket {bucket}")
    assert code == 0 and os.environ[SCRATCH] not in out + err and SECRET not in out + err, err
    assert f"in {root}/runs/regress/fold_0" in out
    assert ended(here, line)[0] == 0
    for fold in (0, 1):
        assert results(root, "regress", fold) == results(here, "regress", fold)
    assert not objects(bucket, "outputs") and objects(bucket, "inputs")

    before = (root / "predictions/regress/oof/fold_0.npy").read_bytes()
    (root / "predictions/regress/oof/fold_0.npy").write_bytes(b"damaged")
    code, out, err = ended(root, "predict regress --fold 0 --force --on ray", KIT_BUCKET=bucket)
    assert (code, out) == (0, "Predicted: regress, fold 0\n"), err
    assert (root / "predictions/regress/oof/fold_0.npy").read_bytes() == before


def test_a_killed_worker_and_a_killed_command_cost_only_what_was_not_sent(
    root: Path, tmp_path: Path, bucket: str
) -> None:
    whole = Path(shutil.copytree(root, tmp_path / "whole"))
    line = f"{REGRESS} --fold 0 --epochs 60"
    assert ended(root, f"{line} --stop-after 4s")[0] == 75  # leaves a checkpoint in its midst
    process = started(root, f"{line} --on ray --bucket {bucket}")
    for text in process.stderr:
        if "of them done" in text:
            break
    ((child, worker),) = working_children().items()
    os.kill(worker, signal.SIGKILL)
    for text in process.stderr:
        if "of them done" in text:  # elsewhere, from the checkpoint that went along
            break
    assert is_gone(child)
    until(lambda: len(objects(bucket, "outputs")) > 1)
    process.kill()
    process.wait(30)
    until(lambda: not working_children())
    code, out, err = ended(root, f"{line} --on ray --bucket {bucket}")
    assert code == 0 and out.startswith("Trained: regress, fold 0"), err
    assert ended(whole, line)[0] == 0
    assert results(root, "regress", 0) == results(whole, "regress", 0)
    assert not objects(bucket, "outputs")


def test_ctrl_c_brings_home_what_there_is(root: Path, bucket: str) -> None:
    line = f"{REGRESS} --fold 0,1 --on ray --bucket {bucket} --epochs"
    process = started(root, f"{line} 400")
    seen = 0
    for text in process.stderr:
        seen += "on cpu in float32" in text
        if seen == 2:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert not objects(bucket, "outputs") and not working_children()
    for fold in (0, 1):
        assert list((root / f"runs/regress/fold_{fold}").glob("checkpoint_*.pt"))


def test_what_force_replaces_stays_until_the_new_one_is_home(root: Path, tmp_path: Path, bucket: str) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def loss(prediction, target, weight):\n    raise ValueError('never')\n")
    line = f"{REGRESS} --fold 0 --on ray --bucket {bucket}"
    assert ended(root, f"{line} --epochs 2")[0] == 0
    before = results(root, "regress", 0)
    code, _, err = ended(root, f"{line} --epochs 2 --set loss={bad}:loss --force")
    assert code == 1 and "[regress, fold 0] Error: " in err and "ValueError: never" in err, err
    assert results(root, "regress", 0) == before
    assert ended(root, f"{line} --epochs 2 --seed 5 --force")[0] == 0
    assert results(root, "regress", 0) != before


@pytest.mark.long
def test_a_study_comes_home(root: Path, tmp_path: Path, bucket: str) -> None:
    here = Path(shutil.copytree(root, tmp_path / "here"))
    small = flags("regress").replace("--set batch_size=4", "")
    line = f"tune regress {small} --set epochs=2 --device cpu --space learning_rate=0.001:0.01 --trials 2"
    code, out, err = ended(root, f"{line} --on ray --cpus 1 --bucket {bucket}")
    assert code == 0 and "2 trials: 2 done" in out, err
    assert ended(here, line)[0] == 0
    for name in ("regress-tuned.toml", "regress-tuned/best.csv"):
        assert (root / "tuning" / name).read_bytes() == (here / "tuning" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--bucket s3://x/y", "--bucket is how jobs on a cluster get and return files: it goes with --on ray."),
        ("--on ray --bucket /shared/work", "--bucket /shared/work: an address is needed, such as s3://my-bucket/work"),
        ("--on ray --bucket file:///shared", "A folder that all machines share needs no bucket"),
        ("--on ray --bucket nosuch://x/y", "fsspec knows no nosuch:// addresses. Known ones: s3, gs, abfs."),
        (
            "--on ray --bucket s3://no-such-bucket/x",
            "s3://no-such-bucket/x is not there: The specified bucket",
        ),
    ],
)
def test_what_cannot_be_is_one_line(root: Path, words: str, said: str) -> None:
    code, _, err = ended(root, f"{REGRESS} --fold 0 {words}")
    lines = [line for line in err.splitlines() if "Ray runs" not in line]
    assert code in (1, 2) and len(lines) == 1 and said in lines[0], err
