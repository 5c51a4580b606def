"""What can be set in an experiment, and what cannot be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kit.core.storage import digest_of
from kit.errors import UsageError

SIZES = (32, 64, 128, 256)
BASES = ("fractional", "harmonic", "mean")
METHODS = ("supervised", "cyclegan", "dcgan")
SMP_ARCHITECTURES = ("unet", "unetplusplus", "fpn", "manet")
PHOTO_ARCHITECTURES = ("paper-unet", "resnet", "dcgan")
"""Networks that paint the whole photo; all others give a residual over the base fill."""
ARCHITECTURES = (*SMP_ARCHITECTURES, "light", "plain", "bilstm", "partialconv", *PHOTO_ARCHITECTURES)
_ARE_TOLD = (*SMP_ARCHITECTURES, "light", "plain")
_NEED_PHOTOS_AS_THEY_ARE = (*PHOTO_ARCHITECTURES, "light")
BOTTLENECKS = ("conv", "fourier", "attention")
ADVERSARIES = ("bce", "lsgan", "hinge")
NORMS = ("batch", "instance", "spectral", "none")
OPTIMIZERS = ("adamw", "adam")
SCHEDULES = ("cosine", "linear")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
MAX_WIDTH = 4096


@dataclass(frozen=True)
class Experiment:
    """One way to train. Two experiments with equal fields are the same experiment."""

    name: str
    """Source name under which the predictions are stored."""
    # --- the network
    method: str = "supervised"
    """supervised (pairs of masked and whole photo), cyclegan (unpaired), or dcgan (whole photos alone)."""
    architecture: str = "unet"
    """Of segmentation-models-pytorch: unet, unetplusplus, fpn, manet. Of kit: light (a timm encoder, decoded to half
    the size), plain, bilstm, partialconv (a residual over the base fill), paper-unet, resnet, dcgan (whole photos)."""
    encoder: str = "tu-resnet18"
    """Encoder of segmentation-models-pytorch; any timm model by `tu-<name>`."""
    encoder_weights: str = "none"
    """`none` (random), `imagenet` (downloaded by timm), or the path of a .safetensors or .pth file with timm's keys."""
    encoder_rate: float = 1.0
    """Learning rate of the encoder as a share of the others': pretrained ones want less."""
    frozen: int = 0
    """Stages of light's encoder, from the finest, that keep their pretrained weights and cost no backward pass."""
    decoder_channels: tuple[int, ...] = (128, 64, 32, 16)
    """Widths from coarse to fine; their number is how many levels of the encoder are used. Multiples of 16: other
    widths leave oneDNN's fast path on CPU (ten times slower)."""
    width: int = 32
    """Channels of the first layer of kit's own networks."""
    blocks: int = 4
    """Blocks at the coarsest level of plain and resnet, layers of bilstm, levels of partialconv."""
    bottleneck: str = "conv"
    """Blocks at the coarsest level of plain: conv, fourier or attention."""
    dropout: float = 0.1
    """Share of the coarsest features dropped while training."""
    size: int = 64
    """Side in pixels at which the network works; it predicts at full size through the residual."""
    standardise: bool = False
    """Show the network every photo with the same mean and contrast, scale its residual back, and weigh a photo's
    squared error by its contrast: nothing has to be learnt twice because a photo is dark or flat."""
    clip_model: str = "none"
    """Tell the network what each photo shows: scale and shift of its coarsest features from the photo's vector (FiLM).
    none, thumbnail, a CLIP's folder, a model of the hub that `kit clip embed` has fetched, or
    timm:MODEL:WEIGHTS_FILE. `--set clip=` with one of these means the same."""
    base: str = "fractional"
    """Classical fill under the residual, and in the holes of the input: fractional, harmonic or mean."""
    # --- what is asked of it
    mse_weight: float = 1.0
    """Weight of the squared error on hole pixels."""
    l1_weight: float = 0.0
    """Weight of the absolute error on hole pixels."""
    adversarial_weight: float = 0.0
    """Weight of the generator's adversarial loss; 0 trains no discriminator."""
    adversary: str = "bce"
    """Adversarial loss: bce, lsgan (least squares) or hinge."""
    feature_weight: float = 0.0
    """Weight of feature matching: the discriminator's features of the generated photo against those of the real one."""
    discriminator_width: int = 64
    """Channels of the PatchGAN's first layer."""
    discriminator_layers: int = 3
    """Strided layers of the PatchGAN; 3 is the paper's 70x70 patch."""
    discriminator_norm: str = "batch"
    """Norm of the PatchGAN: batch, instance, spectral or none."""
    cycle_weight: float = 10.0
    """cyclegan: weight of the way there and back."""
    identity_weight: float = 0.5
    """cyclegan: weight, as a share of cycle_weight, of leaving alone what is whole already."""
    pool: int = 50
    """cyclegan: generated photos that are kept to be shown to the discriminators again."""
    latent: int = 100
    """dcgan: length of z."""
    search_steps: int = 100
    """dcgan: Adam steps of the search of z for each photo."""
    prior_weight: float = 0.003
    """dcgan: weight of the discriminator's verdict in that search."""
    # --- steps
    batch_size: int = 32
    """Photos of one process in one pass."""
    accumulate: int = 1
    """Passes whose gradients make one step."""
    epochs: int = 12
    """Passes over the training photos."""
    patience: int = 0
    """Stop after this many measurements of the fold's RMSE in a row without a better one, and keep the best weights;
    0 never stops early. The fold then chose its own weights, so its RMSE is a little too good."""
    validations: int = 8
    """About how often the fold's RMSE is measured in a run."""
    optimizer: str = "adamw"
    """adamw or adam."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    schedule: str = "cosine"
    """After the warm-up: cosine (to zero), or linear (constant for half of the run, then straight to zero)."""
    beta1: float = 0.9
    """First moment of Adam; GANs use 0.5."""
    weight_decay: float = 0.01
    """Decoupled in adamw."""
    warmup: float = 0.05
    """Share of all steps in which the learning rate rises."""
    ema: float = 0.99
    """Decay of the weights' moving average, with which is predicted; 0 predicts with the last weights."""
    clip: float = 1.0
    """Largest gradient norm; 0 clips nothing."""
    precision: str = "auto"
    """auto (float32 on a CPU, bfloat16 or else float16 on a GPU), float32, bfloat16 or float16."""
    # --- photos
    flip: bool = True
    """Mirror left and right, half of the photos; predictions average both views."""
    crop: float = 0.6
    """Smallest side of a random crop as a share of the photo's; 1 crops nothing."""
    rotate: float = 0.0
    """Largest rotation in degrees."""
    jitter: float = 0.2
    """Largest relative change of brightness, contrast and saturation."""
    bleed: float = 0.0
    """Share of the chroma bleed that JPEG leaves beside painted boxes, to be simulated in training; 1 as measured."""
    box_copies: int = 1
    """So many times the competition's boxes are hidden in a training photo: more to learn from in each pass."""
    photos_per_layout: int = 8
    """Photos in a row that share fresh boxes: they are filled together."""
    test_photos: bool = False
    """Train on the known parts of the test photos too. Allowed by most rules and told by the log; off by default."""
    seed: int = 0
    """Of weights, boxes and augmentation."""

    def __post_init__(self) -> None:
        for holds, message in (*_names(self), *_numbers(self), *_together(self)):
            if not holds:
                raise UsageError(f"{self.name}: {message}. Give it with --set field=value.")

    @property
    def fields(self) -> dict[str, Any]:
        """Every field that says something: those that came after the first release are left out where they change
        nothing, so that what was trained before them is still the same experiment."""
        found = dataclasses.asdict(self)
        return {name: value for name, value in found.items() if name not in _LATER or value != _LATER[name]}

    @property
    def digest(self) -> str:
        """Names this very configuration."""
        return digest_of(self.fields)

    @property
    def predicts_photo(self) -> bool:
        """Whether the network paints the photo rather than a residual."""
        return self.architecture in PHOTO_ARCHITECTURES

    @property
    def standardised(self) -> bool:
        """Whether the network sees photos of equal contrast: not one that needs them as they are."""
        return self.standardise and self.method == "supervised" and self.architecture not in _NEED_PHOTOS_AS_THEY_ARE

    @property
    def conditioned(self) -> bool:
        """Whether the network is told of each photo as a whole."""
        return self.clip_model != "none" and self.method == "supervised" and self.architecture in _ARE_TOLD

    @property
    def mirrored(self) -> bool:
        """Whether predictions average the mirrored view: not where a search of z finds its own view."""
        return self.flip and self.method != "dcgan"


