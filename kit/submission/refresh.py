"""What became of submissions: scores, places, and whether one whose answer was lost has arrived. Sends nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kit.data.project import Project
from kit.errors import CredentialsError, KitError, RemoteError, RemoteUnavailable
from kit.submission.ledger import LedgerRow, drop_from_ledger, read_ledger, update_ledger

if TYPE_CHECKING:
    from kit.remote import Remote, RemoteSubmission

UNCLEAR = ("sending", "unknown")
"""States of a row that may have arrived: its process was killed, or the answer was lost."""

_LONGEST_SENDING = timedelta(hours=6)  # a submission that is not there by then was never made


def scored(row: LedgerRow, found: RemoteSubmission, rank: int | None) -> LedgerRow:
    """Return the row with what the service says now; what it hides is kept as it was noted."""
    is_new = found.status == "complete" and row.status != "complete"
    return dataclasses.replace(
        row,
        status=found.status,
        public_score=row.public_score if found.public_score is None else found.public_score,
        private_score=row.private_score if found.private_score is None else found.private_score,
        rank=rank if is_new and not row.late else row.rank,
    )


def rank_now(remote: Remote) -> int | None:
    """Return this user's place on the leaderboard, None where it cannot be told."""
    try:
        return remote.competition().rank
    except KitError:  # the score has come, and that is what was waited for
        return None


@dataclass(frozen=True)
class Refreshed:
    """The ledger after the service was asked."""

    rows: list[LedgerRow]
    notes: list[str]
    """What could not be found out of single submissions."""
    trouble: KitError | None = None
    """Why the service could not be asked any further."""


def refresh(project: Project, *, again: bool = False) -> Refreshed:
    """Ask for what the ledger does not know yet, and note it; a row that fails leaves the others their answers.

    Args:
        again: ask for those that are complete too, for private scores come after the deadline.
    """
    from kit.remote import Remote

    rows = read_ledger(project.workspace)
    states = ("pending", "complete") if again else ("pending",)
    asked = [row for row in rows if row.status in states and row.ref.isdecimal()]
    unclear = [row for row in rows if row.status in UNCLEAR]
    notes: list[str] = []
    trouble = None
    if asked or unclear:
        remote = Remote(project.workspace.slug)
        try:
            notes += clear_up(project, remote, unclear)
            rank = rank_now(remote) if any(row.status == "pending" for row in asked) else None
            for row in asked:
                try:
                    found = remote.submission(int(row.ref))
                except (CredentialsError, RemoteUnavailable):
                    raise
                except KitError as error:
                    notes.append(str(error) if row.ref in str(error) else f"Submission {row.ref}: {error}")
                else:
                    update_ledger(project.workspace, scored(row, found, rank))
        except RemoteError as error:  # no use asking for the others
            trouble = error
    return Refreshed(read_ledger(project.workspace), notes, trouble)


def clear_up(project: Project, remote: Remote, rows: Sequence[LedgerRow]) -> list[str]:
    """Find out which of these arrived: their process was killed, or the answer was lost."""
    notes = []
    for row in rows:
        ref = remote.tagged(row.tag) if row.tag else 0
        if ref:
            update_ledger(project.workspace, dataclasses.replace(row, ref=str(ref), status="pending"))
            notes.append(f"{row.file}, sent on {row.when}, has arrived: it is submission {ref}.")
        elif datetime.now(UTC) - datetime.fromisoformat(row.when) > _LONGEST_SENDING:
            drop_from_ledger(project.workspace, row)
            notes.append(f"{row.file}, begun on {row.when}, has not arrived: nothing was submitted.")
        else:
            notes.append(f"{row.file}, begun on {row.when}, is being sent, or has not arrived yet.")
    return notes
