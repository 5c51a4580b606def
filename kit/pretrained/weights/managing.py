"""What `kit weights` does: list what can be had from where, bring it to the cache or a file, say what a file is."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.core.storage import writing
from kit.errors import KitError, TrainingError, UsageError
from kit.pretrained.weights.encoders import layout_of, model_name, origin_of
from kit.pretrained.weights.finding import Found, Say, first_found, misfit, places_of
from kit.pretrained.weights.fitting import Fit, fit
from kit.pretrained.weights.places import PACKAGES, Place, cache_folder, in_cache, note_used, package_of, used_digest
from kit.pretrained.weights.reading import Tensors, WeightsFile, open_weights, tensors_digest


@dataclass(frozen=True)
class Source:
    """One place from which a model's weights can be had."""

    model: str
    place: str
    """cache, hub, package, folder; or none."""
    where: str
    """A path, or what names it there."""
    here: bool
    """Whether it needs no network."""
    licence: str
    megabytes: float | None
    digest: str | None
    """Of its tensors, where they have been used."""
    command: str | None
    """What brings it here; None where it is."""


def list_weights(encoders: Iterable[str]) -> list[Source]:
    """List the places of each model's weights, first those that `imagenet` takes first. No network is asked.

    Args:
        encoders: names with or without `tu-`; those of packages and of kit's cache are added.
    """
    names = [name.removeprefix("tu-") for name in encoders]
    names += [one.model for one in PACKAGES if one.file() is not None]
    names += sorted(path.stem for path in cache_folder().glob("*.safetensors"))
    return [source for name in dict.fromkeys(names) for source in _sources(name)]


def _sources(model: str) -> Iterator[Source]:
    try:
        origin = origin_of(model_name(model))
    except KitError:  # an encoder of segmentation-models-pytorch, or of another version of timm
        yield Source(model, "none", "not a model of timm", False, "unknown", None, None, None)
        return
    kinds = set()
    for place in places_of(origin):
        kinds.add(place.kind)
        size, digest = round(place.path.stat().st_size / 1e6, 1), used_digest(model, place.path)
        where = place.text if place.kind == "package" else str(place.path)
        yield Source(model, place.kind, where, True, place.licence, size, digest, None)
    package = package_of(model)
    if package is not None and "package" not in kinds:
        where = f"{package.name} (not installed)"
        yield Source(model, "package", where, False, package.licence, package.megabytes, None, package.command)
    if origin.repository is not None and "hub" not in kinds:
        command = f"kit weights get {model}"
        yield Source(model, "hub", origin.repository, False, origin.licence, None, None, command)
    elif not kinds and package is None:
        yield Source(model, "none", "timm knows no pretrained weights of it", False, "unknown", None, None, None)


@dataclass(frozen=True)
class Got:
    """Weights that were brought into the cache or a file."""

    found: Found
    path: Path
    fresh: bool
    """Whether they were written now."""


def get_weights(name: str, out: Path | None = None, *, say: Say) -> Got:
    """Bring a model's weights into the cache, or into a file alone: safetensors under timm's names.

    Args:
        name: timm's, with or without `tu-` before it.
        say: hears licence and size before anything is downloaded.

    Raises:
        UnknownName: timm has no such model.
        TrainingError: no place has its weights.
    """
    _check_out(out)
    model = model_name(name)
    origin = origin_of(model)
    found = first_found(origin, layout_of(model), say=say)
    place, path = found.place, out or in_cache(model)
    fresh = place.path.absolute() != path.absolute()
    if fresh:
        _write(path, found)
    if out is None:
        note_used(model, Place(path, "cache", str(path), place.licence), found.digest)
    return Got(found, path, fresh)


def _check_out(out: Path | None) -> None:
    """Raise `UsageError` for a file that cannot be written, before anything is downloaded for it."""
    if out is None:
        return
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out} does not end in .safetensors, which is what is written.")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; a file's name is needed, such as --out {out}/weights.safetensors")
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--out {out}: nothing may be written in {folder}. Give a file in another folder.")


def _write(path: Path, found: Found) -> None:
    from safetensors.torch import save

    place = found.place
    about = {"model": found.fit.model, "from": place.kind, "licence": place.licence, "digest": found.digest}
    data = save({key: value.contiguous() for key, value in found.fit.tensors.items()}, about)
    with writing(path) as file:
        file.write(data)


@dataclass(frozen=True)
class Checked:
    """What a file is."""

    file: WeightsFile
    tensors: int
    dtypes: tuple[str, ...]
    digest: str
    """Of its tensors under timm's names."""
    fits: tuple[Fit, ...]
    """Of the models whose weights it holds, at least one."""