_LATER = {"standardise": False, "clip_model": "none"}

Check = tuple[bool, str]

CHOICES = {
    "method": METHODS,
    "architecture": ARCHITECTURES,
    "bottleneck": BOTTLENECKS,
    "size": SIZES,
    "base": BASES,
    "adversary": ADVERSARIES,
    "discriminator_norm": NORMS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
}

# least and most of each number; see also the checks that are open at one end
_RANGES: dict[str, tuple[float, float]] = {
    "width": (1, MAX_WIDTH),
    "blocks": (1, 64),
    "frozen": (0, 4),
    "discriminator_width": (1, MAX_WIDTH),
    "discriminator_layers": (1, 5),
    "pool": (0, 10_000),
    "latent": (1, MAX_WIDTH),
    "search_steps": (0, 10_000),
    "batch_size": (1, 65536),
    "accumulate": (1, 4096),
    "epochs": (1, 100_000),
    "patience": (0, 100_000),
    "validations": (1, 100_000),
    "rotate": (0, 180),
    "bleed": (0, 2),
    "box_copies": (1, 16),
    "photos_per_layout": (1, 65536),
    "seed": (0, 2**32 - 1),
}

_NOT_NEGATIVE = (
    *("mse_weight", "l1_weight", "adversarial_weight", "feature_weight", "cycle_weight", "identity_weight"),
    *("prior_weight", "weight_decay", "clip"),
)
_BELOW_ONE = ("beta1", "warmup", "ema", "jitter", "dropout")


