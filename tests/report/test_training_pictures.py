"""The pictures of a training: what they say, whom they show, and that they are drawn seldom."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.toy import Toy, write_toy_source

import kit.report.training
from kit.core.moments import Moment
from kit.core.workspace import FULL
from kit.imaging.images import load_image
from kit.report.training import TrainingPictures, progress_picture, verdict

pytestmark = pytest.mark.toy(photos=24, test=2)


def moment(scores: list[float], fill: float | None = 0.2, planned: int = 10, **more: Any) -> Moment:
    """A training that was measured after each epoch."""
    rows = [
        {"epoch": number, "learning_rate": 0.001, "mse": 1 / number, **({} if fill is None else {"fold_rmse": score})}
        for number, score in enumerate(scores, 1)
    ]
    usual: dict[str, Any] = {"values": {}, "measured": len(rows), "keeps_best": False, "is_last": False}
    return Moment(rows, planned, {1: 30.0}, "mean", fill, **{**usual, **more})


def size_of(picture: bytes, folder: Path) -> tuple[int, ...]:
    path = folder / "picture.png"
    path.write_bytes(picture)
    return load_image(path).shape


@pytest.mark.parametrize(
    ("scores", "keeps_best", "said", "more"),
    [
        ([0.3, 0.15], False, "BETTER than mean alone: RMSE 0.1500, 0.0500 lower", "best 0.1500 at epoch 2; epoch 2 of"),
        ([0.19, 0.25], False, "WORSE than mean alone: RMSE 0.2500, 0.0500 higher", "not bettered in 1 measurements"),
        ([0.19, 0.25], True, "BETTER than mean alone: RMSE 0.1900, 0.0100 lower", "the best is kept"),
    ],
)
def test_the_verdict_is_of_the_weights_that_are_kept(
    scores: list[float], keeps_best: bool, said: str, more: str
) -> None:
    found = verdict(moment(scores, keeps_best=keeps_best))
    assert found.said == said and more in found.more and found.is_better is said.startswith("BETTER")


def test_the_verdict_says_what_is_not_known() -> None:
    assert verdict(moment([0.3], None)).said == "Full model: no photo is left to measure on"
    unmeasured = moment([0.3])
    rows = [{name: value for name, value in row.items() if name != "fold_rmse"} for row in unmeasured.rows]
    found = verdict(Moment(rows, 1, {}, "mean", 0.2, {}, 0, keeps_best=False, is_last=True))
    assert found.said == "Not measured yet; mean alone 0.2000" and found.more == "done after 1 epochs"


@pytest.mark.parametrize("fill", [0.2, None])
@pytest.mark.parametrize("scores", [[0.3], [0.3, 0.25, 0.1], [0.2] * 40])
def test_the_curves_are_900_pixels_wide_whatever_there_is(
    scores: list[float], fill: float | None, tmp_path: Path
) -> None:
    assert size_of(progress_picture("regress, fold 0", moment(scores, fill)), tmp_path)[1] == 900


def test_a_log_with_zeros_many_losses_and_strange_names_is_drawn(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "learning_rate": 0.0, **{f"loss_{n}$": float(n) for n in range(7)}, "fold_rmse": 0.0}]
    found = Moment(rows, 1, {}, "mean", 0.0, {}, 0, keeps_best=False, is_last=True)
    assert size_of(progress_picture("$x", found), tmp_path)[1] == 900


def test_nothing_of_pyplot_is_used(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)  # another test of this process imported it
    write_toy_source(toy, "mean")
    TrainingPictures(toy.project, "net", 0, toy.workspace.report).draw(moment([0.3], is_last=True))
    assert "matplotlib.pyplot" not in sys.modules


def test_the_strip_shows_eight_photos_of_the_fold_and_none_that_is_trained_on(toy: Toy) -> None:
    write_toy_source(toy, "mean")
    pictures = TrainingPictures(toy.project, "net", 1, toy.workspace.run("net", 1))
    own = set(toy.folds.valid_positions(1).tolist())
    assert len(pictures.positions) == min(8, len(own)) and set(pictures.positions) <= own
    values = {position: toy.true_values("oof", position) for position in pictures.positions}
    strip = pictures.draw(moment([0.3], values=values, is_last=True))
    assert strip is not None and strip.shape[1] == 900
    folder = toy.workspace.run("net", 1)
    assert np.array_equal(load_image(folder / "strip.png"), strip)
    assert load_image(folder / "progress.png").shape[1] == 900
    # truth was predicted, so each photo is there twice as it is, beside its hidden form
    whole = toy.pack.train_target[pictures.positions[0]]
    times = 211 // len(whole)
    large = whole.repeat(times, axis=0).repeat(times, axis=1)
    column, tall = strip[:, 32 : 32 + len(large)], len(large)
    assert sum(np.array_equal(column[y : y + tall], large) for y in range(len(column) - tall + 1)) == 2


def test_a_full_model_has_no_strip(toy: Toy) -> None:
    pictures = TrainingPictures(toy.project, "net", FULL, toy.workspace.run("net", FULL))
    assert list(pictures.positions) == [] and pictures.draw(moment([0.3], None, is_last=True)) is None
    assert [path.name for path in toy.workspace.run("net", FULL).iterdir()] == ["progress.png"]


def test_drawing_takes_a_small_share_of_the_time(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    now, cost, drawn = [0.0], 0.5, []
    monkeypatch.setattr(kit.report.training.time, "monotonic", lambda: now[0])

    def slowly(title: str, found: Moment) -> bytes:
        now[0] += cost
        drawn.append(now[0])
        return b""

    monkeypatch.setattr(kit.report.training, "progress_picture", slowly)
    pictures = TrainingPictures(toy.project, "net", 0, toy.workspace.run("net", 0))
    while now[0] < 1000:
        now[0] += 1.0
        pictures.draw(moment([0.3]))
    assert cost * len(drawn) <= kit.report.training.SHARE * 1000 and len(drawn) > 20
    assert drawn[0] == pytest.approx(50, abs=2)
    pictures.draw(moment([0.3], is_last=True))
    assert drawn[-1] > 1000
