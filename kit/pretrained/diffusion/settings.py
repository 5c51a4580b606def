"""Settings and model of samples: all that they depend on besides photo, prompt and number. Knows no model and no torch.

sd/<digest>/recipe.json       settings and model, in words
sd/<digest>/prompts/*.json    the templates that were asked for
sd/<digest>/samples/*.bin     the samples, see `sample_store`
sd/<digest>/claims            locks of the processes at work
sd/models/*.json              digests of weights, so that gigabytes are hashed once
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit.core.storage import digest_of, read_json, write_json
from kit.core.workspace import Workspace
from kit.data.fill_sources import FILL_VERSION
from kit.errors import UnknownName, UsageError

SAMPLE_VERSION = 1  # raise it when the same settings would give other samples
BASE_FILL = "harmonic"
"""What lies under the hole when the photo is enlarged, and where a sampler with strength below 1 starts."""

NEGATIVE = "text, watermark, frame"
DTYPES = ("auto", "float32", "float16", "bfloat16")
SCHEDULERS = {
    "default": "",  # the model's own
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}


@dataclass(frozen=True)
class SamplingSettings:
    """Settings of drawing samples. Every field but `dtype=auto` is part of a sample's name.

    Attributes:
        negative: the negative prompt; without effect where guidance is off.
        scheduler: a key of `SCHEDULERS`.
        steps: denoising steps at strength 1.
        guidance: classifier-free guidance; 1 turns it off, at half the cost.
        strength: share of the steps that is done, from the base fill with noise; 1 starts from noise.
        size: pixels of the square that the model sees.
        dtype: of weights and latents; `auto` is float16 on a GPU and float32 elsewhere.
        seed: of all noise.
        dilated: cover whole cells of the latent grid; the hole alone is pasted either way.
    """

    negative: str = NEGATIVE
    scheduler: str = "default"
    steps: int = 30
    guidance: float = 7.5
    strength: float = 1.0
    size: int = 512
    dtype: str = "auto"
    seed: int = 0
    dilated: bool = True

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            raise UnknownName("scheduler", self.scheduler, SCHEDULERS)
        if self.dtype not in DTYPES:
            raise UnknownName("dtype", self.dtype, DTYPES)
        for name, low, high in (("steps", 1, 1000), ("guidance", 0, 100), ("size", 8, 4096), ("seed", 0, 2**31 - 1)):
            if not low <= getattr(self, name) <= high:  # also false for NaN
                raise UsageError(f"--{name} {getattr(self, name)}: a number from {low} to {high} is needed.")
        if not 0 < self.strength <= 1:
            raise UsageError(f"--strength {self.strength}: a number above 0 and at most 1 is needed.")
        if int(self.steps * self.strength) < 1:
            raise UsageError(
                f"--steps {self.steps} with --strength {self.strength} leaves no step to do: raise either."
            )


def cache_root(workspace: Workspace) -> Path:
    """Return the folder where all samples of a workspace lie."""
    return workspace.root / "sd"


@dataclass(frozen=True)
class SamplingRecipe:
    """SamplingSettings with the model they are for: one folder of samples."""

    settings: SamplingSettings
    model: str
    """Digest of the weights."""
    label: str
    """What the user called the model; not part of the name."""

    @property
    def fields(self) -> dict[str, Any]:
        """Return what names the folder."""
        base = {"fill": BASE_FILL, "version": FILL_VERSION}
        return {"version": SAMPLE_VERSION, "model": self.model, "base": base, "settings": asdict(self.settings)}

    @property
    def digest(self) -> str:
        """Return the name of the folder."""
        return digest_of(self.fields)

    def folder(self, workspace: Workspace) -> Path:
        """Return where its samples lie."""
        return cache_root(workspace) / self.digest

    def save(self, workspace: Workspace) -> None:
        """Say in the folder what it holds."""
        path = self.folder(workspace) / "recipe.json"
        if not path.is_file():
            write_json(path, {**self.fields, "label": self.label})


def stored_recipe(
    workspace: Workspace, settings: SamplingSettings, label: str, model: str | None = None
) -> SamplingRecipe | None:
    """Return the recipe of a folder of samples with these settings and this model, or None when none or several fit.

    `dtype=auto` fits any: samples that a GPU made are gone on with as they are. Without the model's digest its name
    must do: for a machine that has the samples and not the model.
    """
    found = []
    for path in sorted(cache_root(workspace).glob("*/recipe.json")):
        stored = read_json(path, made_by="kit sd run")
        kept = stored.get("settings")
        wanted = asdict(settings)
        if isinstance(kept, dict) and settings.dtype == "auto":
            wanted["dtype"] = kept.get("dtype")
        same_model = stored.get("model") == model if model is not None else stored.get("label") == label
        if kept == wanted and same_model and isinstance(stored.get("model"), str):
            recipe = SamplingRecipe(SamplingSettings(**kept), stored["model"], label)
            found += [recipe] if recipe.digest == path.parent.name else []
    return found[0] if len(found) == 1 else None
