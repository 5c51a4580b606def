"""The model hub, asked through huggingface_hub alone: look a repository up, download it. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kit.errors import KitError, NotFound, RemoteUnavailable, RulesNotAccepted

SECONDS = 10.0  # how long the hub may take to answer

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

T = TypeVar("T")


@dataclass(frozen=True)
class Repository:
    """A model of the hub, as the hub describes it."""

    name: str
    revision: str
    licence: str
    sizes: dict[str, int]
    """Bytes of each file."""


def look_up(name: str, *, elsewhere: str, endpoint: str | None = None) -> Repository:
    """Ask the hub for a repository; nothing is downloaded.

    Args:
        elsewhere: ends every message: how to go on without the hub.

    Raises:
        RemoteUnavailable: no network, or offline mode.
        NotFound: there is no such repository.
        RulesNotAccepted: its page asks for an agreement or an account first.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise RemoteUnavailable(f"{name} is not on this machine, and HF_HUB_OFFLINE forbids the hub. {elsewhere}")
    at = endpoint or constants.ENDPOINT
    silent = f"{name} is not on this machine, and {at} does not answer"
    found = _asked(name, lambda: HfApi(at).model_info(name, files_metadata=True, timeout=SECONDS), silent, elsewhere)
    sizes = {file.rfilename: file.size or 0 for file in found.siblings or ()}
    return Repository(name, str(found.sha), _licence(found), sizes)


def download(
    repository: Repository, files: Sequence[str], *, elsewhere: str, endpoint: str | None = None, pin: bool = False
) -> Path:
    """Download these files and return their folder; what is here already is not fetched again.

    Args:
        pin: take the revision that was looked up and not the newest: such a folder is not found by its name alone.

    Raises:
        RemoteUnavailable: the network broke off.
    """
    from huggingface_hub import snapshot_download

    revision = repository.revision if pin else None
    broke = f"Downloading {repository.name} broke off. Run the same command again to go on"
    return _asked(
        repository.name,
        lambda: Path(
            snapshot_download(repository.name, revision=revision, allow_patterns=list(files), endpoint=endpoint)
        ),
        broke,
        elsewhere,
    )


def downloaded(name: str) -> Path | None:
    """Return the folder of a repository that was downloaded by its name, or None; the hub is not asked."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except Exception:  # its errors are many, and all mean that it is not here
        return None


def prefer_cache(name: str) -> None:
    """Make a library that is about to fetch a repository read what is here when the hub does not answer.

    Raises:
        RemoteUnavailable: the hub does not answer, and nothing of the repository is here.
    """
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    if constants.HF_HUB_OFFLINE:
        return
    try:
        look_up(name, elsewhere="")
    except RemoteUnavailable:
        try:
            cached = any(found.repo_id == name for found in scan_cache_dir().repos)
        except CacheNotFound:
            cached = False
        if not cached:
            raise
        constants.HF_HUB_OFFLINE = True  # its client then reads what is here without trying for a minute
    except KitError:
        return  # it answers


def _licence(found: ModelInfo) -> str:
    card = getattr(found, "card_data", None)
    named = getattr(card, "license_name", None) or getattr(card, "license", None)
    tags = [tag.partition(":")[2] for tag in found.tags or () if tag.startswith("license:")]
    return str(named or (tags[0] if tags else "not stated"))


def _asked(name: str, question: Callable[[], T], silent: str, elsewhere: str) -> T:
    """Ask the hub, and translate what its client raises; `silent` begins the message where no answer comes."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return question()
    except GatedRepoError:
        raise RulesNotAccepted(
            f"{name} asks you to accept its terms on its page of the hub, and for a token in HF_TOKEN. {elsewhere}"
        ) from None
    except RepositoryNotFoundError:
        raise NotFound(f"The hub has no model {name} (or hides it from you). {elsewhere}") from None
    except Exception as error:  # whatever its client and the network raise
        reason = " ".join(str(error).split())[:120].rstrip(".") or type(error).__name__
        raise RemoteUnavailable(f"{silent} ({reason}). {elsewhere}") from None
