"""A loop of one's own, from batches to the blend, and what breaks the rule of OOF and can be noticed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.command import kit as command
from support.command import ok
from support.toy import Toy
from support.trainings import short

import kit
from kit.api.loop import Batches
from kit.learning.inference import fold_rmse
from kit.learning.training.fit import base_fills, fit_fold
from kit.learning.training.photos import validation_inputs

pytestmark = pytest.mark.toy(photos=12, test=4)
SHOWN: dict[str, Any] = {"size": 32, "batch_size": 4, "base": "mean"}
EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples"


@pytest.fixture
def project(toy: Toy) -> kit.Project:
    return kit.open(toy.workspace.root)


def run_example(name: str, project: kit.Project) -> None:
    """Two epochs of an example at 32 px."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main(str(project.folder), 2, 32)


def nothing(filled: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """The fill itself."""
    return torch.zeros_like(filled)


def parts(project: kit.Project, fold: int) -> dict[str, Any]:
    return {
        "oof": project.validation(fold=fold, **SHOWN).to_values(nothing),
        "test": project.test(**SHOWN).to_values(nothing),
    }


def test_the_example_trains_every_fold_and_enters_the_blend(
    project: kit.Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.fill(["mean", "fractional"])
    run_example("own_loop", project)
    assert "blend-" in capsys.readouterr().out
    assert len((EXAMPLES / "own_loop.py").read_text().splitlines()) <= 60
    found = project.sources()["own-loop"]
    assert found.complete and found.trained and found.seconds > 0
    assert "own-loop" in project.blend(rung="mean").weights
    assert project.submission("own-loop").rows == 2400
    assert any(one.kind == "a source of your own loop" for one in project.status().sources)
    for line in ("predict own-loop", "train own-loop --fold 0", "bundle own-loop"):
        assert command(line, "-w", project.folder).is_one_error_line
    for line in ("verify", "export own-loop --out", "rm own-loop --yes"):
        ok(line, *([project.folder / "own.npz"] if "--out" in line else []), "-w", project.folder)
    assert "own-loop" not in project.predictions.names()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of its own versions, workers and devices
def test_the_example_of_lightning_does_so_too(project: kit.Project, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pytorch_lightning", reason="pip install pytorch-lightning")
    project.fill(["mean", "fractional"])
    run_example("lightning_loop", project)
    out = capsys.readouterr().out
    assert "blend-" in out and out.count("Written(name='lightning'") == 3
    assert project.sources()["lightning"].complete and "lightning" in project.blend(rung="mean").weights


def test_a_fold_is_measured_as_it_is_stored(project: kit.Project) -> None:
    inputs = project.validation(fold=0, **SHOWN)
    written = project.predictions.write("own", 0, **parts(project, 0))
    assert inputs.rmse(nothing) == pytest.approx(written.rmse, abs=1e-4)  # which is of 16 bits
    with pytest.raises(kit.UsageError, match="no truth"):
        project.test(**SHOWN).rmse(nothing)
    batch = next(iter(project.batches(fold=0, **SHOWN)))
    assert torch.equal(batch.to("cpu").target, batch.target)


def test_batches_are_those_of_the_training_and_go_on(project: kit.Project) -> None:
    batches = project.batches(fold=1, epochs=2, **SHOWN)
    first, second = list(batches), list(batches)
    assert len(first) == len(batches) == 4 and batches.epoch == 4
    for one, other in zip(second, project.batches(fold=1, epochs=2, begin=2, **SHOWN), strict=True):
        assert torch.equal(one.filled, other.filled) and torch.equal(one.hole, other.hole)
    assert not torch.equal(first[0].target, second[0].target)
    assert not set(batches.positions) & set(project.validation(fold=1, **SHOWN).positions)
    assert len(project.batches(fold="full", **SHOWN).positions) == 12
    with pytest.raises(kit.UsageError, match="epoch"):
        project.batches(epochs=0, **SHOWN)


def test_a_network_of_kit_predicts_the_same_by_this_way(project: kit.Project) -> None:
    from kit.learning.inference import residuals
    from kit.learning.training import load_generator

    opened, one = project.opened, short()
    run = fit_fold(opened, one, 0, device="cpu")
    _, generator = load_generator(opened.workspace, "regress", 0, torch.device("cpu"))
    inputs = project.validation("regress", fold=0)
    written = project.predictions.write(
        "same",
        0,
        oof=inputs.to_values(lambda filled, hole: residuals(generator, one, filled, hole)),
        test=project.test("regress").to_values(lambda filled, hole: residuals(generator, one, filled, hole)),
    )
    for split in ("oof", "test"):
        stored = [(opened.workspace.source(name, split) / "fold_0.npy").read_bytes() for name in ("regress", "same")]
        assert stored[0] == stored[1]
    prepared = validation_inputs(opened, one, 0, base_fills(opened, one)["oof"])
    assert run.rmse == fold_rmse(generator, one, prepared, opened.pack, torch.device("cpu"))
    assert written.rmse == pytest.approx(run.rmse, abs=1e-4) and written.missing == (1, 2)


def test_a_module_is_in_its_eval_mode_while_it_predicts_and_learns_on_after(project: kit.Project) -> None:
    class Net(torch.nn.Module):
        def forward(self, filled: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
            assert not self.training and not torch.is_grad_enabled()
            return torch.zeros_like(filled)

    net = Net()
    inputs = project.validation(fold=np.int64(1), **SHOWN)  # type: ignore[arg-type]
    values = list(inputs.to_values(net))
    assert net.training and len(values) == len(inputs) == len(inputs.photo_rows)
    plain = list(inputs.to_values(torch.zeros(4, 3, 16, 16)))
    assert all(np.array_equal(one, other) for one, other in zip(values, plain, strict=True))


def test_plain_arrays_tensors_and_a_full_model_are_stored(project: kit.Project) -> None:
    project.fill("mean")
    store = project.predictions
    fill = {split: store.read("mean", split) for split in ("oof", "test")}
    test = [fill["test"].values(photo) for photo in range(4)]
    for fold in range(3):
        positions = project.validation(fold=fold, **SHOWN).positions
        store.write("arrays", fold, oof=(torch.tensor(fill["oof"].values(int(one))) for one in positions), test=test)
    written = store.write("arrays", "full", test=np.stack(test))
    assert np.isnan(written.rmse) and project.sources()["arrays"].full
    same = store.read("arrays", "oof")
    assert all(np.array_equal(same.values(photo), fill["oof"].values(photo)) for photo in range(12))
    with pytest.raises(kit.UsageError, match="has no OOF"):
        store.write("arrays", "full", oof=test, test=test)


Break = Callable[[kit.Project], object]
BROKEN: dict[str, tuple[type[Exception], str, Break]] = {
    "values of another fold": (
        kit.UsageError,
        "values of fold 1, to be stored as fold 0",
        lambda project: project.predictions.write("own", 0, **parts(project, 1)),
    ),
    "a model that saw the fold": (
        kit.UsageError,
        "not out of fold",
        lambda project: project.predictions.write(
            "own", 0, **parts(project, 0), trained_on=project.batches(fold=1, **SHOWN)
        ),
    ),
    "a model of all photos": (
        kit.UsageError,
        "not out of fold",
        lambda project: project.predictions.write("own", 0, **parts(project, 0), trained_on=range(12)),
    ),
    "test values as OOF": (
        kit.UsageError,
        "oof= is given",
        lambda project: project.predictions.write("own", 0, oof=parts(project, 0)["test"], test=()),
    ),
    "no OOF": (
        kit.UsageError,
        "oof is missing",
        lambda project: project.predictions.write("own", 0, test=parts(project, 0)["test"]),
    ),
    "too few photos": (
        kit.PredictionsError,
        "values for 0 photos",
        lambda project: project.predictions.write("own", 0, oof=(), test=()),
    ),
    "no such fold": (
        kit.UsageError,
        "no fold 7",
        lambda project: project.predictions.write("own", 7, oof=(), test=()),
    ),
    "a fold as text": (
        kit.UsageError,
        "fold='0'",
        lambda project: project.predictions.write("own", "0", oof=(), test=()),  # type: ignore[arg-type]
    ),
    "the name of a fill": (
        kit.UsageError,
        "a fill",
        lambda project: project.predictions.write("mean", 0, **parts(project, 0)),
    ),
    "the name of an experiment": (
        kit.UsageError,
        "is an experiment",
        lambda project: project.predictions.write("pix2pix", 0, **parts(project, 0)),
    ),
    "settings that are no JSON": (
        kit.UsageError,
        "settings=",
        lambda project: project.predictions.write("own", 0, **parts(project, 0), settings={"a": object()}),
    ),
    "a residual of another shape": (
        kit.PredictionsError,
        "A residual of 4 photos",
        lambda project: project.validation(fold=0, **SHOWN).to_values(torch.zeros(3, 3, 8, 8)),
    ),
    "no residual": (
        kit.PredictionsError,
        "not NoneType",
        lambda project: project.validation(fold=0, **SHOWN).rmse(lambda *_: None),
    ),
    "a residual that is not finite": (
        kit.PredictionsError,
        "not finite",
        lambda project: project.validation(fold=0, **SHOWN).rmse(lambda filled, _: filled * float("nan")),
    ),
    "photos of a full model": (
        kit.UsageError,
        "has seen each",
        lambda project: project.validation(fold="full", **SHOWN),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_the_rule_is_refused(what: str, project: kit.Project) -> None:
    kind, message, call = BROKEN[what]
    with pytest.raises(kind, match=message):
        call(project)
    assert "own" not in project.predictions.names()


def test_folds_are_written_alike_and_again(project: kit.Project) -> None:
    store = project.predictions
    project.fill("mean")
    store.write("own", 0, **parts(project, 0), settings={"width": 8})
    assert project.blend().left_out == ("own",) and "Left out" in repr(project.blend())
    with pytest.raises(kit.Mismatch, match="width"):
        store.write("own", 1, **parts(project, 1), settings={"width": 16})
    assert store.write("own", 0, **parts(project, 0), settings={"width": 16}).missing == (1, 2)
    with pytest.raises(kit.MissingStep, match="Run your loop"):
        store.read("own", "oof")
    begun = parts(project, 1)
    project.folds(k=3, seed=5, force=True)
    with pytest.raises(kit.Mismatch, match="made anew"):
        project.predictions.write("own", 1, **begun)
    with pytest.raises(kit.Mismatch, match="Run your loop anew"):
        project.predictions.read("own", "oof", partial=True)
    project.predictions.write("own", 1, **parts(project, 1))


def test_values_as_good_as_the_truth_are_warned_of(project: kit.Project, toy: Toy) -> None:
    positions = project.validation(fold=0, **SHOWN).positions
    truth = [toy.true_values("oof", int(position)) for position in positions]
    test = [toy.true_values("test", position) for position in range(4)]
    with pytest.warns(UserWarning, match="as good as the truth"):
        project.predictions.write("leak", 0, oof=truth, test=test)


def test_names_of_what_is_given_say_what_it_is(project: kit.Project) -> None:
    batches = project.batches(fold=0, **SHOWN)
    assert isinstance(batches, Batches) and repr(batches) == "<2 batches of 8 photos, 32 px, fold 0>"
    assert repr(project.test(**SHOWN)) == "<4 test photos, 32 px>"
    assert repr(project.predictions) == "<predictions of mean>"
