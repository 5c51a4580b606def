"""A model of one's own from its file to a blend, as it is typed: trained, killed, predicted when the file is gone."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command import kit, ok
from support.own_models import UNET, forget, net, own_child, written
from support.toy import SLUG, make_toy_workspace
from support.trainings import finish, project_at, results

from kit.bundling.contents import contents_of
from kit.core.workspace import Workspace
from kit.data.prediction_store import SPLITS
from kit.data.project import Project
from kit.imaging.images import save_image
from kit.learning.experiments import experiment, read_config, stored_experiment
from kit.learning.experiments.code import called
from kit.learning.models import build_generator
from kit.learning.trainings import Training, Trainings

SETTINGS = ["size=32", "epochs=2", "batch_size=4", "base=mean", "depth=1"]
FLAGS = " ".join(f"--set {setting}" for setting in SETTINGS)


@pytest.fixture(autouse=True)
def _a_new_process() -> Iterator[None]:
    """Each test begins without what others read."""
    forget()
    yield
    forget()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A U-Net of a file that is gone now, trained on two folds; not to be written to."""
    folder = tmp_path_factory.mktemp("own")
    project = Project(make_toy_workspace(folder / "w", photos=16, test=4, k=2).workspace)
    mine = written(folder / "mine.py")
    done = kit(f"-w {folder / 'w'} train {mine}:Net --fold all {FLAGS} --set loss={mine}:small_loss")
    assert done.code == 0 and done.out.count("Trained: net, fold") == 2, done.err
    assert "Running code" not in done.err  # it was named on the command line
    mine.unlink()
    return project


def predictions_of(project: Project) -> dict[str, bytes]:
    return {
        path.relative_to(project.workspace.root).as_posix(): path.read_bytes()
        for split in SPLITS
        for path in sorted(project.workspace.source("net", split).glob("*.npy"))
    }


def test_a_model_of_ones_own_is_blended_and_predicts_when_its_file_is_gone(copied: Project, tmp_path: Path) -> None:
    root = copied.workspace.root
    assert "net" in ok(f"-w {root} blend net mean --rung mean --name both --plots none")
    before = predictions_of(copied)
    assert len(before) == 4
    shutil.rmtree(root / "predictions" / "net")
    for fold in (0, 1):
        done = kit(f"-w {root} predict net --fold {fold}")
        assert done.code == 0
        assert done.err.count("Running code that a run carries, not a file you named: ") == 1 - fold  # once a process
    assert predictions_of(copied) == before
    carried = [path.as_posix() for path in contents_of(copied, "both").files if path.suffix == ".py"]
    assert carried == [f"runs/net/fold_{fold}/model.py" for fold in (0, 1)]  # a loss predicts nothing
    for folder in ("photos", "masks"):
        picture = copied.pack.train_target[0]
        save_image(tmp_path / folder / "a.png", picture if folder == "photos" else (picture * 0 + 255) * (picture > 99))
    forget()
    ok(f"-w {root} predict net --images {tmp_path / 'photos'} --masks {tmp_path / 'masks'} --out {tmp_path / 'filled'}")
    assert len(list((tmp_path / "filled").iterdir())) == 1
    forget()
    ok(f"-w {root} predict both --input {copied.workspace.raw} --out {tmp_path / 'submission.csv'}")
    assert (tmp_path / "submission.csv").is_file()


def test_a_model_whose_file_is_gone_is_trained_under_another_name(copied: Project) -> None:
    root = copied.workspace.root
    assert "Trained: net1, fold 0" in ok(f"-w {root} train net --as net1 --fold 0 --set epochs=1 --set depth=2")
    before, after = (stored_experiment(copied.workspace, name) for name in ("net", "net1"))
    assert before is not None and after is not None
    assert (after.model, after.model_arguments, after.epochs) == (before.model, "none", 1)
    assert (root / "runs" / "net1" / "fold_0" / "model.py").read_text() == UNET


