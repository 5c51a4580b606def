"""One file submitted exactly once. Knows nothing of what is in it.

Why not the client's own `competition_submit`: its upload has no timeout and reports a failure as a success, and it
cannot say whether a submission whose answer was lost has been made. Here a tag in the description finds it again.
"""

from __future__ import annotations

import io
import itertools
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import (
    CredentialsError,
    KitError,
    NotFound,
    QuotaReached,
    RemoteError,
    RemoteUnavailable,
    RulesNotAccepted,
    SubmissionError,
)
from kit.remote import queries
from kit.remote.session import PAUSES, RefusalError, Session, Unavailable
from kit.remote.values import CompetitionInfo, Limits

if TYPE_CHECKING:
    import requests

Report = Callable[[int, int], None]

_LOOKS = (2.0, 5.0, 10.0, 20.0)  # seconds before each look for a submission whose answer was lost
_NEWEST = 200  # submissions among which it must be
_LONGEST_MESSAGE = 400


class AnswerLost(RemoteUnavailable):
    """It is not known whether a submission arrived."""


def new_tag() -> str:
    """Return a word that no other submission has in its description."""
    return f"[kit-{uuid.uuid4().hex[:12]}]"


def submit(session: Session, csv: Path, message: str, tag: str, progress: Report | None) -> int:
    """Submit a file as `Remote.submit` promises."""
    _check_file(csv)
    check_competition(session)
    token = session.patiently(lambda: _upload(session, csv, progress))
    return _create(session, token, f"{message[:_LONGEST_MESSAGE]} {tag}".strip(), tag)


def _check_file(csv: Path) -> None:
    if not csv.is_file():
        raise SubmissionError(f"{csv} is not a file. Run: kit blend, then kit upload")
    if csv.stat().st_size == 0:
        raise SubmissionError(f"{csv} is empty. Run: kit blend, then kit upload")


def check_competition(session: Session) -> tuple[CompetitionInfo, Limits]:
    """Return the competition and its limits as `Remote.preflight` promises."""
    info = queries.competition(session)
    if not info.entered:
        raise RulesNotAccepted(
            f"You have not joined {session.slug}. Join it and accept the rules, which is possible only at "
            f"https://www.kaggle.com/competitions/{session.slug}/rules ; then run the same command again."
        )
    if info.code_only:
        raise SubmissionError(f"{session.slug} takes notebooks only, no files. Submit a notebook at {info.url}")
    if info.submissions_disabled:
        raise SubmissionError(f"{session.slug} takes no submissions any more. See {info.url}")
    return info, _check_quota(session)


def _check_quota(session: Session) -> Limits:
    limits = queries.limits(session)
    if limits.allowed_now <= 0:
        now = datetime.now(UTC)
        left = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0) - now
        hours, minutes = divmod(int(left.total_seconds()) // 60, 60)
        raise QuotaReached(
            f"No submission to {session.slug} is left: {limits.today} today, {limits.total} in all. "
            f"Kaggle's day ends at 00:00 UTC, in {hours} h {minutes:02d} min; then run the same command again."
        )
    return limits


class _Reporting(io.FileIO):
    """A file that says how far it has been read. `requests` streams it and takes its length from the descriptor."""

    report: Report | None = None
    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        if self.report is not None and data:
            self.report(self.tell(), self.total)
        return data or b""


def _upload(session: Session, csv: Path, progress: Report | None) -> str:
    """Store the bytes and return their token. A fresh address each time: the old one may hold half a file."""
    status = csv.stat()
    slot = session.ask(
        "start_submission_upload",
        competition_name=session.slug,
        content_length=status.st_size,
        last_modified_epoch_seconds=int(status.st_mtime),
        file_name=csv.name,
    )
    if not slot.create_url or not slot.token:
        raise RemoteError(f"Kaggle gave no address to upload {csv} to. Run the same command again later.")
    with session.in_our_words(), session.plain() as http, _Reporting(csv, "rb") as file:
        file.report, file.total = progress, status.st_size
        answer = http.put(slot.create_url, data=file, timeout=session.timeout)
    _check_stored(answer, csv)
    token: str = slot.token
    return token


def _check_stored(answer: requests.Response, csv: Path) -> None:
    if answer.status_code in (200, 201):
        return
    what = f"Kaggle's storage did not take {csv.name} ({answer.status_code})"
    if answer.status_code in (400, 411, 413, 415):
        raise SubmissionError(f"{what}. Nothing was submitted. A file that is too large may pass as .zip.")
    raise Unavailable(f"{what}. Nothing was submitted: run the same command again later.")  # 403: the address expired


def _create(session: Session, token: str, description: str, tag: str) -> int:
    """Turn the stored bytes into a submission. Sent again only where the service said that it did nothing."""
    for pause in (*PAUSES, None):
        try:
            answer = session.ask(
                "create_submission",
                competition_name=session.slug,
                blob_file_tokens=token,
                submission_description=description,
            )
        except Unavailable as error:
            if not error.refused:
                return _find(session, tag, str(error))
            if pause is None:
                raise
            session.sleep(max(pause, error.retry_after))
            if ref := tagged(session, tag):
                return ref
            continue
        except RefusalError as error:
            _check_quota(session)  # the usual reason: someone of the team was faster
            raise SubmissionError(f"{error} Nothing was submitted.") from error
        except (CredentialsError, RulesNotAccepted, NotFound):
            raise
        except RemoteError as error:  # an answer that could not be read may have been a yes
            return _find(session, tag, str(error))
        return answer.ref if answer.ref > 0 else _find(session, tag, f"Kaggle said {answer.message!r}")
    raise AssertionError("the last attempt returns or raises")


def _find(session: Session, tag: str, trouble: str) -> int:
    """The ref of a submission that may or may not have been made. It is never sent again: a double cannot be undone."""
    for pause in _LOOKS:
        session.sleep(pause)
        try:
            if ref := tagged(session, tag):
                return ref
        except KitError as error:
            trouble = str(error)
    raise AnswerLost(
        f"It is not known whether the submission arrived ({trouble}). Look for {tag} at "
        f"{queries.submissions_page(session.slug)}; only if it is not there, run the same command again."
    )


def tagged(session: Session, tag: str) -> int:
    """Return the ref as `Remote.tagged` promises."""
    newest = itertools.islice(queries.each_submission(session), _NEWEST)
    return next((submission.ref for submission in newest if tag in submission.description), 0)
