"""Networks: shapes, the start at the base fill, the patch of the PatchGAN, encoder weights from files."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from kit.errors import TrainingError, UsageError
from kit.learning.datasets import INPUT_CHANNELS, network_input
from kit.learning.experiments import ARCHITECTURES, PHOTO_ARCHITECTURES, SIZES, Experiment, check_effect, experiment
from kit.learning.models import build_discriminator, build_generator
from kit.learning.models.layers.photo import PhotoGenerator
from kit.learning.models.layers.standardised import Standardised
from kit.learning.models.patchgan import PatchGAN, patch_candidate
from kit.learning.models.semantic import SemanticInpainter
from kit.learning.training import check_buildable
from kit.pretrained.weights.loading import widen_first_convolution
from kit.pretrained.weights.reading import read_weights

ENCODER = "test_efficientnet"
STEM = "model.conv_stem.weight"


def tiny(*settings: str, name: str = "regress") -> Experiment:
    """An experiment whose networks are built in no time."""
    plain = [f"encoder=tu-{ENCODER}", "encoder_weights=none", "decoder_channels=32,16,16", "standardise=false"]
    return experiment(name, [*plain, *settings])


RESIDUAL_ARCHITECTURES = [name for name in ARCHITECTURES if name not in PHOTO_ARCHITECTURES]
SMALL = ["width=16", "blocks=2", "latent=8", "search_steps=1"]
"""Settings with which kit's own networks are built in no time too."""


def of(architecture: str, *settings: str) -> Experiment:
    """A tiny experiment with this architecture."""
    if architecture == "dcgan":
        return experiment("dcgan", [*SMALL, *settings])
    return tiny(f"architecture={architecture}", *SMALL, *settings)


@pytest.mark.parametrize(
    ("architecture", "size"),
    [(name, size) for name in ARCHITECTURES for size in SIZES if (name, size) != ("dcgan", 256)],
)
def test_a_generator_gives_a_residual_of_the_pictures_size(architecture: str, size: int) -> None:
    generator = build_generator(of(architecture, f"size={size}"))
    x = network_input(torch.rand(2, 3, size, size), torch.rand(2, 1, size, size))
    with torch.no_grad():
        residual = generator.eval()(x)
    assert residual.shape == (2, 3, size, size)
    assert residual.dtype == torch.float32 and torch.isfinite(residual).all()


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("encoder", ["tu-resnet10t", "resnet18"])
def test_encoders_of_smp_and_of_timm_can_be_used_with_five_levels(encoder: str, size: int) -> None:
    generator = build_generator(
        experiment("regress", [f"encoder={encoder}", "encoder_weights=none", "decoder_channels=32,16,16,16,16"])
    )
    assert generator.eval()(torch.rand(1, INPUT_CHANNELS, size, size)).shape == (1, 3, size, size)


@pytest.mark.parametrize("widths", ["16", "16,16", "16,16,16", "32,16,16,16", "32,32,16,16,16"])
def test_one_to_five_decoder_widths_can_be_had(widths: str) -> None:
    generator = build_generator(tiny(f"decoder_channels={widths}"))
    assert generator.eval()(torch.rand(1, INPUT_CHANNELS, 64, 64)).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("architecture", RESIDUAL_ARCHITECTURES)
def test_before_the_first_step_the_residual_is_exactly_zero(architecture: str) -> None:
    generator = build_generator(of(architecture))
    x = torch.randn(2, INPUT_CHANNELS, 64, 64)
    for training in (True, False):
        assert not generator.train(training)(x).any()
    assert generator.train()(x).sum().requires_grad


# networks that paint the whole photo


