"""Commands as real processes: stopped by the time, by Ctrl-C and SIGTERM, in two shells at once and in a queue."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from support.processes import ended, started
from support.toy import SLUG
from support.trainings import flags, project_at, results

from kit.core.storage import held
from kit.core.workspace import Workspace
from kit.errors import Busy, KitError, NotFinished, QuotaReached, RemoteUnavailable, UsageError

REGRESS = f"{flags('regress')} --epochs 2 --device cpu"
LONG_AGO = {"KIT_STOP_AT": "2020-01-01T00:00"}  # each process stops after the first unit of its work


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy workspace with the base fill."""
    root = project_at(tmp_path_factory.mktemp("stopping") / "w").workspace.root
    assert ended(root, "fill mean")[0] == 0
    return root


@pytest.fixture
def root(filled: Path, tmp_path: Path) -> Path:
    """A copy of it to be written to."""
    return Path(shutil.copytree(filled, tmp_path / "w"))


@pytest.mark.slow
def test_a_training_that_stops_twice_ends_with_the_bytes_of_one_that_never_did(root: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(root, tmp_path / "whole"))
    line = f"train regress --fold 0,1 {REGRESS}"
    code, out, err = ended(root, f"--stop-after 2020-01-01T00:00 {line}")
    last = err.splitlines()[-1]
    assert (code, out) == (75, "") and last.startswith("Not finished in time: training regress, fold 0: 1 of 8 steps")
    assert "not begun: regress, fold 1. Go on: kit -w " in last and last.endswith(line)
    code, _, err = ended(root, line, **LONG_AGO)
    assert code == 75 and "training regress, fold 0: 2 of 8 steps" in err
    assert ended(root, line)[0] == ended(whole, line)[0] == 0
    for fold in (0, 1):
        assert results(root, "regress", fold) == results(whole, "regress", fold)
    code, out, err = ended(root, line, **LONG_AGO)
    assert (code, err) == (0, "") and out.count("There already") == 2  # nothing was left


@pytest.mark.long
@pytest.mark.slow
def test_what_force_has_begun_goes_on_by_the_command_that_is_said(root: Path) -> None:
    line = f"train regress --fold 0,1 {REGRESS}"
    assert ended(root, line)[0] == 0
    before = results(root, "regress", 1)
    code, _, err = ended(root, f"{line} --seed 5 --force", **LONG_AGO)
    again = err.splitlines()[-1].rpartition("Go on: ")[2].split()
    assert code == 75 and again[-3:] == ["--force", "--begun", "regress:0"]
    code, _, err = ended(root, " ".join(again[3:]), **LONG_AGO)
    assert code == 75 and "fold 0: 2 of 8 steps" in err and results(root, "regress", 1) == before
    code, out, err = ended(root, " ".join(again[3:]))
    assert code == 0 and out.count("Trained: regress") == 2, err
    assert results(root, "regress", 1) != before


def test_a_fill_stops_between_photos_and_says_which_fills_are_left(root: Path) -> None:
    code, out, err = ended(root, "fill telea mean harmonic --force", **LONG_AGO)
    left = "Not finished in time: Filling telea (oof): 1 of 24 photos; not begun: mean, harmonic. Go on: kit -w"
    assert (code, out) == (75, "") and err.startswith(left) and err.count("\n") == 1
    assert err.endswith("fill telea mean harmonic --force\n")


def test_a_time_that_is_none_is_wrong_usage(root: Path) -> None:
    for line, environment in (("sources --stop-after soon", {}), ("sources", {"KIT_STOP_AT": "soon"})):
        code, _, err = ended(root, line, **environment)
        assert code == 2 and err.count("\n") == 1 and "'soon' is no time to stop" in err


def test_exit_codes_tell_what_can_be_done_about_it(root: Path) -> None:
    kinds = {KitError: 1, UsageError: 2, RemoteUnavailable: 75, QuotaReached: 75, Busy: 75, NotFinished: 75}
    assert {kind: kind.exit_code for kind in kinds} == kinds
    assert ended(root, "fill nonsense")[0] == 2 and ended(root / "nowhere", "sources")[0] == 1
    assert ended(root, "--help")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_in_one_line_and_its_own_code(root: Path, number: signal.Signals, code: int) -> None:
    process = started(root, f"train regress --fold 0 {REGRESS} --set epochs=500 --as long".replace("--epochs 2", ""))
    for line in process.stderr:
        if line.startswith("long, fold 0 on cpu"):
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code and err == "Stopped. Run the same command again to go on where it was.\n"