def test_a_changed_copy_is_found_and_not_run(copied: Project) -> None:
    root = copied.workspace.root
    copy = root / "runs" / "net" / "fold_0" / "model.py"
    assert kit(f"-w {root} verify").code == 0
    copy.write_text("raise SystemError('this must not run')\n")
    done = kit(f"-w {root} predict net --fold 0 --force")
    assert done.is_one_error_line and f"{copy} is not as it was trained" in done.err and done.code == 1
    done = kit(f"-w {root} verify")
    assert done.code == 1 and f"{copy} is not as it was trained" in done.out + done.err
    forget()
    assert "There already" in ok(f"-w {root} train net --fold 0")  # from the copy in the other fold
    assert copy.read_text() == UNET and kit(f"-w {root} verify").code == 0


def test_a_changed_file_is_another_model_and_force_replaces(copied: Project, tmp_path: Path) -> None:
    root, mine = copied.workspace.root, tmp_path / "mine.py"
    loss = f"--set loss={mine}:small_loss"
    written(mine)
    assert ok(f"-w {root} train {mine}:Net --fold 0,1 {FLAGS} {loss}").count("There already") == 2
    written(mine, UNET.replace("slope=0.5", "slope=0.25"))
    for fold in (0, 1):
        done = kit(f"-w {root} train {mine}:Net --fold {fold} {FLAGS} {loss}")
        assert done.is_one_error_line and done.code == 1
        assert "other model (its file), loss (its file). Go on with its own: kit train net --fold K" in done.err
    before, shorter = predictions_of(copied), FLAGS.replace("epochs=2", "epochs=1")
    assert ok(f"-w {root} train {mine}:Net --fold all --force {shorter} {loss}").count("Trained") == 2
    after = predictions_of(copied)
    assert after.keys() == before.keys() and all(after[name] != before[name] for name in before)
    stored = stored_experiment(copied.workspace, "net")
    assert stored is not None and stored.epochs == 1


def test_a_whole_experiment_goes_on_from_its_run(tmp_path: Path) -> None:
    project = project_at(tmp_path / "w")
    root, mine = project.workspace.root, written(tmp_path / "mine.py")
    small = "--set batch_size=4 --set base=mean --set box_copies=1"
    done = kit(f"-w {root} train {mine}:experiment --fold 0 {small}")
    assert done.code == 0 and "Trained: mine, fold 0" in done.out, done.err
    done = kit(f"-w {root} train {mine}:experiment --fold 0")
    assert (
        "There already: mine" in done.out
        and "mine goes on with the settings it has: base=mean batch_size=4 box_copies=1" in done.err
    )
    mine.unlink()
    forget()
    assert "Trained: mine, fold full" in ok(f"-w {root} train mine --fold full")
    assert (project.workspace.run("mine", "full") / "loss.py").is_file()
    done = kit(f"-w {root} train {mine}:experiment --fold 1")
    assert done.is_one_error_line and "mine.py cannot be read" in done.err


