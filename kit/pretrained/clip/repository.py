"""CLIPs of the hub: the files that are wanted, what is here, and a download that says licence and size first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from kit.errors import MissingStep, NotFound, UsageError
from kit.pretrained.hub import download as download_files
from kit.pretrained.hub import downloaded, look_up

_SMALL = re.compile(
    r"(config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map|vocab)\.json|merges\.txt"
)
_SAFE = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
_PICKLED = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin(\.index\.json)?")
_ELSEWHERE = "Without a network: copy its folder from a machine that has one, and give it: kit clip embed --model PATH"


def weights_among(names: Iterable[str]) -> list[str]:
    """Return the weights files of a folder, sorted: safetensors if there are any, else PyTorch's own."""
    names = sorted(names)
    return [name for name in names if _SAFE.fullmatch(name)] or [name for name in names if _PICKLED.fullmatch(name)]


def on_this_machine(repository: str) -> Path:
    """Return the folder of a downloaded repository. Raises `UsageError` when it is not here, or not whole."""
    folder = _whole(repository)
    if folder is None:
        raise UsageError(
            f"{repository} is neither a folder nor a model that was downloaded. Run: kit clip embed --model "
            f"{repository} --download. {_ELSEWHERE}"
        )
    return folder


def _whole(repository: str) -> Path | None:
    folder = downloaded(repository)
    if folder is None or not (folder / "config.json").is_file():
        return None
    return folder if weights_among(path.name for path in folder.iterdir()) else None


def fetch(repository: str, *, download: bool, say: Callable[[str], None], endpoint: str | None = None) -> Path:
    """Return the folder of a CLIP of the hub, fetched unless it is here; `say` hears licence and size first.

    Raises:
        MissingStep: it is not here and `download` is not given; the message tells licence and size.
        NotFound: there is no such repository, or no weights in it.
        RemoteError: see `kit.pretrained.hub.look_up`.
    """
    if (folder := _whole(repository)) is not None:
        return folder
    found = look_up(repository, elsewhere=_ELSEWHERE, endpoint=endpoint)
    weights = weights_among(found.sizes)
    if not weights or "config.json" not in found.sizes:
        raise NotFound(f"{repository} on the hub holds no config.json with weights (model.safetensors). {_ELSEWHERE}")
    wanted = [name for name in found.sizes if _SMALL.fullmatch(name)] + weights
    size = sum(found.sizes[name] for name in wanted) / 1e6
    text = f"{repository}: licence {found.licence}, {size:,.1f} MB to download"
    if not download:
        raise MissingStep(f"{text}, and not on this machine. Run the same command with --download. {_ELSEWHERE}")
    say(text)
    download_files(found, wanted, elsewhere=_ELSEWHERE, endpoint=endpoint)
    return on_this_machine(repository)
