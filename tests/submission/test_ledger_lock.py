"""Two processes that note submissions at one moment lose no row."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from kit.core.storage import locked
from kit.core.workspace import Workspace
from kit.errors import StoreError
from kit.submission import ledger
from kit.submission.ledger import LedgerRow, append_ledger, read_ledger

ROWS = 25


def row(what: str) -> LedgerRow:
    return LedgerRow(when="2023-04-01T00:00:00+00:00", competition="c", file=what, digest=what, what="csv")


def test_two_processes_that_write_at_one_moment_lose_no_row(tmp_path: Path) -> None:
    code = """
        import sys
        from dataclasses import replace
        from pathlib import Path
        from kit.core.workspace import Workspace
        from kit.submission.ledger import LedgerRow, append_ledger, update_ledger
        workspace = Workspace(Path(sys.argv[1]))
        for number in range(int(sys.argv[3])):
            name = f"{sys.argv[2]}-{number}"
            row = LedgerRow(when="2023-04-01T00:00:00+00:00", competition="c", file=name, digest=name, what="csv")
            append_ledger(workspace, row)
            update_ledger(workspace, replace(row, status="complete"))
        """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    writers = [subprocess.Popen([*command, name, str(ROWS)]) for name in ("first", "second")]
    assert [writer.wait() for writer in writers] == [0, 0]
    rows = read_ledger(Workspace(tmp_path))
    assert {one.file for one in rows} == {f"{name}-{number}" for name in ("first", "second") for number in range(ROWS)}
    assert len(rows) == 2 * ROWS and all(one.status == "complete" for one in rows)


def test_a_ledger_that_stays_locked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_LONGEST_WAIT", 0.1)
    workspace = Workspace(tmp_path)
    with locked(workspace.ledger), pytest.raises(StoreError, match=r"Another process is writing .* kit submissions"):
        append_ledger(workspace, row("a"))
    append_ledger(workspace, row("a"))
    assert [one.file for one in read_ledger(workspace)] == ["a"]
