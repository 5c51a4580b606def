"""From a blend, a source or a CSV to a checked file: what is chosen, what is said, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from support.command import kit, ok
from support.toy import Toy

from kit.blending import make_blend, read_blend
from kit.core.storage import digest_file
from kit.data.project import Project
from kit.errors import MissingStep, SubmissionError, UnknownName
from kit.submission.ledger import LedgerRow, append_ledger, now
from kit.submission.refresh import refresh
from kit.submission.upload import prepare, sent_before
from kit.submission.write import zip_gain, zip_submission

pytestmark = pytest.mark.toy(
    test=3, sources=[{"name": "a", "noise": 0.05, "seed": 1}, {"name": "b", "noise": 0.05, "seed": 2, "by_fold": True}]
)


@pytest.fixture
def project(toy: Toy) -> Project:
    return Project(toy.workspace)


def blend(project: Project, name: str, *sources: str) -> None:
    make_blend(project, list(sources), name=name)


def test_the_newest_blend_is_the_default(project: Project) -> None:
    blend(project, "old", "a", "b")
    blend(project, "new", "a")
    os.utime(project.workspace.blend("old"), (1, 1))
    ready = prepare(project, None)
    assert (ready.what, ready.path) == ("blend new", project.workspace.submission("new"))
    assert ready.check.rows == 1800 and ready.digest == digest_file(ready.path)
    assert ready.cv is not None and 0 < ready.cv.low < ready.cv.value < ready.cv.high
    assert prepare(project, "old").what == "blend old"


def test_a_source_comes_with_its_cv_and_with_its_own_values(project: Project) -> None:
    ready = prepare(project, "b")
    assert ready.what == "source b" and ready.cv is not None
    blend(project, "only-b", "b")
    assert prepare(project, "only-b").digest == ready.digest


def test_a_source_of_no_fold_needs_no_folds(toy: Toy, project: Project) -> None:
    toy.workspace.folds.unlink()
    ready = prepare(Project(toy.workspace), "a")
    assert (ready.what, ready.cv) == ("source a", None)
    with pytest.raises(MissingStep, match="Run: kit folds"):
        prepare(Project(toy.workspace), "b")


def test_a_csv_is_checked_where_it_lies(project: Project, tmp_path: Path) -> None:
    written = prepare(project, "a")
    mine = tmp_path / "elsewhere" / "mine.csv"
    mine.parent.mkdir()
    mine.write_bytes(written.path.read_bytes())
    ready = prepare(project, str(mine))
    assert (ready.what, ready.path, ready.digest, ready.cv) == ("csv", mine, written.digest, None)
    mine.write_bytes(mine.read_bytes()[:-20])
    with pytest.raises(SubmissionError):
        prepare(project, str(mine))
    with pytest.raises(SubmissionError, match="is not a file"):
        prepare(project, str(tmp_path / "nowhere.csv"))


def test_what_is_not_there_is_named_with_what_is(project: Project) -> None:
    with pytest.raises(MissingStep, match="Run: kit blend"):
        prepare(project, None)
    blend(project, "mine", "a")
    with pytest.raises(UnknownName, match=r"There is no blend, source or file 'c'. Known: a, b, mine"):
        prepare(project, "c")


def test_the_same_blend_gives_the_same_bytes(project: Project) -> None:
    blend(project, "x", "a", "b")
    first = prepare(project, "x").path.read_bytes()
    assert prepare(project, "x").path.read_bytes() == first


def test_bytes_that_were_sent_before_are_recognised(project: Project) -> None:
    ready = prepare(project, "a")
    assert sent_before(project, ready) is None
    row = LedgerRow(now(), "toy", "a.csv", ready.digest, "source a", ref="")
    append_ledger(project.workspace, row)  # noted, but never sent
    assert sent_before(project, ready) is None
    append_ledger(project.workspace, LedgerRow(now(), "toy", "a.csv", ready.digest, "source a", ref="7"))
    earlier = sent_before(project, ready)
    assert earlier is not None and earlier.ref == "7"
    assert sent_before(project, prepare(project, "b")) is None


def test_refreshing_asks_the_service_only_for_what_is_pending(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_ledger(project.workspace, LedgerRow(now(), "toy", "a.csv", "x", "csv", ref="7", status="complete"))
    monkeypatch.setattr("kit.remote.Remote", lambda *_: pytest.fail("asked the service"))
    assert [row.ref for row in refresh(project).rows] == ["7"]


def test_submissions_are_written_from_averaged_folds(toy: Toy, project: Project) -> None:
    ready = prepare(project, "b")
    values = np.loadtxt(ready.path, delimiter=",", skiprows=1, usecols=1)
    assert values.shape == (1800,) and values.min() >= 0 and values.max() <= 1
    fold = np.load(toy.workspace.source("b", "test") / "fold_0.npy")
    assert fold.shape == (600, 3)


def test_something_better_is_said_and_what_the_gate_says(project: Project) -> None:
    w = f"-w {project.workspace.root}"
    blend(project, "best", "a", "b")
    make_blend(project, ["a", "b"], name="lone", rung="single")
    make_blend(project, ["a"], name="alone")
    said = ok(f"{w} upload alone --dry-run")
    assert "Note: blend" in said and "has a better CV RMSE" in said
    (advice,) = [line.rpartition(": ")[2] for line in said.splitlines() if "has a better CV RMSE" in line]
    assert "has a better CV RMSE" not in ok(f"{w} {advice.removeprefix('kit ')} --dry-run")
    ladder = read_blend(project.workspace, "lone").ladder
    assert [row.rung for row in ladder if row.taken][-1] != "single"
    assert "Rung single was asked for; by the gate it would be" in ok(f"{w} upload lone --dry-run")


def test_a_blend_that_is_replaced_is_named(project: Project) -> None:
    w = f"-w {project.workspace.root} blend --plots none --name mine"
    assert "replaces" not in kit(f"{w} a b").err
    assert "replaces" not in kit(f"{w} a b").err
    assert "Note: replaces the blend mine of a, b (CV RMSE 0." in kit(f"{w} a").err


def test_what_a_zip_would_save_is_measured(project: Project, tmp_path: Path) -> None:
    written = prepare(project, "a").path
    share, speed = zip_gain(written)
    real = zip_submission(written).stat().st_size / written.stat().st_size
    assert abs(share - real) < 0.1 and speed > 0
    noise = tmp_path / "noise.csv"
    noise.write_bytes(os.urandom(1 << 16))
    share, speed = zip_gain(noise)
    assert share > 0.99 and speed < 1e6  # nothing to gain
