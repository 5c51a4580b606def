"""`kit tune`: honest about the default, resumable anywhere, pruned by the fold's RMSE, and refused in one line."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from support.command import kit, ok
from support.own_models import UNET, net, written
from support.toy import SLUG
from support.trainings import SMALL, Stopped, at_call, die, finish, log_of, project_at, stop_in_step

from kit.core.storage import only_one
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.errors import DamagedStore, Mismatch, StoreError, TrainingError, UsageError
from kit.learning import tuning
from kit.learning.experiments import (
    EXPERIMENTS,
    Experiment,
    experiment,
    own_experiment,
    read_config,
    with_settings,
)
from kit.learning.experiments.limits import as_text
from kit.learning.experiments.settings import without_effect
from kit.learning.training import engine
from kit.learning.tuning import Choice, Range, journal, space_of, trials
from kit.learning.tuning import study as studies
from kit.learning.tuning.plan import Plan, TrialRow
from kit.learning.tuning.study import tune

SETTINGS = [*SMALL, "batch_size=8", "epochs=4", "validations=4"]
STEPS = 8  # of a trial: four epochs of 16 photos in batches of 8
SPACE = ["learning_rate=1e-4:1e-2", "ema=0.0,0.9"]


def base(*settings: str) -> Experiment:
    return experiment("regress", [*SETTINGS, *settings])


def plan(*space: str, one: Experiment | None = None, name: str = "regress-tuned") -> Plan:
    one = one or base()
    chosen = space or tuple(SPACE)
    fields = {text.partition("=")[0] for text in chosen}
    return Plan(name, one, 0, tuple(dim for dim in space_of(one, chosen) if dim.field in fields))


def without_seconds(rows: list[TrialRow]) -> list[TrialRow]:
    return [dataclasses.replace(row, seconds=0.0) for row in rows]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A competition without any study; not to be written to."""
    return project_at(tmp_path_factory.mktemp("fresh") / "w")


@pytest.fixture
def fresh(project: Project, tmp_path: Path) -> Project:
    shutil.copytree(project.workspace.root, tmp_path / "w")
    return Project(Workspace(tmp_path / "w", SLUG))


