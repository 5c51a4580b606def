"""`kit train` and `kit predict` as they are typed: what is listed, skipped, said, and never imported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command import kit, ok
from support.trainings import events_of, flags, log_of, project_at

from kit.data.project import Project
from kit.learning.experiments import EXPERIMENTS, stored_experiment

NAMES = ["regress", "partialconv"]


FLAGS, REGRESS, PARTIALCONV = flags(*NAMES), flags("regress"), flags("partialconv")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two experiments, each trained on two folds by one command; not to be written to."""
    project = project_at(tmp_path_factory.mktemp("trained") / "w")
    said = ok(f"-w {project.workspace.root} train {' '.join(NAMES)} --fold 0 --fold 2 {FLAGS} --epochs 1")
    *lines, following = said.splitlines()
    assert following == f"Next: kit train {NAMES[0]} --fold 1"
    assert [line[: line.index(": fold RMSE 0.")] for line in lines] == [
        f"Trained: {name}, fold {fold}" for fold in (0, 2) for name in NAMES
    ]
    assert all(" after 1 epoch, " in line for line in lines)
    return project


def test_the_list_names_every_experiment_with_its_summary_and_every_setting() -> None:
    done = kit("train --list")
    assert done.code == 0 and done.err == ""
    for name, function in EXPERIMENTS.items():
        assert f"\n{name}: {(function.__doc__ or '').splitlines()[0]}\n" in "\n" + done.out
    for setting in ("architecture", "patience", "accumulate", "encoder_rate", "test_photos", "seed"):
        assert f"\n  {setting}=" in done.out
    assert len(EXPERIMENTS) >= 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--lr 1e-3", "--lr is a setting: --set learning_rate=1e-3"),
        ("--batch-size=8", "--batch-size is a setting: --set batch_size=8"),
        ("--frobnicate", "Settings are given by --set field=value"),
        ("1 2", "Several folds: --fold 0,1,2"),
    ],
)
def test_what_people_type_is_answered_with_what_works(words: str, said: str) -> None:
    done = kit(f"train regress --fold 0 {words}")
    assert done.is_one_error_line and said in done.err


def test_a_setting_by_its_old_name_works_and_says_its_new_one(trained: Project) -> None:
    done = kit(f"-w {trained.workspace.root} train regress --fold 0,2 {REGRESS} --epochs 1 --set clip=1.0")
    assert done.out.count("There already: regress") == 2
    assert done.err == "--set clip=1.0 is now --set gradient_clip=1.0\n"


def test_a_conflict_is_told_without_torch(trained: Project) -> None:
    line = f"-w {trained.workspace.root} train partialconv --fold all {PARTIALCONV} --epochs 2"
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.command import kit
done = kit({line!r})
assert done.is_one_error_line and "was trained with other epochs" in done.err, done
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_finished_folds_are_told_without_torch(trained: Project) -> None:
    line = f"-w {trained.workspace.root} train {' '.join(NAMES)} --fold 0 --fold 2 {FLAGS} --epochs 1"
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.command import kit
done = kit({line!r})
print(done.out, end="")
assert done.code == 0 and not done.err, done
heavy = ("torch", "timm", "accelerate", "kit.learning.training", "kit.learning.training.fit")
loaded = [name for name in heavy if name in sys.modules]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *lines, following = done.stdout.splitlines()
    assert following == "Next: kit train regress --fold 1"
    assert len(lines) == 4 and all(line.startswith("There already: ") for line in lines)
    found = json.loads((trained.workspace.run("regress", 2) / "run.json").read_text())
    folder = trained.workspace.run("regress", 2)
    assert lines[2] == (
        f"There already: regress, fold 2: fold RMSE {found['fold_rmse']:.4f} (mean alone {found['fill_rmse']:.4f}) "
        f"after 1 epoch, "
        f"{found['seconds']:.0f} s, in {folder}"
    )


def test_what_is_left_is_trained_and_what_is_there_is_not(copied: Project) -> None:
    *lines, following = ok(
        f"-w {copied.workspace.root} train partialconv --fold all {PARTIALCONV} --epochs 1"
    ).splitlines()
    assert following == "Next: kit blend"
    assert [line.split(": ")[0] for line in lines] == ["There already", "Trained", "There already"]
    assert ok(f"-w {copied.workspace.root} predict partialconv").count("There already: partialconv, fold") == 3
    said = ok(f"-w {copied.workspace.root} predict partialconv --fold 1 --force")
    assert said == "Predicted: partialconv, fold 1\n"


