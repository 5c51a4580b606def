"""A diffusers inpainting pipeline: loaded, its prompts encoded once, called on batches. Knows no photo store, no files.

Everything about a picture that is random comes from a generator of its own, on the CPU whatever the device is. Batches
are filled up to one size: kernels are chosen by shape, so a picture's bits depend on the size of its batch and on
nothing else in it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from kit.core.speech import warn
from kit.errors import TrainingError, UsageError
from kit.pretrained.diffusion.completeness import lacking, listed
from kit.pretrained.diffusion.model import DiffusionModel
from kit.pretrained.diffusion.settings import SCHEDULERS, SamplingSettings

_ENCODED = {
    2: ("prompt_embeds", "negative_prompt_embeds"),  # SD 1 and 2
    4: ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"),  # XL, SD 3
}
"""Names of what `encode_prompt` returns, by its length; pipelines that return something else get prompts as texts."""


class Pictures(Protocol):
    """The result of a call of a pipeline."""

    images: torch.Tensor
    """`(n, 3, S, S)` in [0, 1], for `output_type="pt"`."""


class Scheduler(Protocol):
    """The part of a diffusers scheduler that is needed to put another in its place."""

    config: Mapping[str, object]
    compatibles: Sequence[type]


class DiffusersPipeline(Protocol):
    """The part of a diffusers inpainting pipeline that kit calls; what only some of them have is looked up by name."""

    scheduler: Scheduler
    components: Mapping[str, object]
    dtype: torch.dtype

    def __call__(self, **arguments: object) -> Pictures: ...

    def to(self, device: torch.device) -> object: ...

    def enable_model_cpu_offload(self, *, device: torch.device) -> None: ...

    def set_progress_bar_config(self, **config: object) -> None: ...


@dataclass
class InpaintingPipeline:
    """A loaded pipeline with settings."""

    wrapped: DiffusersPipeline
    settings: SamplingSettings
    device: torch.device
    _encoded: dict[str, tuple[torch.Tensor | None, ...]] = field(default_factory=dict)

    @property
    def cell(self) -> int:
        """Return the pixels of a cell of the grid on which the model sees the mask."""
        scale = int(getattr(self.wrapped, "vae_scale_factor", 8))
        return 2 * scale if not hasattr(self.wrapped, "unet") else scale  # transformers take patches of 2x2 latents

    def inpaint(
        self, pictures: np.ndarray, masks: np.ndarray, prompts: Sequence[str], seeds: Sequence[int], batch: int
    ) -> np.ndarray:
        """Inpaint at most `batch` pictures; the batch is filled up with the last one.

        Args:
            pictures: `(n, S, S, 3)` float32 in [0, 1].
            masks: `(n, S, S)` bool, True = to be painted.
            prompts, seeds: n of each.

        Returns:
            `(n, S, S, 3)` float32 in [0, 1], or NaN where half precision gave out.
        """
        places = [min(place, len(prompts) - 1) for place in range(batch)]
        generators = [torch.Generator("cpu").manual_seed(seeds[place]) for place in places]
        arguments: dict[str, Any] = {
            "image": torch.from_numpy(pictures[places]).permute(0, 3, 1, 2).contiguous(),
            "mask_image": torch.from_numpy(masks[places]).to(torch.float32)[:, None],
            "height": self.settings.size,
            "width": self.settings.size,
            "strength": self.settings.strength,
            "num_inference_steps": self.settings.steps,
            "guidance_scale": self.settings.guidance,
            "generator": generators,
            "output_type": "pt",
            **self._prompts([prompts[place] for place in places]),
        }
        try:
            with torch.inference_mode():
                painted = self.wrapped(**arguments).images
        except (RuntimeError, ValueError, TypeError) as error:
            if is_out_of_memory(error):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0][:150]
            name = type(self.wrapped).__name__
            raise TrainingError(f"{name} fails ({reason}). Its parts do not fit: name another --model.") from error
        return painted[: len(prompts)].float().permute(0, 2, 3, 1).cpu().numpy()

    def _prompts(self, prompts: Sequence[str]) -> dict[str, Any]:
        """Return encoded prompts as the pipeline's own arguments, each distinct one encoded once."""
        guided = self.settings.guidance > 1
        encoded = [self._encode(prompt, guided) for prompt in prompts]
        names = _ENCODED.get(len(encoded[0]))
        if names is None:
            texts: dict[str, Any] = {"prompt": list(prompts)}
            if "negative_prompt" in inspect.signature(self.wrapped.__call__).parameters:
                texts["negative_prompt"] = [self.settings.negative] * len(prompts)
            return texts
        columns = zip(names, zip(*encoded, strict=True), strict=True)
        return {name: torch.cat(column) for name, column in columns if column[0] is not None}

    def _encode(self, prompt: str, guided: bool) -> tuple[torch.Tensor | None, ...]:
        if prompt not in self._encoded:
            self._encoded[prompt] = self._encode_now(prompt, guided)
        return self._encoded[prompt]

    def _encode_now(self, prompt: str, guided: bool) -> tuple[torch.Tensor | None, ...]:
        self._warn_of_length(prompt)
        encode = getattr(self.wrapped, "encode_prompt", None)
        if encode is None:
            return ()
        known = inspect.signature(encode).parameters
        arguments = {
            "prompt": prompt,
            "prompt_2": None,
            "prompt_3": None,
            "device": getattr(self.wrapped, "_execution_device", self.device),
            "num_images_per_prompt": 1,
            "do_classifier_free_guidance": guided,
            "negative_prompt": self.settings.negative,
        }
        if "negative_prompt" not in known:
            return ()
        with torch.inference_mode():
            found = encode(**{name: value for name, value in arguments.items() if name in known})
        return tuple(found) if isinstance(found, tuple) and len(found) in _ENCODED else ()

    def _warn_of_length(self, prompt: str) -> None:
        tokenizer = getattr(self.wrapped, "tokenizer", None)
        most = getattr(tokenizer, "model_max_length", None)
        if tokenizer is not None and isinstance(most, int) and len(tokenizer(prompt).input_ids) > most:
            warn(f"Warning: the model reads the first {most} tokens of {prompt!r} alone.")