@pytest.fixture(scope="module")
def trained(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A study of three trials; not to be written to."""
    root = tmp_path_factory.mktemp("studied") / "w"
    shutil.copytree(project.workspace.root, root)
    made = Project(Workspace(root, SLUG))
    tune(made, plan(), trials=3, device="cpu")
    return made


def again(project: Project, trials: int = 3, **options: Any) -> list[TrialRow]:
    return without_seconds(tune(project, plan(), trials=trials, device="cpu", **options).trials)


# --- what a study leaves behind


def test_the_first_trial_has_the_experiments_own_settings_and_is_what_is_compared_with(copied: Project) -> None:
    tuned = tune(copied, plan(), trials=3, device="cpu")
    assert tuned.new == 0
    assert [row.number for row in tuned.trials] == [1, 2, 3]
    assert tuned.default == tuned.trials[0] and tuned.default.settings == []
    assert all(len(row.settings) == 2 for row in tuned.trials[1:])
    done = [row for row in tuned.trials if row.state == "done"]
    assert tuned.best == min(done, key=lambda row: row.rmse or 0)


def test_the_default_scores_as_its_own_training_does(copied: Project) -> None:
    from kit.learning.training.fit import fit_fold

    assert fit_fold(copied, base(), 0, device="cpu").rmse == again(copied)[0].rmse


def test_the_best_settings_train_under_the_studys_name(copied: Project) -> None:
    tuned = tune(copied, plan(), trials=3, device="cpu")
    config = read_config(tuned.config)
    one = experiment(str(config.experiment), rename=config.name, config=config.settings)
    assert one == with_settings(dataclasses.replace(base(), name="regress-tuned"), tuned.best.settings)
    line = f"-w {copied.workspace.root} train --config {tuned.config} --fold 0"
    assert f"fold RMSE {tuned.best.rmse:.4f}" in ok(line)


def test_no_trial_is_a_source_and_the_best_ones_log_alone_is_kept(trained: Project) -> None:
    assert trained.predictions.sources() == ["mean"]  # the base fill
    assert not trained.workspace.runs.exists()
    folder = trained.workspace.study("regress-tuned")
    assert sorted(path.name for path in folder.iterdir()) == ["best.csv", "journal.log", "study.json"]
    best = min((row for row in again(trained) if row.state == "done"), key=lambda row: row.rmse or 0)
    (folder / "log.csv").write_text((folder / "best.csv").read_text())
    assert log_of(folder)[-1]["fold_rmse"] == pytest.approx(best.rmse, rel=1e-6)
    (folder / "log.csv").unlink()


# --- killed and typed again


@pytest.mark.parametrize("step", [1, STEPS - 1, STEPS + 1, STEPS + 5])
def test_a_study_that_was_stopped_ends_as_one_that_was_not(
    step: int, fresh: Project, trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_in_step(patch, step)
        with pytest.raises(Stopped):
            again(fresh)
    assert again(fresh) == again(trained)


def killed(root: str, module: Any, name: str, number: int) -> None:
    """Tune in this process, dying at a call."""
    import torch

    torch.set_num_threads(1)
    engine.CHECKPOINT_SECONDS = 0.0
    at_call(sys.modules[module], name, number, lambda *_, **__: die())
    tune(Project(Workspace(Path(root), SLUG)), plan(), trials=3, device="cpu")


KILLS = [
    ("kit.learning.training.trainer", "train_step", STEPS + 3),  # in the second trial
    ("kit.learning.training.run_folder", "write_json", 1),  # between its weights and run.json
    ("kit.learning.tuning.study", "write_text", 0),  # the first has been told, its log not kept
    ("kit.learning.tuning.study", "toml_of", 1),
    ("kit.learning.tuning.trials", "train_fold", 1),  # proposed, and nothing trained
]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name", "number"), KILLS)
def test_a_study_goes_on_after_a_real_kill(
    module: str, name: str, number: int, fresh: Project, trained: Project, forks: Any
) -> None:
    process = forks.Process(target=killed, args=(str(fresh.workspace.root), module, name, number))
    process.start()
    assert finish(process) == -signal.SIGKILL
    assert again(fresh) == again(trained)
    folder = fresh.workspace.study("regress-tuned")
    assert sorted(path.name for path in folder.iterdir()) == ["best.csv", "journal.log", "study.json"]


def test_a_batch_that_was_noted_in_part_is_ended_before_the_next_and_a_proposal_that_was_cut_is_made_whole(
    fresh: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        made = journal.open_journal(folder / "journal.log", "regress-tuned", 4)
        return studies._Work(fresh, plan(), folder, studies.processes_on("cpu"), made, print)

    def numbers(some: Any) -> list[int]:
        return [trial.number for trial in some]

    def note(one: Any, some: Any) -> None:
        for trial in some:
            one.tell(trial, trials.Outcome("done", 1.0, 0.2 + 0.01 * trial.number, 0.3))

    whole = work(tmp_path / "whole")
    for batch in ([0, 1, 2, 3], [4, 5, 6, 7]):
        asked = whole.asked(8, 4)
        assert numbers(asked) == batch
        note(whole, asked)
    cut = work(tmp_path / "cut")
    note(cut, cut.asked(8, 4)[:2])
    again_cut = work(tmp_path / "cut")
    asked = again_cut.asked(8, 4)
    assert numbers(asked) == [2, 3]
    note(again_cut, asked)

    def half(self: Plan, trial: Any, sampler: Any) -> list[str]:
        trial.study.sampler = sampler(trial.number, self.space[0].field)
        self.space[0].suggested(trial)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Plan, "settings", half)
        with pytest.raises(Stopped):
            again_cut.asked(8, 4)
    note(again_cut, work(tmp_path / "cut").asked(8, 4))
    tried = [[trial.params for trial in one.study.get_trials()] for one in (whole, again_cut)]
    assert tried[0] == tried[1] and len(tried[0]) == 8


def test_a_line_that_was_cut_is_dropped_and_optunas_lock_does_not_wait(copied: Project) -> None:
    before = again(copied)
    journal = copied.workspace.study("regress-tuned") / "journal.log"
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    Path(f"{journal}.lock").symlink_to("nowhere")
    assert again(copied, trials=4)[:3] == before


def test_a_damaged_journal_is_one_line_and_force_begins_anew(copied: Project) -> None:
    before = again(copied)
    journal = copied.workspace.study("regress-tuned") / "journal.log"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*lines[:2], "no json\n", *lines[2:]]))
    with pytest.raises(DamagedStore, match=r"journal\.log is not the journal.*--force"):
        again(copied)
    assert again(copied, force=True) == before


def test_time_stops_a_study_after_its_first_trial_and_it_goes_on(fresh: Project, trained: Project) -> None:
    tuned = tune(fresh, plan(), trials=3, max_minutes=1e-6, device="cpu")
    assert (tuned.new, tuned.out_of_time, len(tuned.trials)) == (1, True, 1)
    assert tuned.config.is_file()
    assert again(fresh) == again(trained)


def test_a_trial_that_time_has_stopped_goes_on(
    fresh: Project, trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    for module in (studies, trials):
        monkeypatch.setattr(module, "is_over", lambda _: next(calls) >= 2)
    tuned = tune(fresh, plan(), trials=3, device="cpu")
    assert tuned.out_of_time and len(tuned.trials) == 1
    assert (fresh.workspace.study("regress-tuned") / "trial_1").is_dir()
    monkeypatch.undo()
    assert again(fresh) == again(trained)


# --- pruned, failed


def test_a_trial_that_is_worse_than_the_others_were_is_stopped(fresh: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FIRST", 1)
    said: list[str] = []
    hot = plan("learning_rate=0.5:0.9")
    tuned = tune(fresh, hot, trials=3, device="cpu", say=said.append)
    assert [row.state for row in tuned.trials] == ["done", "pruned", "pruned"]
    assert tuned.best == tuned.default
    assert all(row.rmse is not None and row.rmse > (tuned.default.rmse or 0) for row in tuned.trials[1:])
    assert said[1].startswith("Trial 2 of 3: pruned at 0.") and "learning_rate=0." in said[1]


def test_settings_that_cannot_train_fail_and_the_study_goes_on(fresh: Project) -> None:
    tuned = tune(fresh, plan("encoder=tu-vit_tiny_patch16_224,tu-mixer_s32_224"), trials=3, device="cpu")
    assert [row.state for row in tuned.trials] == ["done", "failed", "failed"]
    assert "cannot serve" in tuned.trials[1].note
    assert tuned.best == tuned.default


def test_an_experiment_that_cannot_train_is_refused_and_can_be_mended(fresh: Project, tmp_path: Path) -> None:
    one = base(f"encoder_weights={tmp_path}/later.pth")
    with pytest.raises(TrainingError, match="there is no such file"):
        tune(fresh, plan(one=one), trials=2, device="cpu")


# --- refused


def test_another_study_of_this_name_is_refused(copied: Project) -> None:
    for other, said in [
        (plan(one=base("epochs=3")), "other epochs"),
        (plan("crop=0.5:1", "ema=0.0,0.9"), "crop is tuned here alone; learning_rate is tuned there alone"),
        (
            plan("learning_rate=1e-4:1e-3", "ema=0.9,0.99"),
            "ema is 0.0, 0.9 there and 0.9, 0.99 here; learning_rate is .*",
        ),
        (plan(SPACE[0], one=base("epochs=3")), "other epochs and other values to try: ema is tuned there alone"),
        (dataclasses.replace(plan(), fold=1), "other fold"),
    ]:
        with pytest.raises(Mismatch, match=rf"{said}\..*--as NAME.*--force"):
            tune(copied, other, trials=3, device="cpu")


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("encoder=tu-resnet18,tu-resnet81", r"no encoder 'tu-resnet81'\. Did you mean tu-resnet18\?"),
        ("encoder_weights=none,/nowhere/a.pth", r"/nowhere/a\.pth: there is no such file"),
    ],
)
def test_what_is_not_there_is_refused_before_the_first_trial(space: str, said: str, fresh: Project) -> None:
    with pytest.raises(UsageError, match=said):
        tune(fresh, plan(space), trials=2, device="cpu")
    assert not fresh.workspace.study("regress-tuned").exists()


def test_two_processes_do_not_share_a_study(copied: Project) -> None:
    with (
        only_one(copied.workspace.study("regress-tuned"), "kit tune regress"),
        pytest.raises(StoreError, match="Another `kit tune regress` is running"),
    ):
        again(copied)


def test_several_processes_are_refused(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    two = dataclasses.replace(studies.processes_on("cpu"), count=2)
    monkeypatch.setattr(studies, "processes_on", lambda _: two)
    with pytest.raises(UsageError, match="without torchrun"):
        again(copied)


SPACES = {
    "learning_rate": "Give low:high",
    "learning_rate=0.1": "For one value: --set learning_rate=VALUE",
    "learning_rate=0.1:0.01": "0.1 is not below 0.01",
    "learning_rate=0.01:2": "learning_rate=2: between 0 and 1",
    "learning_rate=low:high": "a number is needed",
    "learning_rate=1e-4:1e-2:cubic": "low:high:log",
    "learning_rate=1:2:log:3": "low:high:log",
    "weight_decay=0:1:log": "begin above 0, or add :linear",
    "lr=1e-4:1e-2": "Did you mean --space learning_rate=1e-4:1e-2?",
    "nonsense=1:2": "There is no setting 'nonsense'",
    "epochs=1.5:3": "a whole number is needed",
    "size=32:128": "Give values with commas between",
    "size=32,60": "size=60: one of 32, 64, 128, 256",
    "decoder_channels=16,16": "lists with slashes between",
    "decoder_channels=16/a": "whole numbers with commas",
    "pool=1:3": "changes nothing: it is method=cyclegan's",
    "seed=0:3": "kit train NAME --seeds 3",
    "crop=0.5:1 --space crop=0.6:1": "is there twice",
    "dropout=0:0.2 --set dropout=0.1": "dropout is given, and tuned",
    "crop=,": "Give low:high",
}


@pytest.mark.parametrize("text", SPACES)
def test_a_space_that_cannot_be_is_one_line(text: str, project: Project) -> None:
    done = kit(f"-w {project.workspace.root} tune regress --space {text}")
    assert done.is_one_error_line and SPACES[text] in done.err, done.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tune", "Which experiment?"),
        ("tune nonsense", "There is no experiment 'nonsense'"),
        ("tune regress --fold 9", "There is no fold 9"),
        ("tune regress --as mean", "mean is the name of a fill"),
        ("tune regress --as regress", "is the name of what is tuned"),
        ("tune regress --as a/b", "cannot be a file name"),
        ("tune regress --trials 0", "--trials"),
    ],
)
def test_mistakes_are_one_line(line: str, said: str, project: Project) -> None:
    done = kit(f"-w {project.workspace.root} {line}")
    assert done.code == 2 and said in done.err.splitlines()[-1], done.err
    assert not project.workspace.study("x").parent.exists()


def test_without_optuna_it_says_how_to_get_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "kit.learning.tuning.study", raising=False)
    monkeypatch.delattr(tuning, "study", raising=False)
    done = kit(f"-w {project.workspace.root} tune regress")
    assert done.code == 1 and done.err.count("\n") == 1 and "pip install 'hole-kit[tune]'" in done.err


# --- the command line, and the space


def test_the_report_compares_with_the_default_and_says_what_to_type(copied: Project) -> None:
    flags = " ".join(
        f"--set {setting}" for setting in SETTINGS if setting.partition("=")[0] not in without_effect(base())
    )
    line = f"-w {copied.workspace.root} tune regress {flags} --space learning_rate=1e-4:1e-2 --trials 2 --as mine"
    out = ok(line)
    assert "regress (default)" in out and "(best)" in out and "fold 0 RMSE" in out
    assert "so its RMSE is a little too good" in out
    assert out.splitlines()[-1] == f"Next: kit train --config {copied.workspace.tuned('mine')} --fold all"
    done = kit(f"{line} --json")
    tuned = json.loads(done.out)
    assert (len(tuned["trials"]), tuned["new"], tuned["default"]["settings"]) == (2, 0, [])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_tuned_and_every_proposal_can_be_set(name: str) -> None:
    import optuna

    one = EXPERIMENTS[name]()
    space = space_of(one)
    assert not {dim.field for dim in space} & without_effect(one).keys()
    assert all(dim.holds(getattr(one, dim.field)) for dim in space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        trial = study.ask()
        made = with_settings(one, [f"{dim.field}={dim.suggested(trial)}" for dim in space])
        for dim in space:
            assert not isinstance(dim, Range) or dim.holds(getattr(made, dim.field))


def test_what_is_typed_narrows_and_extends_and_what_is_set_is_not_tuned() -> None:
    one = experiment("regress")
    space = {dim.field: dim for dim in space_of(one, ["learning_rate=1e-3:2e-3", "epochs=4:40"], {"ema"})}
    assert space["learning_rate"] == Range("learning_rate", 1e-3, 2e-3)
    assert space["epochs"] == Range("epochs", 4, 40, log=True, whole=True)
    assert "ema" not in space and "crop" in space and "encoder_rate" in space
    lists = space_of(one, ["decoder_channels=64,32/128,64,32"])
    assert "64,32" in next(dim.texts for dim in lists if dim.field == "decoder_channels")  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="Nothing is left to tune"):
        space_of(one, fixed=set(space) | {"ema"})


def test_a_first_trial_outside_the_space_still_has_the_experiments_own_settings(fresh: Project) -> None:
    tuned = tune(fresh, plan("learning_rate=0.004:0.005", "ema=0.0,0.9", "epochs=1:2"), trials=2, device="cpu")
    assert tuned.default.settings == [] and tuned.trials[1].state == "done"


# --- a model of the user's own


def own_base(folder: Path, text: str = UNET) -> Experiment:
    path = written(folder / "mine.py", text)
    return own_experiment(Workspace(folder), f"{path}:Net", ["size=32", "epochs=1", "batch_size=8", "base=mean"])


def test_arguments_of_a_model_of_ones_own_are_tuned_by_its_signature(tmp_path: Path) -> None:
    typed = ["width=4:64", "depth=1:3", "slope=0.5:1", "skip=true,no"]
    space = {one.field: one for one in space_of(own_base(tmp_path), typed)}
    assert space["width"] == Range("width", 4, 64, log=True, whole=True)
    assert space["depth"] == Range("depth", 1, 3, whole=True)
    assert space["slope"] == Range("slope", 0.5, 1.0)
    assert space["skip"] == Choice("skip", ("true", "false"))
    untold = own_base(tmp_path, net(arguments=", a, b, c"))  # neither annotation nor default
    looks = space_of(untold, ["a=1:3", "b=1:2.5", "c=x,y"])
    assert {Range("a", 1, 3, whole=True), Range("b", 1, 2.5), Choice("c", ("x", "y"))} <= set(looks)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("dept=1:3", "Did you mean --space depth=1:3?"),
        ("foo{0}=1:3", "Net takes width, depth, slope, skip"),
        ("depth=1.5:3", "--space depth=1.5:3: a whole number is needed, as "),
        ("depth=3:1", "3 is not below 1"),
        ("slope=0:nan", "a finite number is needed"),
        ("skip=false:true", "Give values with commas between"),
        ("skip=true,perhaps", "true or false is needed"),
        ("width=0:8", "width=0: 1 to 4096"),
        ("blocks=1:3", "--space blocks: it changes nothing"),
        ("depth=1:9", "--space depth 1 to 9: with depth=9 "),
        ("depth=1:2 --set depth=1", "depth is given, and tuned"),
    ],
)
def test_a_space_that_does_not_fit_the_model_is_one_line(
    space: str, said: str, project: Project, tmp_path: Path
) -> None:
    mine = written(tmp_path / "mine.py", UNET.replace("super().__init__()", "super().__init__(); assert depth < 9"))
    done = kit(f"-w {project.workspace.root} tune {mine}:Net --space {space}")
    assert done.code == 2 and said in done.err.splitlines()[-1], done.err
    assert not project.workspace.study("x").parent.exists()


def test_a_study_of_a_models_arguments_trains_and_its_best_is_a_source(fresh: Project, tmp_path: Path) -> None:
    one = own_base(tmp_path)
    tuned = tune(fresh, plan("width=4:6", "depth=1,2", one=one, name="net-tuned"), trials=2, device="cpu")
    assert [row.state for row in tuned.trials] == ["done", "done"] and tuned.default.settings == []
    assert [text.partition("=")[0] for text in tuned.trials[1].settings] == ["depth", "width"]
    config = read_config(tuned.config)
    best = experiment(str(config.experiment), rename=config.name, config=config.settings)
    assert best == with_settings(dataclasses.replace(one, name="net-tuned"), tuned.best.settings)
    line = f"-w {fresh.workspace.root} tune {tmp_path}/mine.py:Net --set size=32 --set epochs=1 --set batch_size=8"
    usual = " ".join(f"--set {dim.field}={as_text(getattr(one, dim.field))}" for dim in space_of(one))
    out = ok(f"{line} --set base=mean {usual.replace('--set batch_size=8', '')} --space depth=1:2 --trials 1 --as more")
    assert out.splitlines()[-1] == f"Next: kit train --config {fresh.workspace.tuned('more')} --fold all"
