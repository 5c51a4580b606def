"""Experiments: everything needed to train a source again, as plain data. Knows names and numbers, imports no torch.

One function is one experiment; `experiment(name)` looks it up, `with_settings` applies `--set field=value`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from kit.errors import DamagedStore, UnknownName, UsageError
from kit.storage import digest_of, read_json
from kit.workspace import Workspace, checked_name

SIZES = (64, 128, 256)
BASES = ("fractional", "harmonic", "mean")
ARCHITECTURES = ("unet", "unetplusplus", "fpn", "manet")
MAX_WIDTH = 4096


@dataclass(frozen=True)
class Experiment:
    """One way to train. Two experiments with equal fields are the same experiment."""

    name: str
    """Source name under which the predictions are stored."""
    architecture: str = "unet"
    """Decoder of segmentation-models-pytorch: unet, unetplusplus, fpn or manet."""
    encoder: str = "tu-resnet18"
    """Encoder of segmentation-models-pytorch; any timm model by `tu-<name>`."""
    encoder_weights: str = "none"
    """`none` (random), `imagenet` (downloaded by timm), or the path of a .safetensors or .pth file with timm's keys."""
    decoder_channels: tuple[int, ...] = (128, 64, 32, 16)
    """Widths from coarse to fine; their number is how many levels of the encoder are used. Multiples of 16: other
    widths leave oneDNN's fast path on CPU (ten times slower)."""
    dropout: float = 0.1
    """Share of the coarsest features dropped while training."""
    size: int = 64
    """Side in pixels at which the network works; it predicts at full size through the residual."""
    base: str = "fractional"
    """Classical fill under the residual: fractional, harmonic or mean."""
    mse_weight: float = 1.0
    """Weight of the squared error on hole pixels."""
    l1_weight: float = 0.0
    """Weight of the absolute error on hole pixels."""
    adversarial_weight: float = 0.0
    """Weight of the generator's adversarial loss; 0 trains no discriminator."""
    discriminator_width: int = 64
    """Channels of the PatchGAN's first layer."""
    discriminator_layers: int = 3
    """Strided layers of the PatchGAN; 3 is the paper's 70x70 patch."""
    batch_size: int = 32
    """Photos in a step."""
    epochs: int = 12
    """Passes over the training photos."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    beta1: float = 0.9
    """First moment of Adam; GANs use 0.5."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    warmup: float = 0.05
    """Share of all steps in which the learning rate rises; then it falls as a half cosine."""
    ema: float = 0.99
    """Decay of the weights' moving average, with which is predicted."""
    clip: float = 1.0
    """Largest gradient norm."""
    flip: bool = True
    """Mirror left and right, half of the photos; predictions average both views."""
    crop: float = 0.6
    """Smallest side of a random crop as a share of the photo's; 1 crops nothing."""
    jitter: float = 0.2
    """Largest relative change of brightness, contrast and saturation."""
    layouts: int = 4
    """Different box layouts in a batch: photos that share one are filled together."""
    seed: int = 0
    """Of weights, boxes and augmentation."""

    def __post_init__(self) -> None:
        checks = [
            (
                self.architecture in ARCHITECTURES,
                f"architecture={self.architecture}: one of {', '.join(ARCHITECTURES)}",
            ),
            (self.size in SIZES, f"size={self.size}: one of {', '.join(map(str, SIZES))}"),
            (self.base in BASES, f"base={self.base}: one of {', '.join(BASES)}"),
            (1 <= len(self.decoder_channels) <= 5, "decoder_channels: one to five numbers, such as 128,64,32,16"),
            (
                all(0 < width <= MAX_WIDTH for width in self.decoder_channels),
                f"decoder_channels: numbers from 1 to {MAX_WIDTH}",
            ),
            (1 <= self.batch_size <= 65536, f"batch_size={self.batch_size}: 1 to 65536"),
            (1 <= self.epochs <= 100_000, f"epochs={self.epochs}: 1 to 100000"),
            (0 < self.learning_rate < 1, f"learning_rate={self.learning_rate}: between 0 and 1"),
            (0 <= self.beta1 < 1, f"beta1={self.beta1}: from 0 to below 1"),
            (self.weight_decay >= 0, f"weight_decay={self.weight_decay}: not negative"),
            (0 <= self.warmup < 1, f"warmup={self.warmup}: from 0 to below 1"),
            (0 <= self.ema < 1, f"ema={self.ema}: from 0 to below 1"),
            (self.clip > 0, f"clip={self.clip}: positive"),
            (0 < self.crop <= 1, f"crop={self.crop}: above 0, at most 1"),
            (0 <= self.jitter < 1, f"jitter={self.jitter}: from 0 to below 1"),
            (0 <= self.dropout < 1, f"dropout={self.dropout}: from 0 to below 1"),
            # a layout's number is 8 bits of the key of its random numbers (kit.datasets)
            (1 <= self.layouts <= 250, f"layouts={self.layouts}: 1 to 250"),
            (0 <= self.seed < 2**32, f"seed={self.seed}: 0 to {2**32 - 1}"),
            (
                0 < self.discriminator_width <= MAX_WIDTH,
                f"discriminator_width={self.discriminator_width}: 1 to {MAX_WIDTH}",
            ),
            (1 <= self.discriminator_layers <= 5, f"discriminator_layers={self.discriminator_layers}: 1 to 5"),
            (
                min(self.mse_weight, self.l1_weight, self.adversarial_weight) >= 0
                and self.mse_weight + self.l1_weight + self.adversarial_weight > 0,
                "mse_weight, l1_weight, adversarial_weight: not negative, and one of them positive",
            ),
        ]
        for holds, message in checks:
            if not holds:
                raise UsageError(f"{self.name}: {message}. Give it with --set field=value.")

    @property
    def digest(self) -> str:
        """Names this very configuration."""
        return digest_of(dataclasses.asdict(self))