class Painter(nn.Module):
    """Paints one colour, and remembers what it was shown."""

    def __init__(self, colour: float) -> None:
        super().__init__()
        self.colour, self.shown = colour, torch.empty(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shown = x
        return torch.full_like(x[:, :3], self.colour)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("colour", [-1.0, 0.0, 0.3, 1.0])
def test_a_painters_residual_is_what_it_painted_less_the_filled_photo(colour: float, channels: int) -> None:
    painter = Painter(colour)
    filled, hole = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    residual = PhotoGenerator(painter, channels)(network_input(filled, hole))
    assert torch.allclose(filled + residual, torch.full_like(filled, (colour + 1) / 2), atol=1e-6)
    assert torch.allclose(painter.shown[:, :3], filled * 2 - 1, atol=1e-6)  # in [-1, 1]
    assert torch.equal(painter.shown[:, 3:], hole[:, : channels - 3])


@pytest.mark.parametrize("architecture", ["paper-unet", "resnet"])
def test_what_a_painter_adds_to_the_filled_photo_is_a_photo(architecture: str) -> None:
    generator = build_generator(of(architecture, "dropout=0"))
    for weights in generator.parameters():
        weights.data *= 10  # to the ends of its range
    filled = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        painted = filled + generator(network_input(filled, torch.rand(2, 1, 64, 64)))
    assert float(painted.min()) > -1e-5 and float(painted.max()) < 1 + 1e-5
    assert float(painted.max() - painted.min()) > 0.5


@pytest.mark.parametrize("architecture", ["paper-unet", "resnet"])
def test_only_generators_of_pairs_are_told_where_the_hole_is(architecture: str) -> None:
    filled, holes = torch.rand(1, 3, 64, 64), (torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64))
    seen = {}
    for method, one in {
        "supervised": of(architecture),
        "cyclegan": experiment("cyclegan", [*SMALL, f"architecture={architecture}"]),
    }.items():
        generator = build_generator(one).eval()
        seen[method] = torch.equal(*(generator(network_input(filled, hole)) for hole in holes))
    assert seen == {"supervised": False, "cyclegan": True}


def test_a_dcgan_is_built_of_both_its_networks() -> None:
    inpainter = build_generator(experiment("dcgan", [*SMALL, "prior_weight=0.5", "seed=7"]))
    assert isinstance(inpainter, SemanticInpainter)
    assert (inpainter.latent, inpainter.steps, inpainter.prior_weight, inpainter.seed) == (8, 1, 0.5, 7)
    assert inpainter.generator(torch.zeros(2, 8)).shape == (2, 3, 64, 64)
    assert inpainter.discriminator(torch.zeros(2, 3, 64, 64)).shape == (2,)


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        (["architecture=plain"], "width"),
        (["architecture=plain"], "blocks"),
        (["architecture=plain", "width=16", "bottleneck=fourier"], "bottleneck"),
        (["architecture=bilstm", "width=16"], "width"),
        (["architecture=bilstm", "width=16"], "blocks"),
        (["architecture=partialconv", "width=16"], "width"),
        (["architecture=partialconv", "width=16"], "blocks"),
        (["architecture=paper-unet", "width=16"], "width"),
        (["architecture=paper-unet", "width=16"], "size"),
        (["architecture=resnet", "width=16"], "width"),
        (["architecture=resnet", "width=16"], "blocks"),
        (["method=dcgan", "architecture=dcgan", "adversarial_weight=1", "width=16"], "width"),
        (["method=dcgan", "architecture=dcgan", "adversarial_weight=1", "width=16"], "latent"),
    ],
)
def test_each_setting_reaches_its_network(settings: list[str], changed: str) -> None:
    other = {"width": "width=24", "blocks": "blocks=3", "bottleneck": "bottleneck=conv", "size": "size=128"}
    counts = [
        sum(weights.numel() for weights in build_generator(experiment("regress", made)).parameters())
        for made in (settings, [*settings, other.get(changed, f"{changed}=50")])
    ]
    assert counts[0] != counts[1]


def test_only_the_head_learns_in_the_first_step_and_then_all_do() -> None:
    generator = build_generator(tiny("dropout=0"))
    x = torch.randn(2, INPUT_CHANNELS, 64, 64)
    optimizer = torch.optim.SGD(generator.parameters(), 0.1)
    for seen_by_encoder in (False, True):
        optimizer.zero_grad()
        (generator(x) - 1).square().mean().backward()
        assert bool(generator.network.encoder.model.conv_stem.weight.grad.any()) is seen_by_encoder
        optimizer.step()


