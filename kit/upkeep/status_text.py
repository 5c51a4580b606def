"""The state of a workspace as text. Computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kit.core.numbers import score_text
from kit.core.tables import table
from kit.upkeep.status import BlendState, SourceState, Status, TrainingState

Cells = tuple[list[str], list[list[str]]]
"""Heading and rows."""

DROPPED = ("rung", "when")
"""Columns that go where a table is too wide."""


def status_lines(found: Status, spoken: Callable[[str], str] = str) -> list[str]:
    """Return all of it, line by line.

    Args:
        spoken: what is made of lines that name commands.
    """
    lines = [f"{found.competition} in {found.folder.absolute()}", f"Data: {data_text(found)}"]
    lines += map(spoken, found.problems)
    for cells in status_tables(found):
        lines += ["", table(*cells, drop=DROPPED)]
        lines += map(spoken, problem_lines(found.sources) if cells[0][0] == "source" else [])
        lines += map(spoken, problem_lines(found.blends) if cells[0][0] == "blend" else [])
    if found.running:
        lines += ["", *(f"Running: {one}" for one in found.running)]
    lines += ["", f"Submissions: {spoken(sent_text(found))}", f"Disk, MB: {sizes_text(found)}"]
    return [*lines, spoken(f"Next: {found.following}")]


def status_tables(found: Status) -> list[Cells]:
    """Return sources, unfinished trainings and blends, those of them that there are."""
    tables = (source_cells(found.sources), training_cells(found.trainings), blend_cells(found.blends))
    return [cells for cells in tables if cells[1]]


def data_text(found: Status) -> str:
    """Return what data and folds there are."""
    return (found.data or "none") + (f"; {found.folds} folds" if found.folds else "")


def sent_text(found: Status) -> str:
    """Return what was submitted."""
    sent = f"{found.sent} sent, {found.today} of them today (left: kit leaderboard)" if found.sent else "none sent"
    sent += f", {found.pending} without a score yet" if found.pending else ""
    return sent + (f", best public score {found.best_public:.5f}" if found.best_public is not None else "")


def sizes_text(found: Status) -> str:
    """Return what lies on the disk."""
    return ", ".join(f"{name} {size:,.1f}" for name, size in found.megabytes.items()) or "nothing"


def problem_lines(found: Sequence[BlendState | SourceState]) -> list[str]:
    """Return what is wrong with single ones."""
    return [f"{one.name}: {one.problem}" for one in found if one.problem]


def source_cells(found: Sequence[SourceState]) -> Cells:
    """Return the table of sources."""
    rows = [[one.name, one.kind, one.parts, "see below" if one.problem else ""] for one in found]
    return ["source", "what it is", "parts", ""], rows


def training_cells(found: Sequence[TrainingState]) -> Cells:
    """Return the table of trainings that have not come to their end."""
    rows = [
        [
            one.name,
            str(one.fold),
            f"epoch {one.epoch}{f' of {one.epochs}' if one.epochs else ''}",
            f"running ({one.held_by})" if one.held_by else "interrupted",
        ]
        for one in found
    ]
    return ["training", "fold", "reached", ""], rows


def blend_cells(found: Sequence[BlendState]) -> Cells:
    """Return the table of blends."""
    rows = [
        [
            one.name,
            score_text(one.cv) if one.cv is not None else "-",
            f"{one.public:.5f}" if one.public is not None else "-",
            one.rung,
            one.when,
            ", ".join(one.members[:4]) + (f" and {len(one.members) - 4} more" if len(one.members) > 4 else ""),
            "does not fit" if one.problem else "",
        ]
        for one in found
    ]
    return ["blend", "CV", "public", "rung", "when", "members", ""], rows
