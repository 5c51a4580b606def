"""Samples of tiny pipelines: make them, read them back, step in before a pass of the UNet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch.nn.modules.module import register_module_forward_pre_hook

from kit.data.project import Project
from kit.pretrained.diffusion.model import find_model
from kit.pretrained.diffusion.plan import PhotoSelection, sample_specs
from kit.pretrained.diffusion.sample_store import Cache, Record
from kit.pretrained.diffusion.sampler import Outcome, SamplerOptions, make_samples
from kit.pretrained.diffusion.settings import SamplingRecipe, SamplingSettings
from kit.pretrained.prompts import templates_of
from support.toy import Toy

CPU = torch.device("cpu")
QUICK = SamplingSettings(steps=2, size=32, dtype="float32")
LINE = "--size 32 --steps 2"


def sample(
    toy: Toy, model: Path, number: int = 1, settings: SamplingSettings = QUICK, limit: int | None = None, **options: Any
) -> tuple[Outcome, dict[bytes, Record]]:
    """Make `number` samples of the two prompts; what came of it, and all records of the recipe."""
    found = find_model(toy.workspace, str(model))
    recipe = SamplingRecipe(settings, found.digest, str(model))
    photos = PhotoSelection(toy.index, ("oof", "test"), limit)
    specs = sample_specs(templates_of([]), number)
    options.setdefault("batch", 4)
    outcome = make_samples(Project(toy.workspace), photos, specs, recipe, found, CPU, SamplerOptions(**options))
    return outcome, records(toy, recipe)


def records(toy: Toy, recipe: SamplingRecipe) -> dict[bytes, Record]:
    cache = Cache(recipe.folder(toy.workspace) / "samples").refresh()
    assert cache.check() == 0
    return {key: cache.read(key) for key in cache.entries}


def values(found: dict[bytes, Record]) -> dict[bytes, bytes]:
    return {key: record.values.tobytes() + record.shifts.tobytes() for key, record in found.items()}


@contextmanager
def before_unet(do: Any) -> Iterator[None]:
    """Call `do(batch, count)` before each pass of any UNet."""
    count = iter(range(10**9))

    def hook(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, UNet2DConditionModel):
            do(len(inputs[0]), next(count))

    handle = register_module_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()
