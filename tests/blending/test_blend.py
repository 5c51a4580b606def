"""The blend as a whole: fitted on the toy competition's OOF predictions, gated, written, read, applied."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.command import kit, ok
from support.grams import poke, slsqp_on_pixels
from support.toy import Toy, make_toy_files, make_toy_workspace, noisy, write_toy_source

from kit.blending import (
    CANDIDATES,
    blend_test_values,
    complete_sources,
    left_out_sources,
    make_blend,
    read_blend,
    score_sources,
    stack_recipe,
)
from kit.blending.weights.mixing import plain_model
from kit.competitions import to_score_space
from kit.core.storage import digest_of, write_json
from kit.core.workspace import Workspace
from kit.data.index import read_index
from kit.data.splitting import make_folds
from kit.errors import (
    DamagedStore,
    KitError,
    Mismatch,
    MissingStep,
    PredictionsError,
    UnknownName,
    UsageError,
)
from kit.imaging.metrics import rmse

pytestmark = pytest.mark.toy(  # four complete sources that err on their own
    duplicates=2,
    sources=[
        {"name": "harmonic", "noise": 0.1, "seed": 0},
        {"name": "mean", "noise": 0.12, "seed": 1},
        {"name": "telea", "noise": 0.14, "seed": 2},
        {"name": "unet", "noise": 0.09, "seed": 9, "by_fold": True},
    ],
)


def all_residuals(toy: Toy, source: str) -> np.ndarray:
    oof = toy.project.predictions.read(source, "oof")
    parts = []
    for photo in range(len(toy.index.train)):
        truth = toy.true_values("oof", photo)
        estimated_range, value_range = toy.pack.train_estimated_range[photo], toy.pack.train_value_range[photo]
        parts.append(to_score_space(oof.values(photo), estimated_range) - to_score_space(truth, value_range))
    return np.concatenate(parts).reshape(-1)


@pytest.mark.slow
def test_weights_equal_slsqp_on_all_pixels(toy: Toy) -> None:
    blend = make_blend(toy.project, rung="simplex")
    z = np.stack([all_residuals(toy, member.name) for member in blend.members])
    assert blend.rung == "simplex"
    np.testing.assert_allclose(list(blend.weights.values()), slsqp_on_pixels(z), atol=1e-6)
    blended = np.array(list(blend.weights.values())) @ z
    assert blend.in_sample == pytest.approx(rmse(blended, np.zeros_like(blended)))
    for member, residual in zip(blend.members, z, strict=True):
        assert member.cv.value == pytest.approx(rmse(residual, np.zeros_like(residual)))
        assert member.cv.low < member.cv.value < member.cv.high


def test_blend_is_never_worse_than_best_member_on_its_own_oof(toy: Toy) -> None:
    blend = make_blend(toy.project)
    assert blend.rung == "mean" and "gain nothing credible over it" in blend.reason  # all about as good: none to fit
    assert blend.in_sample is not None and blend.in_sample <= min(member.cv.value for member in blend.members)
    assert blend.in_sample <= blend.cv.value  # nested is not flattered


def test_what_a_blend_says(toy: Toy) -> None:
    blend = make_blend(toy.project)
    assert [member.name for member in blend.members] == ["harmonic", "mean", "telea", "unet"]
    assert (blend.photos, blend.groups, blend.competition) == (24, 22, "toy")
    assert blend.best_single == "unet"
    assert blend.gain.value == pytest.approx(blend.best_single_cv.value - blend.cv.value)
    assert blend.gain.low > 0 and "above zero" in blend.reason
    assert sum(blend.weights.values()) == pytest.approx(1.0)
    assert all(member.without is not None and member.without.value > 0 for member in blend.members)
    assert [row.rung for row in blend.ladder] == list(CANDIDATES)
    assert {row.rung: row.cv for row in blend.ladder}[blend.rung] == blend.cv
    assert [row.by for row in blend.slices] == ["distance"] * 3 + ["channel"] * 3 + ["class"] * 2
    for by in ("distance", "channel", "class"):
        rows = [row for row in blend.slices if row.by == by]
        assert sum(row.share for row in rows) == pytest.approx(1.0)
        total = sum(row.share * row.cv.value**2 for row in rows)
        assert np.sqrt(total) == pytest.approx(blend.leaderboard.score.value)
    assert blend.leaderboard.photos == 6 and blend.leaderboard.score.low < blend.leaderboard.score.value
    errors = [error for _, error in blend.trajectory]
    assert blend.trajectory[0] == ("unet", pytest.approx(min(m.cv.value for m in blend.members)))
    assert errors[-1] == min(errors)
    correlation = np.array(blend.correlation)
    assert correlation.shape == (4, 4) and np.allclose(correlation, correlation.T)


def test_same_bytes_on_rerun_in_any_order_with_any_workers(toy: Toy) -> None:
    first = make_blend(toy.project, workers=1)
    path = toy.workspace.blend(first.name)
    data = path.read_bytes()
    shutil.rmtree(toy.workspace.blends)
    again = make_blend(toy.project, ["unet", "telea", "harmonic", "mean"], workers=3)
    assert again == first and path.read_bytes() == data  # from the pixels
    assert make_blend(toy.project) == first and path.read_bytes() == data  # from the cache
    assert make_blend(toy.project, seed=1).name != first.name
    assert make_blend(toy.project, ["unet", "telea"]).name != first.name


@pytest.mark.parametrize("rung", ["auto", "regions"])
def test_same_bytes_whatever_the_cache_held(toy: Toy, rung: str) -> None:
    path = toy.workspace.blend(make_blend(toy.project, rung=rung).name)
    cold = path.read_bytes()
    shutil.rmtree(toy.workspace.blends)
    make_blend(toy.project, ["unet", "harmonic"])  # the Gram of all four is then an extended one, in another order
    make_blend(toy.project, rung=rung)
    extended = path.read_bytes()
    make_blend(toy.project, rung=rung)
    assert cold == extended == path.read_bytes()


def test_members_may_be_named_in_any_way(toy: Toy) -> None:
    blend = f"-w {toy.workspace.root} blend --plots none --json"
    spellings = (
        "unet telea mean",
        "--members unet,telea,mean",
        "--members unet --members telea,mean",
        "mean --members unet,telea",
    )
    found = {json.loads(ok(f"{blend} {names}"))["name"] for names in spellings}
    assert len(found) == 1
    assert [row["name"] for row in json.loads(ok(f"{blend} {spellings[2]}"))["members"]] == ["mean", "telea", "unet"]
    for line, said in (
        ("--members ,", "names no source"),
        ("--force", "goes with --stack"),
        ("--plots gif", "not png"),
    ):
        done = kit(f"{blend} {line}")
        assert done.is_one_error_line and said in done.err


def test_an_unfinished_stack_says_how_to_go_on(toy: Toy) -> None:
    write_toy_source(
        toy, "stack-1", by_fold=True, present=[0], recipe={"kind": "stack", "members": {}}, made_by="kit blend --stack"
    )
    assert left_out_sources(toy.project)["stack-1"].endswith("Run: kit blend --stack")
    assert stack_recipe(toy.project, "stack-1") == {"kind": "stack", "members": {}}
    write_toy_source(toy, "stack-1", by_fold=True, recipe={"kind": "stack", "members": {}})
    assert "stack-1" not in make_blend(toy.project).weights  # a stack of other members, and no member by itself


def test_reading_gives_what_was_made(toy: Toy) -> None:
    blend = make_blend(toy.project)
    assert read_blend(toy.workspace, blend.name) == blend == read_blend(toy.workspace)
    named = make_blend(toy.project, ["mean"], name="mine")
    os.utime(toy.workspace.blend("mine"), ns=(1 << 62, 1 << 62))
    assert read_blend(toy.workspace) == named == read_blend(toy.workspace, "mine")


# --- the gate --------------------------------------------------------------------------------------------------------


def test_the_gate_falls_back_when_members_are_copies_plus_noise(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path, photos=30, test=2)
    shared = noisy(0.15, seed=1)
    for copy in range(5):
        tiny = noisy(1e-4, seed=2 + copy)
        write_toy_source(toy, f"copy{copy}", predict=lambda *a, tiny=tiny: tiny(a[0], a[1], shared(*a)))
    blend = make_blend(toy.project)
    assert blend.rung == "single" and "best single source" in blend.reason
    assert blend.weights == {name: float(name == blend.best_single) for name in blend.weights}
    assert blend.cv == blend.best_single_cv
    assert blend.gain.low <= 0 or blend.gain.value < 1e-3


def test_identical_members_are_one_member(toy: Toy) -> None:
    for name in ("twin-a", "twin-b"):
        write_toy_source(toy, name, 0.09, seed=30)
    blend = make_blend(toy.project, ["twin-a", "twin-b"])
    assert blend.rung == "single" and blend.gain.value == pytest.approx(0.0, abs=1e-12)
    assert blend.correlation[0][1] == pytest.approx(1.0)
    with_others = make_blend(toy.project, ["mean", "twin-a", "twin-b"], rung="simplex")
    for twin in with_others.members[1:]:
        assert twin.without is not None
        assert twin.without.value == pytest.approx(0.0, abs=1e-9)  # the other one takes its place


def test_one_source_is_the_blend(toy: Toy) -> None:
    blend = make_blend(toy.project, ["telea"])
    assert blend.weights == {"telea": 1.0} and blend.rung == "single"
    assert blend.members[0].without is None and blend.gain.value == 0.0
    assert blend.cv == blend.members[0].cv == blend.best_single_cv
    assert blend.in_sample == pytest.approx(blend.cv.value)


def test_few_photos_admit_nothing(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path, photos=8, test=1, k=2)
    for seed in range(3):
        write_toy_source(toy, f"m{seed}", 0.1, seed)
    blend = make_blend(toy.project)
    assert blend.rung == "single" and "Only 8 groups" in blend.reason and blend.gain.value == 0.0
    assert {row.rung: row.gain.value for row in blend.ladder}["mean"] > 0


def test_a_constant_member_gets_no_weight(toy: Toy) -> None:
    write_toy_source(toy, "black", predict=lambda _split, _photo, truth: np.zeros_like(truth))
    blend = make_blend(toy.project)
    assert blend.rung != "single" and abs(blend.weights["black"]) < 0.15
    assert make_blend(toy.project, rung="simplex").weights["black"] < 0.1
    assert np.isfinite(blend.correlation).all()


# --- what the blend predicts -----------------------------------------------------------------------------------------


def test_test_values_are_the_weighted_sum_in_pixel_and_in_score_space(toy: Toy) -> None:
    blend = make_blend(toy.project)
    members = [toy.project.predictions.read(name, "test") for name in blend.weights]
    found = list(blend_test_values(toy.project, blend))
    assert len(found) == len(toy.index.test)
    for photo, values in enumerate(found):
        assert values.dtype == np.float32 and values.shape == (200, 3)
        expected = sum(w * one.values(photo) for w, one in zip(blend.weights.values(), members, strict=True))
        np.testing.assert_allclose(values, expected, atol=1e-6)
        value_range = toy.pack.test_estimated_range[photo]
        in_score_space = sum(
            w * to_score_space(one.values(photo), value_range)
            for w, one in zip(blend.weights.values(), members, strict=True)
        )
        np.testing.assert_allclose(to_score_space(values, value_range), in_score_space, atol=1e-6)


def test_a_single_source_predicts_its_own_values(toy: Toy) -> None:
    blend = make_blend(toy.project, ["unet"])
    unet = toy.project.predictions.read("unet", "test")
    for photo, values in enumerate(blend_test_values(toy.project, blend)):
        assert values.tobytes() == unet.values(photo).tobytes()


@pytest.mark.parametrize("splits", [("oof",), ("test",)])
def test_changed_predictions_are_refused_at_once(toy: Toy, splits: tuple) -> None:
    blend = make_blend(toy.project)
    write_toy_source(toy, "telea", 0.2, seed=77, splits=splits)
    with pytest.raises(Mismatch, match=r"predictions of telea have changed.*kit blend"):
        blend_test_values(toy.project, blend)


def test_a_member_without_weight_may_go(toy: Toy) -> None:
    blend = make_blend(toy.project, ["telea", "unet"])
    single = next(name for name in ("telea", "unet") if name != blend.best_single)
    alone = plain_model([float(row.name != single) for row in blend.members])
    gated = dataclasses.replace(blend, recipe=alone)
    shutil.rmtree(toy.workspace.predictions / single)
    assert len(list(blend_test_values(toy.project, gated))) == 6
    with pytest.raises(UnknownName, match=single):
        blend_test_values(toy.project, blend)


def test_other_folds_or_index_are_refused(toy: Toy) -> None:
    blend = make_blend(toy.project)
    make_folds(toy.project, k=2)
    with pytest.raises(Mismatch, match=r"another folds.*kit blend"):
        blend_test_values(toy.project, blend)
    with pytest.raises(Mismatch, match=r"unet/oof/fold_0\.npy was made with other folds"):
        make_blend(toy.project, ["unet", "telea"])


def test_nan_in_test_predictions_names_file_and_command(toy: Toy) -> None:
    blend = make_blend(toy.project)
    poke(toy.workspace.source("unet", "test") / "fold_2.npy", 5, np.nan)
    with pytest.raises(PredictionsError, match=r"unet/test/fold_2\.npy.*kit train unet --force"):
        list(blend_test_values(toy.project, blend))


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "error", "message"),
    [
        (["harmonic", "nosuch"], UnknownName, r"no source 'nosuch'.*harmonic"),
        (["unet", "mean", "unet"], UsageError, r"unet is named twice"),
        (["partial", "mean"], MissingStep, r"partial lacks the oof predictions of folds 1.*--fold 1"),
        (["untested"], MissingStep, r"untested.*test"),
        (["../up"], UsageError, r"cannot be a file name"),
    ],
)
def test_bad_members_are_refused(toy: Toy, sources: list[str], error: type[KitError], message: str) -> None:
    write_toy_source(toy, "partial", by_fold=True, present=[0, 2])
    write_toy_source(toy, "untested", splits=["oof"])
    with pytest.raises(error, match=message) as caught:
        make_blend(toy.project, sources)
    assert "\n" not in str(caught.value)
    assert not list(toy.workspace.blends.glob("*.json"))


def test_a_bad_name_is_refused_before_the_pass(toy: Toy) -> None:
    with pytest.raises(UsageError, match="cannot be a file name"):
        make_blend(toy.project, name="a/b")
    assert not toy.workspace.blends.exists()


def test_nothing_to_blend_says_what_to_run(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path, photos=6, test=1, k=2)
    with pytest.raises(MissingStep, match="kit fill all"):
        make_blend(toy.project)
    assert score_sources(toy.project) == []
    with pytest.raises(MissingStep, match="Run: kit blend"):
        read_blend(toy.workspace)


def test_nan_in_oof_predictions_names_file_and_command(toy: Toy) -> None:
    poke(toy.workspace.source("telea", "oof") / "all.npy", 100, np.nan)
    said = r"telea/oof/all\.npy.*kit fill telea --force"
    with pytest.raises(PredictionsError, match=said):
        make_blend(toy.project, ["mean", "telea"])
    assert not list(toy.workspace.blends.glob("*.json"))
    problems = {score.name: score.problem for score in score_sources(toy.project) if score.problem}
    assert list(problems) == ["telea"] and re.search(said, problems["telea"])
    assert "telea" not in [row.name for row in make_blend(toy.project).members]


def test_photos_of_one_group_are_refused(toy: Toy) -> None:
    project = toy.project
    vars(project)["folds"] = dataclasses.replace(toy.folds, group=np.zeros_like(toy.folds.group))
    with pytest.raises(UsageError, match="near duplicates of one another"):
        make_blend(project)


def test_damaged_and_foreign_blends_are_refused(toy: Toy) -> None:
    blend = make_blend(toy.project, name="mine")
    path = toy.workspace.blend("mine")
    with pytest.raises(UnknownName, match="mine"):
        read_blend(toy.workspace, "other")
    fields = json.loads(path.read_text())
    with pytest.raises(Mismatch, match="--competition toy"):
        read_blend(Workspace(toy.workspace.root, "second"), "mine")
    with pytest.raises(MissingStep, match="no blend for second"):
        read_blend(Workspace(toy.workspace.root, "second"))
    weights = {**fields["recipe"], "regions": 1}
    changes = (
        {**fields, "cv": None},
        {**fields, "members": [{}]},
        {},
        {**fields, "more": 1},
        {**fields, "rung": "foo"},
    )
    reversed_ = {**fields, "members": fields["members"][::-1]}
    for damage in (*changes, reversed_, {**fields, "recipe": weights}, {**fields, "name": "other"}):
        path.write_text(json.dumps(damage))
        with pytest.raises(DamagedStore, match=r"mine\.json is not a blend"):
            read_blend(toy.workspace, "mine")
    path.write_text(json.dumps(fields))
    toy.workspace.blend("copy").write_bytes(path.read_bytes())
    with pytest.raises(DamagedStore, match="changed, copied or renamed"):
        read_blend(toy.workspace, "copy")
    toy.workspace.blend("copy").unlink()
    path.write_text("{")
    with pytest.raises(DamagedStore, match="not JSON"):
        read_blend(toy.workspace)
    assert blend.name == "mine"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": {"domain": "frequencies", "regions": 18}, "rung": "bands"}, "rung bands"),
        ({"extremes": {"beyond": 0.5, "room": 0.0}}, "a fitted rule for the extremes"),
    ],
)
def test_a_blend_of_a_kind_that_is_gone_says_how_to_make_it_again(toy: Toy, changes: dict, said: str) -> None:
    make_blend(toy.project, ["unet", "mean"], name="old")
    path = toy.workspace.blend("old")
    fields = json.loads(path.read_text())
    del fields["digest"]
    fields |= changes | {"recipe": {**fields["recipe"], **changes.get("recipe", {})}}
    write_json(path, {**fields, "digest": digest_of(fields)})
    done = kit(f"-w {toy.workspace.root} upload old --dry-run")
    assert done.is_one_error_line and said in done.err
    assert "Make the blend again: kit blend mean unet --name old" in done.err.replace(f"-w {toy.workspace.root} ", "")


def test_a_blend_that_kept_the_extremes_of_known_pixels_is_still_read(toy: Toy) -> None:
    blend = make_blend(toy.project, name="old")
    path = toy.workspace.blend("old")
    fields = json.loads(path.read_text())
    del fields["digest"]
    zero = {"value": 0.0, "low": 0.0, "high": 0.0}
    fields["extremes"] = {"beyond": 0.0, "room": 0.0, "gain": zero, "reason": "no other rule is credibly better"}
    write_json(path, {**fields, "digest": digest_of(fields)})
    assert read_blend(toy.workspace, "old") == blend


# --- scores of single sources ----------------------------------------------------------------------------------------


def test_scores_of_all_sources(toy: Toy) -> None:
    write_toy_source(toy, "partial", 0.05, seed=5, by_fold=True, present=[0, 2])
    write_toy_source(toy, "untested", 0.01, splits=["oof"])
    write_toy_source(toy, "unseen", 0.01, splits=["test"], by_fold=True)
    scores = score_sources(toy.project)
    assert [one.name for one in scores] == ["unet", "harmonic", "mean", "telea", "partial", "unseen", "untested"]
    by_name = {one.name: one for one in scores}
    blend = make_blend(toy.project)
    assert {name for name, one in by_name.items() if one.complete} == set(blend.weights)
    for member in blend.members:  # both commands say the same number
        assert by_name[member.name].score == member.cv and by_name[member.name].digest == member.oof
    assert by_name["unet"].trained and not by_name["mean"].trained
    assert by_name["unet"].seconds == 6.0 and by_name["mean"].seconds == 2.0

    partial = by_name["partial"]
    assert partial.score is not None and partial.difference is not None and partial.reference_score is not None
    assert (partial.missing_oof, partial.missing_test, partial.complete) == ((1,), (1,), False)
    photos = np.flatnonzero(toy.folds.fold != 1)
    assert partial.photos == len(photos) and partial.reference == "harmonic"  # unet is better, but trained
    own = all_residuals(toy, "harmonic").reshape(24, -1)[photos]
    assert partial.reference_score.value == pytest.approx(rmse(own, np.zeros_like(own)))
    assert partial.difference.value == pytest.approx(partial.score.value - partial.reference_score.value)
    assert by_name["untested"].missing_test == (0, 1, 2) and by_name["untested"].score is not None
    assert by_name["unseen"].score is None and "oof" in by_name["unseen"].problem


def test_complete_and_left_out_sources(toy: Toy) -> None:
    write_toy_source(toy, "partial", by_fold=True, present=[1])
    assert complete_sources(toy.project) == ["harmonic", "mean", "telea", "unet"]
    left_out = left_out_sources(toy.project)
    assert list(left_out) == ["partial"] and "folds 0, 2" in left_out["partial"]


def test_a_source_of_another_index_is_left_out_with_a_reason(toy: Toy, tmp_path: Path) -> None:
    other = make_toy_workspace(tmp_path / "other", seed=1)
    write_toy_source(other, "foreign")
    shutil.copytree(other.workspace.predictions / "foreign", toy.workspace.predictions / "foreign")
    assert "foreign" not in complete_sources(toy.project)
    (foreign,) = [one for one in score_sources(toy.project) if one.name == "foreign"]
    assert foreign.score is None and "another index" in foreign.problem
    with pytest.raises(Mismatch, match="another index"):
        make_blend(toy.project, ["foreign", "mean"])


def test_scoring_reads_pixels_once(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy_source(toy, "partial", by_fold=True, present=[0])
    first = score_sources(toy.project)
    monkeypatch.setattr(
        "kit.blending.grams.residual_gram.residual_gram", lambda *_, **__: pytest.fail("read the pixels again")
    )
    assert score_sources(toy.project) == first
    make_blend(toy.project)


def test_toy_files_are_the_same_every_time(tmp_path: Path) -> None:
    first, second = (make_toy_files(tmp_path / name) for name in ("a", "b"))
    for path in sorted(first.raw.rglob("*")):
        if path.is_file():
            assert (second.raw / path.relative_to(first.raw)).read_bytes() == path.read_bytes()
    toy = make_toy_workspace(tmp_path / "a")
    assert read_index(toy.workspace).digest == toy.index.digest
