"""Code of the user's own: how it is named and kept, what its arguments are, and what the checks find."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.own_models import HEAD, UNET, forget, net, written

from kit.core.speech import begin_command
from kit.core.storage import write_json
from kit.core.workspace import Workspace
from kit.errors import DamagedStore, KitError, TrainingError, UnknownName, UsageError
from kit.learning.experiments import (
    Experiment,
    drop_code,
    experiment,
    experiment_from,
    is_own,
    own_code,
    own_experiment,
    read_config,
    recall_run,
    save_code,
    settings_of,
    stored_experiment,
    toml_of,
    with_settings,
    wrong_copy,
)
from kit.learning.experiments.arguments import call_model
from kit.learning.experiments.code import digest_in, load, reference_of
from kit.learning.models import build_generator
from kit.learning.models.own import OwnModel
from kit.learning.skeleton import SKELETON
from kit.learning.training.model_check import check_model


def own(path: Path, *settings: str, name: str = "Net") -> Experiment:
    return own_experiment(Workspace(path.parent), f"{path}:{name}", settings)


# --- what it is called and becomes


def test_a_file_is_known_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    first, moved = written(tmp_path / "mine.py"), written(tmp_path / "other.py")
    assert own(first) == own(moved) and own(first).name == "net"
    assert own(written(first, UNET + "# changed\n")) != own(moved)
    assert own(first).digest != own(moved).digest and own(first).fields["model"].startswith("Net@")


def test_an_argument_named_like_a_setting_is_that_setting_and_others_are_the_models(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.py")
    assert (own(mine).width, own(mine).model_arguments) == (4, "none")  # the file's default is the experiment's
    one = own(mine, "width=8", "depth=1", "skip=no", "slope=1", "epochs=3")
    assert (one.width, one.model_arguments, one.epochs) == (8, "depth=1,skip=false,slope=1.0", 3)
    made = call_model(one)
    assert made.first[0].out_channels == 8 and len(made.down) == 1 and made.slope == 1.0 and made.skip is False
    assert own(mine, "depth=2", "slope=0.5") == own(mine)  # a default that is typed is no other model
    assert with_settings(one, ["depth=3"]).model_arguments == "depth=3,skip=false,slope=1.0"


def test_settings_toml_and_json_give_the_same_experiment_again(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.py")
    one = own(mine, "depth=1", f"loss={mine}:small_loss", "learning_rate=2e-3")
    assert with_settings(Experiment("net"), settings_of(one)) == one
    assert experiment_from({"experiment": one.fields}) == one
    path = written(tmp_path / "one.toml", toml_of(one))
    config = read_config(path)
    assert experiment(str(config.experiment), rename=config.name, config=config.settings) == one
    written(mine, UNET + "\n")
    with pytest.raises(UsageError, match="has changed since"):
        read_config(path), experiment("regress", config=read_config(path).settings)


def test_a_function_gives_a_whole_experiment(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.py", UNET + 'def big_experiment():\n    return {"model": "Net", "name": "huge"}\n')
    one = own(mine, name="experiment")
    assert (one.name, one.architecture, one.size, one.model_arguments) == ("mine", "own", 32, "depth=1")
    assert one.standardise and one.box_copies == 4 and one.encoder == "tu-resnet18"  # of regress, what is left of it
    assert one.encoder_rate == 1.0 and own_code(one).keys() == {"model.py", "loss.py"}
    assert own(mine, "depth=2", "size=64", name="experiment").size == 64
    with pytest.raises(UsageError, match=r"There is no model 'Net'.*FILE.py:NAME"):
        own(mine, name="big_experiment")
    beside = written(
        tmp_path / "more.py", 'def big_experiment():\n    return {"model": "mine.py:Net", "name": "huge"}\n'
    )
    assert own(beside, name="big_experiment") == dataclasses.replace(own(mine), name="huge")


def test_a_source_goes_on_with_its_settings_and_a_changed_file_begins_anew(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.py")
    one = own(mine, "width=8", "depth=1", "epochs=3")
    save_code(Workspace(tmp_path).run("net", 0), one)
    write_json(Workspace(tmp_path).run("net", 0) / "experiment.json", {"experiment": one.fields})
    assert own(mine) == one and own(mine, "epochs=3").width == 4
    written(mine, UNET.replace("width: int = 4", "width: int = 16"))
    assert (own(mine).width, own(mine).epochs, own(mine).model_arguments) == (16, 12, "none")


def test_nothing_of_it_is_stored_of_other_experiments() -> None:
    assert not {"model", "model_arguments", "loss"} & experiment("regress").fields.keys()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["dept=1"], "Did you mean --set depth=1?"),
        (["foo=1"], "Net takes width, depth, slope, skip"),
        (["blocks=3"], "--set blocks changes nothing"),
        (["depth=two"], "--set depth=two: a whole number is needed"),
        (["skip=perhaps"], "true or false is needed"),
        (["slope=inf"], "a finite number is needed"),
        (["width=0"], "width=0: 1 to 4096"),
        (["method=cyclegan"], "a model of your own is supervised"),
        (["loss=nowhere.py:f"], "nowhere.py cannot be read"),
        (["model=unet"], "--set architecture=unet"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(settings: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        own(written(tmp_path / "mine.py"), *settings)
    assert said in str(caught.value)


# --- what is wrong with a file

WRONG = {
    "no such name": (net(), "Nett", "mine.py has no Nett. Did you mean mine.py:Net?"),
    "no name": (net(), "", "which model of it? Write FILE.py:NAME. There are: mine.py:Net."),
    "syntax": (HEAD + "def f(:\n", "Net", "mine.py:3: not Python"),
    "import": (HEAD + "raise RuntimeError('boom')\n", "Net", "mine.py:3: running the file fails: RuntimeError: boom"),
    "exit": ("import sys\nsys.exit(3)\n", "Net", "mine.py:2: running the file fails: SystemExit"),
    "package": ("import no_such_package\n", "Net", "mine.py:1: running the file fails: ModuleNotFoundError"),
    "neighbour": ("import beside\n", "Net", "mine.py:1: imports a file beside it"),
    "a number": ("Net = 3\n", "Net", "mine.py: Net is int, not a class or function"),
    "default": (net(arguments=", size=100"), "Net", "size=100: one of 32, 64, 128, 256"),
    "kit's name": (net().replace("Net", "Regress"), "Regress", "which is an experiment of kit. Add --as NAME"),
    "no settings": (net(more="def experiment():\n    return 3\n"), "experiment", "gives int, not settings by name"),
    "raises": (net(more="def experiment():\n    return {}['x']\n"), "experiment", "mine.py:11: experiment() fails"),
    "base": (net(more="def experiment():\n    return {'base_experiment': 'x'}\n"), "experiment", "no experiment 'x'"),
    "lambda": (net(more="def experiment():\n    return {'model': lambda: 0}\n"), "experiment", "of the same file"),
    "no number": (net(more="def experiment():\n    return {'model': Net, 'size': []}\n"), "experiment", "size"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_cannot_be_is_one_line_that_names_it(wrong: str, tmp_path: Path) -> None:
    written(tmp_path / "beside.py", "x = 1\n")
    text, name, said = WRONG[wrong]
    with pytest.raises(UsageError) as caught:
        own(written(tmp_path / "mine.py", text), name=name)
    assert said in str(caught.value) and "\n" not in str(caught.value)


UNFIT = {
    "builds": (net(init="1 / 0"), "mine.py:7: making Net() fails: ZeroDivisionError"),
    "required": (net(arguments=", depth"), "Net needs depth: give it a default, or --set depth=VALUE"),
    "no module": ("class Net:\n    pass\n", "Net gives Net, and a torch.nn.Module is needed"),
    "forward": (net("return self.c(x[:, :5])"), "mine.py:9: Net on (2, 6, 64, 64) fails: RuntimeError"),
    "shape": (net("return self.c(x)[:, :2]"), "gives (2, 2, 64, 64) for (2, 6, 64, 64), and (2, 3, 64, 64) is needed"),
    "nothing": (net("self.c(x)"), "gives NoneType for (2, 6, 64, 64)"),
    "infinite": (net("return self.c(x) / 0"), "not finite"),
    "constant": (HEAD + "class Net(nn.Module):\n    def forward(self, x):\n        return x[:, :3]\n", "no parameter"),
    "detached": (net("return self.c(x).detach()"), "depends on no parameter"),
    "unused": (net(init="self.unused = nn.Linear(2, 2)"), "no gradient reaches unused.weight"),
    "tied": (net(init="self.d = self.c.weight; self.e = nn.ParameterList([self.d])"), "are one tensor"),
    "lazy": (net(init="self.d = nn.LazyConv2d(3, 1)"), "lazy layers"),
    "seed": (net(init="import numpy; self.c.bias.data += numpy.random.rand()"), "the same seed gives other weights"),
    "exit": (net("raise SystemExit(3)"), "mine.py:9: Net on (2, 6, 64, 64) fails: SystemExit: 3"),
    "calls": (net("self.n += 1; return self.c(x) + self.n", init="self.n = 0"), "or on the call before"),
    "chance": (net("return self.c(x) * torch.rand(1)"), "in eval() it must not depend on chance"),
    "batch": (net("y = self.c(x); return y - y.mean(0, keepdim=True)"), "depends on the other photos in the batch"),
    "state": (
        net(
            "self.n = self.n + self.training; return self.c(x) * (1 + self.n)",
            init="self.n = 0",
        ),
        "something of it is in no state_dict",
    ),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_the_check_finds_what_a_model_gets_wrong(unfit: str, tmp_path: Path) -> None:
    text, said = UNFIT[unfit]
    with pytest.raises(TrainingError) as caught:
        list(check_model(own(written(tmp_path / "mine.py", text))))
    assert said in str(caught.value) and "mine.py" in str(caught.value) and "\n" not in str(caught.value)


def test_the_check_lets_a_good_model_pass_and_says_where_it_does_not_work(tmp_path: Path) -> None:
    lines = list(check_model(own(written(tmp_path / "mine.py"), "size=32")))
    assert [line.partition(":")[0] for line in lines] == [
        *("builds", "shapes", "gradients", "seed", "hidden pixels", "batches", "weights file", "trains")
    ]
    fixed = net("assert x.shape[2] == 32; return self.c(x)")
    assert "it does not work at 64, 128" in list(check_model(own(written(tmp_path / "mine.py", fixed), "size=32")))[1]


def test_what_kit_new_writes_is_fit(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.py", SKELETON.format(file="mine.py", stem="mine"))
    small = ("width=4", "depth=1", "size=32", f"loss={mine}:loss")
    assert len(list(check_model(own(mine, *small)))) == 8
    assert own(mine, name="experiment").box_copies == 4


def test_a_file_may_import_kit_also_where_kit_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    written(tmp_path / "kit" / "__init__.py", "")
    assert own(written(tmp_path / "mine.py", "from kit.learning.losses import hole_mse_loss\n" + net())).name == "net"


# --- copies


def test_a_run_carries_copies_that_are_told_from_others(tmp_path: Path) -> None:
    mine, run = written(tmp_path / "mine.py"), tmp_path / "runs" / "net" / "fold_0"
    one = own(mine, f"loss={mine}:small_loss")
    save_code(run, one)
    assert (run / "model.py").read_bytes() == (run / "loss.py").read_bytes() == mine.read_bytes()
    recall_run(run, one, "kit train net --fold 0 --force")
    (run / "model.py").write_text("changed")
    assert "digest differs" in wrong_copy(run / "model.py", one.model)
    with pytest.raises(DamagedStore, match=r"model.py is not as it was trained.*kit train net --fold 0 --force"):
        recall_run(run, one, "kit train net --fold 0 --force")
    save_code(run, one)  # what goes on puts it back
    assert not wrong_copy(run / "model.py", one.model)
    drop_code(run)
    assert not (tmp_path / "runs" / "net").exists()


def test_a_copy_is_run_where_the_file_is_gone_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, run = written(tmp_path / "mine.py"), tmp_path / "runs" / "net" / "fold_0"
    one = own(mine, "depth=1")
    save_code(run, one)
    write_json(run / "experiment.json", {"experiment": one.fields})
    mine.unlink()
    forget()
    begin_command()
    stored = stored_experiment(Workspace(tmp_path), "net")
    assert stored == one and not capsys.readouterr().err  # nothing is run before it is needed
    assert with_settings(one, ["depth=3"]).model_arguments == "depth=3"
    build_generator(one)
    assert capsys.readouterr().err == f"Running code that a run carries, not a file you named: {run / 'model.py'}\n"


def test_code_that_nobody_has_any_more_is_one_line() -> None:
    gone = dataclasses.replace(Experiment("net"), architecture="own", model="Net@00000000000000aa")
    with pytest.raises(DamagedStore, match="in no run any more"):
        build_generator(gone)


# --- losses and packages


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("def loss(p, t, w):\n    return (p - t).abs()\n", "gives (2, 3, 32, 32), and one number"),
        ("def loss(p, t):\n    return 0\n", "loss(prediction, target, weight) fails: TypeError"),
        ("def loss(p, t, w):\n    return t.mean()\n", "without gradient"),
        ("loss = 3\n", "is int, not a function"),
    ],
)
def test_a_loss_that_cannot_be_is_one_line(loss: str, said: str, tmp_path: Path) -> None:
    from kit.learning.training import check_buildable

    mine = written(tmp_path / "mine.py", net(more=loss))
    with pytest.raises(UsageError) as caught:
        check_buildable(own(mine, f"loss={mine}:loss", "size=32"), 4)
    assert said in str(caught.value) and "mine.py" in str(caught.value)


def test_a_loss_takes_the_place_of_the_pixel_losses(tmp_path: Path) -> None:
    from kit.learning.experiments.settings import without_effect

    mine = written(tmp_path / "mine.py")
    one = experiment("regress", [f"loss={mine}:small_loss", "l1_weight=3"])
    assert one.l1_weight == 0.0 and {"mse_weight", "l1_weight"} <= without_effect(one).keys()
    assert float(load(one.loss)(torch.ones(1), torch.zeros(1), torch.ones(1))) == 1.0


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with a model, an experiment and a loss, under a name that no other test has."""
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / "site"
    (folder / f"{name}-1.2.dist-info").mkdir(parents=True)
    written(folder / f"{name}.py")
    points = f"small = {name}:{{}}\n".format
    groups = {"architectures": "Net", "losses": "small_loss"}
    text = "".join(f"[kit.{group}]\n{points(thing)}" for group, thing in groups.items())
    text += f"[kit.experiments]\nsmall-whole = {name}:experiment\n"
    (folder / f"{name}-1.2.dist-info" / "entry_points.txt").write_text(text)
    (folder / f"{name}-1.2.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(str(folder))
    return folder / f"{name}-1.2.dist-info"


def test_installed_packages_offer_models_experiments_and_losses(package: Path, tmp_path: Path) -> None:
    workspace, module = Workspace(tmp_path), package.name.partition("-")[0]
    assert is_own(workspace, "small") and is_own(workspace, "small-whole") and not is_own(workspace, "regress")
    one = own_experiment(workspace, "small", ["depth=1", "loss=small"])
    assert one.name == "small" and one.model == f"{module}:Net@{module}==1.2" and not own_code(one)
    assert one.loss == f"{module}:small_loss@{module}==1.2"
    assert isinstance(build_generator(one), OwnModel) and with_settings(Experiment("small"), settings_of(one)) == one
    assert own_experiment(workspace, "small-whole").model == one.model
    write_json(workspace.run("small", 0) / "experiment.json", {"experiment": one.fields})
    assert stored_experiment(workspace, "small") == one
    assert not is_own(workspace, "small") and is_own(workspace, "small", anew=True)
    (package / "METADATA").write_text(f"Name: {module}\nVersion: 1.3\n")
    with pytest.raises(UsageError, match=rf"trained with {module} 1.2, and 1.3 is installed"):
        build_generator(one)


def test_the_list_names_what_packages_offer_and_imports_neither_them_nor_torch(package: Path) -> None:
    module = package.name.partition("-")[0]
    code = f"""
import sys
sys.path.insert(0, {str(package.parent)!r})
from kit.learning.experiments import describe_experiments
assert "  small: model of {module} 1.2 ({module}:Net)" in describe_experiments()
assert "torch" not in sys.modules and {module!r} not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_reference_is_a_file_with_a_digest(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.py")
    reference = reference_of(f"{mine}:Net", "model")
    assert digest_in(reference) and reference_of(f"{mine}:{reference}", "model") == reference
    with pytest.raises(UnknownName):
        experiment("regress", ["depth=3"])
    with pytest.raises(KitError, match="Did you mean"):
        load(reference.replace("Net", "Nets"))
