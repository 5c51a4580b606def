"""`submissions/ledger.csv`: what was sent, and what it scored. One row a submission, rewritten whole."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from kit.core.speech import say_once
from kit.core.storage import locked, sweep, write_text
from kit.core.workspace import Workspace
from kit.errors import KitError, StoreError, TableError


@dataclass(frozen=True)
class LedgerRow:
    """One submission in `submissions/ledger.csv`."""

    when: str
    """UTC, ISO 8601; see `now`."""
    competition: str
    file: str
    """Name in `submissions/`, or the path that was given."""
    digest: str
    what: str
    """blend, source or csv."""
    cv: float | None = None
    """RMSE over the OOF predictions, None when not known; `cv_low` and `cv_high` are its 95 % interval."""
    cv_low: float | None = None
    cv_high: float | None = None
    ref: str = ""
    """The service's number of the submission."""
    status: str = ""
    """`sending`, `unknown` (it may have arrived), `pending`, `complete` or `error`."""
    public_score: float | None = None
    message: str = ""
    private_score: float | None = None
    rank: int | None = None
    """This user's place on the leaderboard when the score came."""
    late: bool | None = None
    """Whether it was sent after the deadline; None when not known."""
    commit: str = ""
    """Git commit of the workspace's folder, with a + where something was not committed."""
    versions: str = ""
    tag: str = ""
    """The word in the description by which the submission is found again."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, str):  # one line a submission, so that git shows which one changed
                object.__setattr__(self, name, re.sub(r"[\r\n]+", " ", value))


_LEDGER = [field.name for field in fields(LedgerRow)]
_BEFORE = _LEDGER[: _LEDGER.index("private_score")]  # the columns of earlier versions
_NUMBERS = {"cv", "cv_low", "cv_high", "public_score", "private_score"}
_LONGEST_WAIT = 30.0  # seconds for another process that writes its row


def now() -> str:
    """Return the current time as the ledger writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_ledger(workspace: Workspace) -> list[LedgerRow]:
    """Return all submissions noted so far, oldest first; none when there is no ledger.

    Raises:
        TableError: columns or numbers that `append_ledger` would not have written.
    """
    path = workspace.ledger
    mend = "Mend it, or move it away to start a new one."
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not UTF-8 ({error}). {mend}") from None
    table = csv.DictReader(io.StringIO(text, newline=""))
    if table.fieldnames not in (_LEDGER, _BEFORE):
        found = ",".join(table.fieldnames or [])
        raise TableError(
            f"{path} has the columns {found!r}, not the {len(_LEDGER)} from {_LEDGER[0]} to {_LEDGER[-1]}. {mend}"
        )
    rows = []
    for cells in table:
        if None in cells or None in cells.values():
            raise TableError(f"{path}, line {table.line_num}: expected {len(table.fieldnames or [])} cells. {mend}")
        rows.append(LedgerRow(**{name: _cell(path, table.line_num, name, text) for name, text in cells.items()}))
    return rows


def _cell(path: Path, line: int, name: str, text: str):  # type: ignore[no-untyped-def]  # the type is the column's
    try:
        if name in _NUMBERS:
            return float(text) if text else None
        if name == "rank":
            return int(text) if text else None
        if name == "late":
            return {"": None, "yes": True, "no": False}[text]
        return text
    except KeyError:
        raise TableError(f"{path}, line {line}: {name} is {text!r}, not yes or no. Mend it.") from None
    except ValueError:
        raise TableError(f"{path}, line {line}: {name} is {text!r}, not a number. Mend it.") from None


def append_ledger(workspace: Workspace, row: LedgerRow) -> None:
    """Add one row; the file is written whole, so a kill leaves the old one or the new one."""
    with _locked(workspace):
        _write_ledger(workspace, [*read_ledger(workspace), row])


def update_ledger(workspace: Workspace, row: LedgerRow) -> None:
    """Replace the row of the same time, file and digest, as when its score arrives.

    Raises:
        KitError: there is no such row.
    """
    with _locked(workspace):
        rows = read_ledger(workspace)
        key = (row.when, row.file, row.digest)
        places = [place for place, old in enumerate(rows) if (old.when, old.file, old.digest) == key]
        if not places:
            raise KitError(
                f"{workspace.ledger} has no row of {row.file} at {row.when}. Was it changed by hand? See git diff."
            )
        rows[places[-1]] = row
        _write_ledger(workspace, rows)


def drop_from_ledger(workspace: Workspace, row: LedgerRow) -> None:
    """Take the row of the same time, file and digest out again: nothing was sent."""
    with _locked(workspace):
        key = (row.when, row.file, row.digest)
        rows = [old for old in read_ledger(workspace) if (old.when, old.file, old.digest) != key]
        if rows:
            _write_ledger(workspace, rows)
        else:
            workspace.ledger.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    """Keep other processes from rewriting the ledger between our reading and our writing."""
    with locked(workspace.ledger, wait=_LONGEST_WAIT) as is_ours:
        if not is_ours:
            raise StoreError(f"Another process is writing {workspace.ledger}. Wait for it, then run: kit submissions")
        yield


def _write_ledger(workspace: Workspace, rows: list[LedgerRow]) -> None:
    _say_conversion(workspace.ledger)
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _LEDGER, lineterminator="\n")
    table.writeheader()
    for row in rows:
        # repr keeps every digit of a float, so that reading gives the same row
        table.writerow({name: _text(value) for name, value in asdict(row).items()})
    sweep(workspace.submissions)
    write_text(workspace.ledger, text.getvalue())


def _text(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value


def _say_conversion(path: Path) -> None:
    """Say that a ledger of an earlier version gets more columns; none of its cells changes."""
    with contextlib.suppress(OSError, UnicodeDecodeError), path.open(encoding="utf-8") as file:
        if file.readline().strip().split(",") == _BEFORE:
            more = ", ".join(_LEDGER[len(_BEFORE) :])
            say_once(f"{path} is of an earlier version of kit: it gets the columns {more}, empty where not known.")
