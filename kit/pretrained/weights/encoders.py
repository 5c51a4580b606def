"""Models of timm as encoders: build one for a size, know its tensors and where its weights come from. Reads no file."""

from __future__ import annotations

import functools
import itertools
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kit.errors import UnknownName, UsageError, closest_name

_SURE = "Try --set encoder=tu-resnet18."
_LISTED_BY = "python -c 'import timm; print(timm.list_models())'"
_FOR_ANY_SIZE: tuple[dict[str, Any], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True})
_FILTERS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")
"""What timm's modules call the function that turns other projects' names into their own."""


@dataclass(frozen=True)
class Origin:
    """What timm says of a model's pretrained weights."""

    model: str
    repository: str | None
    """Of the hub; None where there is none."""
    file: str | None
    """Its file, where it has another name than usual."""
    licence: str


@dataclass(frozen=True)
class Layout:
    """The tensors of a whole timm model, as names and shapes."""

    model: str
    shapes: dict[str, torch.Size]
    needed: frozenset[str]
    """Those that an encoder has; the others belong to the classifier and what leads to it."""
    filter: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None
    """timm's own translation of other projects' names."""


def model_name(encoder: str) -> str:
    """Return timm's name of an encoder `tu-...`; timm's own names stay.

    Raises:
        UnknownName: timm has no such model.
    """
    import timm

    name = encoder.removeprefix("tu-")
    plain, _, tag = name.partition(".")
    if tag and timm.is_model(plain) and not timm.is_model_pretrained(name):
        raise UnknownName("weights of timm", name, timm.list_pretrained(f"{plain}.*"))
    if not timm.is_model(plain):
        raise UnknownName("model of timm", name, timm.list_models(), listed_by=_LISTED_BY)
    return name


def check_encoder(encoder: str) -> None:
    """Raise `UnknownName` for an encoder that neither timm (`tu-...`) nor segmentation-models-pytorch has."""
    import timm

    name = encoder.removeprefix("tu-")
    is_timms = name != encoder and timm.is_model(name.partition(".")[0])
    if is_timms or ":" in name or encoder in _names_of_smp():  # `hf-hub:...` timm looks for itself
        return
    meant = closest_name(name, timm.list_models())
    suggestion = f"tu-{meant}" if meant else None
    raise UnknownName("encoder", encoder, (), suggestion=suggestion, listed_by=f"tu- and one of: {_LISTED_BY}")


def _names_of_smp() -> list[str]:
    """Return the encoders of segmentation-models-pytorch's own; none where it is missing, as `light` allows."""
    try:
        import segmentation_models_pytorch as smp
    except ModuleNotFoundError:
        return []
    return list(smp.encoders.get_encoder_names())


def origin_of(encoder: str) -> Origin:
    """Return where timm says that an encoder's weights come from."""
    import timm

    name = encoder.removeprefix("tu-")
    found = timm.get_pretrained_cfg(name, allow_unregistered=True)
    repository = getattr(found, "hf_hub_id", None) or None
    licence = getattr(found, "license", None) or "not stated"
    return Origin(name, repository, getattr(found, "hf_hub_filename", None) or None, licence)