def test_epochs_and_seed_are_settings_like_others(copied: Project) -> None:
    ok(f"-w {copied.workspace.root} train partialconv --fold 0 {PARTIALCONV} --epochs 2 --seed 7 --as mine")
    mine = stored_experiment(copied.workspace, "mine")
    assert mine is not None and (mine.epochs, mine.seed) == (2, 7)
    assert len(log_of(copied.workspace.run("mine", 0))) == 2
    *again, following = ok(f"-w {copied.workspace.root} train mine --fold 0 --fold 1").splitlines()  # with its settings
    assert following == "Next: kit train mine --fold 2"
    assert [line.split(", fold RMSE")[0][:13] for line in again] == ["There already", "Trained: mine"]
    assert " after 2 epochs, " in again[1]


def test_training_on_test_photos_is_said_on_standard_error(copied: Project) -> None:
    line = f"-w {copied.workspace.root} train regress --fold 0 {REGRESS} --epochs 1 --set test_photos=true --as both"
    said = "Training also on the known parts of the test photos (test_photos=true)."
    done = kit(line)
    assert done.code == 0 and done.err.splitlines()[0] == said and done.out.startswith("Trained: both, fold 0")
    assert kit(line).err == ""  # nothing is trained
    assert "test photos" not in kit(f"-w {copied.workspace.root} train regress --fold 0 {REGRESS} --epochs 1").err


def test_a_training_that_makes_it_worse_is_said(copied: Project) -> None:
    line = f"-w {copied.workspace.root} train regress --fold 0 {REGRESS} --epochs 1 --set learning_rate=0.5 --as hot"
    done = kit(line)
    assert done.code == 0 and "(mean alone 0." in done.out
    assert "\nWarning: hot is worse than mean alone, over which it learns" in done.err and "now 0.5" in done.err
    assert kit(line).err == ""


