"""Networks with a condition of each photo: nothing changes before they learn, and what held still holds."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.command import kit, ok
from support.tiny_clip import tiny_clip
from support.trainings import finish, flags, project_at, results, start_together, tiny, train, train_until, weights_of

from kit.data.project import Project
from kit.errors import UsageError
from kit.learning.conditions import conditions_of, principal
from kit.learning.datasets import TrainingPhotos
from kit.learning.experiments import Experiment, check_effect, experiment, settings_of
from kit.learning.inference import predict
from kit.learning.models import build_generator
from kit.learning.models.layers.film import CONDITION, Film
from kit.learning.training.fit import fit_fold, predict_fold

CONDITIONED = ("unet", "unetplusplus", "fpn", "manet", "plain", "light")


def conditioned(*settings: str, model: object = "thumbnail") -> Experiment:
    return tiny("regress", f"clip={model}", "epochs=2", *settings)


def generator_of(architecture: str, *settings: str, deep: str = "32,16,16") -> Any:
    one = tiny("regress", f"architecture={architecture}", f"decoder_channels={deep}", *settings)
    torch.manual_seed(0)
    return build_generator(one).eval()


# --- the network


@pytest.mark.parametrize("architecture", CONDITIONED)
def test_an_untrained_film_changes_nothing(architecture: str) -> None:
    plain, film = generator_of(architecture), generator_of(architecture, "clip=thumbnail")
    before, after = plain.state_dict(), film.state_dict()
    assert [name for name in after if name not in before and "film." not in name] == []
    for name, value in before.items():
        assert torch.equal(after[name], value)  # the same seed gives the same start
    for network in (plain, film):
        torch.manual_seed(1)
        for parameter in network.parameters():
            if parameter.ndim > 1 and not parameter.any() and "film" not in _name_of(network, parameter):
                torch.nn.init.normal_(parameter, std=0.1)  # the head begins at zero
    x, condition = torch.randn(2, 6, 32, 32), torch.randn(2, CONDITION)
    with torch.no_grad():
        assert torch.equal(film(x, condition), plain(x)) and float(plain(x).abs().max()) > 0


def _name_of(network: torch.nn.Module, wanted: torch.nn.Parameter) -> str:
    return next(name for name, parameter in network.named_parameters() if parameter is wanted)


@pytest.mark.parametrize("architecture", CONDITIONED)
def test_a_trained_film_tells_photos_apart(architecture: str) -> None:
    network = generator_of(architecture, "clip=thumbnail")
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(1, 6, 32, 32).expand(2, -1, -1, -1)
    with torch.no_grad():
        one, other = network(x, torch.randn(2, CONDITION))
    assert float((one - other).abs().max()) > 1e-6


def test_film_scales_and_shifts_whole_channels() -> None:
    film, features = Film(4), torch.randn(3, 4, 5, 6)
    torch.nn.init.normal_(film.tell[-1].weight)
    changed = film(features, torch.randn(3, CONDITION))
    for photo in range(3):
        for channel in range(4):
            slope, shift = np.polyfit(features[photo, channel].flatten(), changed[photo, channel].detach().flatten(), 1)
            np.testing.assert_allclose(
                changed[photo, channel].detach(), features[photo, channel] * slope + shift, atol=1e-4
            )


# --- conditions


def test_directions_are_white_and_say_nothing_where_photos_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(400, 8)) * [5, 4, 3, 2, 1, 0, 0, 0] + 7) @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    centre, directions = principal(vectors.astype(np.float32))
    assert directions.shape == (8, CONDITION)
    seen = (vectors - centre) @ directions
    np.testing.assert_allclose(seen[:, :5].std(0), 1, atol=1e-3)
    assert not directions[:, 8:].any() and np.abs(directions[:, 5:8]).max() < 1e-9
    again = principal(vectors.astype(np.float32)[::-1])[1]
    np.testing.assert_allclose(again, directions, atol=1e-6)
    few = principal(vectors[:3].astype(np.float32))[1]  # three photos differ in two directions
    assert (np.abs(few).max(0) > 1e-6).sum() == 2
    assert not principal(np.ones((5, 8), np.float32))[1].any()


def test_conditions_are_fitted_on_the_folds_own_training_photos(tmp_path: Path, clip: Path) -> None:
    project = project_at(tmp_path)
    conditions = conditions_of(project, conditioned(model=clip), 1)
    assert (
        conditions is not None and conditions.train.shape == (24, CONDITION) and conditions.test.shape == (4, CONDITION)
    )
    seen = conditions.train[project.folds.train_positions(1)]
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-5)
    assert conditions_of(project, tiny(), 1) is None


def test_a_photo_keeps_its_condition_through_crops_and_mirrors(tmp_path: Path) -> None:
    project = project_at(tmp_path)
    seen = project.folds.train_positions(0)
    condition = torch.arange(len(seen)).float()[:, None].expand(-1, CONDITION)
    photos = TrainingPhotos(
        conditioned(), project.pack.train_target, seen, project.index.train[0].boxes, condition=condition
    )
    for epoch in range(2):
        draws, order = photos.begin_epoch(epoch)
        batch = photos.batch(epoch, 1, draws, order)
        assert batch.extra_inputs[0][:, 0].tolist() == order[4:8].tolist()


# --- training


def test_training_with_a_clip_resumes_to_the_same_bytes_and_predicts_by_it(tmp_path: Path, clip: Path) -> None:
    one = conditioned(model=clip)
    through, cut = project_at(tmp_path / "through"), project_at(tmp_path / "cut")
    fit_fold(through, one, 0, device="cpu")
    train_until(cut, one, 5)
    fit_fold(cut, one, 0, device="cpu")
    assert results(through.workspace.root, "regress") == results(cut.workspace.root, "regress")
    assert weights_of(through) != weights_of(_trained(tmp_path / "plain", tiny("regress", "epochs=2")))
    _says_other_things(through, one)


def _trained(folder: Path, one: Experiment) -> Project:
    project = project_at(folder)
    train(project, one)
    return project


def _says_other_things(project: Project, one: Experiment) -> None:
    """Check that predictions depend on the condition."""
    from kit.learning.inference import prepare_inputs
    from kit.learning.training import load_generator
    from kit.learning.training.fit import base_fills

    cpu = torch.device("cpu")
    _, generator = load_generator(project.workspace, "regress", 0, cpu)
    conditions = conditions_of(project, one, 0)
    assert conditions is not None
    positions, fill = project.folds.valid_positions(0), base_fills(project, one)["oof"]
    parts = (one, project.pack.train_image, project.index.train, positions, fill)
    found, other = (
        np.concatenate(list(predict(generator, one, prepare_inputs(*parts, condition), cpu)))
        for condition in (conditions.train, conditions.train.flip(0))
    )
    stored = project.predictions.read("regress", "oof", partial=True)
    mine = np.concatenate([stored.values(int(position)) for position in positions])
    np.testing.assert_allclose(mine, found, atol=1e-3)
    assert (found != other).any()


def test_predictions_are_made_again_without_the_models_files(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(clip, folder)
    project = project_at(tmp_path / "toy")
    fit_fold(project, conditioned("epochs=1", model=folder), 0, device="cpu")
    before = results(project.workspace.root, "regress")
    shutil.rmtree(folder)
    assert predict_fold(project, "regress", 0, device="cpu", force=True)
    assert results(project.workspace.root, "regress") == before


@pytest.mark.parametrize(
    "settings", [["architecture=plain"], ["test_photos=yes"], ["adversarial_weight=0.1"], ["accumulate=2"]]
)
def test_all_ways_to_train_take_conditions(settings: list[str], tmp_path: Path) -> None:
    project = project_at(tmp_path)
    run = train(project, conditioned("epochs=1", *settings))
    assert np.isfinite(run.rmse)


@pytest.mark.slow
def test_two_processes_take_the_conditions_that_one_takes(tmp_path: Path, forks: Any, clip: Path) -> None:
    settings = ("epochs=1", "dropout=0", "learning_rate=0.05", "gradient_clip=0", "ema=0")
    one = tiny("regress", f"clip_model={clip}", "architecture=plain", *settings)  # without batch norm: each has its own
    roots = [tmp_path / name for name in ("one", "two")]
    for root in roots:
        project_at(root)
    alone = start_together(forks, roots[0], dataclasses.replace(one, batch_size=8), count=1)
    together = start_together(forks, roots[1], one, count=2)
    assert [finish(process) for process in [*alone, *together]] == [0, 0, 0]
    from safetensors.torch import load_file

    first, second = (load_file(root / "runs" / "regress" / "fold_0" / "model.safetensors") for root in roots)
    assert any("film" in name and value.any() for name, value in first.items())
    for name, value in first.items():
        if value.is_floating_point():
            torch.testing.assert_close(second[name], value, atol=1e-4, rtol=1e-3)


# --- identity and settings


def test_an_experiment_without_a_clip_is_the_one_that_it_was() -> None:
    assert "clip_model" not in experiment("regress").fields
    assert not experiment("regress").conditioned


def test_a_clip_is_part_of_what_an_experiment_is(clip: Path, tmp_path: Path) -> None:
    one, other = conditioned(model=clip), conditioned(model=tiny_clip(tmp_path / "other", seed=2))
    assert one.digest != other.digest != tiny().digest
    path, _, digest = one.clip_model.rpartition("@")
    assert path == str(clip) and len(digest) == 16
    assert experiment("regress", settings_of(one)) == one
    assert conditioned(f"clip_model={clip}").clip_model == one.clip_model


def test_clip_with_a_number_is_still_the_gradients_norm() -> None:
    assert experiment("regress", ["clip=0.5"]).gradient_clip == 0.5
    both = experiment("regress", ["clip=0.5", "clip=thumbnail"])
    assert both.gradient_clip == 0.5 and both.clip_model.startswith("thumbnail@")
    assert not experiment("regress", ["clip=thumbnail", "clip=none"]).conditioned


def test_an_architecture_without_conditions_says_so() -> None:
    one = tiny("bilstm", "clip=thumbnail")
    assert not one.conditioned and one.clip_model == "none"
    with pytest.raises(UsageError, match="--set clip=thumbnail changes nothing"):
        check_effect([one], ["clip=thumbnail"])


@pytest.mark.parametrize("name", ["nowhere", "someone/clip"])
def test_a_clip_that_cannot_be_had_is_one_line(name: str, tmp_path: Path) -> None:
    project_at(tmp_path)
    done = kit(f"-w {tmp_path} train regress --fold 0 --set clip={name}")
    assert done.is_one_error_line and name in done.err, done.err
    assert not (tmp_path / "runs").exists()


def test_a_clip_whose_files_have_changed_is_refused_by_the_next_fold(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(clip, folder)
    root = tmp_path / "toy"
    project_at(root)
    ok(f"-w {root} train regress --fold 0 --set clip={folder} --epochs 1 {flags('regress')}")
    shutil.rmtree(folder)
    tiny_clip(folder, seed=5)
    ok(f"-w {root} train regress --fold 1")  # the vectors are stored
    shutil.rmtree(root / "embeddings")
    done = kit(f"-w {root} train regress --fold 2")
    assert done.code == 1 and "not what it was" in done.err.splitlines()[-1], done.err


# --- all together


@pytest.mark.slow
def test_from_vectors_to_a_blend(tmp_path: Path, clip: Path) -> None:
    project_at(tmp_path)
    at = f"-w {tmp_path}"
    assert "24 training and 4 test photos" in ok(f"{at} clip embed --model {clip}")
    assert "known" in ok(f"{at} clip classes --model {clip}")
    assert "Filled: clip-neighbours" in ok(f"{at} clip neighbours --model {clip} --k 3")
    train_line = f"train regress --fold all --set clip={clip} --epochs 1 --as told {flags('regress')}"
    assert ok(f"{at} {train_line}").count("Trained: told") == 3
    assert ok(f"{at} {train_line}").count("There already: told") == 3
    assert "clip_model" in ok(f"{at} train --list")
    said = ok(f"{at} blend told clip-neighbours fractional")
    assert "clip-neighbours" in said and "told" in said
