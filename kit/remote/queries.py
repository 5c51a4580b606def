"""Questions to the service that change nothing: the competition, its limits, submissions. Knows no file's content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from kit.errors import NotFound
from kit.remote.session import Session
from kit.remote.values import (
    CompetitionInfo,
    Limits,
    Place,
    RemoteSubmission,
    competition_from,
    limits_from,
    place_from,
    submission_from,
)

T = TypeVar("T")

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
    return _each(session, "list_submissions", submission_from)


def leaderboard(session: Session) -> list[Place]:
    """Return the leaderboard, the best first: the private one where it can be seen, else the public one."""
    return [place for place in _each(session, "get_leaderboard", place_from) if place is not None]


def _each(session: Session, method: str, value_of: Callable[[Any], T]) -> Iterator[T]:
    """Yield the values of a list, page by page."""
    token, seen = "", set()
    for _ in range(_MOST_PAGES):
        fields = {"page_token": token} if token else {}
        answer = session.read(method, competition_name=session.slug, page_size=_PAGE, **fields)
        with session.in_our_words():
            page = [value_of(item) for item in answer.submissions]
        yield from page
        seen.add(token)
        token = answer.next_page_token  # an empty page is not the last one, an empty token is
        if not token or token in seen:
            return


def submission(session: Session, ref: int) -> RemoteSubmission:
    """Return one submission.

    Raises:
        NotFound: it is not this account's.
    """
    try:
        answer = session.read("get_submission", ref=ref)
    except NotFound:
        raise NotFound(
            f"Kaggle shows this account no submission {ref}: another account sent it, or it is gone."
        ) from None
    with session.in_our_words():
        return submission_from(answer)
