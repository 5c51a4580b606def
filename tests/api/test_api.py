"""The API against the command line: the same files and the same failures, and results that show themselves."""

from __future__ import annotations

import dataclasses
import doctest
import html
import importlib
import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import kit as command
from support.command import ok
from support.small import Small
from support.toy import Toy, write_toy_source
from support.trainings import SMALL

import kit
from kit.api.results import Blends, Filled, Fills, Grade, Sources
from kit.blending import SourceScore
from kit.core.progress import Progress
from kit.errors import MissingStep
from kit.imaging.images import load_image, save_image
from kit.imaging.metrics import Estimate
from kit.submission.grade import PhotoGrade
from kit.upkeep.status import BlendState

pytestmark = pytest.mark.toy(
    photos=12, test=4, sources=[{"name": "mine", "noise": 0.05}, {"name": "theirs", "noise": 0.06, "seed": 4}]
)
Digests = Callable[[Path], dict[str, str]]
TINY: dict[str, Any] = dict(setting.split("=") for setting in SMALL[:6]) | {
    "batch_size": 4,
    "epochs": 1,
    "box_copies": 1,
}


@pytest.mark.slow
def test_the_chain_leaves_the_same_bytes_as_the_commands(small: Small, tmp_path: Path, digests: Digests) -> None:
    typed, called = tmp_path / "typed", tmp_path / "called"
    for line in ("folds --k 2", "fill mean harmonic", "blend --name both --plots svg", "export both --out"):
        if not typed.exists():
            ok(f"fetch --from {small.archive}", "-w", typed)
        ok(line, *([tmp_path / "typed.npz"] if "--out" in line else []), "-w", typed)
    ok("upload --dry-run --out", tmp_path / "typed.csv", "-w", typed)
    ok("train --fold 0 --as tiny", *_flags(), "-w", typed)
    ok("import others --oof", tmp_path / "typed.npz", "--test", tmp_path / "typed.npz", "-w", typed)

    project = kit.open(called)
    fetched = project.fetch(small.archive)
    assert (fetched.train, fetched.test, fetched.already) == (20, 4, False)
    assert project.fetch().already
    assert len(project.folds(k=2).fold) == 20
    assert [one.already for one in project.fill(["mean", "harmonic"])] == [False, False]
    blend = project.blend(name="both")
    assert [path.name for path in blend.plot("svg")] == ["both.svg"]
    project.export("both", tmp_path / "called.npz")
    submission = project.submission(blend, out=tmp_path / "called.csv")
    assert submission.sent is None and submission.cv == blend.cv
    assert [one.already for one in project.train("regress", 0, name="tiny", **TINY)] == [False]
    project.import_("others", oof=tmp_path / "typed.npz", test=tmp_path / "typed.npz")

    for suffix in ("csv", "npz"):
        assert (tmp_path / f"typed.{suffix}").read_bytes() == (tmp_path / f"called.{suffix}").read_bytes()
    assert _timeless(typed, digests) == _timeless(called, digests)
    assert project.grade(tmp_path / "called.csv", small.truth).score.low > 0
    assert json.loads(ok("sources --json", "-w", typed))[0]["score"]["value"] == project.sources()[0].score.value
    again = project.train("regress", [0], name="tiny", **TINY)["tiny"]
    assert again.already and 0 < again.rmse < 1
    assert project.predict("tiny", 0)["tiny"].already and not project.predict("tiny", 0, force=True)[0].already


def test_other_photos_are_predicted_and_filled(small: Small, toy: Toy, tmp_path: Path) -> None:
    project = kit.open(small.copy(tmp_path / "w").workspace.root)
    project.folds(k=2)
    project.fill(["mean", "harmonic"])
    blend = project.blend(rung="mean")
    fetched = project.submission(blend, out=tmp_path / "fetched.csv")
    done = project.predict_tests(small.archive, blend, out=tmp_path / "again.csv")
    assert done.photos == 4 and "ids as in the sample" in done.described and fetched.what == done.called
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "fetched.csv").read_bytes()

    picture, mask = np.full((40, 50, 3), 90, np.uint8), np.zeros((40, 50, 3), np.uint8)
    mask[10:20, 10:20] = 255
    for folder, one in (("images", picture), ("masks", mask)):
        save_image(tmp_path / folder / "a.png", one)
    filled = project.fill_pictures(tmp_path / "images", tmp_path / "masks", tmp_path / "out", "harmonic")
    assert filled.pictures == 1 and "data:image/jpeg" in filled._repr_html_()
    assert np.array_equal(load_image(tmp_path / "out" / "a.png"), picture)
    with pytest.raises(kit.UsageError, match="kit's own files"):
        project.fill_pictures(tmp_path / "images", tmp_path / "masks", project.folder / "data", "harmonic")


