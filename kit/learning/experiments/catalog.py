"""The experiments: one function each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kit.learning.experiments.settings import Experiment

# Adam, its rate and the linear fall are those of Isola et al. 2017 and Zhu et al. 2017; nothing is averaged or clipped
_AS_GANS_ARE_TRAINED: dict[str, Any] = {
    "mse_weight": 0.0,
    "adversarial_weight": 1.0,
    "optimizer": "adam",
    "learning_rate": 2e-4,
    "schedule": "linear",
    "beta1": 0.5,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "ema": 0.0,
    "gradient_clip": 0.0,
}


# the encoder whose ImageNet weights a package brings, so that they are there without a network; pretrained weights want
# a lower rate, and more holes in a photo teach more in a pass than one pair of boxes (EXPERIMENTS.md, 2026-11-26)
_PRETRAINED: dict[str, Any] = {
    "encoder": "tu-tf_efficientnet_lite0",
    "encoder_weights": "imagenet",
    "encoder_rate": 0.3,
    "box_copies": 4,
}


def regress_imagenet() -> Experiment:
    """The best one for a CPU: squared error on hole pixels, a residual over `fractional`, 128 px."""
    return Experiment(
        "regress-imagenet",
        architecture="light",
        frozen=2,
        decoder_channels=(128, 128, 96, 48),
        size=128,
        batch_size=16,
        epochs=40,
        weight_decay=0.02,
        **_PRETRAINED,
    )


def regress_long() -> Experiment:
    """The same with a wider decoder and five times the passes: for a GPU."""
    return replace(
        regress_imagenet(),
        name="regress-long",
        decoder_channels=(256, 192, 128, 64),
        batch_size=64,
        epochs=184,
        learning_rate=1.4e-3,
        weight_decay=0.05,
        ema=0.998,
        predict_size=160,
    )


def regress() -> Experiment:
    """A cheaper one of the same aim: a U-Net at 64 px that sees every photo with the same mean and contrast."""
    return Experiment("regress", standardise=True, **_PRETRAINED)


def pix2pix() -> Experiment:
    """Isola et al. 2017 on a timm encoder: PatchGAN, adversarial + 100 L1, a residual over the fractional fill."""
    return Experiment(
        "pix2pix",
        **_PRETRAINED,
        mse_weight=0.0,
        l1_weight=100.0,
        adversarial_weight=1.0,
        batch_size=16,
        epochs=8,
        learning_rate=2e-4,
        beta1=0.5,
        weight_decay=0.0,
        discriminator_width=32,
        ema=0.995,
        gradient_clip=100.0,
    )


def pix2pix_paper() -> Experiment:
    """Isola et al. 2017 as in the paper: U-Net 256, 70x70 PatchGAN, adversarial + 100 L1, Adam, batches of one."""
    return Experiment(
        "pix2pix-paper",
        architecture="paper-unet",
        width=64,
        dropout=0.5,
        size=256,
        base="mean",
        l1_weight=100.0,
        batch_size=1,
        epochs=200,
        crop=0.9,
        jitter=0.0,
        photos_per_layout=1,
        **_AS_GANS_ARE_TRAINED,
    )


def cyclegan() -> Experiment:
    """Zhu et al. 2017: masked and whole photos unpaired, two ways, least squares, cycle and identity losses, a pool."""
    return Experiment(
        "cyclegan",
        method="cyclegan",
        architecture="resnet",
        width=32,
        blocks=6,
        dropout=0.0,
        base="mean",
        adversary="lsgan",
        discriminator_norm="instance",
        batch_size=4,
        epochs=100,
        jitter=0.0,
        **_AS_GANS_ARE_TRAINED,
    )


def dcgan() -> Experiment:
    """Radford et al. 2016 on whole photos; z is searched for each masked photo (Yeh et al. 2017) and blended in."""
    return Experiment(
        "dcgan",
        method="dcgan",
        architecture="dcgan",
        width=32,
        base="fractional",
        batch_size=32,
        epochs=100,
        validations=1,
        crop=0.8,
        jitter=0.1,
        **_AS_GANS_ARE_TRAINED,
    )


def bilstm() -> Experiment:
    """Bidirectional LSTMs sweep rows and columns (ReNet, Visin et al. 2015), a residual over the fractional fill."""
    return Experiment("bilstm", architecture="bilstm", width=64, blocks=2, dropout=0.0)


def partialconv() -> Experiment:
    """Partial convolutions (Liu et al. 2018) that see known pixels alone, a residual over the fractional fill."""
    return Experiment("partialconv", architecture="partialconv", width=32, blocks=5, dropout=0.0)


_ALL = (regress_imagenet, regress_long, regress, pix2pix, pix2pix_paper, cyclegan, dcgan, bilstm, partialconv)
EXPERIMENTS: dict[str, Callable[[], Experiment]] = {function.__name__.replace("_", "-"): function for function in _ALL}


DEFAULT = "regress-imagenet"
"""What `kit train` trains when no experiment is named: the one with the lowest RMSE (docs/results.md)."""


def demo_settings() -> list[str]:
    """Return the settings with which `kit demo` trains in two minutes: 51 photos a fold teach a decoder, no encoder."""
    return ["size=64", "frozen=4", "epochs=60", "batch_size=8"]
