"""`Experiment`: all groups of settings together, and what one setting asks of another."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic.functional_validators import ModelWrapValidatorHandler  # its public name is of a later version
from pydantic_core import ArgsKwargs

from kit.core.storage import digest_of
from kit.errors import UsageError
from kit.learning.experiments.groups import (
    CONFIG,
    GROUPS,
    OMIT_DEFAULT,
    Base,
    DataSettings,
    LossSettings,
    NetworkSettings,
    OptimizerSettings,
    ScheduleSettings,
)
from kit.learning.experiments.limits import first_error


@dataclass(frozen=True, config=CONFIG)
class _Named:
    name: str
    """Source name under which the predictions are stored."""


@dataclass(frozen=True, config=CONFIG)  # bases from the last to the first: the name comes first
class Experiment(DataSettings, ScheduleSettings, OptimizerSettings, LossSettings, NetworkSettings, _Named):
    """One way to train. Two experiments with equal fields are the same experiment.

    Raises:
        UsageError: a value that cannot be, alone or beside the others.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _check_fields(cls, given: ArgsKwargs, check: ModelWrapValidatorHandler[Experiment]) -> Experiment:
        try:
            return check(given)
        except ValidationError as error:
            values = {**dict(zip(["name"], given.args, strict=False)), **(given.kwargs or {})}
            message = first_error(error, setting_fields(), values)
            raise UsageError(
                f"{values.get('name', 'experiment')}: {message}. Give it with --set field=value."
            ) from None

    def __post_init__(self) -> None:
        for holds, message in _check_combinations(self):
            if not holds:
                raise _cannot_be(self.name, message)

    @property
    def fields(self) -> dict[str, Any]:
        """Return every field that says something, by the name under which it is stored."""
        values: dict[str, Any] = {"name": self.name}
        for name, field in setting_fields().items():
            value = getattr(self, name)
            if OMIT_DEFAULT not in field.metadata or value != field.default:
                values[field.serialization_alias or name] = value
        return values

    @property
    def digest(self) -> str:
        """Return the digest that names this very configuration."""
        return digest_of(self.fields)

    @property
    def training_base(self) -> Base:
        """Return the fill in the holes of training photos: a DCGAN looks at whole photos alone, and the cheapest will
        do."""
        return "mean" if self.method == "dcgan" else self.base

    @property
    def mirrored(self) -> bool:
        """Return whether predictions average the mirrored view: not where a search of z finds its own view."""
        return self.flip and self.method != "dcgan"


def _cannot_be(name: str, message: str) -> UsageError:
    return UsageError(f"{name}: {message}. Give it with --set field=value.")


def fields_of(group: type) -> dict[str, FieldInfo]:
    """Return what a group declares of each of its settings."""
    declared: dict[str, FieldInfo] = group.__pydantic_fields__  # type: ignore[attr-defined]
    return declared


@functools.cache
def setting_fields() -> dict[str, FieldInfo]:
    """Return what is declared of each setting, by its name, group by group."""
    return {name: field for group in GROUPS for name, field in fields_of(group).items()}


def stored_names() -> dict[str, str]:
    """Return, for each name in `experiment.json` that is not the setting's own, the setting."""
    return {field.serialization_alias: name for name, field in setting_fields().items() if field.serialization_alias}


Check = tuple[bool, str]


