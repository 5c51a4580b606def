"""Every setting beside its default, its limits and its description, in five groups.

An `Experiment` is all five at once, so that `experiment.size` is what `--set size=128` sets; a function that needs one
group asks for that group alone, and is given the experiment.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar, get_args

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

MAX_WIDTH = 4096

Size = Literal[32, 64, 128, 256]
Base = Literal["fractional", "harmonic", "mean"]
SmpArchitecture = Literal["unet", "unetplusplus", "fpn", "manet"]
PhotoArchitecture = Literal["paper-unet", "resnet", "dcgan"]
BuiltInArchitecture = Literal[SmpArchitecture, "light", "plain", "bilstm", "partialconv", PhotoArchitecture]
Architecture = Literal[BuiltInArchitecture, "own"]

SIZES: tuple[int, ...] = get_args(Size)
BASES: tuple[str, ...] = get_args(Base)
SMP_ARCHITECTURES: tuple[str, ...] = get_args(SmpArchitecture)
PHOTO_ARCHITECTURES: tuple[str, ...] = get_args(PhotoArchitecture)
"""Networks that paint the whole photo; all others give a residual over the base fill."""
ARCHITECTURES: tuple[str, ...] = get_args(BuiltInArchitecture)
"""Kit's; `own` is the user's (`model`)."""
CODE_FILES = {"model": "model.py", "loss": "loss.py"}
"""Settings that name code of the user's own, and what its copy in a run is called."""
_CONDITIONABLE = (*SMP_ARCHITECTURES, "light", "plain")
_NEED_PHOTOS_AS_THEY_ARE = (*PHOTO_ARCHITECTURES, "light")

OMIT_DEFAULT = "not stored where it has its default"
"""Marks settings that came after the first release: what was trained before them is still the same experiment."""

_Value = TypeVar("_Value")
_Later = Annotated[_Value, OMIT_DEFAULT]
_Weight = Annotated[float, Field(ge=0)]
_Share = Annotated[float, Field(ge=0, lt=1)]
_Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]

CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


@dataclass(frozen=True, config=CONFIG)
class NetworkSettings:
    """The architecture and its parts."""

    method: Literal["supervised", "cyclegan", "dcgan"] = "supervised"
    """supervised (pairs of masked and whole photo), cyclegan (unpaired), or dcgan (whole photos alone)."""
    architecture: Architecture = "unet"
    """Of segmentation-models-pytorch: unet, unetplusplus, fpn, manet. Of kit: light (a timm encoder, decoded to half
    the size), plain, bilstm, partialconv (a residual over the base fill), paper-unet, resnet, dcgan (whole photos). Or
    own: the class or function that `model` names."""
    model: _Later[str] = "none"
    """own: a class or function of yours, which kit train FILE.py:NAME sets (docs/own-model.md)."""
    model_arguments: _Later[str] = "none"
    """own: arguments of `model` that no setting is named like, which --set NAME=VALUE sets: depth=3,slope=0.1."""
    encoder: str = "tu-resnet18"
    """Encoder of segmentation-models-pytorch; any timm model by `tu-<name>`."""
    encoder_weights: str = "none"
    """`none` (random), `imagenet` (from this machine or the hub: `kit weights list`), or the path of a weights file."""
    partial_weights: _Later[bool] = False
    """Take what fits of a weights file, and leave the rest random; otherwise a file that fits in part is refused."""
    frozen: int = Field(default=0, ge=0, le=4)
    """Stages of light's encoder, from the finest, that keep their pretrained weights and cost no backward pass."""
    decoder_channels: Annotated[tuple[_Width, ...], Field(min_length=1, max_length=5)] = (128, 64, 32, 16)
    """Widths from coarse to fine; their number is how many levels of the encoder are used. Multiples of 16: other
    widths leave oneDNN's fast path on CPU (ten times slower)."""
    width: _Width = 32
    """Channels of the first layer of kit's own networks."""
    blocks: int = Field(default=4, ge=1, le=64)
    """Blocks at the coarsest level of plain and resnet, layers of bilstm, levels of partialconv."""
    bottleneck: Literal["conv", "fourier", "attention"] = "conv"
    """Blocks at the coarsest level of plain: conv, fourier or attention."""
    dropout: _Share = 0.1
    """Share of the coarsest features dropped while training."""
    standardise: _Later[bool] = False
    """Show the network every photo with the same mean and contrast, scale its residual back, and weigh a photo's
    squared error by its contrast: nothing has to be learnt twice because a photo is dark or flat."""
    clip_model: _Later[str] = "none"
    """Tell the network what each photo shows: scale and shift of its coarsest features from the photo's vector (FiLM).
    none, thumbnail, a CLIP's folder, a model of the hub that `kit clip embed` has fetched, or
    timm:MODEL:WEIGHTS_FILE."""
    latent: _Width = 100
    """dcgan: length of z."""
    search_steps: int = Field(default=100, ge=0, le=10_000)
    """dcgan: Adam steps of the search of z for each photo."""
    prior_weight: _Weight = 0.003
    """dcgan: weight of the discriminator's verdict in that search."""

    @property
    def has_timm_encoder(self) -> bool:
        """Return whether the network is a decoder on an encoder of timm or segmentation-models-pytorch."""
        return self.architecture in SMP_ARCHITECTURES or self.architecture == "light"

    @property
    def predicts_photo(self) -> bool:
        """Return whether the network paints the photo rather than a residual."""
        return self.architecture in PHOTO_ARCHITECTURES

    @property
    def can_standardise(self) -> bool:
        """Return whether the network may see photos of equal contrast, and does not need them as they are."""
        return self.method == "supervised" and self.architecture not in _NEED_PHOTOS_AS_THEY_ARE

    @property
    def standardised(self) -> bool:
        """Return whether the network sees photos of equal contrast."""
        return self.standardise and self.can_standardise

    @property
    def can_be_conditioned(self) -> bool:
        """Return whether the network can take a vector of the whole photo."""
        return self.method == "supervised" and self.architecture in _CONDITIONABLE

    @property
    def conditioned(self) -> bool:
        """Return whether the network takes a vector of the whole photo."""
        return self.clip_model != "none" and self.can_be_conditioned


