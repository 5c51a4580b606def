"""Encoders by their texts, and the digests that name their very weights. Knows files; no network, no tensor.

    thumbnail                    built in: a small picture and its colours; no weights
    PATH                         a folder in the hub's format (CLIPModel or CLIPVisionModelWithProjection)
    OWNER/NAME                   a CLIP of the hub that is on this machine already (`kit clip embed` fetches it)
    timm:MODEL:WEIGHTS_FILE      a vision encoder of timm, such as timm:vit_base_patch32_clip_224:weights.safetensors

A text with `@` and sixteen digits at its end is pinned: those very weights and no others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kit.core.storage import digest_file, digest_of, read_json
from kit.errors import Mismatch, UsageError
from kit.pretrained.clip.repository import fetch, on_this_machine, weights_among

THUMBNAIL = "thumbnail"
THUMBNAIL_VERSION = 1  # raised when its values change
PREPROCESSING = 1  # raised when the same photo would be shown to an encoder differently
_PIN = re.compile(r"(.+)@([0-9a-f]{16})")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FORMS = "thumbnail, a folder in the hub's format, OWNER/NAME of the hub, or timm:MODEL:WEIGHTS_FILE"
_VIEWS = ("config.json", "preprocessor_config.json")
_TOKENS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")


@dataclass(frozen=True)
class ClipModel:
    """An encoder on this machine."""

    text: str
    """How it is called, its path absolute."""
    kind: Literal["thumbnail", "transformers", "timm"]
    digest: str
    """Of weights, configuration, tokenizer and `PREPROCESSING`: of all that a photo's vector depends on."""
    place: Path = Path()
    """Its folder, or timm's weights file."""
    architecture: str = ""
    """timm's name of it."""

    @property
    def pinned(self) -> str:
        """Return the text by which this very version can be asked for."""
        return f"{self.text}@{self.digest}"


def unpinned(text: str) -> tuple[str, str | None]:
    """Split a text into the one without its digest, and that digest if it has one."""
    found = _PIN.fullmatch(text)
    return (found.group(1), found.group(2)) if found else (text, None)


def bring_model(text: str, *, download: bool, say: Callable[[str], None]) -> ClipModel:
    """Find an encoder; one of the hub is fetched where `download` says so, and `say` hears licence and size first.

    Raises:
        MissingStep, NotFound: see `fetch`.
        UsageError: see `find_model`.
    """
    if is_repository(text):
        fetch(text, download=download, say=say)
    return find_model(text)


def find_model(text: str) -> ClipModel:
    """Find the encoder that a text means.

    Raises:
        UsageError: no such folder or file, a model of the hub that is not on this machine, or no CLIP.
        Mismatch: a pinned one whose files have changed.
    """
    plain, digest = unpinned(text)
    model = _find(plain)
    if digest is not None and digest != model.digest:
        raise Mismatch(
            f"{plain} is not what it was (digest {model.digest}, asked for is {digest}): its files have changed, or "
            f"kit has. Bring the old ones back, or use it as it is now under another name: "
            f"--set clip_model={plain} --as NAME"
        )
    return model


def is_repository(text: str) -> bool:
    """Return whether a text can only mean a model of the hub."""
    plain = unpinned(text)[0]
    return bool(_REPOSITORY.fullmatch(plain)) and not _expanded(plain).exists()


def pinned(text: str) -> str:
    """Return what `--set clip_model=TEXT` stores: the absolute path with its digest; a pinned text is what it is
    already."""
    return text if unpinned(text)[1] else find_model(text).pinned


def _find(text: str) -> ClipModel:
    if text == THUMBNAIL:
        return ClipModel(THUMBNAIL, "thumbnail", _digest(THUMBNAIL_VERSION))
    if text.startswith("timm:"):
        return _of_timm(text)
    path = _expanded(text)
    if path.is_dir():
        return _in_folder(str(path.absolute()), path)
    if path.exists():
        raise UsageError(f"{text} is a file, not a folder in the hub's format. For timm: timm:MODEL:{text}")
    if _REPOSITORY.fullmatch(text):
        return _in_folder(text, on_this_machine(text))
    raise UsageError(f"There is no encoder {text!r}: {_FORMS} is needed.")


def _digest(content: object) -> str:
    return digest_of({"content": content, "preprocessing": PREPROCESSING})


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # a home folder that cannot be told
        return Path(text)


def _of_timm(text: str) -> ClipModel:
    _, _, rest = text.partition(":")
    architecture, _, file = rest.partition(":")
    if not architecture or not file:
        raise UsageError(f"{text}: timm:MODEL:WEIGHTS_FILE is needed, with a weights file on this machine.")
    path = _expanded(file).absolute()
    if not path.is_file():
        raise UsageError(f"{text}: there is no weights file {path}.")
    digest = _digest([architecture, digest_file(path)])
    return ClipModel(f"timm:{architecture}:{path}", "timm", digest, path, architecture)


def _in_folder(text: str, folder: Path) -> ClipModel:
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} has no config.json: {_FORMS} is needed.")
    kind = read_json(folder / "config.json", made_by="kit clip embed --model with another folder").get("model_type")
    if kind not in ("clip", "clip_vision_model"):
        raise UsageError(f"{folder} holds a model of type {kind!r}, not a CLIP (clip or clip_vision_model).")
    weights = weights_among([path.name for path in folder.iterdir()])
    if not weights:
        raise UsageError(f"{folder} holds no weights (model.safetensors or pytorch_model.bin).")
    names = [name for name in (*_VIEWS, *_TOKENS, *weights) if (folder / name).is_file()]
    digest = _digest({name: digest_file(folder / name) for name in names})
    return ClipModel(text, "transformers", digest, folder)
