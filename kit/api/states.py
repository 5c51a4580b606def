"""The state of the work, of its files and of the machine, as a project's methods return them. Computes nothing."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kit.api.tables import Table
from kit.core.tables import html_table
from kit.upkeep.status import Status
from kit.upkeep.status_text import (
    blend_cells,
    data_text,
    problem_lines,
    sent_text,
    sizes_text,
    source_cells,
    status_lines,
    training_cells,
)

if TYPE_CHECKING:
    from kit.upkeep.doctor import Finding
    from kit.upkeep.remove import Removal


@dataclass(frozen=True, repr=False)
class State(Status):
    """All that `kit status` says."""

    def __repr__(self) -> str:
        """Return it as the command prints it."""
        return "\n".join(status_lines(self))

    def _repr_html_(self) -> str:
        facts = [("data", data_text(self)), ("submissions", sent_text(self)), ("disk, MB", sizes_text(self))]
        facts += [("running", one) for one in self.running]
        parts = [html_table((self.competition, str(self.folder)), facts, self.problems)]
        tables = [(source_cells(self.sources), problem_lines(self.sources)), (training_cells(self.trainings), [])]
        tables += [(blend_cells(self.blends), problem_lines(self.blends))]
        parts += [html_table(heading, rows, notes) for (heading, rows), notes in tables if rows]
        return "".join(parts) + f"<p>Next: {html.escape(self.following)}</p>"


class Machine(Table["Finding"]):
    """Findings about this machine."""

    named_by: ClassVar[str] = "what"

    @property
    def fit(self) -> bool:
        """Return whether there is no problem."""
        return all(one.state != "problem" for one in self.records)

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("what", "state", "")

    def cells(self, record: Finding) -> Sequence[str]:
        """Return what is shown of a finding."""
        return (record.what, record.state, record.text)


@dataclass(frozen=True, repr=False)
class Removed(Table["Removal"]):
    """What was deleted, or would be."""

    dry_run: bool = False

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("would be deleted" if self.dry_run else "deleted", "MB", "paths")

    def cells(self, record: Removal) -> Sequence[str]:
        """Return what is shown of a name."""
        return (record.name, f"{record.bytes / 1e6:.1f}", ", ".join(map(str, record.paths)))

    def notes(self) -> Iterable[str]:
        """Yield which blends lose a member."""
        gone = (one for one in self.records if one.needed_by)
        return (f"{', '.join(one.needed_by)} cannot be applied without {one.name}." for one in gone)