@dataclass(frozen=True, config=CONFIG)
class LossSettings:
    """The terms of the loss, and the discriminator."""

    mse_weight: _Weight = 1.0
    """Weight of the squared error on hole pixels."""
    l1_weight: _Weight = 0.0
    """Weight of the absolute error on hole pixels."""
    loss: _Later[str] = "none"
    """A function of yours in place of both, FILE.py:NAME: (prediction, target, weight) to a scalar."""
    adversarial_weight: _Weight = 0.0
    """Weight of the generator's adversarial loss; 0 trains no discriminator."""
    adversary: Literal["bce", "lsgan", "hinge"] = "bce"
    """Adversarial loss: bce, lsgan (least squares) or hinge."""
    feature_weight: _Weight = 0.0
    """Weight of feature matching: the discriminator's features of the generated photo against those of the real one."""
    discriminator_width: _Width = 64
    """Channels of the PatchGAN's first layer."""
    discriminator_layers: int = Field(default=3, ge=1, le=5)
    """Strided layers of the PatchGAN; 3 is the paper's 70x70 patch."""
    discriminator_norm: Literal["batch", "instance", "spectral", "none"] = "batch"
    """Norm of the PatchGAN: batch, instance, spectral or none."""
    cycle_weight: _Weight = 10.0
    """cyclegan: weight of the way there and back."""
    identity_weight: _Weight = 0.5
    """cyclegan: weight, as a share of cycle_weight, of leaving alone what is whole already."""
    pool: int = Field(default=50, ge=0, le=10_000)
    """cyclegan: generated photos that are kept to be shown to the discriminators again."""


@dataclass(frozen=True, config=CONFIG)
class OptimizerSettings:
    """The optimizer and its steps."""

    optimizer: Literal["adamw", "adam"] = "adamw"
    """adamw or adam."""
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    """Peak learning rate."""
    encoder_rate: float = Field(default=1.0, ge=0, le=1)
    """Learning rate of the encoder as a share of the others': pretrained ones want less, and 0 freezes it."""
    beta1: _Share = 0.9
    """First moment of Adam; GANs use 0.5."""
    weight_decay: _Weight = 0.01
    """Decoupled in adamw."""
    gradient_clip: float = Field(default=1.0, ge=0, serialization_alias="clip")
    """Largest gradient norm; 0 clips nothing."""
    ema: _Share = 0.99
    """Decay of the weights' moving average, with which is predicted; 0 predicts with the last weights."""
    average: _Later[Literal["ema", "swa"]] = "ema"
    """Weights with which is predicted: ema (their moving average, see there) or swa (their plain mean over the last
    quarter of the steps: Izmailov et al. 2018; not with patience)."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto (float32 on a CPU, bfloat16 or else float16 on a GPU), float32, bfloat16 or float16."""