def pretrained_mean_std(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the photos that a timm model `tu-...` was trained with."""
    import timm

    cfg = timm.get_pretrained_cfg(name.removeprefix("tu-"), allow_unregistered=True)
    return (tuple(cfg.mean), tuple(cfg.std)) if cfg is not None else ((0.5,) * 3, (0.5,) * 3)


class TimmEncoder(nn.Module):
    """A timm model that gives all its levels: what segmentation-models-pytorch makes of it, without that package."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


def timm_encoder(name: str, size: int = 64) -> TimmEncoder:
    """Build an encoder on timm: all its levels, three channels, random weights.

    Args:
        size: side in pixels of what it will see.

    Raises:
        UsageError: there is no such timm model, or a decoder cannot use its levels.
    """
    import timm

    check_encoder(name)
    if not name.startswith("tu-"):
        raise UsageError(
            f"encoder={name} cannot be built: timm's models have names that begin with tu-, such as tu-{name}. {_SURE}"
        )
    model = name.removeprefix("tu-")
    options = options_for(name, size)
    try:
        return TimmEncoder(timm.create_model(model, features_only=True, out_indices=tuple(_levels(model)), **options))
    except Exception as error:  # each encoder of timm raises what it likes
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise UsageError(f"encoder={name} cannot be built: {reason}. {_SURE}") from None


def _levels(model: str) -> range:
    """Return which of a timm model's levels an encoder of depth 5 has: those that segmentation-models-pytorch takes."""
    finest = _reductions(model)[0]
    if finest == 1:
        return range(6)
    if finest == 4:
        return range(1, 5) if "tresnet" in model else range(4)
    return range(1, 6) if "dla" in model else range(5)


@functools.lru_cache(maxsize=64)
def _options_for(model: str, size: int) -> dict[str, Any]:
    import timm

    with torch.random.fork_rng(devices=[]):
        try:
            reductions = _reductions(model)
        except RuntimeError as error:  # older versions of timm give no levels of some models
            raise UsageError(f"encoder=tu-{model} cannot serve: {str(error).rstrip('.')}. {_SURE}") from None
        halving = all(after == 2 * before for before, after in itertools.pairwise(reductions))
        if len(reductions) < 2 or not halving or reductions[0] not in (1, 2, 4):
            levels = ", ".join(f"1/{one}" for one in reductions)
            raise UsageError(
                f"encoder=tu-{model} cannot serve: its levels are {levels} of the size, and a decoder needs them to "
                f"begin at 1/4 or finer and each to be half of the one before. {_SURE}"
            )
        if not getattr(timm.get_pretrained_cfg(model, allow_unregistered=True), "fixed_input_size", False):
            return {}
        for options in (*_FOR_ANY_SIZE, {"img_size": size}):
            try:
                network = timm.create_model(model, features_only=True, **options).eval()
                with torch.no_grad():
                    network(torch.zeros(1, 3, size, size))
            except Exception:  # it does not know the option, or cannot see that size with it
                continue
            return options
    raise UsageError(f"encoder=tu-{model} cannot serve: timm builds it for one size, which is not {size}. {_SURE}")


def options_for(encoder: str, size: int) -> dict[str, Any]:
    """Return what timm must be told so that an encoder sees photos of this size.

    Raises:
        UsageError: there is no such encoder, it cannot, or a decoder cannot use its levels.
    """
    import timm

    check_encoder(encoder)
    model = encoder.removeprefix("tu-")
    if not encoder.startswith("tu-") or not timm.is_model(model.partition(".")[0]):
        return {}  # what is wrong with it, whoever builds it will say
    return dict(_options_for(model, size))


def _reductions(model: str) -> list[int]:
    return list(_on_meta(model, features_only=True).feature_info.reduction())


def _on_meta(model: str, **options: Any) -> Any:
    """Build a timm model without memory for its tensors, where it can be."""
    import timm

    try:
        with torch.device("meta"):
            return timm.create_model(model, **options)
    except Exception:  # some compute with their tensors while they are made
        return timm.create_model(model, **options)


def layout_of(encoder: str, **options: Any) -> Layout:
    """Return the tensors of a timm model, and which of them an encoder needs: all its levels, whichever a decoder uses.

    Args:
        options: with which timm builds the encoder.
    """
    logging.getLogger("timm").setLevel(logging.ERROR)  # its warnings on sizes and keys; kit says what is wrong
    name = encoder.removeprefix("tu-")
    with torch.random.fork_rng(devices=[]):
        whole = _on_meta(name, **options)
        features = _on_meta(name, features_only=True, **options)
    wanted = {flat(key) for key in features.state_dict()}
    shapes = {key: value.shape for key, value in whole.state_dict().items() if not key.endswith("num_batches_tracked")}
    needed = frozenset(key for key in shapes if flat(key) in wanted)
    return Layout(name, shapes, needed, _filter_of(whole))


def flat(key: str) -> str:
    """Return a tensor's name so that timm's whole models and its encoders, which flatten theirs, agree."""
    return key.removeprefix("model.").replace(".", "_")


def _filter_of(whole: Any) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None:
    module = sys.modules[type(whole).__module__]
    found = next((getattr(module, name) for name in _FILTERS if hasattr(module, name)), None)
    if found is None:
        return None

    def translate(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        try:
            made: dict[str, torch.Tensor] = found(dict(state), whole)
        except TypeError:
            made = found(dict(state))
        return made

    return translate
