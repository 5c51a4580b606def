"""`kit train` and `kit predict` as functions: the contract that every registered experiment keeps."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.toy import SLUG, TOY
from support.trainings import CPU, FOLDS, log_of, short, trained_on_all_folds, weights_of

import kit.data.prediction_store
from kit.blending import make_blend
from kit.competitions import to_score_space
from kit.core.storage import digest_file, digest_of, write_json
from kit.core.workspace import Workspace
from kit.data.fill_sources import make_fill_source
from kit.data.pack import build_pack
from kit.data.project import Project
from kit.errors import KitError, Mismatch, TrainingError, UnknownName, UsageError
from kit.imaging.holes import scored_pixels
from kit.learning.experiments import ARCHITECTURES, EXPERIMENTS, Experiment, check_conflicts, recipe_of
from kit.learning.experiments.conflicts import check_source
from kit.learning.inference import predict, prepare_inputs
from kit.learning.training import load_generator
from kit.learning.training.fit import base_fills, fit_fold, predict_fold
from kit.learning.training.methods import METHODS


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Every registered experiment trained on every fold; not to be written to."""
    return trained_on_all_folds(tmp_path_factory.mktemp("trained"), EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_predicts_every_training_photo_once_and_the_test_photos_with_every_fold(
    name: str, trained: Project
) -> None:
    oof = trained.predictions.read(name, "oof")
    test = trained.predictions.read(name, "test")
    assert oof.places.shape[:2] == (len(trained.index.train), 1)
    assert test.places.shape[:2] == (len(trained.index.test), FOLDS)
    for predictions, photo_rows in ((oof, trained.index.train), (test, trained.index.test)):
        for position, photo_row in enumerate(photo_rows):
            values = predictions.values(position)
            assert values.shape == (photo_row.scored, 3)
            assert values.min() >= 0 and values.max() <= 1


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_oof_part_of_a_fold_holds_exactly_that_folds_photos(name: str, trained: Project) -> None:
    for fold in range(FOLDS):
        positions = trained.folds.valid_positions(fold)
        manifest = trained.predictions.manifest(name, "oof", fold)
        assert manifest is not None
        assert manifest["photos"] == len(positions)
        assert manifest["values"] == sum(trained.index.train[position].scored for position in positions)
        assert (manifest["folds"], manifest["index"]) == (trained.folds.digest, trained.index.digest)
        assert digest_of(manifest["recipe"]) == digest_of(recipe_of(short(name)))
        only = trained.predictions.read(name, "oof")
        assert set(positions) == set(np.flatnonzero(only.places[:, 0, 0] == fold))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_reloads_equal_and_predicts_the_same_bytes_again(name: str, copied: Project) -> None:
    folder = copied.workspace.predictions / name
    before = {path.name + path.parent.name: path.read_bytes() for path in folder.rglob("fold_1.npy")}
    assert len(before) == 2
    assert load_generator(copied.workspace, name, 1, CPU)[0] == short(name)
    assert predict_fold(copied, name, 1, device="cpu") is False
    assert predict_fold(copied, name, 1, device="cpu", force=True) is True
    after = {path.name + path.parent.name: path.read_bytes() for path in folder.rglob("fold_1.npy")}
    assert after == before


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_folds_rmse_is_that_of_its_stored_predictions(name: str, trained: Project) -> None:
    oof = trained.predictions.read(name, "oof")
    for fold in range(FOLDS):
        errors = []
        for position in trained.folds.valid_positions(fold):
            truth = trained.pack.train_target[position][scored_pixels(trained.index.train[position].boxes)] / 255
            guess = to_score_space(oof.values(position), trained.pack.train_estimated_range[position])
            errors.append(guess - to_score_space(truth, trained.pack.train_value_range[position]))
        run = json.loads((trained.workspace.run(name, fold) / "run.json").read_text())
        assert run["fold_rmse"] == pytest.approx(np.sqrt(np.mean(np.concatenate(errors) ** 2)), rel=2e-4)


LOSSES: dict[str, Callable[[Experiment], dict[str, bool]]] = {
    "supervised": lambda one: {
        "mse": one.mse_weight > 0,
        "l1": one.l1_weight > 0,
        **dict.fromkeys(["adversarial", "discriminator"], one.adversarial_weight > 0),
        "features": one.feature_weight > 0,
        **dict.fromkeys(["spread", "real_spread"], one.predicts_photo and one.adversarial_weight > 0),
    },
    "cyclegan": lambda one: dict.fromkeys(
        ["adversarial", "discriminator", "cycle", "identity", "spread", "real_spread"], True
    ),
    "dcgan": lambda one: dict.fromkeys(["adversarial", "discriminator", "spread", "real_spread"], True),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_log_has_every_loss_of_the_method_and_the_measurements(name: str, trained: Project) -> None:
    one, log = short(name), log_of(trained.workspace.run(name, 1))
    losses = {column for column, there in LOSSES[one.method](one).items() if there}
    assert [row["epoch"] for row in log] == [1, 2]
    assert all(row.keys() - {"fold_rmse"} == losses | {"epoch", "learning_rate"} for row in log)
    measured = [row["epoch"] for row in log if "fold_rmse" in row]
    assert measured == ([2] if one.validations == 1 else [1, 2])
    assert all(math.isfinite(value) and value >= 0 for row in log for value in row.values())


def test_trained_sources_and_fills_are_blended_alike(copied: Project) -> None:
    blend = make_blend(copied, [*EXPERIMENTS, "mean"])
    assert {member.name for member in blend.members} == {*EXPERIMENTS, "mean"}
    assert sum(member.weight for member in blend.members) == pytest.approx(1.0)
    assert all(member.oof and member.test for member in blend.members)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_finished_fold_is_skipped_and_nothing_is_written(
    name: str, copied: Project, digests: Callable[[Path], dict[str, str]]
) -> None:
    before = digests(copied.workspace.root)
    assert fit_fold(copied, short(name), 0, device="cpu").skipped
    assert digests(copied.workspace.root) == before


def test_lost_predictions_are_made_again_without_training(copied: Project) -> None:
    path = copied.workspace.source("regress", "test") / "fold_2.npy"
    before = path.read_bytes()
    path.unlink()
    weights = (copied.workspace.run("regress", 2) / "model.safetensors").stat().st_mtime_ns
    assert not fit_fold(copied, short(), 2, device="cpu").skipped
    assert path.read_bytes() == before
    assert (copied.workspace.run("regress", 2) / "model.safetensors").stat().st_mtime_ns == weights


def test_everything_again_on_another_machine_without_the_hidden_pixels_gives_the_same_bytes(
    trained: Project, tmp_path: Path
) -> None:
    """The whole way from the raw files, with noise under the holes of every masked photo."""
    import cv2

    workspace = Workspace(tmp_path / "noise", SLUG)
    shutil.copytree(trained.workspace.raw, workspace.raw)
    shutil.copytree(trained.workspace.folds.parent, workspace.folds.parent)
    for photo_row in (*trained.index.train, *trained.index.test):
        path = workspace.raw / photo_row.image
        picture = cv2.imread(str(path))
        picture[photo_row.hole] = np.random.default_rng(2).integers(0, 256, picture[photo_row.hole].shape)
        cv2.imwrite(str(path), picture)
    build_pack(workspace, TOY)
    from kit.data.index import read_index

    assert read_index(workspace).digest != trained.index.digest  # the photos' own digests differ
    noisy = Project(workspace)
    recipe = json.loads(workspace.folds.with_suffix(".json").read_text())
    workspace.folds.with_suffix(".json").write_text(json.dumps({**recipe, "index": noisy.index.digest}))
    fit_fold(noisy, short(), 1, device="cpu")
    for path in (
        "runs/regress/fold_1/model.safetensors",
        *(f"predictions/regress/{s}/fold_1.npy" for s in ("oof", "test")),
    ):
        assert (workspace.root / path).read_bytes() == (trained.workspace.root / path).read_bytes()


# refusals


def test_other_settings_under_a_taken_name_are_refused(
    copied: Project, digests: Callable[[Path], dict[str, str]]
) -> None:
    before = digests(copied.workspace.root)
    with pytest.raises(Mismatch, match=r"--as NAME.*--fold all --force"):
        fit_fold(copied, short("regress", "seed=3"), 0, device="cpu")
    assert digests(copied.workspace.root) == before


def test_all_folds_can_be_replaced_and_a_mixture_is_never_read(copied: Project) -> None:
    other = short("regress", "epochs=1")
    for fold in range(FOLDS):
        if fold:
            with pytest.raises(Mismatch, match=r"different settings.*--fold all --force"):
                copied.predictions.read("regress", "oof")
        if fold < FOLDS - 1:  # one fold of several
            with pytest.raises(Mismatch, match=r"trained with other epochs\. .*--fold all --force"):
                fit_fold(copied, other, fold, device="cpu", force=True)
        assert fit_fold(copied, other, fold, device="cpu", force=True, replacing=range(FOLDS)).epochs == 1
    oof = copied.predictions.read("regress", "oof")
    assert len(oof.photos) == len(copied.index.train)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (["encoder=tu-nope"], UsageError),
        (["encoder_weights=nothing.pth"], TrainingError),
        (["architecture=fpn"], UsageError),
    ],
)
@pytest.mark.parametrize("name", ["fresh", "regress"])
def test_settings_that_cannot_work_are_refused_before_anything_is_lost_or_claimed(
    name: str,
    settings: list[str],
    error: type[KitError],
    copied: Project,
    digests: Callable[[Path], dict[str, str]],
) -> None:
    before = digests(copied.workspace.root)
    with pytest.raises(error):
        one, force = short("regress", *settings, rename=name), name == "regress"
        fit_fold(copied, one, 0, device="cpu", force=force, replacing=range(FOLDS))
    assert digests(copied.workspace.root) == before
    assert fit_fold(copied, short(rename=name), 0, device="cpu").skipped is (name == "regress")


