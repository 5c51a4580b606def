"""Packages that only some commands need, and which extra of kit brings each. Imports none of them."""

from __future__ import annotations

import importlib.util

from kit.errors import MissingPackage

_TRAIN = ("torch", "torchvision", "timm", "safetensors", "huggingface_hub", "segmentation_models_pytorch")

EXTRAS: dict[str, tuple[str, ...]] = {
    "train": _TRAIN,
    "sd": ("torch", "diffusers", "transformers", "accelerate", "safetensors", "huggingface_hub"),
    "clip": ("torch", "torchvision", "transformers", "timm", "safetensors", "huggingface_hub"),
    "tune": ("optuna", *_TRAIN),
    "many": ("faiss",),
    "demo": ("skimage", "sklearn"),
    "ray": ("ray",),
    "s3": ("s3fs",),
    "gs": ("gcsfs",),
}
"""Extras of `pyproject.toml`, and the modules that each brings."""

_OF_COMMAND = {"sd": ("sd",), "clip": ("clip",), "tune": ("tune",), "demo": ("demo", "train")}
"""The extras that a command needs; any other needs the first one that has the module."""


def missing_package(module: str, command: str | None = None) -> MissingPackage:
    """Return the error that says what brings a module of `EXTRAS`.

    Args:
        command: what was typed after `kit`.
    """
    wanted = _OF_COMMAND.get(command or "", ())
    if not any(module in EXTRAS[extra] for extra in wanted):
        wanted = (next(extra for extra, modules in EXTRAS.items() if module in modules),)
    return MissingPackage(
        f"{module} is not installed, which this command needs. Run: pip install 'hole-kit[{','.join(wanted)}]'"
    )


def explain_missing_module(error: ModuleNotFoundError, command: str | None = None) -> MissingPackage | None:
    """Return what to say of a failed import; None where no extra brings the module, or the module is there and some
    part of it is not: that is a fault to be shown whole."""
    module = (error.name or "").partition(".")[0]
    if not any(module in modules for modules in EXTRAS.values()) or is_installed(module):
        return None
    return missing_package(module, command)


def is_installed(module: str) -> bool:
    """Return whether a top-level module can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: `sys.modules` holds None for it
        return False
