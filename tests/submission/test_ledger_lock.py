"""Two processes that note submissions at one moment lose no row."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from kit.core.storage import locked
from kit.core.workspace import Workspace
from kit.errors import StoreError, TableError
from kit.submission import ledger
from kit.submission.circumstances import commit_of
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


def test_a_ledger_of_an_earlier_version_is_read_and_converted_in_one_line(tmp_path: Path, capsys) -> None:
    workspace = Workspace(tmp_path)
    workspace.submissions.mkdir()
    old = (
        "when,competition,file,digest,what,cv,cv_low,cv_high,ref,status,public_score,message\n"
        "2024-05-01T12:00:00+00:00,c,a.csv,0123,blend a,0.125,0.1,0.2,77,complete,0.1311,hello\n"
    )
    workspace.ledger.write_text(old)
    (found,) = read_ledger(workspace)
    assert (found.ref, found.public_score, found.private_score, found.late) == ("77", 0.1311, None, None)
    assert workspace.ledger.read_text() == old and capsys.readouterr().err == ""
    append_ledger(workspace, replace(row("b"), private_score=0.5, rank=3, late=True))
    append_ledger(workspace, row("d"))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "gets the columns private_score, rank, late" in said
    first, second, _ = read_ledger(workspace)
    assert first == found and (second.private_score, second.rank, second.late) == (0.5, 3, True)


@pytest.mark.parametrize(("column", "wrong"), [("rank", "first"), ("late", "perhaps"), ("private_score", "high")])
def test_a_cell_that_cannot_be_is_named(tmp_path: Path, column: str, wrong: str) -> None:
    workspace = Workspace(tmp_path)
    workspace.submissions.mkdir()
    cells = {"when": "w", column: wrong}
    line = ",".join(cells.get(name, "") for name in ledger._LEDGER)
    workspace.ledger.write_text(f"{','.join(ledger._LEDGER)}\n{line}\n")
    with pytest.raises(TableError, match=rf"line 2: {column} is '{wrong}'"):
        read_ledger(workspace)


def test_the_commit_of_a_workspace_is_told(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "x").write_text("1")
    for words in (["init", "-q"], ["add", "x"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    commit = commit_of(tmp_path)
    assert len(commit) == 12
    (tmp_path / "x").write_text("2")
    assert commit_of(tmp_path) == f"{commit}+"


def test_a_ledger_that_stays_locked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_LONGEST_WAIT", 0.1)
    workspace = Workspace(tmp_path)
    with locked(workspace.ledger), pytest.raises(StoreError, match=r"Another process is writing .* kit submissions"):
        append_ledger(workspace, row("a"))
    append_ledger(workspace, row("a"))
    assert [one.file for one in read_ledger(workspace)] == ["a"]
