"""Sending from Python, against a stand-in of the service: once, scored, and not again by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kaggle_standin import KaggleStandIn
from support.small import Small

import kit


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