def dtype_on(name: str, device: torch.device) -> str:
    """Spell `auto` out: half precision where it is fast."""
    return name if name != "auto" else "float32" if device.type == "cpu" else "float16"


def load_pipeline(
    model: DiffusionModel, settings: SamplingSettings, device: torch.device, *, low_memory: bool = False
) -> InpaintingPipeline:
    """Load a pipeline onto a device.

    Args:
        low_memory: keep on a GPU only the part at work, and encode and decode picture by picture, in tiles when large.

    Raises:
        UsageError: it cannot inpaint, or not with these settings.
        TrainingError: its files do not fit together, or no memory is left.
    """
    from diffusers import AutoPipelineForInpainting
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    nothing = dict.fromkeys(model.left_out)
    if "safety_checker" in nothing:
        nothing["requires_safety_checker"] = False
    dtype = getattr(torch, dtype_on(settings.dtype, device))
    try:
        wrapped: DiffusersPipeline = AutoPipelineForInpainting.from_pretrained(  # type: ignore[no-untyped-call]
            model.folder,
            variant=model.variant,
            use_safetensors=True,
            local_files_only=True,
            **{_dtype_word(): dtype},
            **nothing,
        )
    except ValueError as error:
        if "AutoPipeline can't find" not in str(error):
            raise _unfit(model, error) from error
        raise UsageError(
            f"--model {model.label} is a {model.kind}, which cannot inpaint. Name an inpainting model, or a text-to-"
            "image one that diffusers can inpaint with (Stable Diffusion 1, 2, XL, 3, Flux, Kandinsky, ...)."
        ) from None
    except Exception as error:  # a damaged file makes json, safetensors, tokenizers, ... raise errors of their own
        if is_out_of_memory(error):
            raise TrainingError(f"{model.label} does not fit into memory. Try: kit sd run --dtype float16") from None
        raise _unfit(model, error) from error
    _check_weights(wrapped, model)
    _check_dtype(wrapped, dtype)
    wrapped.set_progress_bar_config(disable=True)
    _set_scheduler(wrapped, settings.scheduler)
    pipeline = InpaintingPipeline(wrapped, settings, device)
    _check(pipeline, model)
    _place(wrapped, device, low_memory)
    return pipeline


