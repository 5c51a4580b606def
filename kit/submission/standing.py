"""Where a score stands on the leaderboard, and what a better one would be worth. Knows no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.core.tables import Shown
from kit.remote import Place, Remote

if TYPE_CHECKING:
    from kit.remote import Limits

STEPS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005)
"""Improvements of the score whose worth is told."""


@dataclass(frozen=True)
class Step:
    """What one improvement is worth."""

    change: float
    score: float
    rank: int


@dataclass(frozen=True)
class Standing(Shown):
    """This user's place on the leaderboard."""

    teams: int
    team: str
    rank: int | None
    """None before the first score."""
    score: float | None
    best: float | None
    """Of the whole leaderboard."""
    lower_is_better: bool
    steps: list[Step]
    expected: Step | None
    """Where the score that a blend expects would stand."""
    allowed_now: int
    today: int


def standing(remote: Remote, *, expected: float | None = None) -> Standing:
    """Ask for the leaderboard and this user's submissions, and work out where they stand.

    Args:
        expected: a score that has not been sent.
    """
    limits: Limits = remote.limits()
    board = remote.leaderboard()
    sent = remote.submissions()
    lower = len(board) < 2 or board[0].score <= board[-1].score
    team = next((one.team for one in sent if one.team), "")
    scores = [one.public_score for one in sent if one.public_score is not None]
    own = next((place.score for place in board if team and place.team == team), None)
    if own is None and scores:
        own = min(scores) if lower else max(scores)
    others = [place.score for place in board if not team or place.team != team]
    sign = -1 if lower else 1
    base = own if own is not None else expected
    steps = [] if base is None else [step_to(others, base + sign * change, change, lower) for change in STEPS]
    return Standing(
        teams=len(board),
        team=team,
        rank=None if own is None else _rank(board, team, own, lower),
        score=own,
        best=board[0].score if board else None,
        lower_is_better=lower,
        steps=steps,
        expected=None if expected is None else step_to(others, expected, 0.0, lower),
        allowed_now=limits.allowed_now,
        today=limits.today,
    )


def step_to(others: Sequence[float], score: float, change: float, lower: bool) -> Step:
    """Return the rank that a score would have among those of the other teams; an equal one is ahead, being older."""
    ahead = sum(other <= score if lower else other >= score for other in others)
    return Step(change, score, ahead + 1)


def _rank(board: Sequence[Place], team: str, score: float, lower: bool) -> int:
    for rank, place in enumerate(board, 1):
        if team and place.team == team:
            return rank
    return step_to([place.score for place in board], score, 0.0, lower).rank