@pytest.mark.slow
def test_a_fold_that_another_process_trains_is_passed_over_and_named(root: Path) -> None:
    line = f"train regress --fold 0,1 {REGRESS}"
    with held(Workspace(root, SLUG).run("regress", 0), "Fold 0 of regress is being trained"):
        code, out, err = ended(root, line)
        lines = [text for text in err.splitlines() if "being trained" in text or text.startswith("Error")]
        assert code == 75 and out.startswith("Trained: regress, fold 1") and len(lines) == 2
        assert lines[0].startswith(f"Fold 0 of regress is being trained by another process ({os.getpid()}, since ")
        assert lines[1] == "Error: All is done but what other processes are still training: regress, fold 0."
        copy = root.with_name("copy")
        shutil.copytree(root, copy)
        assert ended(copy, line)[0] == 0  # a copy is another workspace
    assert ended(root, line)[0] == 0


@pytest.mark.slow
def test_a_killed_process_leaves_no_lock(root: Path) -> None:
    line = f"train regress --fold 0 {REGRESS}"
    process = started(root, line)
    for text in process.stderr:
        if "on cpu in float32" in text:
            break
    process.kill()
    process.communicate()
    assert ended(root, line)[0] == 0


@pytest.mark.slow
def test_a_queue_trains_each_once_and_to_the_same_bytes(root: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(root, tmp_path / "alone"))
    line = f"train regress --fold 0,1,2 {REGRESS} --set l1_weight=0.25 --as mine"
    threads = {"OMP_NUM_THREADS": "1"}
    code, out, err = ended(root, f"{line} --jobs 2", **threads)
    assert code == 0, err
    *trained, following = out.splitlines()
    assert following.startswith("Next: kit ") and following.endswith(" blend")
    assert sorted(text.split(": fold RMSE")[0] for text in trained) == [
        f"Trained: mine, fold {fold}" for fold in range(3)
    ]
    assert err.count("begins on job") == 3 and all(text.startswith("[mine, fold ") for text in err.splitlines())
    assert ended(alone, line, **threads)[0] == 0
    assert [results(root, "mine", fold) for fold in range(3)] == [results(alone, "mine", fold) for fold in range(3)]
    code, out, err = ended(root, f"{line} --jobs 2")
    assert (code, err) == (0, "") and out.count("There already: mine") == 3


@pytest.mark.slow
def test_a_queue_goes_on_where_a_failure_and_the_time_have_stopped_it(root: Path) -> None:
    line = f"train regress partialconv --fold 0 {flags('regress', 'partialconv')} --epochs 2 --jobs 2 --device cpu"
    code, out, err = ended(root, line, **LONG_AGO)
    assert (code, out) == (75, "") and err.splitlines()[-1].startswith("Not finished in time: 0 of 2 trainings done")
    (root / "runs").mkdir(exist_ok=True)
    (root / "runs" / "partialconv").write_text("in the way")
    code, out, err = ended(root, line)
    assert code == 1 and out.startswith("Trained: regress, fold 0") and out.count("\n") == 1
    assert "Error: 1 of 2 trainings failed: partialconv, fold 0." in err.splitlines()[-1]
    assert any(text.startswith("[partialconv, fold 0] Error: ") for text in err.splitlines())


@pytest.mark.slow
def test_ctrl_c_leaves_a_queue_that_goes_on(root: Path) -> None:
    line = f"train regress --fold 0,1 {flags('regress')} --device cpu --jobs 2 --epochs "
    process = started(root, f"{line} 300")
    seen = 0
    for text in process.stderr:
        seen += "on cpu in float32" in text
        if seen == 2:
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err.splitlines()[-1].startswith("Stopped. Run the same command again")
    assert not list(root.rglob("run.json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--gpus 7", "--gpus 7: numbers of GPUs, or all, are needed"),
        ("--gpus one", "--gpus one: numbers of GPUs"),
        ("--gpus 0 --device cpu", "contradict each other"),
        ("--begun other:1 --force", "--begun other:1: that is none of this command's trainings"),
    ],
)
def test_slots_that_cannot_be_are_told(root: Path, words: str, said: str) -> None:
    code, _, err = ended(root, f"train regress --fold 0 {flags('regress')} {words}")
    assert code == 2 and said in err and err.count("\n") == 1


@pytest.mark.slow
def test_processes_fill_to_the_same_bytes(root: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(root, tmp_path / "other"))
    assert ended(root, "fill harmonic")[0] == ended(other, "fill harmonic --jobs 2")[0] == 0
    for split in ("oof", "test"):
        paths = [where / "predictions" / "harmonic" / split / "all.npy" for where in (root, other)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.long
@pytest.mark.slow
def test_a_study_that_stops_goes_on_in_the_middle_of_its_trial(root: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(root, tmp_path / "whole"))
    line = f"tune regress {REGRESS.replace('--epochs 2', '--set epochs=2')} --space learning_rate=0.001:0.01 --trials 2"
    code, _, err = ended(root, line, **LONG_AGO)
    assert code == 75 and "training regress-tuned-0, fold 0: 1 of 8 steps" in err.splitlines()[-1]
    assert ended(root, line)[0] == ended(whole, line)[0] == 0
    for name in ("regress-tuned.toml", "regress-tuned/best.csv"):
        assert (root / "tuning" / name).read_bytes() == (whole / "tuning" / name).read_bytes()
