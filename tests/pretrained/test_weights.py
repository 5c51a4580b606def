"""Weights: whatever wraps them they come out the same, what does not fit is refused, and the first place answers."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support.command import kit, ok
from support.hub_standin import hub
from support.trainings import project_at

from kit.errors import KitError, TrainingError
from kit.learning.experiments import experiment, stored_experiment
from kit.learning.experiments.stamp import differences, digest_of_weights
from kit.learning.models import build_generator
from kit.pretrained.weights import places
from kit.pretrained.weights.encoders import Layout, flat, layout_of, timm_encoder
from kit.pretrained.weights.finding import find_weights, of_file, take
from kit.pretrained.weights.fitting import PREFIXES, fit
from kit.pretrained.weights.loading import load_encoder_weights
from kit.pretrained.weights.managing import check_file, get_weights, list_weights
from kit.pretrained.weights.reading import open_weights, tensors_digest

LITE = "tf_efficientnet_lite0"
MODEL = "test_resnet"

Tensors = dict[str, torch.Tensor]


def state_of(name: str, seed: int = 1) -> Tensors:
    torch.manual_seed(seed)
    return dict(timm.create_model(name).state_dict())


@pytest.fixture(scope="module")
def donor() -> Tensors:
    return state_of(MODEL)


@pytest.fixture(scope="module")
def layout() -> Layout:
    return layout_of(MODEL)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "KAGGLE", tmp_path / "kaggle")
    yield tmp_path / "cache" / "weights"


def same(found: Tensors, donor: Tensors) -> bool:
    weights = {key: value for key, value in donor.items() if not key.endswith("num_batches_tracked")}
    return found.keys() == weights.keys() and all(torch.equal(found[key], value) for key, value in weights.items())


# every tensor comes from the file


def as_trained(tensors: Tensors) -> Tensors:
    """Norms and their statistics are no longer one and zero."""
    torch.manual_seed(3)
    weights = {key: value for key, value in tensors.items() if value.is_floating_point()}
    return {**tensors, **{key: value + torch.rand(value.shape) for key, value in weights.items()}}


LACKING = {
    "no norms": lambda key: "bn" not in key and "running" not in key,
    "no running statistics": lambda key: "running" not in key,
    "no running variance of one norm": lambda key: key != "layer2.0.bn1.running_var",
    "no bias of one norm": lambda key: key != "layer1.0.bn2.bias",
    "no convolution": lambda key: key != "layer3.0.conv1.weight",
}


@pytest.mark.parametrize("kept", LACKING)
def test_an_encoder_that_a_file_does_not_fill_is_refused_or_listed(
    kept: str, donor: Tensors, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, whole = tmp_path / "some.pth", as_trained(donor)
    torch.save({key: value for key, value in whole.items() if LACKING[kept](key)}, path)
    encoder = timm_encoder(f"tu-{MODEL}")
    with pytest.raises(TrainingError, match=r"tensors fit; \d+ not in it"):
        load_encoder_weights(encoder, f"tu-{MODEL}", str(path))
    load_encoder_weights(encoder, f"tu-{MODEL}", str(path), partly=True)
    lacked = [key for key in whole if not LACKING[kept](key) and not key.endswith("num_batches_tracked")]
    assert "Not in the weights, as at random: " in (said := capsys.readouterr().err)
    assert flat(lacked[0]) in flat(said)


def test_norms_of_other_names_are_taken_by_their_order_and_with_their_values(donor: Tensors, tmp_path: Path) -> None:
    path, whole = tmp_path / "other.pth", as_trained(donor)
    torch.save({key.replace("bn", "norm"): value for key, value in whole.items()}, path)
    encoder = timm_encoder(f"tu-{MODEL}")
    load_encoder_weights(encoder, f"tu-{MODEL}", str(path))
    by_name = {flat(key): value for key, value in whole.items()}
    own = {flat(key): value for key, value in encoder.model.state_dict().items() if value.is_floating_point()}
    assert all(torch.equal(value, by_name[key]) for key, value in own.items())


# whatever wraps them


@given(prefixes=st.lists(st.sampled_from(PREFIXES), max_size=3), data=st.data())
@settings(max_examples=25)
def test_prefixes_are_seen_through_whatever_their_order(
    prefixes: list[str], data: st.DataObject, donor: Tensors, layout: Layout
) -> None:
    prefix = "".join(prefixes)
    keys = data.draw(st.permutations(list(donor)))
    found = fit(layout, {prefix + key: donor[key] for key in keys})
    assert found.whole and same(found.tensors, donor) and found.prefix == prefix and found.names == "timm's"


@pytest.mark.parametrize("key", ["state_dict", "model", "model_ema", "ema", "model_state_dict", "model.state_dict"])
def test_a_checkpoint_is_seen_through_and_has_the_digest_of_the_bare_tensors(
    key: str, donor: Tensors, layout: Layout, tmp_path: Path
) -> None:
    stored: object = donor
    for part in reversed(key.split(".")):
        stored = {part: stored, "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    torch.save(stored, tmp_path / "checkpoint.pth")
    file = open_weights(tmp_path / "checkpoint.pth")
    assert file.container == key
    assert tensors_digest(fit(layout, file.tensors).tensors) == tensors_digest(donor)


def test_the_moving_average_is_taken_and_said(donor: Tensors, tmp_path: Path) -> None:
    torch.save({"state_dict": state_of(MODEL, 2), "model_ema": donor}, tmp_path / "both.pth")
    file = open_weights(tmp_path / "both.pth")
    assert torch.equal(file.tensors["conv1.0.weight"], donor["conv1.0.weight"])
    assert file.text == "PyTorch, under 'model_ema' (and not 'state_dict')"


def test_a_file_is_what_its_bytes_say(donor: Tensors, tmp_path: Path) -> None:
    save_file(donor, tmp_path / "a.bin")
    torch.save(donor, tmp_path / "a.pt")
    one, other = open_weights(tmp_path / "a.bin"), open_weights(tmp_path / "a.pt")
    assert (one.format, other.format) == ("safetensors", "PyTorch")
    assert tensors_digest(one.tensors) == tensors_digest(other.tensors)


# other names


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("resnet18", "resnet18"),
        ("mobilenet_v3_small", "mobilenetv3_small_100"),
        ("mobilenet_v2", "mobilenetv2_100"),
        ("efficientnet_b0", "efficientnet_b0"),
    ],
)
def test_torchvisions_files_compute_what_torchvision_computes(theirs: str, ours: str, tmp_path: Path) -> None:
    import torchvision

    torch.manual_seed(0)
    model = getattr(torchvision.models, theirs)().eval()
    found = fit(layout_of(ours), model.state_dict())
    assert found.whole
    network = timm.create_model(ours).eval()
    network.load_state_dict(found.tensors, strict=False)
    photo = torch.rand(1, 3, 64, 64)
    stem = model.features[0] if hasattr(model, "features") else torch.nn.Sequential(model.conv1, model.bn1, model.relu)
    first = (
        network.bn1(network.conv_stem(photo))
        if hasattr(network, "conv_stem")
        else network.act1(network.bn1(network.conv1(photo)))
    )
    torch.testing.assert_close(first, stem(photo), rtol=1e-3, atol=1e-3)


def test_tensors_in_another_order_are_not_taken_by_their_order() -> None:
    import torchvision

    state = list(torchvision.models.mobilenet_v3_small().state_dict().items())
    assert fit(layout_of("mobilenetv3_small_100"), dict(state)).whole
    state[0], state[10] = state[10], state[0]
    assert not fit(layout_of("mobilenetv3_small_100"), dict(state)).whole


def test_a_larger_network_that_holds_all_tensors_is_another_one() -> None:
    found = fit(layout_of("resnet18"), state_of("resnet34"))
    assert not found.missing and not found.whole and "80 unknown to the encoder" in found.problem


def test_another_classifier_is_no_other_network(donor: Tensors, layout: Layout) -> None:
    found = fit(layout, {**donor, "fc.weight": torch.ones(7, 9), "fc.bias": torch.ones(7)})
    assert found.whole and "fc.weight" not in found.tensors


@pytest.mark.parametrize("channels", [1, 4])
def test_a_first_convolution_for_other_channels_is_said(channels: int, donor: Tensors, tmp_path: Path) -> None:
    stem = donor["conv1.0.weight"]
    torch.save({**donor, "conv1.0.weight": stem[:, :1].repeat(1, channels, 1, 1)}, tmp_path / "grey.pth")
    with pytest.raises(TrainingError, match=r"1 of another shape.*first convolution is not for photos of 3 channels"):
        check_file(tmp_path / "grey.pth", MODEL)


def test_what_fits_partly_is_taken_when_told(donor: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    torch.save({key: value for key, value in donor.items() if not key.startswith("layer4")}, path)
    chosen = [f"encoder=tu-{MODEL}", "decoder_channels=32,16,16,16,16", f"encoder_weights={path}", "standardise=false"]
    with pytest.raises(TrainingError, match=r"tensors fit; \d+ not in it \(layer4.*--set partial_weights=true"):
        build_generator(experiment("regress", chosen))
    encoder = build_generator(experiment("regress", [*chosen, "partial_weights=true"])).network.encoder.model
    assert torch.equal(encoder.state_dict()["layer1.0.conv1.weight"], donor["layer1.0.conv1.weight"])
    torch.save({"nothing": torch.ones(2)}, path)
    with pytest.raises(TrainingError, match="0 of"):
        build_generator(experiment("regress", [*chosen, "partial_weights=true"]))


@pytest.mark.parametrize("levels", [2, 5])
def test_a_training_takes_the_files_that_the_check_takes_however_few_levels_it_uses(
    levels: int, donor: Tensors, tmp_path: Path
) -> None:
    cut = {key: value for key, value in donor.items() if not key.startswith("layer4")}
    more = {**{key: value for key, value in donor.items() if not key.startswith("fc.")}, "extra.w": torch.ones(2)}
    chosen = [f"encoder=tu-{MODEL}", f"decoder_channels={','.join(['16'] * levels)}", "standardise=false"]
    for name, state in {"whole": donor, "cut": cut, "more": more}.items():
        path = tmp_path / f"{name}.pth"
        torch.save(state, path)
        checked = refusal(lambda path: check_file(path, MODEL), path)
        trained = refusal(
            lambda path: build_generator(experiment("regress", [*chosen, f"encoder_weights={path}"])), path
        )
        assert checked == trained and bool(checked) == (name == "cut")


def refusal(use: Callable[[Path], object], path: Path) -> str:
    """What is said to be wrong with a file, without the advice after it; nothing where it is taken."""
    try:
        use(path)
    except TrainingError as error:
        return str(error).partition("). ")[0]
    return ""


def test_the_advice_of_the_check_is_not_of_another_command_and_ends(donor: Tensors, tmp_path: Path) -> None:
    half, few, grey = tmp_path / "half.pth", tmp_path / "few.pth", tmp_path / "a folder"
    torch.save({key: value for key, value in donor.items() if not key.startswith("layer4")}, half)
    torch.save({key: value for key, value in donor.items() if key.startswith("layer1")}, few)
    grey.mkdir()
    command = rf"kit train regress .*--set encoder_weights={half} --set partial_weights=true --as NAME$"
    for typed in (f"weights check {half}", f"weights check {half} --encoder {MODEL}"):
        refused = kit(typed)
        assert refused.is_one_error_line and re.search(command, refused.err.strip())
    for typed in (f"weights check {few} --encoder {MODEL}", f"weights check '{grey}'", f"weights check {tmp_path}/no"):
        refused = kit(typed)
        assert refused.is_one_error_line and "--set" not in refused.err and "kit" not in refused.err.partition(":")[2]


def test_the_check_of_another_model_says_which_one_it_is(donor: Tensors, tmp_path: Path) -> None:
    torch.save(donor, tmp_path / f"{MODEL}.pth")
    with pytest.raises(TrainingError, match=rf"are not those of resnet18: .*It fits {MODEL}\.$"):
        check_file(tmp_path / f"{MODEL}.pth", "resnet18")


def test_that_partial_weights_is_not_needed_is_said(
    donor: Tensors, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(donor, tmp_path / "whole.pth")
    chosen = [f"encoder=tu-{MODEL}", f"encoder_weights={tmp_path / 'whole.pth'}", "partial_weights=true"]
    build_generator(experiment("regress", [*chosen, "decoder_channels=16,16"]))
    assert "partial_weights=true changes nothing, all tensors fit" in capsys.readouterr().err


def test_that_a_file_may_fit_partly_is_no_part_of_a_digest_unless_it_is_said() -> None:
    assert "partial_weights" not in experiment("regress").fields


# the first place that answers


def test_the_packages_weights_are_found_without_a_network_and_keep_their_digest(cache: Path) -> None:
    found = find_weights(f"tu-{LITE}")
    assert found.place.kind == "package" and "licence apache-2.0" in found.line
    got = get_weights(f"tu-{LITE}", say=pytest.fail)
    assert got.fresh and got.path == cache / f"{LITE}.safetensors"
    again = find_weights(f"tu-{LITE}")
    assert again.place.kind == "cache" and again.digest == found.digest == tensors_digest(load_file(got.path))
    assert not get_weights(LITE, say=pytest.fail).fresh


def test_imagenets_digest_is_in_the_stamp_and_an_old_stamp_without_one_is_accepted(cache: Path) -> None:
    one = experiment("regress-imagenet")
    assert digest_of_weights(one) is None
    found = find_weights(one.encoder)
    assert digest_of_weights(one) == found.digest
    stamp = {"experiment": one.fields, "index": "i", "folds": "f", "engine": 3, "encoder_weights": found.digest}
    assert differences({**stamp, "encoder_weights": None}, stamp) == []
    assert differences({**stamp, "encoder_weights": "0" * 16}, stamp) == ["encoder weights"]
    assert differences(stamp, {**stamp, "encoder_weights": None}) == []


def test_a_file_named_by_the_model_is_found_and_one_of_another_model_is_not(
    donor: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    (folder / "models" / MODEL / "1").mkdir(parents=True)
    for name in (f"se{MODEL}.pth", f"{MODEL}d.pth", f"my_{MODEL}.pth"):
        torch.save({}, folder / name)
    monkeypatch.setenv("KIT_WEIGHTS", f"{tmp_path / 'nowhere'}{os.pathsep}{folder}")
    assert list(places.in_folders(MODEL)) == []
    torch.save(donor, folder / "models" / MODEL / "1" / "pytorch_model.bin")
    assert [place.path.name for place in places.in_folders(MODEL)] == ["pytorch_model.bin"]
    save_file(donor, folder / f"{MODEL}-a1.safetensors")
    assert find_weights(MODEL).place.path.name == f"{MODEL}-a1.safetensors"
    assert [one.place for one in list_weights([f"tu-{MODEL}"]) if one.model == MODEL] == ["folder", "folder", "hub"]


def test_a_changed_file_is_not_what_was_used(donor: Tensors, layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(donor, path)
    found = take(of_file(path), layout)
    places.note_used(MODEL, found.place, found.digest)
    assert places.used_digest(MODEL) == found.digest
    save_file(state_of(MODEL, 2), path)
    assert places.used_digest(MODEL) is None
    assert take(of_file(path), layout).digest != found.digest


def test_places_are_known_without_torch() -> None:
    code = "import sys; import kit.pretrained.weights.places, kit.learning.experiments.stamp\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_weights_come_from_the_hub_once_after_licence_and_size_were_said(donor: Tensors, tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    save_file(donor, served / "model.safetensors")
    with hub("timm/test_resnet.r160_in1k", served, "apache-2.0") as (address, fetched):
        chosen = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"}
        chosen |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        line = [
            sys.executable,
            "-m",
            "kit",
            "weights",
            "get",
            "tu-test_resnet",
            "--out",
            str(tmp_path / "o.safetensors"),
        ]
        first, again = (
            subprocess.run(line, capture_output=True, text=True, env={**os.environ, **chosen}) for _ in range(2)
        )
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert "timm/test_resnet.r160_in1k of the hub: licence apache-2.0, " in first.stderr
    assert "MB to download" not in again.stderr and fetched == ["model.safetensors"]
    assert same(load_file(tmp_path / "o.safetensors"), donor)


# the commands


def test_the_commands_list_get_and_check(tmp_path: Path) -> None:
    listed = ok(f"-w {tmp_path} weights list")
    assert LITE in listed and "package" in listed and "kit weights get resnet18" in listed
    out = tmp_path / "lite.safetensors"
    assert "247 tensors of tf_efficientnet_lite0" in ok(f"weights get {LITE} --out {out}")
    said = ok(f"weights check {out}")
    assert "Fits tf_efficientnet_lite0" in said and f"--set encoder=tu-{LITE} --set encoder_weights={out}" in said
    refused = kit(f"weights check {out} --encoder resnet18")
    assert refused.is_one_error_line and "are not those of resnet18: 0 of 100 tensors fit" in refused.err


def test_a_folder_that_may_not_be_written_to_is_told_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)  # root may write everywhere
    refused = kit(f"weights get {MODEL} --out {tmp_path / 'new' / 'a.safetensors'}")
    assert refused.is_one_error_line and f"nothing may be written in {tmp_path}. Give a file in another" in refused.err
    assert "--workspace" not in refused.err


def test_a_file_that_fits_nothing_is_one_line(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "odd.pth")
    with pytest.raises(KitError, match=r"1 tensors: a.*fits no model.*--encoder NAME"):
        check_file(tmp_path / "odd.pth")


@pytest.fixture(params=["torn", "of another model"])
def broken(request: pytest.FixtureRequest, cache: Path) -> Path:
    """What lies in kit's cache in place of a model's weights."""
    path = places.in_cache(LITE)
    path.parent.mkdir(parents=True)
    if request.param == "torn":
        path.write_bytes(b"torn")
    else:
        save_file(state_of(MODEL), path)
    return path


def test_a_damaged_file_of_the_cache_is_passed_over_by_training_and_get_alike(broken: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert find_weights(f"tu-{LITE}", say=said.append).place.kind == "package"
    assert get_weights(LITE, tmp_path / "out.safetensors", say=said.append).found.place.kind == "package"
    assert len(said) == 2 and said[0] == said[1] and str(broken) in said[0]
    assert f"kit weights get {LITE} replaces it" in said[0]
    got = get_weights(LITE, say=said.append)
    assert got.fresh and got.path == broken
    assert find_weights(f"tu-{LITE}", say=pytest.fail).place.kind == "cache"


def test_without_another_place_the_hub_is_asked_for_what_is_damaged_in_the_cache(cache: Path) -> None:
    places.in_cache(MODEL).parent.mkdir(parents=True)
    places.in_cache(MODEL).write_bytes(b"torn")
    said: list[str] = []
    with pytest.raises(TrainingError, match=f"weights of {MODEL} cannot be downloaded: .*HF_HUB_OFFLINE"):
        get_weights(MODEL, say=said.append)
    assert len(said) == 1 and "not a whole one" in said[0]


def test_a_source_that_began_from_imagenet_goes_on_from_it_or_says_where_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = project_at(tmp_path / "w").workspace.root
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KIT_WEIGHTS", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    torch.save(state_of(MODEL), tmp_path / "own" / f"{MODEL}.pth")
    small = "--set decoder_channels=16,16,16,16 --set size=32 --set batch_size=8 --epochs 1"
    ok(f"-w {root} train regress --fold 0 --as mine --set encoder=tu-{MODEL} --set encoder_weights=imagenet {small}")
    (tmp_path / "own").rename(tmp_path / "gone")
    assert "There already: mine, fold 0" in ok(f"-w {root} train mine --fold 0")
    lost = kit(f"-w {root} train mine --fold 1")
    assert lost.is_one_error_line and str(tmp_path / "own" / f"{MODEL}.pth") in lost.err and "KIT_WEIGHTS" in lost.err


def test_random_weights_are_not_frozen_but_by_request(tmp_path: Path) -> None:
    project = project_at(tmp_path / "w")
    root = project.workspace.root
    small = "--set decoder_channels=16,16 --set size=32 --set batch_size=8 --epochs 1 --set encoder_weights=none"
    for fold in (0, 1):  # with the same command for each
        ok(f"-w {root} train regress-imagenet --fold {fold} --set encoder=tu-{MODEL} {small} --as free")
    ok(f"-w {root} train regress-imagenet --fold 0 --set encoder=tu-{MODEL} {small} --set frozen=1 --as held")
    frozen = {name: stored_experiment(project.workspace, name) for name in ("free", "held")}
    assert {name: one and one.frozen for name, one in frozen.items()} == {"free": 0, "held": 1}


def test_scores_in_a_checkpoint_are_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    scores = {"best": np.float64(0.31), "epoch": np.int64(3), "args": argparse.Namespace(lr=0.1)}
    torch.save({"state_dict": state_of(MODEL), **scores}, path)
    assert check_file(path).fits[0].model == MODEL


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    state = state_of(MODEL)
    name = next(iter(state))
    state[name][0] = float("nan")
    torch.save(state, tmp_path / f"{MODEL}.pth")
    with pytest.raises(TrainingError, match=f"{MODEL}.pth: {name} holds NaN"):
        open_weights(tmp_path / f"{MODEL}.pth")
