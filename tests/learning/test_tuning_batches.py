"""Trials side by side: the same number of them finds the same in slots, on a cluster, by a bucket, and after a kill."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import optuna
import pytest
from core.test_jobs import children_of, until
from support import processes
from support.trainings import flags, project_at

from kit.core.jobs import Slot, core_shares
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.errors import TrainingError
from kit.learning.experiments import experiment
from kit.learning.tuning import space_of
from kit.learning.tuning.journal import open_journal
from kit.learning.tuning.plan import Plan
from kit.learning.tuning.study import tune
from kit.learning.tuning.trials import Outcome, outcome_of

pytestmark = pytest.mark.slow

TUNE = f"tune regress {flags('regress')} --set epochs=2 --device cpu --space learning_rate=0.001:0.01 --as mine"


def ended(root: Path, line: str) -> tuple[int, str, str]:
    return processes.ended(root, line, OMP_NUM_THREADS="1")


def found(root: Path) -> list[bytes]:
    """What a study has found: its best settings and their log, and every trial's settings, state and RMSE."""
    journal = open_journal(root / "tuning/mine/journal.log", "mine", 2)
    trials = [(one.number, one.state, one.params, one.intermediate_values) for one in journal.get_trials()]
    return [(root / "tuning" / name).read_bytes() for name in ("mine.toml", "mine/best.csv")] + [repr(trials).encode()]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy workspace with the base fill."""
    root = project_at(tmp_path_factory.mktemp("batches") / "w").workspace.root
    assert ended(root, "fill mean")[0] == 0
    return root


def copies(filled: Path, folder: Path, count: int) -> list[Path]:
    return [Path(shutil.copytree(filled, folder / str(number))) for number in range(count)]


def test_one_slot_finds_what_one_process_finds(filled: Path, tmp_path: Path) -> None:
    here, slot = copies(filled, tmp_path / "with a blank", 2)
    assert ended(here, f"{TUNE} --trials 3")[0] == 0
    code, out, err = ended(slot, f"{TUNE} --trials 3 --jobs 1")
    assert code == 0 and "3 trials: " in out, err
    words = shlex.split(out.splitlines()[-1].removeprefix("Next: "))
    assert Path(words[words.index("--config") + 1]) == slot / "tuning/mine.toml"  # also where its path has a blank
    assert "Trial 1 of 3: fold RMSE" in err and "[mine, trial 2] begins on job 1" in err
    assert found(slot) == found(here)
    assert sorted(path.name for path in (slot / "tuning/mine").iterdir()) == ["best.csv", "journal.log", "study.json"]


def test_a_batch_that_was_killed_goes_on_and_finds_the_same(filled: Path, tmp_path: Path) -> None:
    whole, killed = copies(filled, tmp_path, 2)
    line = f"{TUNE} --trials 4 --jobs 2"
    assert ended(whole, line)[0] == 0
    process = processes.started(killed, line, OMP_NUM_THREADS="1")
    until(lambda: any((killed / "tuning/mine").glob("trial_[23]/outcome.json")), 120)
    process.kill()
    process.communicate(timeout=60)
    until(lambda: not children_of(process.pid))
    code, _, err = ended(killed, line)
    assert code == 0, err
    assert found(killed) == found(whole)


@pytest.mark.long
@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_and_a_bucket_find_what_slots_find(filled: Path, tmp_path: Path, bucket: str) -> None:
    slots, cluster, apart = copies(filled, tmp_path, 3)
    line = f"{TUNE} --trials 3 --jobs 2"
    ways = {slots: "", cluster: " --on ray --cpus 1", apart: f" --on ray --cpus 1 --bucket {bucket}"}
    for root, more in ways.items():
        code, out, err = ended(root, line + more)
        assert code == 0 and "3 trials: " in out, err
    assert found(slots) == found(cluster) == found(apart)


def test_a_time_limit_leaves_the_batch_to_go_on_with(filled: Path, tmp_path: Path) -> None:
    (root,) = copies(filled, tmp_path, 1)
    code, out, err = ended(root, f"{TUNE} --trials 6 --jobs 2 --max-minutes 0.01 --set epochs=40")
    assert code == 0 and "Time is over. Run the same command again" in out, err
    assert "2 trials: 2 done" in out, out  # the first batch comes to its end


def test_trials_that_cannot_end_are_named_and_those_that_can_are_kept(filled: Path, tmp_path: Path) -> None:
    (root,) = copies(filled, tmp_path, 1)
    project = Project(Workspace(root, "toy"))
    settings = [flag for flag in flags("regress").split() if flag != "--set"]
    one = experiment("regress", [*settings, "epochs=2"])
    plan = Plan(
        "mine", one, 0, tuple(dim for dim in space_of(one, ["learning_rate=1e-3:1e-2"]) if dim.field == "learning_rate")
    )
    (root / "tuning/mine/trial_1").parent.mkdir(parents=True)
    slots = [Slot(f"job {number}", ("--device", "cpu"), core_shares(2)) for number in (1, 2)]
    blocked = root / "tuning/mine"
    with pytest.raises(TrainingError, match=r"1 of 2 trials could not come to an end: mine, trial 2\. What the others"):
        _tune_with_something_in_the_way(project, plan, slots, blocked)
    assert isinstance(outcome_of(blocked / "trial_0"), Outcome)
    (blocked / "trial_1").unlink()
    tuned = tune(project, plan, trials=2, device="cpu", where=slots)
    assert [row.state for row in tuned.trials] == ["done", "done"] and tuned.new == 2
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _tune_with_something_in_the_way(project: Project, plan: Plan, slots: list[Slot], folder: Path) -> None:
    from kit.learning.tuning import batches

    whole = batches.Batches.run

    def run(self: batches.Batches, asked: list[optuna.trial.Trial], deadline: float | None) -> dict[int, Outcome]:
        (folder / "trial_1").write_text("in the way")
        return whole(self, asked, deadline)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches.Batches, "run", run)
        tune(project, plan, trials=2, device="cpu", where=slots)
