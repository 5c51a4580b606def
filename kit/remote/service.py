"""`Remote`: one competition on Kaggle, seen by one user. Knows no file's content."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kit.errors import RemoteUnavailable, SubmissionError
from kit.remote import download, submit
from kit.remote.session import Session, Unavailable
from kit.remote.values import (
    CompetitionInfo,
    Limits,
    RemoteSubmission,
    competition_from,
    limits_from,
    slug_of,
    submission_from,
)

Report = Callable[[int, int], None]  # (bytes done, bytes in all)

_FIRST_POLL, _LAST_POLL, _POLL_GROWTH = 5.0, 60.0, 1.5  # seconds
_PAGE = 100
_MOST_PAGES = 1000  # a service that never ends its list is not followed for ever


class Remote:
    """The service for one competition, named by its slug or its address.

    `timeout` bounds every connection and every silence, in seconds.
    `sleep` and `clock` are the time of retries and polls.
    """

    def __init__(
        self,
        slug: str,
        *,
        timeout: float = 30.0,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slug = slug_of(slug)
        self._session = Session(self.slug, timeout=timeout, sleep=sleep, clock=clock)

    @property
    def submissions_page(self) -> str:
        """The address at which a person sees the submissions."""
        return f"https://www.kaggle.com/competitions/{self.slug}/submissions"

    def competition(self) -> CompetitionInfo:
        """What the service says of the competition: the cheapest check of credentials, name and membership."""
        answer = self._session.read("get_competition", competition_name=self.slug)
        with self._session.in_our_words():
            return competition_from(answer, self.slug)

    def download(self, folder: Path, *, progress: Report | None = None) -> Path:
        """The competition's archive `<slug>.zip` in `folder`, complete and compared with its checksums.

        One that is there and whole is not downloaded again; one that was cut is resumed, by a later process too.

        Raises:
            ArchiveError: no room, or what the service holds is no whole zip.
            RemoteError: or the member of its tree that says what was wrong.
        """
        return download.download(self._session, folder, progress)

    def limits(self) -> Limits:
        """Submissions made and left today."""
        answer = self._session.read("get_submission_limits", competition_name=self.slug)
        with self._session.in_our_words():
            return limits_from(answer)

    def submissions(self) -> list[RemoteSubmission]:
        """Every submission of this user, newest first."""
        return list(self.each_submission())

    def each_submission(self) -> Iterator[RemoteSubmission]:
        """`submissions`, page by page, for a reader that may stop early."""
        token, seen = "", set()
        for _ in range(_MOST_PAGES):
            fields = {"page_token": token} if token else {}
            answer = self._session.read("list_submissions", competition_name=self.slug, page_size=_PAGE, **fields)
            with self._session.in_our_words():
                page = [submission_from(item) for item in answer.submissions]
            yield from page
            seen.add(token)
            token = answer.next_page_token  # an empty page is not the last one, an empty token is
            if not token or token in seen:
                return

    def submit(self, csv: Path, message: str, *, progress: Report | None = None) -> int:
        """Submit `csv` and return the submission's ref. Never submits twice, whatever happens to the answer.

        Raises:
            SubmissionError: the file or the competition cannot be submitted (to).
            QuotaReached: no submission left today; nothing was uploaded.
            RemoteUnavailable: nothing was submitted, or the message says what to look for.
        """
        return submit.submit(self, self._session, csv, message, progress)

    def submission(self, ref: int) -> RemoteSubmission:
        """One submission."""
        answer = self._session.read("get_submission", ref=ref)
        with self._session.in_our_words():
            return submission_from(answer)

    def wait(
        self, ref: int, *, deadline: float, poll: Callable[[RemoteSubmission], object] | None = None
    ) -> RemoteSubmission:
        """Wait up to `deadline` seconds until submission `ref` has been scored; `poll` sees each answer.

        Raises:
            SubmissionError: the service could not score it, with its own reason.
            RemoteUnavailable: it was still pending at the deadline.
        """
        session = self._session
        end, pause = session.clock() + deadline, _FIRST_POLL
        while True:
            found, trouble = self._look(ref)
            if found is not None:
                if poll is not None:
                    poll(found)
                if found.status == "complete":
                    return found
                if found.status == "error":
                    reason = found.error or "no reason given"
                    raise SubmissionError(f"Kaggle could not score {found.file_name or ref}: {reason}")
            left = end - session.clock()
            if left <= 0:
                state = trouble or "it is still pending"
                raise RemoteUnavailable(
                    f"No score for submission {ref} within {deadline:g} s: {state}. See {self.submissions_page}"
                )
            session.sleep(min(pause, left))
            pause = min(pause * _POLL_GROWTH, _LAST_POLL)

    def _look(self, ref: int) -> tuple[RemoteSubmission | None, str]:
        # a service that is away for a while is no reason to stop waiting
        try:
            return self.submission(ref), ""
        except Unavailable as error:
            return None, str(error)
