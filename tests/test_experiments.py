"""Experiments as data: settings read as their field's type, and everything that cannot be is one clear line."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kit.errors import KitError, UnknownName, UsageError
from kit.experiments import (
    EXPERIMENTS,
    Experiment,
    demo_settings,
    describe_experiments,
    experiment,
    pix2pix,
    regress,
    settings_of,
    with_settings,
)

GOOD = {
    "architecture": ("fpn", "fpn"),
    "encoder": ("tu-resnet34", "tu-resnet34"),
    "encoder_weights": ("weights/a=b.pth", "weights/a=b.pth"),
    "decoder_channels": ("64,32,16", (64, 32, 16)),
    "dropout": ("0.25", 0.25),
    "size": ("128", 128),
    "base": ("harmonic", "harmonic"),
    "mse_weight": ("2", 2.0),
    "l1_weight": ("1e-3", 0.001),
    "adversarial_weight": ("0.5", 0.5),
    "discriminator_width": ("16", 16),
    "discriminator_layers": ("2", 2),
    "batch_size": ("7", 7),
    "epochs": ("3", 3),
    "learning_rate": ("5e-4", 0.0005),
    "beta1": ("0", 0.0),
    "weight_decay": ("0", 0.0),
    "warmup": ("0.5", 0.5),
    "ema": ("0", 0.0),
    "clip": ("0.1", 0.1),
    "flip": ("no", False),
    "crop": ("1", 1.0),
    "jitter": ("0", 0.0),
    "layouts": ("2", 2),
    "seed": ("42", 42),
}

BAD = [
    "",
    "size",
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
    "architecture=vgg",
    "architecture=UNET",
    "base=telea",
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
    "discriminator_width=0",
    "discriminator_width=1" + "0" * 30,
    "discriminator_layers=0",
    "discriminator_layers=6",
    "batch_size=0",
    "batch_size=-1",
    "batch_size=1.5",
    "batch_size=1" + "0" * 30,
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
    "clip=0",
    "clip=nan",
    "flip=maybe",
    "flip=",
    "crop=0",
    "crop=1.1",
    "jitter=1",
    "layouts=0",
    "layouts=300",
    "seed=-1",
    "seed=4294967296",
    "seed=0.5",
]


def test_every_field_has_a_setting_here() -> None:
    assert set(GOOD) == {field.name for field in dataclasses.fields(Experiment)} - {"name"}


@pytest.mark.parametrize("field", GOOD)
def test_a_setting_is_read_as_its_fields_own_type(field: str) -> None:
    text, value = GOOD[field]
    changed = with_settings(regress(), [f"{field}={text}"])
    assert getattr(changed, field) == value
    assert type(getattr(changed, field)) is type(getattr(regress(), field))
    assert dataclasses.replace(changed, **{field: getattr(regress(), field)}) == regress()


@pytest.mark.parametrize("setting", BAD)
def test_a_setting_that_cannot_be_is_one_line_that_names_it(setting: str) -> None:
    with pytest.raises(UsageError) as caught:
        experiment("regress", [setting])
    message = str(caught.value)
    assert "\n" not in message
    assert setting.partition("=")[0].strip() in message


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
    assert regress().digest == experiment("regress", ["size=64"]).digest
    digests = {experiment("regress", [f"{field}={text}"]).digest for field, (text, _) in GOOD.items()}
    assert len(digests) == len(GOOD)
    assert experiment("regress", rename="other").digest != regress().digest


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_bears_the_name_of_its_function(name: str) -> None:
    assert EXPERIMENTS[name]().name == name == EXPERIMENTS[name].__name__
    assert (EXPERIMENTS[name].__doc__ or "").splitlines()[0] in describe_experiments()


def test_the_description_lists_every_setting_with_each_default() -> None:
    text = describe_experiments()
    assert all(f"  {field} " in text for field in GOOD)
    assert "regress 0.001, " in text or "regress 0.001" in text


def test_default_widths_are_multiples_of_sixteen() -> None:
    for one in (pix2pix(), regress(), with_settings(pix2pix(), demo_settings())):
        assert not [width for width in (*one.decoder_channels, one.discriminator_width) if width % 16]


def test_an_unknown_experiment_is_said_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="pix2pix, regress"):
        experiment("unet")


def test_experiments_import_no_torch() -> None:
    code = "import sys, kit.experiments as e; e.describe_experiments(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