def _dtype_word() -> str:
    """Return what the installed diffusers calls the precision; another word it passes over, and loads float32."""
    import diffusers

    version = tuple(int(number) for number in re.findall(r"\d+", diffusers.__version__)[:2])
    return "dtype" if version >= (0, 40) else "torch_dtype"


def _check_dtype(pipeline: DiffusersPipeline, dtype: torch.dtype) -> None:
    """Refuse a pipeline of which no part has the precision that was asked for; some keep a few weights in float32."""
    import diffusers

    modules = [module for module in pipeline.components.values() if isinstance(module, torch.nn.Module)]
    found = {parameter.dtype for module in modules for parameter in module.parameters()}
    if found and dtype not in found:
        names = ", ".join(sorted(str(one).removeprefix("torch.") for one in found))
        raise TrainingError(
            f"--dtype {str(dtype).removeprefix('torch.')}: diffusers {diffusers.__version__} loads this model in "
            f"{names}. Try: kit sd run --dtype {names.split(', ')[0]}, or pip install -U diffusers"
        )


def _check_weights(pipeline: DiffusersPipeline, model: DiffusionModel) -> None:
    """Refuse files that lack tensors: diffusers would leave those empty, and transformers make them up."""
    for part, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module) and (absent := lacking(module, model.weights(part))):
            raise TrainingError(
                f"--model {model.label}: the weights of {part} in {model.folder} are not whole: they lack tensors, "
                f"{listed(absent)}. Copy it again, whole, or name another --model."
            )


def _unfit(model: DiffusionModel, error: Exception) -> TrainingError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    return TrainingError(f"--model {model.label}: {model.folder} cannot be loaded ({reason}). Copy it again, whole.")


def _set_scheduler(pipeline: DiffusersPipeline, name: str) -> None:
    if name == "default":
        return
    import diffusers

    kind = getattr(diffusers, SCHEDULERS[name])
    fit = pipeline.scheduler.compatibles
    if kind not in fit:
        names = [short for short, full in SCHEDULERS.items() if full in {one.__name__ for one in fit}]
        raise UsageError(
            f"--scheduler {name} does not fit this model's {type(pipeline.scheduler).__name__}. Known to fit: "
            f"{', '.join(['default', *names])}."
        )
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config)


def _check(pipeline: InpaintingPipeline, model: DiffusionModel) -> None:
    size, step = pipeline.settings.size, pipeline.cell
    if size % step:
        near = max(step, round(size / step) * step)
        raise UsageError(f"--size {size}: {model.label} takes multiples of {step}. Use --size {near}.")
    if "mask_image" not in inspect.signature(pipeline.wrapped.__call__).parameters:
        raise UsageError(f"--model {model.label}: {type(pipeline.wrapped).__name__} takes no mask. Name another model.")


def _place(pipeline: DiffusersPipeline, device: torch.device, low_memory: bool) -> None:
    vae = getattr(pipeline, "vae", None)
    for switch in ("enable_slicing", "enable_tiling") if low_memory else ():
        if hasattr(vae, switch):
            getattr(vae, switch)()
    try:
        if low_memory and device.type != "cpu":
            import accelerate  # noqa: F401  # which diffusers then needs, and misses in its own words

            # attention needs no slicing: torch's own never holds the whole matrix
            pipeline.enable_model_cpu_offload(device=device)
            return
        pipeline.to(device)
    except torch.OutOfMemoryError:
        raise TrainingError(
            f"The model does not fit into the memory of {device}. Try: kit sd run --low-memory"
        ) from None
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False  # a kernel chosen by the clock gives other bits in another process
        for name in ("unet", "vae"):
            if hasattr(pipeline, name):
                getattr(pipeline, name).to(memory_format=torch.channels_last)


_MEMORY = ("out of memory", "can't allocate memory", "ALLOC_FAILED")  # of torch, its CPU allocator, cuBLAS and cuDNN


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY)