def check_file(path: Path, encoder: str | None = None) -> Checked:
    """Tell what a weights file is, and which models of timm it fits.

    Args:
        encoder: look at this one alone; otherwise at those that the file's name or its tensors' names suggest.

    Raises:
        TrainingError: it is no weights file, or fits none of them.
        UnknownName: timm has no such model.
    """
    file = open_weights(path)
    suggested = list(dict.fromkeys(_suggested(path, file.tensors)))
    tried = [fit(layout_of(name), file.tensors) for name in ([model_name(encoder)] if encoder else suggested)]
    fits = tuple(one for one in tried if one.whole)
    if encoder and not fits:
        others = [name for name in suggested if fit(layout_of(name), file.tensors).whole]
        partly = _taking_what_fits(path, tried[0])
        further = f" It fits {', '.join(others)}." if others else f" You can {partly}" if partly else ""
        raise TrainingError(f"{misfit(path, tried[0])}{further}")
    if not fits:
        raise TrainingError(_fits_nothing(path, file, tried))
    dtypes = sorted({str(one.dtype).removeprefix("torch.") for one in file.tensors.values()})
    return Checked(file, len(file.tensors), tuple(dtypes), tensors_digest(fits[0].tensors), fits)


def _fits_nothing(path: Path, file: WeightsFile, tried: list[Fit]) -> str:
    nearest = max(tried, key=lambda one: one.found / max(1, one.needed), default=None)
    near = f"; nearest is {nearest.model}: {nearest.problem}" if nearest is not None and nearest.found else ""
    first = ", ".join(list(file.tensors)[:2])
    count = f"none of {len(tried)} models that its names suggest" if tried else "no model whose names kit knows"
    partly = "" if nearest is None else _taking_what_fits(path, nearest)
    return (
        f"{path} ({file.text}; {len(file.tensors)} tensors: {first}, ...) fits {count}{near}. "
        f"Say which model it is: kit weights check {shlex.quote(str(path))} --encoder NAME{partly and f'; or {partly}'}"
    )


def training_command(path: Path, model: str, *more: str) -> str:
    """Return the command that trains an encoder from a weights file."""
    chosen = (f"encoder=tu-{model}", f"encoder_weights={path}", *more)
    return f"kit train regress --fold 0 {' '.join(f'--set {shlex.quote(one)}' for one in chosen)} --as NAME"


def _taking_what_fits(path: Path, nearest: Fit) -> str:
    """Say how a training takes what fits of a file; nothing where that is not worth while."""
    command = training_command(path, nearest.model, "partial_weights=true")
    return f"take what fits: {command}" if nearest.mostly else ""


_LITES = " ".join(f"tf_efficientnet_lite{number}" for number in range(5))
_NETS = " ".join(f"efficientnet_b{number}" for number in range(5))
_RESNETS = "resnet18 resnet34 resnet50 resnet101 resnet10t resnet26 resnet18d resnet26d resnet50d resnext50_32x4d"
_MOBILES = "mobilenetv2_100 mobilenetv3_large_100 mobilenetv3_small_100"
_HINTS: tuple[tuple[str, str], ...] = (
    (r"_blocks\.0\._", f"{_LITES} {_NETS}"),
    (r"(^|\.)layer1\.0\.", f"{_RESNETS} wide_resnet50_2 seresnet50 test_resnet"),
    (
        r"(^|\.)blocks\.0\.0\.",
        f"{_LITES} {_NETS} {_MOBILES} tf_efficientnetv2_b0 tf_efficientnetv2_b1 tf_efficientnetv2_s "
        "mobilenetv3_small_050 mobilenetv4_conv_small mobilenetv4_conv_medium mnasnet_100 test_efficientnet",
    ),
    (
        r"(^|\.)(stages|downsample_layers)\.0\.",
        "convnext_atto convnext_femto convnext_pico convnext_nano convnext_tiny convnext_small convnext_base "
        "convnextv2_atto convnextv2_femto convnextv2_pico convnextv2_nano convnextv2_tiny convnextv2_base "
        "edgenext_xx_small edgenext_small pvt_v2_b0 pvt_v2_b1 pvt_v2_b2 hgnetv2_b0 hgnet_tiny fastvit_t8 "
        "poolformer_s12",
    ),
    (r"(^|\.)s1\.b1\.", "regnetx_002 regnety_002 regnetx_004 regnety_004 regnety_008 regnety_016"),
    (r"trunk_output\.block1", "regnetx_004 regnety_004 regnetx_008 regnety_008 regnetx_016 regnety_016"),
    (
        r"(^|\.)layers\.0\.blocks\.",
        "swin_tiny_patch4_window7_224 swin_small_patch4_window7_224 swinv2_tiny_window8_256",
    ),
    (
        r"(^|\.)features\.(0|conv0)",
        f"{_MOBILES} {_NETS} densenet121 densenet169 vgg11 vgg13 vgg16 vgg19 vgg16_bn convnext_tiny convnext_small",
    ),
)
"""What a tensor's name may look like, and the common models in which it does."""


def _suggested(path: Path, tensors: Tensors) -> Iterator[str]:
    import timm

    stem = path.stem.lower().replace("-", "_")
    yield from sorted((name for name in timm.list_models() if name in stem), key=len, reverse=True)[:2]
    for pattern, names in _HINTS:
        if any(re.search(pattern, key) for key in tensors):
            yield from names.split()