def test_dropout_works_while_training_only() -> None:
    generator = build_generator(tiny("dropout=0.9"))
    nn.init.ones_(generator.network.segmentation_head[0].weight)
    x = torch.randn(1, INPUT_CHANNELS, 64, 64)
    assert torch.equal(generator.eval()(x), generator.eval()(x))
    assert not torch.equal(generator.train()(x), generator.train()(x))


def test_an_experiment_without_an_adversary_has_no_discriminator() -> None:
    assert build_discriminator(tiny()) is None
    assert isinstance(build_discriminator(tiny(name="pix2pix")), PatchGAN)


@pytest.mark.parametrize(("conditional", "channels"), [(True, 7), (False, 3)])
def test_a_discriminator_sees_the_candidate_with_or_without_its_condition(conditional: bool, channels: int) -> None:
    one = tiny("discriminator_width=16", "discriminator_layers=1", "discriminator_norm=none", name="pix2pix")
    discriminator = build_discriminator(one, conditional=conditional)
    assert discriminator is not None
    assert discriminator(torch.rand(1, channels, 64, 64)).shape[:2] == (1, 1)
    assert not [module for module in discriminator.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize(("layers", "patch", "size"), [(1, 16, 64), (2, 34, 64), (3, 70, 128), (4, 142, 256)])
def test_a_patch_of_the_discriminator_has_the_size_that_the_paper_gives(layers: int, patch: int, size: int) -> None:
    discriminator = PatchGAN(3, 16, layers).eval()
    x = torch.randn(1, 3, size, size, requires_grad=True)
    logits = discriminator(x)
    middle = logits.shape[2] // 2
    logits[0, 0, middle, middle].backward()
    assert x.grad is not None
    rows = x.grad[0].abs().sum(dim=(0, 2)).nonzero()
    columns = x.grad[0].abs().sum(dim=(0, 1)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == int(columns.max() - columns.min()) + 1 == patch


def test_the_discriminator_sees_condition_hole_and_candidate_about_zero() -> None:
    filled, hole, candidate = torch.rand(2, 3, 8, 8), torch.ones(2, 1, 8, 8), torch.rand(2, 3, 8, 8)
    x = patch_candidate(filled, hole, candidate)
    assert x.shape == (2, 7, 8, 8)
    assert torch.allclose((x[:, :3] + 1) / 2, filled, atol=1e-6)
    assert torch.allclose((x[:, 4:] + 1) / 2, candidate, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        ["encoder=tu-nope"],
        ["encoder="],
        ["encoder=nope"],
        ["encoder=tu-test_vit"],
        ["architecture=fpn", "decoder_channels=48"],
        ["architecture=unetplusplus", "decoder_channels=16"],
        ["encoder=tu-levit_128s"],
    ],
)
def test_networks_that_cannot_be_are_one_line_that_names_the_setting(settings: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        check_buildable(tiny(*settings), 8)
    assert "\n" not in str(caught.value)
    setting, value = settings[0].split("=")
    assert settings[0] in str(caught.value) or str(caught.value).startswith(f"There is no {setting} {value!r}")
    assert len(str(caught.value)) < 600


def test_a_picture_too_small_for_the_patchgan_is_said_before_training() -> None:
    with pytest.raises(UsageError, match=r"discriminator_layers=5 .*Kernel size") as caught:
        check_buildable(tiny("discriminator_layers=5", name="pix2pix"), 8)
    assert "size=64 " in str(caught.value)
    check_buildable(tiny("discriminator_layers=4", name="pix2pix"), 8)


def test_a_batch_of_one_on_which_batch_norm_has_no_statistics_is_said_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(INPUT_CHANNELS))
    network = nn.Sequential(pooled, nn.Upsample(64), nn.Conv2d(INPUT_CHANNELS, 3, 1))
    monkeypatch.setattr(
        "kit.learning.training.methods.supervised.build_generator", lambda experiment, pretrained: network
    )
    for one, photos in ((tiny("batch_size=1"), 8), (tiny(), 1)):
        with pytest.raises(UsageError, match=r"Expected more than 1 value per channel.*--set"):
            check_buildable(one, photos)
    check_buildable(tiny("batch_size=2"), 8)
    assert network.training


def test_a_batch_of_one_trains_where_the_coarsest_level_is_two_pixels_wide() -> None:
    assert check_buildable(tiny("batch_size=1", "decoder_channels=16,16,16,16,16"), 8) is None


# encoder weights


@pytest.fixture(scope="module")
def donor() -> dict[str, torch.Tensor]:
    """The tensors of timm's own model, as a file of pretrained weights holds them."""
    torch.manual_seed(3)
    model = timm.create_model(ENCODER)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
    return model.state_dict()


def stored(donor: dict[str, torch.Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(donor, path)
    else:
        torch.save({"state_dict": donor} if path.stem == "nested" else donor, path)
    return path


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "nested.pth"])
def test_encoder_weights_are_read_from_a_file(name: str, donor: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = stored(donor, tmp_path / name)
    encoder = build_generator(tiny(f"encoder_weights={path}")).network.encoder.state_dict()
    shared = [key for key in encoder if key.removeprefix("model.") in donor and key != STEM]
    assert len(shared) == len(encoder) - 1
    assert all(torch.equal(encoder[key], donor[key.removeprefix("model.")]) for key in shared)


def test_the_widened_convolution_keeps_what_was_learnt_and_begins_blind_to_the_rest(
    donor: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = stored(donor, tmp_path / "weights.safetensors")
    generator = build_generator(tiny(f"encoder_weights={path}")).eval()
    stem = generator.network.encoder.state_dict()[STEM]
    assert torch.equal(stem[:, :3], donor[STEM.removeprefix("model.")])
    assert stem.shape[1] == INPUT_CHANNELS and not stem[:, 3:].any()
    x = torch.randn(1, INPUT_CHANNELS, 64, 64)
    other = torch.cat([x[:, :3], torch.randn(1, INPUT_CHANNELS - 3, 64, 64)], dim=1)
    pairs = zip(generator.network.encoder(x)[1:], generator.network.encoder(other)[1:], strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    reference = timm.create_model(ENCODER, features_only=True).eval()
    reference.load_state_dict(donor, strict=False)
    ours = [feature for feature in generator.network.encoder(x)[1:] if feature.numel()]
    for one, two in zip(ours, reference(x[:, :3]), strict=False):
        assert torch.allclose(one, two, atol=1e-5)


def test_a_network_with_and_one_without_pretrained_weights_have_the_same_tensors(
    donor: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    one = tiny(f"encoder_weights={stored(donor, tmp_path / 'weights.pth')}")
    with_weights, without = build_generator(one), build_generator(one, pretrained=False)
    shapes = [{key: value.shape for key, value in each.state_dict().items()} for each in (with_weights, without)]
    assert shapes[0] == shapes[1]


def test_a_widened_convolution_stays_of_its_own_kind() -> None:
    class Same(nn.Conv2d):
        """Pads by itself, as TensorFlow does."""

    network = nn.Sequential(Same(3, 4, 3, stride=2), nn.Conv2d(4, 3, 1))
    widen_first_convolution(network, 5)
    assert isinstance(network[0], Same)
    assert network[0].in_channels == 5
    assert network(torch.rand(1, 5, 8, 8)).shape == (1, 3, 3, 3)


class Touch:
    """Leaves a file behind when it is unpickled carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def broken_file(kind: str, folder: Path, donor: dict[str, torch.Tensor]) -> Path:
    """A file that is no weights file of this encoder."""
    path = folder / f"{kind.replace(' ', '_')}.pth"
    if kind == "missing":
        return path
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("hello, these are no weights\n" * 9)
    elif kind == "text as safetensors":
        path = path.with_suffix(".safetensors")
        path.write_text("hello, these are no weights\n" * 9)
    elif kind == "cut":
        torch.save(donor, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "code":
        torch.save({"weights": Touch(folder / "executed")}, path)
    elif kind == "code in an old pickle":
        path.write_bytes(pickle.dumps({"weights": Touch(folder / "executed")}, protocol=2))
    elif kind == "whole model":
        torch.save(nn.Linear(2, 2), path)
    elif kind == "list":
        torch.save([torch.ones(2)], path)
    elif kind == "more than tensors":
        torch.save({**donor, "epoch": 3}, path)
    elif kind == "foreign keys":
        torch.save({f"other_{key}": value for key, value in reversed(donor.items())}, path)
    elif kind == "half of the keys":
        torch.save(dict(list(donor.items())[: len(donor) // 2]), path)
    elif kind == "another network":
        torch.save(timm.create_model("test_resnet").state_dict(), path)
    elif kind == "another width":
        torch.save({key: torch.cat([value, value]) if value.ndim else value for key, value in donor.items()}, path)
    return path


KINDS = [
    "missing",
    "folder",
    "empty",
    "text",
    "text as safetensors",
    "cut",
    "code",
    "code in an old pickle",
    "whole model",
    "list",
    "more than tensors",
    "foreign keys",
    "half of the keys",
    "another network",
    "another width",
]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_holds_no_weights_of_the_encoder_is_one_clear_line(
    kind: str, donor: dict[str, torch.Tensor], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = broken_file(kind, tmp_path, donor)
    with pytest.raises(TrainingError) as caught:
        build_generator(tiny(f"encoder_weights={path}"))
    message = str(caught.value)
    assert path.name in message and "\n" not in message and len(message) < 600
    assert "\x1b" not in message and "weights_only" not in message
    assert not (tmp_path / "executed").exists()
    assert "Unexpected keys" not in capfd.readouterr().err


def test_a_pickle_with_code_is_told_from_a_text_file(donor: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="besides weights; nothing in it was run"):
        read_weights(broken_file("code", tmp_path, donor))
    with pytest.raises(TrainingError, match=r"is not a \.safetensors or \.pth weights file"):
        read_weights(broken_file("text", tmp_path, donor))


@pytest.mark.parametrize("offline", [True, False])
def test_imagenet_weights_without_a_network_fail_at_once_and_say_the_way_out(
    offline: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the port of discard: nothing listens
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(TrainingError, match=r"cannot be downloaded.*--set encoder_weights=PATH"):
        build_generator(tiny("encoder_weights=imagenet"))
    assert time.monotonic() - started < 10


def test_weights_for_an_encoder_that_is_not_timms_name_the_one_that_is() -> None:
    with pytest.raises(TrainingError, match="--set encoder=tu-resnet18"):
        build_generator(experiment("regress", ["encoder=resnet18", "encoder_weights=imagenet"]))


@pytest.mark.parametrize("architecture", ["unet", "plain", "bilstm", "partialconv"])
def test_a_standardised_network_follows_contrast_and_brightness(architecture: str) -> None:
    torch.manual_seed(0)
    network = build_generator(tiny(f"architecture={architecture}", *SMALL, "standardise=true")).eval()
    for parameter in network.parameters():  # heads begin at zero
        torch.nn.init.normal_(parameter, std=0.05)
    photos, hole = torch.rand(2, 3, 32, 32), (torch.rand(2, 1, 32, 32) < 0.3).float()
    with torch.no_grad():
        residual = network(network_input(photos, hole))
        changed = network(network_input(0.5 * photos + 0.2, hole))
    assert residual.std() > 0
    # FLAT keeps it from being exact: half the contrast is a little less than half the residual
    assert (changed - 0.5 * residual).abs().max() < 0.1 * residual.abs().max()


@pytest.mark.parametrize("architecture", ["light", "resnet", "paper-unet"])
def test_networks_that_need_photos_as_they_are_are_not_standardised(architecture: str) -> None:
    one = tiny(f"architecture={architecture}", *SMALL, "standardise=true")
    assert not one.standardised and not isinstance(build_generator(one), Standardised)
    with pytest.raises(UsageError, match="needs photos as they are"):
        check_effect([one], ["standardise=true"])
