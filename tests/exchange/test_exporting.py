"""An export comes back bit for bit by an import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.command import kit, ok
from support.imports import (
    READY,
    SPLITS,
    flat,
    project_of,
    stored,
    values_of,
)
from support.toy import Toy, write_toy_source

from kit.blending import blend_test_values, make_blend, score_sources
from kit.exchange import export_source, import_part
from kit.exchange.values import Photos

pytestmark = pytest.mark.toy(**READY)


def test_export_and_import_give_the_same_values(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = toy.workspace.root
    said = ok(f"-w {root} export good")
    assert "30 training photos and 6 test photos, to good.npz" in said
    ok(f"-w {root} import mate --oof good.npz --test good.npz")
    for split in SPLITS:
        assert np.array_equal(stored(toy, "mate", split), stored(toy, "good", split))
    ok(f"-w {root} export mate")
    assert (tmp_path / "mate.npz").read_bytes() == (tmp_path / "good.npz").read_bytes()
    done = kit(f"-w {root} export good")
    assert done.is_one_error_line and "good.npz is there already" in done.err and "--force" in done.err
    ok(f"-w {root} export good --force")
    assert "is a .npz file" in kit(f"-w {root} export good --out good.csv").err
    assert "There is no source 'nobody'" in kit(f"-w {root} export nobody").err


def test_an_export_of_folds_has_the_mean_of_their_test_predictions(toy: Toy, tmp_path: Path) -> None:
    export_source(project_of(toy), "unet", tmp_path / "unet.npz")
    with np.load(tmp_path / "unet.npz") as file:
        for split in SPLITS:
            for photo_row, values in zip(
                Photos.of(project_of(toy), split).photo_rows, values_of(toy, "unet", split), strict=True
            ):
                assert np.array_equal(file[photo_row.id], values.astype(np.float16))


def test_half_an_import_can_be_exported_and_half_a_training_cannot(toy: Toy, tmp_path: Path) -> None:
    import_part(project_of(toy), "mate", "test", flat(toy, "test", tmp_path / "file"))
    assert export_source(project_of(toy), "mate", tmp_path / "mate.npz").photos == {"test": 6}
    write_toy_source(toy, "part", by_fold=True, present=[0])
    done = kit(f"-w {toy.workspace.root} export part --out {tmp_path / 'part.npz'}")
    assert done.is_one_error_line and "lacks the oof predictions of folds 1, 2" in done.err
    assert not (tmp_path / "part.npz").exists()


@pytest.mark.parametrize("rung", ["simplex", "regions"])
def test_a_blend_goes_out_with_the_oof_that_its_cv_is_measured_on(toy: Toy, tmp_path: Path, rung: str) -> None:
    project = project_of(toy)
    write_toy_source(toy, "other", noise=0.2, seed=8)
    blend = make_blend(project, ["good", "unet", "other"], name="ours", rung=rung)
    path = tmp_path / "ours.npz"
    assert export_source(project, "ours", path).photos == {"oof": 30, "test": 6}
    ok(f"-w {toy.workspace.root} import back --oof {path} --test {path}")
    scores = {score.name: score.score for score in score_sources(project_of(toy))}
    assert abs(scores["back"].value - blend.cv.value) < 2e-4 * blend.cv.value  # float16, and clipped
    expected = [np.clip(values, 0, 1).astype(np.float16) for values in blend_test_values(project, blend)]
    for found, values in zip(values_of(toy, "back", "test"), expected, strict=True):
        assert np.array_equal(found.astype(np.float16), values)
    write_toy_source(toy, "good", noise=0.3, seed=9)
    done = kit(f"-w {toy.workspace.root} export ours --force --out {path}")
    assert done.is_one_error_line and "have changed since blend ours was made" in done.err
