"""Experiments as data: settings read as their field's type, and everything that cannot be is one clear line."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kit.core.storage import digest_of
from kit.errors import KitError, UnknownName, UsageError
from kit.learning.experiments import (
    ARCHITECTURES,
    EXPERIMENTS,
    DataSettings,
    Experiment,
    LossSettings,
    NetworkSettings,
    OptimizerSettings,
    ScheduleSettings,
    demo_settings,
    describe_experiments,
    experiment,
    experiment_from,
    recipe_of,
    renamed_settings,
    settings_of,
    with_settings,
)
from kit.learning.experiments.aliases import USUAL_NAMES
from kit.learning.experiments.listing import explanations
from kit.pretrained.clip.model import find_model

GOOD = {
    "method": ("cyclegan", "cyclegan"),
    "architecture": ("fpn", "fpn"),
    "encoder": ("tu-resnet34", "tu-resnet34"),
    "encoder_weights": ("weights/a=b.pth", str(Path("weights/a=b.pth").absolute())),
    "partial_weights": ("true", True),
    "encoder_rate": ("0.1", 0.1),
    "frozen": ("2", 2),
    "decoder_channels": ("64,32,16", (64, 32, 16)),
    "width": ("48", 48),
    "blocks": ("64", 64),
    "bottleneck": ("fourier", "fourier"),
    "dropout": ("0.25", 0.25),
    "size": ("128", 128),
    "base": ("harmonic", "harmonic"),
    "mse_weight": ("2", 2.0),
    "l1_weight": ("1e-3", 0.001),
    "adversarial_weight": ("0.5", 0.5),
    "adversary": ("lsgan", "lsgan"),
    "feature_weight": ("10", 10.0),
    "discriminator_width": ("16", 16),
    "discriminator_layers": ("2", 2),
    "discriminator_norm": ("none", "none"),
    "cycle_weight": ("0", 0.0),
    "identity_weight": ("0", 0.0),
    "pool": ("0", 0),
    "latent": ("8", 8),
    "search_steps": ("0", 0),
    "prior_weight": ("0", 0.0),
    "batch_size": ("7", 7),
    "accumulate": ("4", 4),
    "epochs": ("3", 3),
    "patience": ("5", 5),
    "validations": ("1", 1),
    "optimizer": ("adam", "adam"),
    "learning_rate": ("5e-4", 0.0005),
    "schedule": ("linear", "linear"),
    "beta1": ("0", 0.0),
    "weight_decay": ("0", 0.0),
    "warmup": ("0.5", 0.5),
    "ema": ("0", 0.0),
    "average": ("swa", "swa"),
    "first_size": ("32", 32),
    "predict_size": ("96", 96),
    "first_share": ("0.5", 0.5),
    "gradient_clip": ("0.1", 0.1),
    "precision": ("bfloat16", "bfloat16"),
    "flip": ("no", False),
    "crop": ("1", 1.0),
    "rotate": ("180", 180.0),
    "jitter": ("0", 0.0),
    "bleed": ("1", 1.0),
    "box_copies": ("3", 3),
    "photos_per_layout": ("1", 1),
    "test_photos": ("yes", True),
    "extra": ("photos", str(Path("photos").absolute())),
    "seed": ("42", 42),
    "standardise": ("false", False),
    "model": ("Net@00000000000000aa", "Net@00000000000000aa"),
    "model_arguments": ("depth=3", "depth=3"),
    "loss": ("mine@00000000000000aa", "mine@00000000000000aa"),
    "clip_model": ("thumbnail", f"thumbnail@{find_model('thumbnail').digest}"),
}

NEEDS = {
    "model": ["architecture=own", "model=Net@00000000000000bb"],
    "model_arguments": ["architecture=own", "model=Net@00000000000000bb"],
    "method": ["architecture=resnet", "adversarial_weight=1"],
    "feature_weight": ["adversarial_weight=1"],
    "first_share": ["first_size=32"],
}
"""What regress must be told before it can have the good value."""

BAD = [
    "",
    "model=unet",
    "model=Net@00000000000000aa",
    "model=nowhere.py:Net",
    "model_arguments=depth=3",
    "loss=nowhere",
    "loss=nowhere.py:loss",
    "size",
    "standardise=perhaps",
    "partial_weights=some",
    "clip_model=nowhere",
    "size=",
    "=64",
    "size=100",
    "size=64.0",
    "size=-64",
    "size=1" + "0" * 30,
    "Size=64",
    " size=64",
    "sizes=64",
    "name=mine",
    "method=gan",
    "method=Supervised",
    "architecture=vgg",
    "architecture=UNET",
    "base=telea",
    "average=mean",
    "first_size=48",
    "predict_size=50",
    "predict_size=-16",
    "first_share=0",
    "first_share=1",
    "encoder_rate=1.1",
    "encoder_rate=-0.1",
    "frozen=-1",
    "frozen=1000",
    "width=0",
    "width=4097",
    "width=32.5",
    "blocks=0",
    "blocks=65",
    "bottleneck=lstm",
    "decoder_channels=",
    "decoder_channels=,",
    "decoder_channels=16,",
    "decoder_channels=16;16",
    "decoder_channels=wide",
    "decoder_channels=16,-16",
    "decoder_channels=0",
    "decoder_channels=16,16,16,16,16,16",
    "decoder_channels=1" + "0" * 30,
    "decoder_channels=(16,16)",
    "dropout=1",
    "dropout=-0.1",
    "mse_weight=-1",
    "mse_weight=0",
    "mse_weight=nan",
    "l1_weight=inf",
    "adversarial_weight=-inf",
    "adversary=wgan",
    "feature_weight=-1",
    "discriminator_norm=layer",
    "cycle_weight=-1",
    "identity_weight=-0.5",
    "pool=-1",
    "pool=1.5",
    "latent=0",
    "latent=4097",
    "search_steps=-1",
    "search_steps=10001",
    "prior_weight=-1",
    "discriminator_width=0",
    "discriminator_width=1" + "0" * 30,
    "discriminator_layers=0",
    "discriminator_layers=6",
    "batch_size=0",
    "batch_size=-1",
    "batch_size=1.5",
    "batch_size=1" + "0" * 30,
    "accumulate=0",
    "accumulate=4097",
    "patience=-1",
    "validations=0",
    "optimizer=sgd",
    "schedule=step",
    "epochs=0",
    "epochs=ten",
    "epochs=1" + "0" * 30,
    "epochs=" + "9" * 5000,
    "learning_rate=0",
    "learning_rate=1",
    "learning_rate=-0.001",
    "learning_rate=nan",
    "learning_rate=inf",
    "learning_rate=1e-3x",
    "beta1=1",
    "weight_decay=-0.01",
    "warmup=1",
    "ema=1",
    "gradient_clip=nan",
    "gradient_clip=-1",
    "clip=nan",
    "clip=-1",
    "precision=float64",
    "flip=maybe",
    "flip=",
    "crop=0",
    "crop=1.1",
    "rotate=-1",
    "rotate=181",
    "jitter=1",
    "jitter=-0.1",
    "bleed=-0.1",
    "bleed=2.1",
    "box_copies=0",
    "box_copies=17",
    "photos_per_layout=0",
    "photos_per_layout=65537",
    "test_photos=maybe",
    "seed=-1",
    "seed=4294967296",
    "seed=0.5",
]


TOGETHER = [
    ("regress", ["method=dcgan"], "architecture=dcgan"),
    ("regress", ["architecture=dcgan"], "method=dcgan"),
    ("dcgan", ["method=supervised"], "go together"),
    ("dcgan", ["architecture=resnet"], "go together"),
    ("dcgan", ["size=256"], "64 or 128"),
    ("dcgan", ["adversarial_weight=0"], "adversarial_weight above 0"),
    ("dcgan", ["test_photos=true"], "whole photos"),
    ("cyclegan", ["architecture=unet"], "architecture=resnet or paper-unet"),
    ("cyclegan", ["adversarial_weight=0"], "adversarial_weight above 0"),
    ("cyclegan", ["test_photos=true"], "whole photos"),
    ("regress", ["mse_weight=0"], "one of them positive"),
    ("pix2pix", ["l1_weight=0", "adversarial_weight=0"], "one of them positive"),
    ("regress", ["feature_weight=1"], "adversarial_weight must be above 0"),
    ("regress", ["extra=/photos", "clip_model=thumbnail"], "extra photos have no vectors"),
]
"""Settings that are good alone, and what of the message says why they cannot be together."""

ALLOWED_TOGETHER = [
    ("cyclegan", ["architecture=paper-unet"]),
    ("dcgan", ["size=128"]),
    ("dcgan", ["feature_weight=1"]),
    ("dcgan", ["extra=/photos"]),
    ("pix2pix", ["l1_weight=0"]),
    ("pix2pix", ["feature_weight=10"]),
    ("pix2pix-paper", ["test_photos=true"]),
    *[("regress", [f"architecture={name}"]) for name in ARCHITECTURES if name != "dcgan"],
]


def regress(*settings: str) -> Experiment:
    return experiment("regress", settings)


def changed(field: str) -> tuple[Experiment, Experiment]:
    """What the field's good value asks for, and the same with that value."""
    before = regress(*NEEDS.get(field, []))
    return before, with_settings(before, [f"{field}={GOOD[field][0]}"])