@dataclass(frozen=True, config=CONFIG)
class ScheduleSettings:
    """The length of a training, and its learning rate over time."""

    epochs: int = Field(default=12, ge=1, le=100_000)
    """Passes over the training photos."""
    patience: int = Field(default=0, ge=0, le=100_000)
    """Stop after this many measurements of the fold's RMSE in a row without a better one, and keep the best weights;
    0 never stops early. The fold then chose its own weights, so its RMSE is a little too good."""
    validations: int = Field(default=8, ge=1, le=100_000)
    """About how often the fold's RMSE is measured in a run."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """After the warm-up: cosine (to zero), or linear (constant for half of the run, then straight to zero)."""
    warmup: _Share = 0.05
    """Share of all steps in which the learning rate rises."""


@dataclass(frozen=True, config=CONFIG)
class DataSettings:
    """Photos, holes and batches."""

    size: Size = 64
    """Side in pixels at which the network works; it predicts at full size through the residual."""
    first_size: _Later[Literal[0, 32, 64, 128]] = 0
    """Side at which the first epochs are trained, which is cheaper; 0, or what is not below `size`, trains all at
    `size`."""
    first_share: _Later[float] = Field(default=0.75, gt=0, lt=1)
    """Share of the epochs that are trained at `first_size`."""
    predict_size: _Later[int] = Field(default=0, ge=0, le=512, multiple_of=16)
    """Side at which photos are predicted; 0 is `size`. Random crops show things larger in training than they are, and a
    larger side puts that right (Touvron et al. 2019, Fixing the train-test resolution discrepancy)."""
    base: Base = "fractional"
    """Classical fill under the residual, and in the holes of the input: fractional, harmonic or mean."""
    batch_size: int = Field(default=32, ge=1, le=65536)
    """Photos of one process in one pass."""
    accumulate: int = Field(default=1, ge=1, le=4096)
    """Passes whose gradients make one step."""
    flip: bool = True
    """Mirror left and right, half of the photos; predictions average both views."""
    crop: float = Field(default=0.6, gt=0, le=1)
    """Smallest side of a random crop as a share of the photo's; 1 crops nothing."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation in degrees."""
    jitter: _Share = 0.2
    """Largest relative change of brightness, contrast and saturation."""
    bleed: float = Field(default=0.0, ge=0, le=2)
    """Share of the chroma bleed that JPEG leaves beside painted boxes, to be simulated in training; 1 as measured."""
    box_copies: int = Field(default=1, ge=1, le=16)
    """So many times the competition's boxes are hidden in a training photo: more to learn from in each pass."""
    photos_per_layout: int = Field(default=8, ge=1, le=65536)
    """Photos in a row that share fresh boxes: they are filled together."""
    test_photos: bool = False
    """Train on the known parts of the test photos too. Allowed by most rules and told by the log; off by default."""
    extra: _Later[str] = "none"
    """A folder of whole photos to train on besides (`--extra DIR`), or none. They are validated on by no fold; what is
    like a photo of the competition is left out. Their contents are part of what is trained. Read your competition's
    rules first."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Of weights, boxes and augmentation."""

    @property
    def training_base(self) -> Base:
        """Return the fill in the holes of training photos."""
        return self.base

    def size_at(self, epoch: int, epochs: int) -> Size:
        """Return the side at which this epoch of so many is trained."""
        return self.smallest_size if epoch < round(self.first_share * epochs) else self.size

    @property
    def smallest_size(self) -> Size:
        """Return the side at which a training begins."""
        return self.first_size if self.first_size != 0 and self.first_size < self.size else self.size

    @property
    def size_predicted_at(self) -> int:
        """Return the side at which photos are predicted."""
        return self.predict_size or self.size

    @property
    def mirrored(self) -> bool:
        """Return whether predictions average the mirrored view."""
        return self.flip


GROUPS = (NetworkSettings, LossSettings, OptimizerSettings, ScheduleSettings, DataSettings)
"""In the order in which they are listed."""
