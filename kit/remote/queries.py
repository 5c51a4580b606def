"""Questions to the service that change nothing: the competition, its limits, submissions. Knows no file's content."""

from __future__ import annotations

from collections.abc import Iterator

from kit.remote.session import Session
from kit.remote.values import (
    CompetitionInfo,
    Limits,
    RemoteSubmission,
    competition_from,
    limits_from,
    submission_from,
)

_PAGE = 100
_MOST_PAGES = 1000  # a service that never ends its list is not followed for ever


def submissions_page(slug: str) -> str:
    """Return the address at which a person sees the submissions."""
    return f"https://www.kaggle.com/competitions/{slug}/submissions"


def competition(session: Session) -> CompetitionInfo:
    """Return what the service says of the competition."""
    answer = session.read("get_competition", competition_name=session.slug)
    with session.in_our_words():
        return competition_from(answer, session.slug)


def limits(session: Session) -> Limits:
    """Return the submissions made and left today."""
    answer = session.read("get_submission_limits", competition_name=session.slug)
    with session.in_our_words():
        return limits_from(answer)


def each_submission(session: Session) -> Iterator[RemoteSubmission]:
    """Yield this user's submissions, newest first, page by page, for a reader that may stop early."""
    token, seen = "", set()
    for _ in range(_MOST_PAGES):
        fields = {"page_token": token} if token else {}
        answer = session.read("list_submissions", competition_name=session.slug, page_size=_PAGE, **fields)
        with session.in_our_words():
            page = [submission_from(item) for item in answer.submissions]
        yield from page
        seen.add(token)
        token = answer.next_page_token  # an empty page is not the last one, an empty token is
        if not token or token in seen:
            return


def submission(session: Session, ref: int) -> RemoteSubmission:
    """Return one submission."""
    answer = session.read("get_submission", ref=ref)
    with session.in_our_words():
        return submission_from(answer)
