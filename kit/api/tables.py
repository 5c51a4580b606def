"""Results as sequences that show themselves: text in a terminal, a table in a notebook. Knows no store."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from kit.core.tables import html_table, table

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Table(Sequence[T]):
    """A sequence of records that is also found by name: `found[0]`, `found["harmonic"]`, `found.frame`."""

    records: tuple[T, ...]

    named_by: ClassVar[str] = "name"
    """The field that names a record."""
    empty: ClassVar[str] = "nothing"
    """What is shown where there is no record."""

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        raise NotImplementedError

    def cells(self, record: T) -> Sequence[str]:
        """Return what is shown of a record, a text for each column."""
        raise NotImplementedError

    def notes(self) -> Iterable[str]:
        """Yield lines below the table."""
        return ()

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.records)

    @overload
    def __getitem__(self, key: int | str) -> T: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[T, ...]: ...

    def __getitem__(self, key: int | str | slice) -> T | tuple[T, ...]:
        """Return a record by its place or its name; the first of several. Raises `IndexError`, `KeyError`."""
        if isinstance(key, str):
            for record in self.records:
                if getattr(record, self.named_by) == key:
                    return record
            raise KeyError(key)
        return self.records[key]

    @property
    def frame(self) -> pd.DataFrame:
        """Return a pandas DataFrame, one row a record; a score with its interval takes three columns."""
        import pandas as pd

        return pd.DataFrame([_flat(record) for record in self.records])

    def __repr__(self) -> str:
        """Return a table of plain text."""
        if not self.records:
            return self.empty
        return "\n".join([table(self.heading(), [self.cells(record) for record in self.records]), *self.notes()])

    def _repr_html_(self) -> str:
        """Return a table for notebooks; every text is escaped."""
        if not self.records:
            return f"<p>{html.escape(self.empty)}</p>"
        return html_table(self.heading(), [self.cells(record) for record in self.records], self.notes())


def _flat(record: object) -> dict[str, Any]:
    """Return a record's fields as single values."""
    if not is_dataclass(record):
        raise TypeError(f"{type(record).__name__} is no record.")
    found: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            found[field.name] = getattr(value, "value", None)
            found |= {f"{field.name}_{end}": getattr(value, end, None) for end in ("low", "high")}
        elif isinstance(value, tuple):
            found[field.name] = ",".join(map(str, value))
        else:
            found[field.name] = str(value) if isinstance(value, Path) else value
    return found