def _check_combinations(one: Experiment) -> Iterator[Check]:
    """Yield what one setting asks of another: whether it holds, and the message if not."""
    yield (one.method == "dcgan") == (one.architecture == "dcgan"), "method=dcgan and architecture=dcgan go together"
    if one.first_size:
        fits = one.method == "supervised" and not one.predicts_photo
        yield fits, f"first_size={one.first_size}: architecture={one.architecture} is made for one size"
    if one.predict_size:
        fits = one.method == "supervised" and not one.predicts_photo
        yield fits, f"predict_size={one.predict_size}: architecture={one.architecture} is made for one size"
    yield (one.architecture == "own") == (one.model != "none"), "architecture=own and model=FILE.py:NAME go together"
    yield one.model == "none" or one.method == "supervised", f"method={one.method}: a model of your own is supervised"
    yield one.model_arguments == "none" or one.model != "none", "model_arguments needs a model of your own"
    yield one.loss == "none" or one.method == "supervised", f"method={one.method} has losses of its own, and no loss="
    no_vectors = one.extra == "none" or not one.conditioned
    yield no_vectors, "extra and clip_model: extra photos have no vectors. Leave one of them at none"
    if one.method == "cyclegan":
        yield one.architecture in ("resnet", "paper-unet"), "method=cyclegan needs architecture=resnet or paper-unet"
        yield one.adversarial_weight > 0, "method=cyclegan needs an adversarial_weight above 0"
        yield not one.test_photos, "test_photos=true: a CycleGAN learns from whole photos"
    if one.method == "dcgan":
        yield one.size <= 128, f"size={one.size}: a DCGAN paints photos of 32, 64 or 128"
        yield one.adversarial_weight > 0, "method=dcgan needs an adversarial_weight above 0"
        yield not one.test_photos, "test_photos=true: a DCGAN learns from whole photos alone"
    if one.method == "supervised":
        yield (
            one.mse_weight + one.l1_weight + one.adversarial_weight > 0 or one.loss != "none",
            "mse_weight, l1_weight, adversarial_weight: not negative, and one of them positive",
        )
        yield (
            not one.feature_weight or one.adversarial_weight > 0,
            "feature_weight: the features are a discriminator's, so adversarial_weight must be above 0",
        )


_WITH_DISCRIMINATOR = ("adversary", "discriminator_width", "discriminator_layers", "discriminator_norm")
_OF_NETWORKS = ("width", "blocks", "bottleneck", "frozen", "latent", "search_steps", "prior_weight")
_OF_ENCODERS = ("encoder", "encoder_weights", "partial_weights", "encoder_rate", "decoder_channels")


def without_effect(one: Experiment) -> dict[str, str]:
    """Return the settings that nothing reads in this experiment, with the reason."""
    reasons: dict[str, str] = {}
    if one.has_timm_encoder:
        reasons["width"] = f"the widths of architecture={one.architecture} are encoder's and decoder_channels"
    else:
        reasons |= dict.fromkeys(_OF_ENCODERS, f"architecture={one.architecture} has no timm encoder")
    if one.has_timm_encoder and one.encoder_weights in ("none", "imagenet"):
        reasons["partial_weights"] = f"it is for a weights file (encoder_weights={one.encoder_weights})"
    if one.architecture not in ("plain", "resnet", "bilstm", "partialconv"):
        reasons["blocks"] = f"architecture={one.architecture} has none"
    if one.architecture != "plain":
        reasons["bottleneck"] = "it is architecture=plain's"
    if not one.can_standardise:
        reasons["standardise"] = f"architecture={one.architecture} needs photos as they are"
    if not one.can_be_conditioned:
        reasons["clip_model"] = f"architecture={one.architecture} takes no condition"
    if one.architecture != "light":
        reasons["frozen"] = "it is architecture=light's"
    if one.smallest_size == one.size:
        reasons["first_share"] = f"all epochs are trained at one size (first_size={one.first_size}, size={one.size})"
    if one.average == "swa":
        reasons["ema"] = "average=swa takes the plain mean of the last weights"
    if not one.adversarial_weight:
        reasons |= dict.fromkeys(_WITH_DISCRIMINATOR, "there is no discriminator (adversarial_weight=0)")
    if one.loss != "none":
        reasons |= dict.fromkeys(("mse_weight", "l1_weight"), "the loss of your own is in its place")
    if one.method != "supervised":
        losses = ("mse_weight", "l1_weight", "feature_weight")
        reasons |= dict.fromkeys(losses, f"method={one.method} has losses of its own")
    if one.method != "cyclegan":
        reasons |= dict.fromkeys(("cycle_weight", "identity_weight", "pool"), "it is method=cyclegan's")
    if one.method != "dcgan":
        reasons |= dict.fromkeys(("latent", "search_steps", "prior_weight"), "it is method=dcgan's")
    if one.architecture == "own":  # its arguments may have any of these names; who reads the file looks at that
        reasons = {name: reason for name, reason in reasons.items() if name not in _OF_NETWORKS}
    return reasons