def _flags() -> list[str]:
    return ["regress", *(word for name, value in TINY.items() for word in ("--set", f"{name}={value}"))]


def _timeless(root: Path, digests: Digests) -> dict[str, str]:
    """Digests of all files but those that note seconds or a path."""
    timed = ("run.json", "log.csv", "fetched.json", "progress.png")
    found = digests(root)
    caches = (".lock", "/.cache/")
    kept = {path: one for path, one in found.items() if not path.endswith(timed) and not any(c in path for c in caches)}
    for path in list(kept):
        if path.startswith("predictions/") and path.endswith(".json"):
            manifest = json.loads((root / path).read_text())
            kept[path] = json.dumps({key: one for key, one in manifest.items() if key != "seconds"})
    return kept


def test_a_failure_is_an_exception_with_the_words_of_the_command(toy: Toy, tmp_path: Path) -> None:
    project = kit.open(toy.workspace.root)
    calls: dict[str, Callable[[], object]] = {
        "fill magic": lambda: project.fill("magic"),
        "folds --k 4": lambda: project.folds(k=4),
        "blend nothing": lambda: project.blend("nothing"),
        "blend --rung high": lambda: project.blend(rung="high"),
        "train regres --fold 0": lambda: project.train("regres", 0),
        "train regress --fold 9": lambda: project.train("regress", 9),
        "train regress --fold 0 --set colour=1": lambda: project.train("regress", 0, colour=1),
        "predict mine": lambda: project.predict("mine"),
        "upload --dry-run nothing": lambda: project.submission("nothing"),
        "upload --dry-run mine --out a.txt": lambda: project.submission("mine", "a.txt"),
        "export nothing": lambda: project.export("nothing"),
        "import mine --oof nowhere.npz": lambda: project.import_("mine", oof="nowhere.npz"),
        "grade nowhere.csv --truth nowhere": lambda: project.grade("nowhere.csv", "nowhere"),
    }
    for line, call in calls.items():
        done = command(line, "-w", toy.workspace.root)
        assert done.is_one_error_line, line
        with pytest.raises(kit.KitError) as raised:
            call()
        assert f"Error: {raised.value}\n" == done.err, line
        assert raised.value.exit_code == done.code
    with pytest.raises(MissingStep):
        kit.open(tmp_path / "nothing").sources()
    with pytest.raises(kit.UsageError, match="Which fold"):
        project.train("regress")
    with pytest.raises(kit.UnknownName, match="space"):
        project.import_("new", oof="x.npz", space="pixels")  # type: ignore[arg-type]
    with pytest.raises(kit.UsageError, match="scale"):
        project.import_("new", oof="x.npz", scale=float("nan"))
    wrong: dict[str, Callable[[], object]] = {
        "None is no folder": lambda: kit.open(None),  # type: ignore[arg-type]
        "3 is no name": lambda: project.fill(3),  # type: ignore[arg-type]
        "no photo '3'": lambda: project.show(3),  # type: ignore[arg-type]
    }
    for said, call in wrong.items():
        with pytest.raises(kit.KitError, match=said):
            call()