def test_a_killed_training_ends_with_the_same_bytes_without_its_file(forks: Any, tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.py")
    roots = [tmp_path / name for name in ("whole", "killed")]
    for root in roots:
        make_toy_workspace(root, photos=24, test=4)
    settings = [*SETTINGS, "epochs=3"]

    def begin(root: Path, moment: str | None) -> int:
        process = forks.Process(target=own_child, args=(str(root), str(mine), settings, moment))
        process.start()
        return finish(process)

    assert begin(roots[0], None) == 0
    assert begin(roots[1], "in the middle of an epoch") == -signal.SIGKILL
    mine.unlink()
    assert begin(roots[1], "after the weights, before run.json") == -signal.SIGKILL
    assert begin(roots[1], None) == 0
    assert results(roots[1], "net") == results(roots[0], "net")
    assert stored_experiment(Workspace(roots[1], SLUG), "net") == stored_experiment(Workspace(roots[0], SLUG), "net")


def test_a_process_of_the_queue_gets_a_copy_that_nothing_moves_away(copied: Project, tmp_path: Path) -> None:
    one = stored_experiment(copied.workspace, "net")
    assert one is not None
    words = Trainings(copied, [Training(one, 0)], forced=True).words_of(Training(one, 0), tmp_path, [])
    shutil.rmtree(copied.workspace.runs / "net")  # as --force moves what it replaces
    forget()
    config = read_config(Path(words[words.index("--config") + 1]))
    assert experiment(str(config.experiment), rename=config.name, config=config.settings) == one
    assert build_generator(one) and str(tmp_path) in called(one.model)


# --- mistakes leave nothing behind

MISTAKES = {
    "forward": (net("return self.c(x[:, :5])"), "", "mine.py:9: Net on (2, 6, 32, 32) fails"),
    "shape": (net("return self.c(x)[:, :2]"), "", "and (2, 3, 32, 32) is needed"),
    "backward": (net("y = self.c(x); z = y * y; y.zero_(); return z"), "", "the backward pass of Net fails"),
    "size": (net("assert x.shape[2] == 64; return self.c(x)"), "", "--set size=32|64|128|256"),
    "import": ("import torch\n1 / 0\n", "", "mine.py:2: running the file fails: ZeroDivisionError"),
    "setting": (net(), "--set blocks=3", "Net takes no argument of that name"),
    "later": (
        net("if self.training and x.shape[0] > 2: raise OSError('no')\n        return self.c(x)"),
        "",
        "mine.py:9: Net on (4, 6, 32, 32) fails: OSError: no",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_model_that_cannot_be_is_one_line_and_leaves_no_source(mistake: str, small_toy: Path, tmp_path: Path) -> None:
    text, flags, said = MISTAKES[mistake]
    mine = written(tmp_path / "mine.py", text)
    small = "--set size=32 --set batch_size=4 --set base=mean --epochs 1"
    done = kit(f"-w {small_toy} train {mine}:Net --fold 0 {small} {flags}")
    line = done.err.splitlines()[-1]
    assert done.code in (1, 2) and line.startswith("Error: ") and said in line and "Traceback" not in done.err
    assert done.is_one_error_line or mistake == "later"
    assert not (small_toy / "runs").exists() or not list((small_toy / "runs").iterdir())
    assert not (small_toy / "predictions" / "net").exists()


@pytest.fixture(scope="module")
def small_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which nothing is trained."""
    return project_at(tmp_path_factory.mktemp("toy")).workspace.root


def test_new_writes_a_file_once_that_is_checked_and_trained(
    small_toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Written: mine.py" in ok("new model mine")
    written_once = (tmp_path / "mine.py").read_bytes()
    done = kit("new model mine.py")
    assert done.is_one_error_line and done.code == 2 and "not overwritten" in done.err
    assert (tmp_path / "mine.py").read_bytes() == written_once
    assert kit("new model nowhere/mine").is_one_error_line
    tiny = "--set width=4 --set depth=1 --set size=32"
    said = ok(f"check-model mine.py:Net {tiny}")
    assert said.count("ok  ") == 8 and said.endswith("mine.py:Net is fit. Train it: kit train mine.py:Net --fold 0\n")
    done = kit(f"-w {small_toy} train mine.py:Net --try {tiny} --set batch_size=4 --set base=mean")
    assert done.code == 0 and "Tried: net, fold 0" in done.out
    assert not list((small_toy / "runs").glob("net"))


def test_a_model_that_is_not_fit_ends_the_check_with_one_line_and_code_one(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.py", net("return self.c(x).detach()"))
    done = kit(f"check-model {mine}:Net --set size=32")
    assert done.code == 1 and done.is_one_error_line and f"{mine}: Net" in done.err
    assert done.out.startswith("ok  builds: 21 parameters\nok  shapes: right at 32 and 64, 128\n")
    done = kit("check-model regress")
    assert done.code == 2 and done.is_one_error_line
    done = kit(f"check-model {mine}:Nett")
    assert done.code == 1 and "Did you mean mine.py:Net?" in done.err
