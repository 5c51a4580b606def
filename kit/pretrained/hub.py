"""CLIP folders of the hub: what is here, and what a download would bring. Says licence and size before it starts."""

from __future__ import annotations

import contextlib
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kit.errors import MissingStep, NotFound, RemoteUnavailable, RulesNotAccepted, UsageError

_SMALL = re.compile(
    r"(config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map|vocab)\.json|merges\.txt"
)
_SAFE = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
_PICKLED = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin(\.index\.json)?")
_ELSEWHERE = "Without a network: copy its folder from a machine that has one, and give it: kit clip embed --model PATH"
SECONDS = 10.0  # how long the hub may take to answer


def weights_among(names: Iterable[str]) -> list[str]:
    """The weights files of a folder, sorted: safetensors if there are any, else PyTorch's own."""
    names = sorted(names)
    return [name for name in names if _SAFE.fullmatch(name)] or [name for name in names if _PICKLED.fullmatch(name)]


def on_this_machine(repository: str) -> Path:
    """The folder to which a repository was downloaded. Raises `UsageError` when it was not, or not to the end."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
    except Exception:  # its errors are many, and all mean that it is not here
        folder = Path()
    if not (folder / "config.json").is_file() or not weights_among(path.name for path in folder.iterdir()):
        raise UsageError(
            f"{repository} is neither a folder nor a model that was downloaded. Run: kit clip embed --model {repository} "
            f"--download. {_ELSEWHERE}"
        )
    return folder


def fetch(repository: str, *, download: bool, say: Callable[[str], None], endpoint: str | None = None) -> Path:
    """The folder of a CLIP of the hub, fetched unless it is here; `say` hears licence and size before a byte moves.

    Raises:
        MissingStep: it is not here and `download` is not given; the message tells licence and size.
        RemoteUnavailable: no network, or offline mode.
        NotFound: there is no such repository, or no weights in it.
        RulesNotAccepted: its page asks for an agreement or an account first.
    """
    with contextlib.suppress(UsageError):
        return on_this_machine(repository)
    from huggingface_hub import HfApi, constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise RemoteUnavailable(
            f"{repository} is not on this machine, and HF_HUB_OFFLINE forbids the hub. {_ELSEWHERE}"
        )
    _check_answers(repository, endpoint or constants.ENDPOINT)
    found: Any = _asked(
        repository, lambda: HfApi(endpoint).model_info(repository, files_metadata=True, timeout=SECONDS)
    )
    sizes = {file.rfilename: file.size or 0 for file in found.siblings or ()}
    weights = weights_among(sizes)
    if not weights or "config.json" not in sizes:
        raise NotFound(f"{repository} on the hub holds no config.json with weights (model.safetensors). {_ELSEWHERE}")
    wanted = [name for name in sizes if _SMALL.fullmatch(name)] + weights
    size = sum(sizes[name] for name in wanted) / 1e6
    text = f"{repository}: licence {_licence(found)}, {size:,.1f} MB to download"
    if not download:
        raise MissingStep(f"{text}, and not on this machine. Run the same command with --download. {_ELSEWHERE}")
    say(text)
    # of the newest revision by its name, not by its digest: only so it is found again without a network
    _asked(repository, lambda: snapshot_download(repository, allow_patterns=wanted, endpoint=endpoint))
    return on_this_machine(repository)


def _check_answers(repository: str, endpoint: str) -> None:
    """Raise `RemoteUnavailable` at once: the hub's client alone would try for a minute."""
    try:
        urllib.request.urlopen(endpoint, timeout=SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers
    except OSError as error:
        reason = " ".join(str(error).split())[:120]
        raise RemoteUnavailable(
            f"{repository} is not on this machine, and {endpoint} does not answer ({reason}). {_ELSEWHERE}"
        ) from None


def _licence(found: Any) -> str:
    card = getattr(found, "card_data", None)
    tags = [tag.partition(":")[2] for tag in found.tags or () if tag.startswith("license:")]
    return str(getattr(card, "license", None) or (tags[0] if tags else "not stated"))


def _asked(repository: str, question: Callable[[], Any]) -> Any:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return question()
    except GatedRepoError:
        raise RulesNotAccepted(
            f"{repository} asks you to accept its terms on its page of the hub first. {_ELSEWHERE}"
        ) from None
    except RepositoryNotFoundError:
        raise NotFound(f"The hub has no model {repository} (or hides it from you). {_ELSEWHERE}") from None
    except Exception as error:  # whatever its client and the network raise
        reason = " ".join(str(error).split())[:120].rstrip(".") or type(error).__name__
        raise RemoteUnavailable(f"{repository} cannot be downloaded ({reason}). {_ELSEWHERE}") from None
