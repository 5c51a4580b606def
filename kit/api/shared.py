"""What is returned of things that leave the workspace: the ledger, bundles, what was pushed. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from kit.api.tables import Table
from kit.core.tables import Shown

if TYPE_CHECKING:
    from kit.bundling import Comparison
    from kit.errors import KitError
    from kit.remote.push import Pushed
    from kit.submission.ledger import LedgerRow


@dataclass(frozen=True, repr=False)
class Submissions(Table["LedgerRow"]):
    """What was submitted from here, oldest first."""

    said: tuple[str, ...] = ()
    """What could not be found out of single ones."""
    trouble: KitError | None = None
    """Why Kaggle could not be asked; what is shown is what the ledger knew."""

    named_by: ClassVar[str] = "ref"
    empty: ClassVar[str] = "Nothing has been submitted from here yet: project.submit(dry_run=False)"

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("when (UTC)", "ref", "what", "CV", "public", "private", "status", "message")

    def cells(self, record: LedgerRow) -> Sequence[str]:
        """Return what is shown of a submission."""
        scores = (record.cv, record.public_score, record.private_score)
        texts = ["-" if one is None else f"{one:.5f}" for one in scores]
        when = record.when[:16].replace("T", " ")
        return (when, record.ref or "-", record.what, *texts, record.status, record.message)

    def notes(self) -> Iterable[str]:
        """Yield what could not be found out."""
        return (*self.said, *([str(self.trouble)] if self.trouble else []))


@dataclass(frozen=True)
class Bundled(Shown):
    """A bundle that was packed."""

    name: str
    members: tuple[str, ...]
    folder: Path
    bytes: int
    files: int
    submission: str
    """Digest of the submission that it makes of the test photos here."""


@dataclass(frozen=True)
class BundleState(Shown):
    """A bundle that is whole."""

    name: str
    files: int
    bytes: int
    compared: Comparison | None
    """A submission beside the one that was noted."""


@dataclass(frozen=True)
class Sent(Shown):
    """What was sent to Kaggle, or would be."""

    name: str
    bundle: Path
    pushed: Pushed | None
    """Its address, and whether it is new; None where nothing was sent."""
