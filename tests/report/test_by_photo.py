"""`kit sources --photos`: each photo's score by each source, in a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.command import kit, ok
from support.reported import filled
from support.toy import Toy

from kit.blending import score_sources


def test_the_table_adds_up_to_the_scores_of_the_sources(toy: Toy, tmp_path: Path) -> None:
    project = filled(toy).project
    done = kit(f"-w {toy.workspace.root} sources --photos {tmp_path / 'photos.csv'} --json")
    assert done.code == 0 and f"Written: {tmp_path / 'photos.csv'}" in done.err
    found = pd.read_csv(tmp_path / "photos.csv")
    assert found["id"].tolist() == [row.id for row in project.index.train]
    assert found["fold"].tolist() == project.folds.fold.tolist()
    counts = np.array([row.scored for row in project.index.train])
    scores = {one.name: one.score.value for one in score_sources(project) if one.score}
    assert list(found.columns[7:]) == [*scores, "blend"]
    for name, score in scores.items():
        there = found[name].notna().to_numpy()
        squares = found[name].to_numpy()[there] ** 2 * counts[there]
        assert np.sqrt(squares.sum() / counts[there].sum()) == pytest.approx(score, rel=1e-4)
    assert found["half"].isna().equals(found["fold"] == 1)


def test_it_is_refused_where_it_cannot_be(toy: Toy, tmp_path: Path) -> None:
    w = f"-w {toy.workspace.root}"
    done = kit(f"{w} sources --photos {tmp_path / 'photos.csv'}")
    assert done.is_one_error_line and "kit fill all" in done.err
    filled(toy)
    done = kit(f"{w} sources --photos {tmp_path / 'photos.xls'}")
    assert done.is_one_error_line and "photos.csv" in done.err
    done = kit(f"{w} sources --photos {toy.workspace.folds}")
    assert done.is_one_error_line and "among kit's own files" in done.err
    assert "half" in ok(f"{w} sources")