def regress() -> Experiment:
    """The RMSE-optimal one: squared error on hole pixels, a residual over the fractional fill, no discriminator."""
    return Experiment("regress")


def pix2pix() -> Experiment:
    """Isola et al. 2017 on a timm encoder: PatchGAN, adversarial + 100 L1, Adam with beta1 0.5."""
    return Experiment(
        "pix2pix",
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
        clip=100.0,
    )


EXPERIMENTS: dict[str, Callable[[], Experiment]] = {function.__name__: function for function in (pix2pix, regress)}


def demo_settings() -> list[str]:
    """Settings with which `kit demo` trains in a minute on two cores."""
    return ["epochs=12", "batch_size=8", "decoder_channels=64,32,32,16", "learning_rate=0.001"]


def describe_experiments() -> str:
    """Every experiment with its summary, then every setting with its defaults."""
    lines = []
    for name, function in EXPERIMENTS.items():
        lines.append(f"{name}: {(function.__doc__ or '').splitlines()[0]}")
    defaults = {name: function() for name, function in EXPERIMENTS.items()}
    lines.append("\nSettings (--set field=value):")
    for field in fields(Experiment):
        if field.name != "name":
            values = ", ".join(f"{name} {_text(getattr(one, field.name))}" for name, one in defaults.items())
            lines.append(f"  {field.name:22} {values}")
    return "\n".join(lines)


def settings_of(experiment: Experiment) -> list[str]:
    """Every field but the name as `field=value`, the inverse of `with_settings`."""
    names = [field.name for field in fields(Experiment) if field.name != "name"]
    return [f"{name}={_text(getattr(experiment, name))}" for name in names]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()


def experiment(name: str, settings: Sequence[str] = (), *, rename: str | None = None) -> Experiment:
    """Look an experiment up and apply `field=value` settings.

    Args:
        rename: store the source under this name instead (`--as`).

    Raises:
        UnknownName: no such experiment or field.
        UsageError: a value that cannot be.
    """
    if name not in EXPERIMENTS:
        raise UnknownName("experiment", name, EXPERIMENTS)
    found = with_settings(EXPERIMENTS[name](), settings)
    return dataclasses.replace(found, name=rename) if rename else found


def stored_experiment(workspace: Workspace, name: str) -> Experiment | None:
    """The settings with which a fold of this source was trained before, or None: what `--as` made goes on by its name.

    Raises:
        DamagedStore: an `experiment.json` that kit did not write.
    """
    for path in sorted(workspace.runs.glob(f"{checked_name('The experiment', name)}/fold_*/experiment.json")):
        stamp = read_json(path, made_by=f"kit train {name} --force")
        try:
            return experiment_from(stamp)
        except (KeyError, TypeError, ValueError, UsageError) as error:
            again = f"Delete {path.parent}"
            raise DamagedStore(f"{path} holds no experiment of this version ({error!r}). {again}") from None
    return None


def experiment_from(stamp: dict[str, Any]) -> Experiment:
    """The experiment in an `experiment.json`. KeyError, TypeError, ValueError or UsageError: it holds none."""
    settings = dict(stamp["experiment"])
    settings["decoder_channels"] = tuple(settings["decoder_channels"])  # JSON has lists alone
    return Experiment(**settings)


def with_settings(base: Experiment, settings: Sequence[str]) -> Experiment:
    """Apply `field=value` texts, each value read as the field's own type."""
    types_of = typing.get_type_hints(Experiment)
    known = [field.name for field in fields(Experiment) if field.name != "name"]
    values: dict[str, Any] = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r} is not of the form field=value, such as --set size=128.")
        if field not in known:
            raise UnknownName("setting", field, known)
        values[field] = _read_as(types_of[field], field, text)
    return dataclasses.replace(base, **values)


def _read_as(kind: Any, field: str, text: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if isinstance(kind, types.GenericAlias):
            return tuple(int(part) for part in text.split(","))
        value = kind(text)
    except (KeyError, ValueError):
        names = {bool: "true or false", int: "a whole number", float: "a number"}
        wanted = names.get(kind, "whole numbers with commas between")
        raise UsageError(f"--set {field}={text}: {wanted} is needed.") from None
    if kind is float and not abs(value) < float("inf"):
        raise UsageError(f"--set {field}={text}: a finite number is needed.")
    return value