def test_every_field_has_a_setting_here() -> None:
    fields = {field.name for field in dataclasses.fields(Experiment)} - {"name"}
    assert set(GOOD) == fields
    free = {"encoder", "encoder_weights", "extra"}  # what they may be, the libraries and the folder say
    assert {setting.partition("=")[0] for setting in BAD} >= fields - free


@pytest.mark.parametrize("field", GOOD)
def test_a_setting_is_read_as_its_fields_own_type(field: str) -> None:
    before, after = changed(field)
    assert getattr(after, field) == GOOD[field][1] != getattr(before, field)
    assert type(getattr(after, field)) is type(getattr(before, field))
    assert dataclasses.replace(after, **{field: getattr(before, field)}) == before


@pytest.mark.parametrize("setting", BAD)
def test_a_setting_that_cannot_be_is_one_line_that_names_it(setting: str) -> None:
    with pytest.raises(UsageError) as caught:
        experiment("regress", [setting])
    message = str(caught.value)
    assert "\n" not in message
    assert setting.partition("=")[0].strip() in message


@pytest.mark.parametrize(("name", "settings", "why"), TOGETHER)
def test_settings_that_cannot_be_together_are_one_line_that_says_why(name: str, settings: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        experiment(name, settings)
    assert str(caught.value).startswith(f"{name}: ") and "--set" in str(caught.value)


@pytest.mark.parametrize(("name", "settings"), ALLOWED_TOGETHER)
def test_settings_that_can_be_together(name: str, settings: list[str]) -> None:
    assert set(settings) <= {
        setting.removesuffix(".0") for setting in settings_of(with_settings(EXPERIMENTS[name](), settings))
    }


@given(st.text(max_size=40) | st.builds("{}={}".format, st.sampled_from(sorted(GOOD)), st.text(max_size=20)))
@example("flip=TRUE")
@example("decoder_channels=\u0663")
@example("encoder_weights=\0")
def test_any_text_gives_an_experiment_or_a_usage_error(setting: str) -> None:
    try:
        assert isinstance(with_settings(regress(), [setting]), Experiment)
    except KitError as error:
        assert isinstance(error, UsageError)


def test_the_last_of_two_values_counts() -> None:
    assert with_settings(regress(), ["size=64", "size=128"]).size == 128


def test_settings_are_checked_together_not_one_after_the_other() -> None:
    assert with_settings(regress(), ["mse_weight=0", "l1_weight=1"]).l1_weight == 1.0


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_settings_of_an_experiment_make_it_again(name: str) -> None:
    one = EXPERIMENTS[name]()
    again = with_settings(Experiment("other", seed=9, size=256), settings_of(one))
    assert dataclasses.replace(again, name=one.name) == one


def test_the_digest_is_that_of_the_fields() -> None:
    assert regress().digest == regress("size=64").digest
    digests = {changed(field)[1].digest for field in GOOD}
    assert len(digests) == len(GOOD)
    assert experiment("regress", rename="other").digest != regress().digest


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_bears_the_name_of_its_function(name: str) -> None:
    assert EXPERIMENTS[name]().name == name == EXPERIMENTS[name].__name__.replace("_", "-")


def test_the_description_lists_every_experiment_with_what_it_sets() -> None:
    text = describe_experiments()
    listed: dict[str, list[str]] = {}
    name = ""
    for line in text.partition("\n\nSettings")[0].splitlines():
        if line.startswith(" "):
            listed[name] += line.split()
        else:
            name, _, summary = line.partition(": ")
            assert summary == (EXPERIMENTS[name].__doc__ or "").splitlines()[0]
            listed[name] = []
    assert list(listed) == list(EXPERIMENTS)
    for name, settings in listed.items():  # nothing is left out, and all of it can be typed
        assert with_settings(Experiment(name), settings) == EXPERIMENTS[name]()
    assert max(map(len, text.splitlines())) < 140


def test_the_description_lists_every_setting_with_its_default() -> None:
    rows = describe_experiments().partition("\n\nSettings")[2].splitlines()[1:]
    settings = [row.split()[0] for row in rows if row.startswith("  ") and row[2] != " "]
    assert [setting.partition("=")[0] for setting in settings] == [
        field.name for field in dataclasses.fields(Experiment)
    ][1:]
    assert with_settings(regress("size=256"), settings) == Experiment("regress")
    explained = explanations()
    assert explained.keys() - {"name"} == {setting.partition("=")[0] for setting in settings}
    assert all(explained.values())
    assert " ".join(rows).count("batch, instance, spectral or none") == 1
    headings = [row.partition(":")[0] for row in rows if row and row[0] != " "]
    assert headings == ["Network", "Loss", "Optimizer", "Schedule", "Data"]


def test_only_photo_architectures_predict_photos_and_a_search_averages_no_mirrored_view() -> None:
    assert {name for name in EXPERIMENTS if EXPERIMENTS[name]().predicts_photo} == {
        "pix2pix-paper",
        "cyclegan",
        "dcgan",
    }
    assert regress("architecture=resnet").predicts_photo
    assert {name for name in EXPERIMENTS if not EXPERIMENTS[name]().mirrored} == {"dcgan"}
    assert not regress("flip=no").mirrored


DIGESTS = {
    "pix2pix": "8a2e14774f5087e7",
    "pix2pix-paper": "882ebcfc1a4b3198",
    "regress": "da110c89bc7da5a6",
    "regress-imagenet": "8cd935ca3252688e",
    "regress-long": "ac629ccef7cda6a7",
    "cyclegan": "007e09644baea104",
    "dcgan": "8b064e6462bcb5ef",
    "bilstm": "be43e3ee5564b21d",
    "partialconv": "bc7c88ddc6d8e7e5",
}
"""Of the recipes as they were stored before settings had groups: another one would make every stored source stale."""
_FROM_NOTHING = ["encoder=tu-resnet18", "encoder_weights=none", "encoder_rate=1", "box_copies=1"]
FORMER = {
    "pix2pix": _FROM_NOTHING,
    "regress": _FROM_NOTHING,
    "regress-imagenet": ["box_copies=1", "epochs=12", "validations=4"],
    "regress-long": ["predict_size=0"],
}
"""What these experiments set when their digests were taken."""


def test_recipes_are_those_of_trainings_stored_before() -> None:
    assert {name: digest_of(recipe_of(experiment(name, FORMER.get(name, [])))) for name in EXPERIMENTS} == DIGESTS
    settings = ["gradient_clip=2", "clip_model=thumbnail", "size=128", "decoder_channels=64,32", "flip=no"]
    one = experiment("regress", [*_FROM_NOTHING, *settings, "standardise=true"], rename="mine")
    assert digest_of(recipe_of(one)) == "6d6a0c416afefa6e"


def test_a_stored_experiment_may_have_a_setting_s_name_of_before() -> None:
    one = experiment("regress", ["gradient_clip=2"])
    assert one.fields["clip"] == 2.0 and "gradient_clip" not in one.fields
    assert experiment_from(json.loads(json.dumps({"experiment": one.fields}))) == one


def test_a_setting_by_its_name_of_before_is_told_its_new_one() -> None:
    assert experiment("regress", ["clip=2"]) == experiment("regress", ["gradient_clip=2"])
    assert renamed_settings(["clip=2", "size=64", "clip=thumbnail"]) == [
        "--set clip=2 is now --set gradient_clip=2",
        "--set clip=thumbnail is now --set clip_model=thumbnail",
    ]


def test_a_group_stands_alone_and_an_experiment_is_each_of_them() -> None:
    groups = (NetworkSettings, LossSettings, OptimizerSettings, ScheduleSettings, DataSettings)
    assert all(isinstance(regress(), group) for group in groups)
    assert DataSettings(size=128).mirrored and not DataSettings(flip=False).mirrored
    names = [field.name for group in groups for field in dataclasses.fields(group)]
    assert ["name", *names] == [field.name for field in dataclasses.fields(Experiment)]


def test_default_widths_are_multiples_of_sixteen() -> None:
    for one in (experiment("pix2pix"), regress(), experiment("pix2pix", demo_settings())):
        assert not [width for width in (*one.decoder_channels, one.discriminator_width) if width % 16]


def test_an_unknown_experiment_is_said_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="pix2pix, pix2pix-paper, regress"):
        experiment("unet")


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("lr=1e-3", "--set learning_rate=1e-3"),
        ("batch=8", "--set batch_size=8"),
        ("wd=0", "--set weight_decay=0"),
        ("batch-size=8", "--set batch_size=8"),
        ("Epochs=3", "--set epochs=3"),
        ("learningrate=0.1", "--set learning_rate=0.1"),
        ("schedular=linear", "--set schedule=linear"),
    ],
)
def test_an_unknown_setting_is_said_with_the_one_that_was_meant(setting: str, meant: str) -> None:
    with pytest.raises(UnknownName) as caught:
        experiment("regress", [setting])
    assert f"Did you mean {meant}? All of them: kit train --list" in str(caught.value)


def test_names_of_other_libraries_are_no_settings_and_mean_settings() -> None:
    names = {field.name for field in dataclasses.fields(Experiment)} - {"name"}
    assert not USUAL_NAMES.keys() & names and set(USUAL_NAMES.values()) <= names


def test_an_unknown_experiment_is_said_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean regress\? Known: "):
        experiment("regres")


def test_experiments_import_no_torch() -> None:
    code = "import sys, kit.learning.experiments as e; e.describe_experiments(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# an experiment as it was stored


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_stored_as_json_is_read_again(name: str) -> None:
    one = EXPERIMENTS[name]()
    assert experiment_from(json.loads(json.dumps({"experiment": dataclasses.asdict(one)}))) == one
