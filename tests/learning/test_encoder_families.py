"""Encoders of timm's families under kit's decoders: forward, backward, odd levels, one size alone; and who cannot."""

from __future__ import annotations

import sys

import pytest
import timm
import torch

from kit.errors import UsageError
from kit.learning.datasets import network_input
from kit.learning.experiments import experiment
from kit.learning.models import build_generator
from kit.learning.training import check_buildable
from kit.pretrained.weights.encoders import timm_encoder

SMALLEST = {
    "resnet": "resnet10t",
    "resnext": "resnext26ts",
    "convnext": "convnext_atto",
    "convnextv2": "convnextv2_atto",
    "efficientnet": "efficientnet_b0",
    "tf_efficientnet_lite": "tf_efficientnet_lite0",
    "efficientnetv2": "tf_efficientnetv2_b0",
    "mobilenetv2": "mobilenetv2_035",
    "mobilenetv3": "mobilenetv3_small_050",
    "mobilenetv4": "mobilenetv4_conv_small_050",
    "regnet": "regnetx_002",
    "densenet": "densenet121",
    "swin": "swin_tiny_patch4_window7_224",
    "swinv2": "swinv2_tiny_window8_256",
    "swinv2_cr": "swinv2_cr_tiny_ns_224",
    "maxvit": "maxvit_pico_rw_256",
    "coatnet": "coatnet_pico_rw_224",
    "pvt_v2": "pvt_v2_b0",
    "hgnet": "hgnet_tiny",
    "hgnetv2": "hgnetv2_b0",
    "edgenext": "edgenext_xx_small",
    "fastvit": "fastvit_t8",
    "mobilevit": "mobilevit_xxs",
    "repvgg": "repvgg_a0",
    "mobileone": "mobileone_s0",
    "vgg": "vgg11",
    "poolformer": "poolformer_s12",
    "mambaout": "mambaout_femto",
    "tiny_vit": "tiny_vit_5m_224",
    "starnet": "starnet_s1",
    "inception_next": "inception_next_atto",
}
"""The smallest model of each family; the architectures that matter are the same in the larger ones."""

HEAVY = {"swin", "swinv2", "swinv2_cr", "densenet", "maxvit", "coatnet", "vgg", "hgnet", "poolformer", "resnext"}

NEVER = {
    "vit_tiny_patch16_224": "its levels are 1/16, 1/16, 1/16 of the size",
    "mixer_s32_224": "its levels are 1/32, 1/32, 1/32 of the size",
    "efficientvit_m0": "its levels are 1/16, 1/32, 1/64 of the size",
    "sequencer2d_s": "its levels are 1/7, 1/14, 1/14 of the size",
    "convmixer_768_32": "its levels are 1/7, 1/7, 1/7 of the size",
    "levit_128s": "its levels are 1/16, 1/32, 1/64 of the size",
    "csatv2": "its levels are 1/8, 1/16, 1/32, 1/64 of the size",
}
"""Models that no decoder of kit can use, and why."""

WITHOUT_STAGES = ("twins_pcpvt_small", "xception41")
"""Models that `light` cannot tell of the hole, and a U-Net can use."""


def settings(model: str, architecture: str, size: int = 64) -> list[str]:
    """A small decoder on an encoder of random weights."""
    widths = "32,16" if architecture == "light" else "32,16,16,16"
    chosen = [
        f"architecture={architecture}",
        f"encoder=tu-{model}",
        "encoder_weights=none",
        f"decoder_channels={widths}",
    ]
    return [*chosen, f"size={size}", "standardise=false", "dropout=0"]


def one_step(model: str, architecture: str, *more: str, size: int = 64) -> None:
    """Build it, and demand a residual that the encoder learns from."""
    torch.manual_seed(0)
    network = build_generator(experiment("regress", [*settings(model, architecture, size), *more]))
    x = network_input(torch.rand(2, 3, size, size), (torch.rand(2, 1, size, size) < 0.3).float())
    heads = [value for name, value in network.named_parameters() if name.startswith(("head.", "network.segm"))]
    for value in heads:
        torch.nn.init.normal_(value, std=0.1)  # they begin at zero
    residual = network.train()(x)
    assert residual.shape == (2, 3, size, size)
    residual.square().mean().backward()
    learning = [value.grad for name, value in network.named_parameters() if "encoder." in name and value.requires_grad]
    given = [gradient for gradient in learning if gradient is not None]
    assert all(torch.isfinite(gradient).all() for gradient in given)
    assert sum(bool(gradient.any()) for gradient in given) > 0.2 * len(learning)  # SwinV2's norms begin at zero


