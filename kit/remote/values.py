"""The slug of a competition, and the values that the service gives back. Knows no network."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from kit.errors import UsageError

if TYPE_CHECKING:  # the client dials while it is imported
    from kagglesdk.competitions.types.competition_api_service import (
        ApiCompetition,
        ApiLeaderboardSubmission,
        ApiSubmission,
        ApiSubmissionLimits,
    )

Status = Literal["pending", "complete", "error"]

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_BEFORE_SLUG = ("competitions", "c")


def slug_of(text: str) -> str:
    """Return the slug in `text`: a slug, or any address of the competition at kaggle.com.

    Raises:
        UsageError: it is neither.
    """
    cleaned = text.strip().strip("\"'<>")
    if "/" not in cleaned:
        slug = cleaned.lower()
    else:
        address = urlsplit(cleaned if "//" in cleaned else f"https://{cleaned.lstrip('/')}")
        parts = [unquote(part) for part in address.path.split("/") if part]
        host = (address.hostname or "").lower()
        if host in _BEFORE_SLUG:  # "competitions/<slug>", as the service itself writes it now and then
            parts, host = [host, *parts], "kaggle.com"
        known = host == "kaggle.com" or host.endswith(".kaggle.com")
        slug = parts[1].lower() if known and len(parts) > 1 and parts[0] in _BEFORE_SLUG else ""
    if not _SLUG.fullmatch(slug):
        raise UsageError(
            f"{text!r} names no competition. Give its slug or address, such as photo-reconstruction or "
            "https://www.kaggle.com/competitions/photo-reconstruction"
        )
    return slug


@dataclass(frozen=True)
class CompetitionInfo:
    """One competition, as the service describes it to this user. Times are UTC."""

    slug: str
    title: str
    url: str
    metric: str
    max_daily_submissions: int
    entered: bool
    submissions_disabled: bool
    code_only: bool
    deadline: datetime | None
    rank: int | None = None
    """This user's place on the leaderboard, None without one."""

    @property
    def is_over(self) -> bool:
        """Return whether the deadline has passed: what is sent now is late, and gets no place."""
        return self.deadline is not None and self.deadline < datetime.now(UTC)


@dataclass(frozen=True)
class Limits:
    """Submissions made today (the day is UTC) and in all, and how many more are allowed now."""

    today: int
    total: int
    allowed_now: int


@dataclass(frozen=True)
class RemoteSubmission:
    """One submission on the service. Scores are `None` while hidden or not there; `error` says why it failed."""

    ref: int
    date: datetime | None
    description: str
    file_name: str
    status: Status
    public_score: float | None
    private_score: float | None
    error: str
    url: str
    team: str = ""


@dataclass(frozen=True)
class Place:
    """One line of the leaderboard, the best first."""

    team: str
    score: float


def competition_from(answer: ApiCompetition, slug: str) -> CompetitionInfo:
    """Return the value for the client's answer on a competition."""
    return CompetitionInfo(
        slug=slug,
        title=answer.title or slug,
        url=answer.url or f"https://www.kaggle.com/competitions/{slug}",
        metric=answer.evaluation_metric or "",
        max_daily_submissions=int(answer.max_daily_submissions or 0),
        entered=bool(answer.user_has_entered),
        submissions_disabled=bool(answer.submissions_disabled),
        code_only=bool(answer.is_kernels_submissions_only),
        deadline=_utc(answer.deadline),
        rank=int(answer.user_rank or 0) or None,
    )


def limits_from(answer: ApiSubmissionLimits) -> Limits:
    """Return the value for the client's answer on limits."""
    return Limits(int(answer.num_today or 0), int(answer.num_total or 0), int(answer.num_allowed_now or 0))


def submission_from(answer: ApiSubmission) -> RemoteSubmission:
    """Return the value for one submission in the client's answer."""
    status: Status = {"COMPLETE": "complete", "ERROR": "error"}.get(answer.status.name, "pending")  # type: ignore[assignment]
    return RemoteSubmission(
        ref=int(answer.ref),
        date=_utc(answer.date),
        description=answer.description or "",
        file_name=answer.file_name or "",
        status=status,
        public_score=_score(answer.public_score),
        private_score=_score(answer.private_score),
        error=answer.error_description or "",
        url=answer.url or "",
        team=answer.team_name or "",
    )


def place_from(answer: ApiLeaderboardSubmission) -> Place | None:
    """Return the value for one line in the client's answer; None for a line without a score."""
    score = _score(answer.score)
    return None if score is None else Place(answer.team_name or "", score)


def _utc(time: datetime | None) -> datetime | None:
    # the client gives naive times that mean UTC
    return None if time is None else time.replace(tzinfo=UTC)


def _score(text: object) -> float | None:
    # scores travel as strings, "" for none
    try:
        score = float(str(text))
    except ValueError:
        return None
    return score if math.isfinite(score) else None