def _names(one: Experiment) -> Iterator[Check]:
    for field, choices in CHOICES.items():
        value = getattr(one, field)
        yield value in choices, f"{field}={value}: one of {', '.join(map(str, choices))}"


def _numbers(one: Experiment) -> Iterator[Check]:
    for field, (least, most) in _RANGES.items():
        value = getattr(one, field)
        yield least <= value <= most, f"{field}={value}: {least:g} to {most:.10g}"
    for field in _NOT_NEGATIVE:
        yield getattr(one, field) >= 0, f"{field}={getattr(one, field)}: not negative"
    for field in _BELOW_ONE:
        yield 0 <= getattr(one, field) < 1, f"{field}={getattr(one, field)}: from 0 to below 1"
    yield 0 < one.learning_rate < 1, f"learning_rate={one.learning_rate}: between 0 and 1"
    yield 0 <= one.encoder_rate <= 1, f"encoder_rate={one.encoder_rate}: from 0 (frozen) to 1"
    yield 0 < one.crop <= 1, f"crop={one.crop}: above 0, at most 1"
    yield 1 <= len(one.decoder_channels) <= 5, "decoder_channels: one to five numbers, such as 128,64,32,16"
    inside = all(0 < width <= MAX_WIDTH for width in one.decoder_channels)
    yield inside, f"decoder_channels: numbers from 1 to {MAX_WIDTH}"


def _together(one: Experiment) -> Iterator[Check]:
    """What one setting asks of another."""
    yield (one.method == "dcgan") == (one.architecture == "dcgan"), "method=dcgan and architecture=dcgan go together"
    if one.method == "cyclegan":
        yield one.architecture in ("resnet", "paper-unet"), "method=cyclegan needs architecture=resnet or paper-unet"
        yield one.adversarial_weight > 0, "method=cyclegan needs an adversarial_weight above 0"
    if one.method == "dcgan":
        yield one.size <= 128, f"size={one.size}: a DCGAN paints photos of 32, 64 or 128"
        yield one.adversarial_weight > 0, "method=dcgan needs an adversarial_weight above 0"
        yield not one.test_photos, "test_photos=true: a DCGAN learns from whole photos alone"
    if one.method == "cyclegan":
        yield not one.test_photos, "test_photos=true: a CycleGAN learns from whole photos"
    if one.method == "supervised":
        yield (
            one.mse_weight + one.l1_weight + one.adversarial_weight > 0,
            "mse_weight, l1_weight, adversarial_weight: not negative, and one of them positive",
        )
        yield (
            not one.feature_weight or one.adversarial_weight > 0,
            "feature_weight: the features are a discriminator's, so adversarial_weight must be above 0",
        )


_WITH_DISCRIMINATOR = ("adversary", "discriminator_width", "discriminator_layers", "discriminator_norm")
_OF_ENCODERS = ("encoder", "encoder_weights", "encoder_rate", "decoder_channels")


def without_effect(one: Experiment) -> dict[str, str]:
    """Settings that nothing reads in this experiment, with the reason."""
    found: dict[str, str] = {}
    timm = one.architecture in SMP_ARCHITECTURES or one.architecture == "light"
    if not timm:
        found |= dict.fromkeys(_OF_ENCODERS, f"architecture={one.architecture} has no timm encoder")
    if timm:
        found["width"] = f"the widths of architecture={one.architecture} are encoder's and decoder_channels"
    if one.architecture not in ("plain", "resnet", "bilstm", "partialconv"):
        found["blocks"] = f"architecture={one.architecture} has none"
    if one.architecture != "plain":
        found["bottleneck"] = "it is architecture=plain's"
    if not dataclasses.replace(one, standardise=True).standardised:
        found["standardise"] = f"architecture={one.architecture} needs photos as they are"
    if not dataclasses.replace(one, clip_model="thumbnail").conditioned:
        found["clip_model"] = f"architecture={one.architecture} is not told of photos"
    if one.architecture != "light":
        found["frozen"] = "it is architecture=light's"
    if not one.adversarial_weight:
        found |= dict.fromkeys(_WITH_DISCRIMINATOR, "there is no discriminator (adversarial_weight=0)")
    if one.method != "supervised":
        losses = ("mse_weight", "l1_weight", "feature_weight")
        found |= dict.fromkeys(losses, f"method={one.method} has losses of its own")
    if one.method != "cyclegan":
        found |= dict.fromkeys(("cycle_weight", "identity_weight", "pool"), "it is method=cyclegan's")
    if one.method != "dcgan":
        found |= dict.fromkeys(("latent", "search_steps", "prior_weight"), "it is method=dcgan's")
    return found
