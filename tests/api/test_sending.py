"""Sending from Python, against a stand-in of the service: once, scored, and not again by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kaggle_standin import KaggleStandIn
from support.small import Small
from support.toy import Toy

import kit

pytestmark = pytest.mark.toy(photos=12, test=4)


def test_a_submission_is_sent_scored_and_not_sent_again(
    small: Small, tmp_path: Path, kaggle_service: KaggleStandIn, kaggle_env: Path
) -> None:
    project = kit.open(small.copy(tmp_path / "w").workspace.root)
    project.folds(k=2)
    project.fill("mean")
    kaggle_service.score = "0.16543"
    assert project.submit("mean").sent is None and not kaggle_service.uploads
    done = project.submit("mean", dry_run=False, message="from Python")
    assert done.sent is not None and (done.sent.public_score, done.sent.message) == (0.16543, "from Python")
    (sent,) = kaggle_service.uploads.values()
    assert sent == done.path.read_bytes()
    with pytest.raises(kit.UsageError, match="very bytes were sent"):
        project.submit("mean", dry_run=False)
    assert any("very bytes were sent" in note for note in project.submit("mean").notes)
    assert len(kaggle_service.uploads) == 1
    project.submit("mean", dry_run=False, again=True, wait=0)
    assert project.status().sent == 2


def test_a_bundle_and_its_notebook_are_sent_where_that_is_said(
    toy: Toy, tmp_path: Path, kaggle_service: KaggleStandIn, kaggle_env: Path
) -> None:
    project = kit.open(toy.workspace.root)
    project.fill("mean")
    packed = project.bundle("mean")
    assert packed.members == ("mean",) and "<table>" in packed._repr_html_()
    submission = project.submission("mean").path
    state = project.verify_bundle(packed.folder, submission)
    assert state.compared is not None and state.compared.same_bytes and state.files == packed.files - 1
    for sent in (project.push_bundle("ada/photo-bundle"), project.push("ada/photo-notebook", "ada/photo-bundle")):
        assert sent.pushed is None and sent.bundle == packed.folder
    assert not kaggle_service.datasets
    made = project.push_bundle("ada/photo-bundle", dry_run=False)
    assert made.pushed is not None and made.pushed.is_new and "ada/photo-bundle" in kaggle_service.datasets
    saved = project.push("ada/photo-notebook", "ada/photo-bundle", gpu="none", dry_run=False)
    assert saved.pushed is not None and "photo-notebook" in saved.pushed.address
    with pytest.raises(kit.UnknownName, match="machine"):
        project.push("ada/photo-notebook", "ada/photo-bundle", gpu="h100")
    (packed.folder / "bundle.json").write_text("{}")
    with pytest.raises(kit.DamagedStore):
        project.verify_bundle(packed.folder)


def test_the_leaderboard_and_the_ledger_are_asked(
    small: Small, tmp_path: Path, kaggle_service: KaggleStandIn, kaggle_env: Path
) -> None:
    project = kit.open(small.copy(tmp_path / "w").workspace.root)
    project.folds(k=2)
    project.fill("mean")
    project.submit("mean", dry_run=False, wait=0)
    found = project.submissions(refresh=True)
    assert len(found) == 1 and found.trouble is None and found[0].what == "source mean"
    assert project.leaderboard().today == 1
