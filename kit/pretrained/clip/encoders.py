"""Encoders: compute vectors of photos and texts. Knows tensors and model files; no competition and no cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from kit.errors import DamagedStore, KitError, UsageError
from kit.pretrained.clip.model import ClipModel
from kit.pretrained.clip.thumbnail import thumbnails
from kit.pretrained.weights.encoders import pretrained_mean_std
from kit.pretrained.weights.reading import read_weights

_OF_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and deviation of the photos that OpenAI's CLIP was trained with: where a folder does not say."""


class Encoder(Protocol):
    """A network that gives vectors of length one."""

    def images(self, photos: torch.Tensor) -> torch.Tensor:
        """Encode `(n, 3, H, W)` float32 in [0, 1] to `(n, D)` float32."""

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Encode texts to `(n, D)` float32 in the space of the photos. Raises `UsageError` when it reads no text."""


def open_encoder(model: ClipModel, device: torch.device) -> Encoder:
    """Load an encoder.

    Raises:
        UsageError: timm has no such model, or it has no text tower and is asked for one.
        DamagedStore: its files cannot be read, or lack weights.
    """
    if model.kind == "thumbnail":
        return _Thumbnail()
    return _Timm(model, device) if model.kind == "timm" else _Transformers(model, device)


def as_tensor(photos: np.ndarray) -> torch.Tensor:
    """Turn `(n, H, W, 3)` float in [0, 1] into `(n, 3, H, W)` float32."""
    return torch.from_numpy(np.ascontiguousarray(photos.transpose(0, 3, 1, 2), np.float32))


@dataclass(frozen=True)
class View:
    """Size, mean and deviation with which a photo is shown to an encoder."""

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def of(self, photos: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Resize whole photos, without a crop: what a centre crop would leave out is part of what is visible."""
        photos = photos.to(device)
        if photos.shape[2:] != (self.height, self.width):
            photos = F.interpolate(photos, size=(self.height, self.width), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (photos.new_tensor(numbers)[:, None, None] for numbers in (self.mean, self.std))
        return (photos - mean) / std


class _Thumbnail:
    def images(self, photos: torch.Tensor) -> torch.Tensor:
        return F.normalize(thumbnails(photos), dim=1)

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        raise UsageError("thumbnail reads no text. Give a CLIP: --model PATH_OR_ID")


class _Timm:
    def __init__(self, model: ClipModel, device: torch.device) -> None:
        import timm

        state = read_weights(model.place)
        classes = len(state["head.weight"]) if "head.weight" in state else 0  # CLIP's projection, where the file has it
        if not classes:
            state = _without_classifier(state, model.architecture)
        try:
            network: Any = timm.create_model(model.architecture, pretrained=False, num_classes=classes)
        except Exception as error:  # each model of timm raises what it likes
            reason = " ".join(str(error).split())[:120].rstrip(".")
            raise UsageError(f"timm has no model {model.architecture} that can be built ({reason}).") from None
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:160]
            raise DamagedStore(
                f"{model.place} does not hold timm's weights of {model.architecture} ({reason})."
            ) from None
        _, height, width = (getattr(timm.get_pretrained_cfg(model.architecture), "input_size", None)) or (3, 224, 224)
        self._view = View(height, width, *pretrained_mean_std(model.architecture))
        self._network, self._device, self._name = network.to(device).eval(), device, model.text

    @torch.no_grad()
    def images(self, photos: torch.Tensor) -> torch.Tensor:
        return F.normalize(self._network(self._view.of(photos, self._device)).float(), dim=1).cpu()

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        raise UsageError(f"{self._name} is a vision encoder and reads no text. Give a CLIP: --model PATH_OR_ID")


def _without_classifier(state: dict[str, torch.Tensor], architecture: str) -> dict[str, torch.Tensor]:
    """Leave out the layer that names ImageNet's classes: files of the hub have it, and vectors come before it."""
    import timm

    named = getattr(timm.get_pretrained_cfg(architecture), "classifier", None) or ()
    layers = (named,) if isinstance(named, str) else tuple(named)
    return {key: value for key, value in state.items() if not key.startswith(tuple(f"{layer}." for layer in layers))}


class _Transformers:
    def __init__(self, model: ClipModel, device: torch.device) -> None:
        self._model, self._device = model, device
        self._vision: Any = None
        self._text: Any = None
        self._tokenizer: Any = None

    @torch.no_grad()
    def images(self, photos: torch.Tensor) -> torch.Tensor:
        if self._vision is None:
            self._vision = _loaded("CLIPVisionModelWithProjection", self._model).to(self._device)
        side = self._vision.config.image_size
        seen = View(side, side, *_mean_std(self._model)).of(photos, self._device)
        return F.normalize(self._vision(pixel_values=seen).image_embeds.float(), dim=1).cpu()

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        if self._text is None:
            if _settings(self._model, "config.json").get("model_type") != "clip":
                raise UsageError(
                    f"{self._model.text} is a vision encoder and reads no text. Give a whole CLIP with --model"
                )
            self._text = _loaded("CLIPTextModelWithProjection", self._model).to(self._device)
            self._tokenizer = _tokenizer(self._model)
        longest = self._text.config.max_position_embeddings
        tokens = self._tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        found = self._text(**tokens.to(self._device)).text_embeds
        return F.normalize(found.float(), dim=1).cpu()


def _mean_std(model: ClipModel) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and deviation of the photos that it was trained with."""
    found = _settings(model, "preprocessor_config.json") if (model.place / "preprocessor_config.json").is_file() else {}
    mean, std = found.get("image_mean") or _OF_CLIP[0], found.get("image_std") or _OF_CLIP[1]
    return tuple(map(float, mean)), tuple(map(float, std))


def _settings(model: ClipModel, file: str) -> dict[str, Any]:
    from kit.core.storage import read_json

    return read_json(model.place / file, made_by="kit clip embed --model with a whole folder")


def _loaded(kind: str, model: ClipModel) -> Any:
    """Load one tower in float32, every weight of it from the folder."""
    import transformers

    with _silent(transformers):
        try:
            found, told = getattr(transformers, kind).from_pretrained(
                str(model.place), local_files_only=True, output_loading_info=True, dtype=torch.float32
            )
        except Exception as error:  # whatever its readers raise for a damaged or foreign file
            raise _unreadable(model, error) from None
    lacking = sorted([*told["missing_keys"], *(str(one) for one in told.get("mismatched_keys", ()))])
    if lacking:
        raise DamagedStore(
            f"{model.place} lacks {len(lacking)} weights of its {kind}, first {lacking[0]}. Copy it anew."
        )
    return found.eval().requires_grad_(False)


def _tokenizer(model: ClipModel) -> Any:
    import transformers

    with _silent(transformers):
        try:
            return transformers.CLIPTokenizer.from_pretrained(str(model.place), local_files_only=True)
        except Exception as error:
            raise _unreadable(model, error) from None


def _unreadable(model: ClipModel, error: Exception) -> KitError:
    reason = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
    return DamagedStore(f"{model.place} cannot be read as a CLIP ({reason}). Copy or download it anew.")


class _silent:  # noqa: N801  # a context manager that reads like a function
    """Silence transformers, which tells of every weight of the other tower."""

    def __init__(self, library: ModuleType) -> None:
        self._log = library.utils.logging

    def __enter__(self) -> None:
        self._level, self._bar = self._log.get_verbosity(), self._log.is_progress_bar_enabled()
        self._log.set_verbosity_error()
        self._log.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        self._log.set_verbosity(self._level)
        if self._bar:
            self._log.enable_progress_bar()