CRASHING = ("fastvit", "repvgg", "mobileone")
"""torch 2.15 corrupts its memory in their backward pass on a CPU, in plain timm's models as well
(channels-last maps, 64 px): the whole process dies, so it is not tried, and kit refuses them there."""

FAMILIES = [
    pytest.param(
        family,
        marks=[
            *([pytest.mark.slow] if family in HEAVY else []),
            *([pytest.mark.skip(reason="torch 2.15 crashes on a CPU")] if family in CRASHING else []),
            *([] if timm.is_model(SMALLEST[family]) else [pytest.mark.skip(reason="this timm has no such family")]),
        ],
    )
    for family in SMALLEST
]


@pytest.mark.parametrize("architecture", ["light", "unet"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_of_the_family_learns(family: str, architecture: str) -> None:
    one_step(SMALLEST[family], architecture)


@pytest.mark.parametrize("architecture", ["light", "unet"])
@pytest.mark.parametrize("family", CRASHING)
def test_an_encoder_that_torch_cannot_train_on_a_cpu_is_refused_there(family: str, architecture: str) -> None:
    one = experiment("regress", settings(SMALLEST[family], architecture))
    with pytest.raises(UsageError, match=rf"tu-{SMALLEST[family]} on a CPU.*--set encoder=tu-resnet18"):
        check_buildable(one, 8)
    check_buildable(one, 8, torch.device("cuda"))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["swin", "swinv2", "maxvit", "coatnet", "convnext"])
def test_models_of_one_size_are_built_for_the_size_of_the_training(family: str) -> None:
    one_step(SMALLEST[family], "light", size=128)


@pytest.mark.parametrize("family", ["convnext", "mambaout", "pvt_v2"])
def test_finest_stages_of_an_encoder_that_begins_at_a_quarter_can_be_frozen(family: str) -> None:
    one_step(SMALLEST[family], "light", "frozen=1")


@pytest.mark.parametrize("architecture", ["light", "unet"])
@pytest.mark.parametrize("model", [model for model in NEVER if timm.is_model(model)])
def test_a_model_that_no_decoder_can_use_says_why_and_names_one_that_can(model: str, architecture: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_generator(experiment("regress", settings(model, architecture)))
    message = str(caught.value)
    assert NEVER[model] in message or "cannot serve: features_only not implemented" in message
    assert f"tu-{model}" in message and "--set encoder=tu-resnet18" in message
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize("model", WITHOUT_STAGES)
def test_a_model_that_runs_as_a_whole_serves_a_unet_alone(model: str) -> None:
    with pytest.raises(UsageError, match=r"architecture=light .*--set architecture=unet"):
        build_generator(experiment("regress", settings(model, "light")))
    build_generator(experiment("regress", settings(model, "unet")))


@pytest.mark.parametrize(
    "model", ["tf_efficientnet_lite0", "convnext_atto", "vgg11", "dla34", "tresnet_m", "hgnetv2_b0", "regnetx_002"]
)
def test_an_encoder_is_that_of_segmentation_models(model: str) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    theirs = smp.encoders.get_encoder(f"tu-{model}", in_channels=3, depth=5, weights=None).model
    torch.manual_seed(0)
    ours = timm_encoder(f"tu-{model}").model
    assert ours.feature_info.channels() == theirs.feature_info.channels()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name]), name


def test_the_light_network_needs_no_segmentation_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)  # importing it fails
    one_step("tf_efficientnet_lite0", "light")


def test_mit_is_segmentation_models_own_and_serves_a_unet_alone() -> None:
    chosen = [one.replace("tu-mit_b0", "mit_b0") for one in settings("mit_b0", "unet")]
    assert build_generator(experiment("regress", chosen))(torch.zeros(1, 6, 64, 64)).shape == (1, 3, 64, 64)
    with pytest.raises(UsageError, match=r"timm's models have names that begin with tu-.*tu-resnet18"):
        build_generator(
            experiment("regress", [one.replace("tu-mit_b0", "mit_b0") for one in settings("mit_b0", "light")])
        )