def test_one_of_several_processes_speaks(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"-w {copied.workspace.root} train regress --fold 0 {REGRESS} --epochs 1"
    monkeypatch.setenv("RANK", "0")
    assert ok(line).startswith("There already")
    monkeypatch.setenv("RANK", "1")
    assert ok(line) == ""


def test_tensorboard_is_written_when_asked_for(copied: Project) -> None:
    line = f"-w {copied.workspace.root} train partialconv --fold 0 {PARTIALCONV} --epochs 2"
    done = kit(f"{line} --as shown --tensorboard")
    assert done.code == 0
    folder = copied.workspace.run("shown", 0)
    assert events_of(folder)["mse"].keys() == {4, 8}
    assert not (copied.workspace.run("partialconv", 0) / "tensorboard").exists()


def test_tensorboard_that_is_not_installed_is_one_line(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for words in ("--tensorboard", "--log tensorboard", "--log Tensorboard,trackio"):
        done = kit(f"-w {copied.workspace.root} train partialconv --fold 1 {PARTIALCONV} --epochs 1 {words}")
        assert done.is_one_error_line and "Run: pip install tensorboard" in done.err


def test_a_compiler_that_does_not_work_is_a_warning(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def broken(_: object) -> object:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", broken)
    done = kit(f"-w {copied.workspace.root} train partialconv --fold 1 {PARTIALCONV} --epochs 1 --compile")
    assert done.code == 0 and done.out.startswith("Trained: partialconv, fold 1")
    said = "Warning: torch.compile does not work here (no compiler here); going on without it."
    assert done.err.splitlines()[0] == said


@pytest.mark.slow
def test_weights_of_another_encoder_file_are_refused_in_one_line(copied: Project, tmp_path: Path) -> None:
    import timm
    import torch

    path = tmp_path / "weights.pth"
    line = (
        f"-w {copied.workspace.root} train regress --fold 0 {REGRESS} --epochs 1 --as mine --set encoder_weights={path}"
    )
    for number in range(2):
        torch.save(timm.create_model("test_efficientnet").state_dict(), path)
        done = kit(line)
        if number:
            assert done.is_one_error_line and "holds a training with other encoder weights" in done.err, done
        else:
            assert done.code == 0, done
            assert ok(line).startswith("There already: mine, fold 0")
    path.unlink()
    assert ok(line).startswith("There already: mine, fold 0")
    assert ok(f"-w {copied.workspace.root} predict mine --fold 0 --force") == "Predicted: mine, fold 0\n"


@pytest.mark.slow
def test_a_source_goes_on_with_the_settings_it_has_and_says_so(copied: Project) -> None:
    line = f"-w {copied.workspace.root} train partialconv"
    done = kit(f"{line} --fold 1")
    assert done.code == 0 and done.out.startswith("Trained: partialconv, fold 1: ")
    assert done.err.startswith("partialconv goes on with the settings it has: ") and " width=8 " in done.err
    assert " epochs=1" in done.err and "encoder=" not in done.err  # which it does not read
    done = kit(f"{line} --fold 1 --force")  # which trains the same again
    assert done.code == 0 and done.out.startswith("Trained: partialconv, fold 1: ")
    for fold in (1, 0):  # others are refused for a fold that is there, and for one beside others
        done = kit(f"{line} --fold {fold} {PARTIALCONV} --epochs 2")
        assert done.is_one_error_line and "other epochs. Go on with its own" in done.err
    done = kit(f"{line} --fold 0 {PARTIALCONV} --epochs 2 --force")
    assert done.is_one_error_line and "the same command with --fold all --force" in done.err
    *lines, _ = ok(f"{line} --fold all {PARTIALCONV} --epochs 2 --force").splitlines()
    assert [text.split(" after ")[1][:8] for text in lines] == ["2 epochs"] * 3


@pytest.mark.parametrize("fold", ["9", "x", "''"])
def test_folds_that_cannot_be_are_told_before_what_a_source_goes_on_with(trained: Project, fold: str) -> None:
    assert kit(f"-w {trained.workspace.root} train partialconv --fold {fold}").is_one_error_line


def test_a_source_that_has_another_experiments_name_already_goes_on(copied: Project) -> None:
    line = f"-w {copied.workspace.root} train regress --as pix2pix --print-config"
    assert kit(line).is_one_error_line
    copied.workspace.run("pix2pix", 0).mkdir(parents=True)
    assert ok(line)


def test_a_source_made_with_as_takes_settings_as_others_do(copied: Project) -> None:
    line = f"-w {copied.workspace.root} train"
    ok(f"{line} partialconv --fold 0 {PARTIALCONV} --epochs 1 --as mine")
    done = kit(f"{line} mine --fold 0 --epochs 2")
    assert done.is_one_error_line and "holds a training with other epochs" in done.err
    assert "Go on with its own: kit train mine --fold 0; " in done.err
    assert ok(f"{line} mine --fold 0 --epochs 2 --force").startswith("Trained: mine, fold 0")


def test_a_damaged_experiment_file_has_a_way_out(copied: Project) -> None:
    line = f"-w {copied.workspace.root} train partialconv --fold 0"
    folder = copied.workspace.run("partialconv", 0)
    found = json.loads((folder / "experiment.json").read_text())
    del found["experiment"]["decoder_channels"]
    (folder / "experiment.json").write_text(json.dumps(found))
    done = kit(line)  # fold 2 tells what the source is
    assert done.code == 1 and "holds a training with other decoder_channels" in done.err
    assert ok(f"{line} --force").startswith("Trained: partialconv, fold 0")
    for fold in (0, 2):
        (copied.workspace.run("partialconv", fold) / "experiment.json").write_text("{}")
    done = kit(line)
    assert (
        done.is_one_error_line
        and f"Give that training up, then train as at first: rm -r {copied.workspace.run('partialconv', 2)}" in done.err
    )
    done = kit(f"{line} {PARTIALCONV} --epochs 1 --force")
    assert done.code == 0 and done.out.startswith("Trained: partialconv, fold 0")


def test_weights_that_were_changed_are_not_predicted_with(copied: Project) -> None:
    path = copied.workspace.run("regress", 0) / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 64
    path.write_bytes(data)
    done = kit(f"-w {copied.workspace.root} predict regress --fold 0 --force")
    assert done.is_one_error_line and "its digest is not that of what was written" in done.err


@pytest.mark.slow
def test_a_source_of_other_folds_is_trained_again_by_the_command_that_is_said(copied: Project) -> None:
    root = copied.workspace.root
    ok(f"-w {root} folds --k 3 --seed 5 --force")
    said = "kit train partialconv --fold all --force"
    assert f"Run: {said}" in ok(f"-w {root} sources")
    ok(f"-w {root} {said.removeprefix('kit ')} {PARTIALCONV} --epochs 1")
    (line,) = [line for line in ok(f"-w {root} sources").splitlines() if line.startswith("partialconv ")]
    assert " all " in line


def test_a_trial_says_what_it_takes_and_stores_nothing(
    copied: Project, digests: Callable[[Path], dict[str, str]]
) -> None:
    root = copied.workspace.root
    before = digests(root)
    said = ok(f"-w {root} train {' '.join(NAMES)} --try --set base=harmonic --set epochs=7 {FLAGS}")
    lines = said.splitlines()
    assert [line[: line.index(": one epoch in ")] for line in lines] == [f"Tried: {name}, fold 0" for name in NAMES]
    assert all("fold RMSE 0." in line and "its 7 epochs take about" in line for line in lines)
    assert "fold 2" in ok(f"-w {root} train regress --try --fold 2 --as other {REGRESS}")
    assert digests(root) == before
    done = kit(f"-w {root} train regress --try --force")
    assert done.is_one_error_line and "leave out --force" in done.err