def test_a_mean_of_the_last_steps_is_refused_where_patience_may_stop_before_them(copied: Project) -> None:
    one = short("regress", "average=swa", "patience=2", rename="early")
    with pytest.raises(UsageError, match=r"patience=2 may stop before them\. .*--set average=ema"):
        fit_fold(copied, one, 0, device="cpu")
    assert not copied.workspace.run("early", 0).exists()
    with pytest.raises(UsageError, match="may stop before"):
        check_conflicts(copied, one, 0)
    path = copied.workspace.run("early", 0) / "run.json"
    write_json(path, {})  # what was trained so before is left as it is
    check_source(copied, one, 0)


CANNOT_BE = {
    "unet": ("regress", ["encoder=tu-resnet81"], r"no encoder 'tu-resnet81'\. Did you mean tu-resnet18\?"),
    "unetplusplus": ("regress", ["decoder_channels=16"], "cannot be trained with architecture=unetplusplus"),
    "fpn": ("regress", ["decoder_channels=16,16,16"], "must be divisible"),
    "manet": ("pix2pix", ["discriminator_layers=5"], "discriminator_layers=5 discriminator_norm=batch"),
    "light": ("regress", ["decoder_channels=16"], "decoder_channels"),
    "plain": ("regress", ["bottleneck=attention", "width=10"], "a multiple of 32 channels"),
    "bilstm": ("pix2pix", ["discriminator_layers=5"], "cannot be trained with architecture=bilstm"),
    "partialconv": ("regress", ["blocks=7"], "blocks=7 size=32"),
    "paper-unet": ("pix2pix-paper", ["discriminator_layers=5"], "cannot be trained with architecture=paper-unet"),
    "resnet": ("cyclegan", ["discriminator_layers=5"], "cannot be trained with architecture=resnet"),
    "dcgan": ("dcgan", ["width=12"], r"the network gives \(2, 3, 16, 16\) for \(2, 3, 32, 32\)"),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_networks_that_cannot_be_built_or_do_not_fit_are_refused_before_anything_is_written(
    architecture: str,
    copied: Project,
    digests: Callable[[Path], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, settings, said = CANNOT_BE[architecture]
    one = short(name, f"architecture={architecture}", *settings, rename="fresh")
    if architecture == "dcgan":  # all that can be set works: a network of another size it is
        monkeypatch.setattr(METHODS["dcgan"], "check_buildable", lambda *_: torch.Size([2, 3, 16, 16]))
    before = digests(copied.workspace.root)
    with pytest.raises(UsageError, match=said) as refused:
        fit_fold(copied, one, 0, device="cpu")
    assert ".." not in str(refused.value)
    assert digests(copied.workspace.root) == before


def test_force_trains_again_with_the_same_bytes(copied: Project) -> None:
    folder = copied.workspace.run("pix2pix", 0)
    before = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert not fit_fold(copied, short("pix2pix"), 0, device="cpu", force=True).skipped
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["mean", "telea"])
def test_the_name_of_a_fill_is_refused(name: str, copied: Project) -> None:
    with pytest.raises(UsageError, match="--as NAME"):
        fit_fold(copied, short(rename=name), 0, device="cpu")


def test_a_name_that_is_no_file_name_is_refused(copied: Project) -> None:
    with pytest.raises(UsageError, match="cannot be a file name"):
        fit_fold(copied, short(rename="../elsewhere"), 0, device="cpu")


def test_predicting_what_was_never_trained_says_how_to_train(copied: Project) -> None:
    with pytest.raises(UnknownName, match="no trained source 'unet'"):
        predict_fold(copied, "unet", 1, device="cpu")
    with pytest.raises(UsageError, match=r"is a fill.*kit fill harmonic --force"):
        predict_fold(copied, "harmonic", 1, device="cpu")


def test_predicting_with_other_folds_is_refused(copied: Project) -> None:
    from kit.data.splitting import make_folds

    make_folds(copied, k=FOLDS, seed=5)
    again = Project(copied.workspace)
    with pytest.raises(Mismatch, match="--force"):
        predict_fold(again, "regress", 0, device="cpu")
    with pytest.raises(Mismatch, match="folds"):
        fit_fold(again, short(), 0, device="cpu")


def test_weights_that_are_not_finite_are_not_stored_as_predictions(copied: Project) -> None:
    from safetensors.torch import load_file, save_file

    path = copied.workspace.run("regress", 0) / "model.safetensors"
    weights = load_file(path)
    save_file({name: value * float("nan") if value.ndim == 4 else value for name, value in weights.items()}, path)
    run = path.with_name("run.json")
    run.write_text(json.dumps({**json.loads(run.read_text()), "weights": digest_file(path)}))
    stored = copied.workspace.source("regress", "oof") / "fold_0.npy"
    before = stored.read_bytes()
    with pytest.raises(KitError, match="not finite"):
        predict_fold(copied, "regress", 0, device="cpu", force=True)
    assert stored.read_bytes() == before


def test_a_batch_larger_than_the_fold_trains_in_one_step_an_epoch(copied: Project) -> None:
    run = fit_fold(copied, short("regress", "batch_size=500", rename="large"), 0, device="cpu")
    assert json.loads((run.folder / "run.json").read_text())["steps"] == run.epochs == 2


@pytest.mark.parametrize("base", ["harmonic", "fractional"])
def test_the_base_fill_is_made_when_it_is_needed(base: str, copied: Project) -> None:
    assert not (copied.workspace.predictions / base).exists()
    fit_fold(copied, short("regress", f"base={base}", "epochs=1", rename=f"over-{base}"), 0, device="cpu")
    assert make_fill_source(copied, base) is False


def test_a_fill_made_again_by_another_process_is_never_without_its_manifest(
    copied: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen = kit.data.prediction_store.write_json, []

    def watched(path: Path, value: object) -> None:
        seen.append(path.is_file())
        original(path, value)

    monkeypatch.setattr(kit.data.prediction_store, "write_json", watched)
    make_fill_source(copied, "mean", force=True)
    assert seen == [True, True]


def test_training_leaves_the_global_random_state_usable(copied: Project) -> None:
    fit_fold(copied, short("regress", "epochs=1", rename="one"), 0, device="cpu")
    assert torch.rand(3).unique().numel() == 3


def test_a_trained_source_is_shown_photos_at_another_size(copied: Project) -> None:
    store = copied.predictions
    before, weights = store.read("regress", "oof").values(0), weights_of(copied)
    for fold in range(FOLDS):
        assert predict_fold(copied, "regress", fold, device="cpu", size=48) is True
    stamp = json.loads((copied.workspace.run("regress", 0) / "experiment.json").read_text())
    assert stamp["experiment"]["predict_size"] == 48
    assert weights_of(copied) == weights
    larger = Project(copied.workspace).predictions.read("regress", "oof").values(0)
    assert not np.array_equal(before, larger)
    one = short("regress", "predict_size=48")
    positions = copied.folds.valid_positions(0)
    _, generator = load_generator(copied.workspace, "regress", 0, CPU)
    fill = base_fills(copied, one)["oof"]
    inputs = prepare_inputs(one, copied.pack.train_image, copied.index.train, positions, fill)
    first = next(iter(predict(generator, one, inputs, CPU)))
    stored = Project(copied.workspace).predictions.read("regress", "oof").values(int(positions[0]))
    assert np.array_equal(first.astype(np.float16), stored.astype(np.float16))
    assert predict_fold(copied, "regress", 0, device="cpu") is False  # it stays so
    assert predict_fold(copied, "regress", 0, device="cpu", size=0) is True
    stamp = json.loads((copied.workspace.run("regress", 0) / "experiment.json").read_text())
    assert "predict_size" not in stamp["experiment"]


@pytest.mark.parametrize(("size", "said"), [(50, "predict_size=50"), (4096, "predict_size=4096")])
def test_a_size_that_cannot_be_is_refused_and_changes_nothing(size: int, said: str, copied: Project) -> None:
    stamp = (copied.workspace.run("regress", 0) / "experiment.json").read_bytes()
    with pytest.raises(UsageError, match=said):
        predict_fold(copied, "regress", 0, device="cpu", size=size)
    assert (copied.workspace.run("regress", 0) / "experiment.json").read_bytes() == stamp
