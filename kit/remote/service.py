"""`Remote`: one competition on Kaggle, seen by one user. Knows no file's content."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from kit.errors import RemoteUnavailable, SubmissionError
from kit.remote import download, queries, submit
from kit.remote.session import Session, Unavailable
from kit.remote.values import CompetitionInfo, Limits, Place, RemoteSubmission, slug_of

Report = Callable[[int, int], None]  # (bytes done, bytes in all)

_FIRST_POLL, _LAST_POLL, _POLL_GROWTH = 5.0, 60.0, 1.5  # seconds


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

    def competition(self) -> CompetitionInfo:
        """Ask for the competition: the cheapest check of credentials, name and membership."""
        return queries.competition(self._session)

    def download(self, folder: Path, *, progress: Report | None = None) -> Path:
        """Return the competition's archive `<slug>.zip` in `folder`, complete and compared with its checksums.

        One that is there and whole is not downloaded again; one that was cut is resumed, by a later process too.

        Raises:
            ArchiveError: no room, or what the service holds is no whole zip.
            RemoteError: or the member of its tree that says what was wrong.
        """
        return download.download(self._session, folder, progress)

    def limits(self) -> Limits:
        """Return the submissions made and left today."""
        return queries.limits(self._session)

    def preflight(self) -> tuple[CompetitionInfo, Limits]:
        """Return the competition and what is left of the day, if a submission would be taken now.

        Raises:
            RulesNotAccepted: this user has not joined.
            SubmissionError: it takes no files, or none any more.
            QuotaReached: no submission left today.
            RemoteError: or the member of its tree that says what was wrong.
        """
        return submit.check_competition(self._session)

    def leaderboard(self) -> list[Place]:
        """Return the leaderboard, the best first."""
        return queries.leaderboard(self._session)

    def tagged(self, tag: str) -> int:
        """Return the ref of the submission with this tag in its description, 0 if there is none."""
        return submit.tagged(self._session, tag)

    def submissions(self) -> list[RemoteSubmission]:
        """Return every submission of this user, newest first."""
        return list(queries.each_submission(self._session))

    def submit(self, csv: Path, message: str, *, tag: str | None = None, progress: Report | None = None) -> int:
        """Submit `csv` and return the submission's ref. Never submits twice, whatever happens to the answer.

        Args:
            tag: goes into the description, and finds the submission again; see `new_tag`.

        Raises:
            SubmissionError: the file or the competition cannot be submitted (to).
            QuotaReached: no submission left today; nothing was uploaded.
            AnswerLost: it may have arrived, and may not.
            RemoteUnavailable: nothing was submitted.
        """
        return submit.submit(self._session, csv, message, tag or submit.new_tag(), progress)

    def submission(self, ref: int) -> RemoteSubmission:
        """Return one submission."""
        return queries.submission(self._session, ref)

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
                    f"No score for submission {ref} within {deadline:g} s: {state}. "
                    f"See {queries.submissions_page(self.slug)}"
                )
            session.sleep(min(pause, left))
            pause = min(pause * _POLL_GROWTH, _LAST_POLL)

    def _look(self, ref: int) -> tuple[RemoteSubmission | None, str]:
        # a service that is away for a while is no reason to stop waiting
        try:
            return self.submission(ref), ""
        except Unavailable as error:
            return None, str(error)
