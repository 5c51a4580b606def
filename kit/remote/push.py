"""Datasets and notebooks on Kaggle, made or renewed by the official client. Knows no file's content.

What the client would do in silence is refused here: it leaves out files whose upload failed and calls the rest a
dataset, its upload has no timeout, and it takes any name of a machine and then gives the usual one.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.tables import Shown
from kit.errors import RemoteError, UsageError
from kit.remote.session import Session, Unavailable, quiet, status_and_message

MACHINES = {"t4x2": "NvidiaTeslaT4", "p100": "NvidiaTeslaP100", "none": ""}
"""Kaggle's names of its machines; the client has no list of them. NvidiaTeslaT4 is the one with two GPUs."""

METADATA = "dataset-metadata.json"
_NOTEBOOK = "kernel-metadata.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{2,49}/[a-z0-9][a-z0-9-]{4,48}[a-z0-9]")


@dataclass(frozen=True)
class Pushed(Shown):
    """What the service made of it."""

    address: str
    is_new: bool


def checked_reference(what: str, name: str) -> str:
    """Return `OWNER/NAME` if Kaggle takes such a name, else raise `UsageError`."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{what} {name!r} is no name on Kaggle: it is OWNER/NAME, your user name and 6 to 50 small letters, digits "
            "and -, such as ada/photo-bundle"
        )
    return name


def dataset_exists(session: Session, reference: str) -> bool:
    """Return whether there is a dataset of that name that this user may see."""
    api = session.api()
    try:
        with _in_words_of(session, f"the dataset {reference}"):
            api.dataset_status(reference)
    except _NotThere:
        return False
    return True


def push_dataset(session: Session, folder: Path, reference: str, title: str, notes: str) -> Pushed:
    """Make a private dataset of a folder, its sub-folders zipped (Kaggle unpacks them), or a new version of it.

    Args:
        reference: OWNER/NAME.
        notes: what is new, for the list of versions.

    Raises:
        RemoteError: or the member of its tree that says what was wrong; a dataset with a file missing is never made.
    """
    api, exists = session.api(), dataset_exists(session, reference)
    metadata = {"id": reference, "title": title[:50], "licenses": [{"name": "other"}]}
    (folder / METADATA).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    expected = len([path for path in folder.iterdir() if path.name != METADATA])
    with _in_words_of(session, f"the dataset {reference}"), _sound_uploads(session, api, expected):
        if exists:
            answer = api.dataset_create_version(str(folder), notes, quiet=True, dir_mode="zip")
        else:
            answer = api.dataset_create_new(str(folder), quiet=True, dir_mode="zip")
    if answer is None or answer.error or str(answer.status).lower() == "error":
        raise RemoteError(f"Kaggle did not make the dataset {reference}: {_reason(answer)}.")
    return Pushed(f"https://www.kaggle.com/datasets/{reference}", not exists)


def push_notebook(session: Session, folder: Path) -> Pushed:
    """Save the notebook of a folder with a `kernel-metadata.json`, and let it run.

    Raises:
        RemoteError: or the member of its tree; also where Kaggle does not find a dataset that it names.
    """
    api = session.api()
    reference = json.loads((folder / _NOTEBOOK).read_text(encoding="utf-8"))["id"]
    with _in_words_of(session, f"the notebook {reference}"):
        answer = api.kernels_push(str(folder))
    if answer is None or answer.error:
        raise RemoteError(f"Kaggle did not take the notebook {reference}: {_reason(answer)}.")
    sources = [*answer.invalid_dataset_sources, *answer.invalid_competition_sources]
    if sources:
        raise RemoteError(
            f"The notebook {reference} was saved without {', '.join(sources)}, which Kaggle does not find, so it "
            "cannot run. A new dataset takes minutes to be ready: run the same command again then."
        )
    return Pushed(answer.url or f"https://www.kaggle.com/code/{reference}", (answer.version_number or 1) == 1)


def _reason(answer: Any) -> str:
    return getattr(answer, "error", None) or "it gives no reason"


class _NotThere(RemoteError):
    """404, or 403 of a name that is nobody's."""


@contextlib.contextmanager
def _in_words_of(session: Session, what: str) -> Iterator[None]:
    """Turn refusals into sentences about `what`, which is no competition; all else as the session does."""
    import requests

    try:
        with quiet():
            yield
    except requests.HTTPError as error:
        if error.response is None:
            raise session.failure(error) from error
        status, said = status_and_message(error.response)
        if status in (403, 404):
            raise _NotThere(f"Kaggle refused {what} ({status}: {said}). Is the owner's name yours?") from error
        raise session.failure(error) from error
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise session.failure(error) from error


@contextlib.contextmanager
def _sound_uploads(session: Session, api: Any, expected: int) -> Iterator[None]:
    """Let uploads end at a silence, and refuse what the client would pass over: a file that did not arrive."""
    whole: Callable[..., None] = api.upload_files

    def upload_files(request: Any, *arguments: Any, **keywords: Any) -> None:
        whole(request, *arguments, **keywords)
        if len(request.files) != expected:
            raise RemoteError(f"Only {len(request.files)} of {expected} files arrived. Run the same command again.")

    def upload_complete(path: str, url: str, silent: bool, resume: bool = False) -> Any:
        from kaggle.api.kaggle_api_extended import ResumableUploadResult

        with session.plain() as http, Path(path).open("rb") as file:
            answer = http.put(url, data=file, timeout=session.timeout)
        if answer.status_code not in (200, 201):
            raise Unavailable(f"Kaggle's storage did not take {Path(path).name} ({answer.status_code}). Run it again.")
        return ResumableUploadResult.COMPLETE

    api.upload_files, api.upload_complete = upload_files, upload_complete
    try:
        yield
    finally:
        del api.upload_files, api.upload_complete