def test_nothing_is_sent_unless_that_is_said(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    project = kit.open(toy.workspace.root)
    project.blend(name="both")

    def fail(*_: object, **__: object) -> None:
        raise kit.CredentialsError("no key")

    monkeypatch.setattr("kit.submission.upload.preflight", fail)
    found = project.submit()
    assert found.path.is_file() and found.sent is None and not toy.workspace.ledger.exists()
    with pytest.raises(kit.CredentialsError):
        project.submit(dry_run=False)


def test_results_show_themselves_and_escape_what_they_are_called(toy: Toy) -> None:
    hostile = "<script>alert('&\"')</script>"
    estimate = Estimate(0.1, 0.05, 0.15)
    score = SourceScore(hostile, estimate, 3, False, (), (), True, 1.0, "abc", problem=hostile)
    shown = Sources((score,))._repr_html_()
    assert "<script>" not in shown and shown.count(html.escape(hostile)) == 3
    graded = Grade((PhotoGrade(hostile, 0.1, 3),), estimate, 3)._repr_html_()
    state = BlendState(hostile, (hostile,), "single", 0.1, hostile, None, hostile)
    for other in (graded, Blends((state,))._repr_html_(), Fills((Filled(hostile, True),))._repr_html_()):
        assert "<script>" not in other and html.escape(hostile) in other

    project = kit.open(toy.workspace.root)
    blend = project.blend()
    pictures = blend.plot()
    assert all(path.is_file() for path in pictures) and "data:image/png;base64," in pictures._repr_html_()
    for one in (project.sources(), blend, project.blends()):
        assert one._repr_html_().startswith("<table>") and "mine" in one._repr_html_() and "mine" in repr(one)
    assert set(blend.frame["name"]) == set(blend.weights) == {"mine", "theirs"}
    assert project.sources()[:1] == (project.sources()[0],)
    with pytest.raises(KeyError):
        project.sources()["nobody"]
    assert repr(project) == f"<kit project toy in {toy.workspace.root}>"
    assert kit.open(toy.workspace.root / "new").blends()._repr_html_().startswith("<p>")
    submission = project.submission()
    truth = toy.workspace.root / "truth"
    assert "RMSE" in project.grade(submission.path, truth)._repr_html_()
    for shown in (submission, project.check(submission.path), project.verify(), project.rm("theirs", dry_run=True)):
        assert "<table>" in shown._repr_html_()


def test_pictures_stand_where_they_are_the_point(toy: Toy) -> None:
    project = kit.open(toy.workspace.root)
    blend = project.blend("mine")
    assert blend._repr_html_().count("data:image/jpeg;base64,") == 9  # three photos: hidden, filled, truth
    assert len(blend._repr_html_()) < 60_000
    oof, test = (project.predictions.read("mine", split) for split in ("oof", "test"))
    assert oof._repr_html_().count("<img") == 9 and test._repr_html_().count("<img") == 6
    assert repr(test) == "<test predictions of mine, 4 photos>"
    assert "data:image/png" in project.figure(["mine", blend.name], 2)._repr_html_()
    assert "data:image/png" in project.figure(test=True, truth=toy.workspace.root / "truth")._repr_html_()
    write_toy_source(toy, "mine", noise=0.2, seed=9)
    assert "No pictures:" in blend._repr_html_() and "<img" not in blend._repr_html_()


def test_the_state_shows_itself_as_the_command_prints_it(toy: Toy) -> None:
    project = kit.open(toy.workspace.root)
    project.blend()
    write_toy_source(toy, "part", 0.1, by_fold=True, present=[0])
    state = project.status()
    assert repr(state) + "\n" == ok("status", "-w", toy.workspace.root).replace(f" -w {toy.workspace.root}", "")
    shown = state._repr_html_()
    assert shown.count("<table>") == 3 and "part" in shown and html.escape(state.following) in shown
    hostile = dataclasses.replace(state, following="<b>", problems=("<i>",), data="<u>")._repr_html_()
    assert not any(tag in hostile for tag in ("<b>", "<i>", "<u>"))


def test_what_has_a_name_is_deleted_and_what_was_sent_is_listed(toy: Toy) -> None:
    project = kit.open(toy.workspace.root)
    project.blend("mine", name="alone")
    assert project.rm(["alone", "theirs"], dry_run=True).dry_run and "theirs" in project.predictions.names()
    assert "cannot be applied" in repr(project.rm("mine", dry_run=True))
    assert [one.name for one in project.rm(["alone", "theirs"])] == ["alone", "theirs"]
    assert project.predictions.names() == ["mine"] and not project.blends()
    with pytest.raises(kit.UnknownName):
        project.rm("alone")
    with pytest.raises(kit.UsageError, match="deleted"):
        project.rm([])
    assert len(project.submissions()) == 0 and "project.submit" in project.submissions()._repr_html_()


def test_the_machine_is_looked_at(toy: Toy) -> None:
    found = kit.open(toy.workspace.root).doctor(offline=True)
    assert isinstance(found.fit, bool) and "python" in repr(found).lower() and "<table>" in found._repr_html_()


PUBLIC = {
    *("batches", "blend", "blends", "bundle", "by_photo", "check", "check_layout", "check_model", "clip", "compare"),
    *("competition", "doctor", "explore"),
    *("export", "fetch", "figure", "fill", "fill_pictures", "folder", "folds", "grade", "import_", "leaderboard"),
    *("opened", "predict", "predict_tests", "predictions", "push", "push_bundle", "report", "rm", "sd", "show"),
    *("sources", "status"),
    *("submission", "submissions", "submit", "test", "train", "try_", "tune", "validation", "verify", "verify_bundle"),
    *("watch", "weights", "workspace"),
}
SHELL_ALONE = {"new", "demo"}
CALLED = {"import": "import_", "upload": "submit"}  # what a command is called here, where it is called otherwise


def test_every_command_has_its_method() -> None:
    from kit.cli.options import COMMANDS

    for name in COMMANDS:
        if name in SHELL_ALONE:
            assert f"kit {name}" in (kit.Project.__doc__ or "")
        else:
            assert hasattr(kit.open("nowhere"), CALLED.get(name, name.replace("-", "_"))), name
    for name in ("sd", "clip", "weights"):
        for verb in importlib.import_module(f"kit.cli.{name}").verbs.registered_commands:
            assert callable(getattr(getattr(kit.open("nowhere"), name), verb.name or verb.callback.__name__))


def test_the_public_names_are_these() -> None:
    assert {name for name in dir(kit.open("nowhere")) if not name.startswith("_")} == PUBLIC
    errors = {
        name
        for name, one in vars(importlib.import_module("kit.errors")).items()
        if isinstance(one, type) and issubclass(one, Exception)
    }
    assert set(kit.__all__) == {"__version__", "open", "Project", "stop_after"} | errors
    assert all(getattr(kit, name) is not None for name in kit.__all__) and set(kit.__all__) <= set(dir(kit))
    stub = Path(kit.__file__).with_suffix(".pyi").read_text()
    assert all(f" as {name}\n" in stub for name in set(kit.__all__) - {"__version__"})
    with pytest.raises(AttributeError):
        kit.nothing  # noqa: B018


def test_settings_and_arguments_have_names_of_their_own() -> None:
    from inspect import signature

    from kit.learning.experiments.settings import setting_fields

    for method in ("train", "try_", "tune", "batches", "validation", "test"):
        arguments = set(signature(getattr(kit.Project, method)).parameters)
        assert not arguments & set(setting_fields()) - {"epochs"} and ("epochs" not in arguments or method == "batches")


def test_importing_kit_loads_nothing_heavy_and_opening_it_no_torch() -> None:
    code = "import sys, kit\nprint(sorted({'torch', 'numpy', 'pandas', 'typer', 'kit.api'} & set(sys.modules)))\n"
    code += "kit.open('.')\nprint(sorted({'torch', 'pandas', 'typer', 'kaggle', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


DOCUMENTED = ("chain", "learning", "sharing", "keeping", "looping", "seeing", "clip", "weights", "sampling")


@pytest.mark.parametrize("name", ["kit.api", *(f"kit.api.{part}" for part in DOCUMENTED)])
def test_examples_of_the_docstrings(name: str, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.open(toy.workspace.root).fill(["mean", "harmonic", "fractional"])
    monkeypatch.chdir(toy.workspace.root)
    (toy.workspace.root / "data" / "toy" / "raw").mkdir(exist_ok=True)
    module = importlib.import_module(name)
    runner, found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE), 0
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs={"kit": kit}):
        found += len(test.examples)
        assert runner.run(test).failed == 0, test.name
    assert found


class OutStream:
    """As a Jupyter kernel's stream: no terminal, and a carriage return begins its line anew."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_in_a_kernel_one_line_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = OutStream()
    monkeypatch.setattr(OutStream, "__module__", "ipykernel.iostream")
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("kit.core.progress.LINE_INTERVAL", 0.0)
    bar = Progress("Filling", 3, "photos")
    for _ in range(3):
        bar.update()
    bar.close()
    assert stream.text.startswith("\rFilling: 1/3 photos") and stream.text.count("\n") == 0


def test_a_missing_extra_is_named(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kit.learning.training.fit", types.ModuleType("empty"))

    def gone(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("kit.core.extras.is_installed", lambda module: False)
    monkeypatch.setattr("kit.api.learning.train", gone)
    with pytest.raises(kit.MissingPackage, match="hole-kit"):
        kit.open(toy.workspace.root).train("regress", 0)


def test_other_folds_and_a_source_by_fold_are_said(toy: Toy) -> None:
    write_toy_source(toy, "unet", 0.1, by_fold=True, present=[0])
    shown = repr(kit.open(toy.workspace.root).sources())
    assert "lacks 1,2" in shown
