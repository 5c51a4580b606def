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
    public_score: float | None = None
    message: str = ""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, str):  # one line a submission, so that git shows which one changed
                object.__setattr__(self, name, re.sub(r"[\r\n]+", " ", value))


_LEDGER = [field.name for field in fields(LedgerRow)]
_LEDGER_NUMBERS = {"cv", "cv_low", "cv_high", "public_score"}
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
    if table.fieldnames != _LEDGER:
        found = ",".join(table.fieldnames or [])
        raise TableError(f"{path} has the columns {found!r}, expected {','.join(_LEDGER)!r}. {mend}")
    rows = []
    for cells in table:
        if None in cells or None in cells.values():
            raise TableError(f"{path}, line {table.line_num}: expected {len(_LEDGER)} cells. {mend}")
        rows.append(LedgerRow(**{name: _cell(path, table.line_num, name, text) for name, text in cells.items()}))
    return rows


def _cell(path: Path, line: int, name: str, text: str):  # type: ignore[no-untyped-def]  # a str, a float or None
    if name not in _LEDGER_NUMBERS:
        return text
    try:
        return float(text) if text else None
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


@contextlib.contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    """Keep other processes from rewriting the ledger between our reading and our writing."""
    with locked(workspace.ledger, wait=_LONGEST_WAIT) as is_ours:
        if not is_ours:
            raise StoreError(f"Another process is writing {workspace.ledger}. Wait for it, then run: kit submissions")
        yield


def _write_ledger(workspace: Workspace, rows: list[LedgerRow]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _LEDGER, lineterminator="\n")
    table.writeheader()
    for row in rows:
        # repr keeps every digit of a float, so that reading gives the same row
        table.writerow({name: "" if value is None else value for name, value in asdict(row).items()})
    sweep(workspace.submissions)
    write_text(workspace.ledger, text.getvalue())
