"""`kit upload`: from a blend, a source or a CSV to a score in the ledger. Prints nothing; the caller asks the person.

The steps are separate functions so that a person sees what would be sent before anything is: `prepare`, then `send`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.blending import blend_test_values, read_blend, score_sources
from kit.core.progress import byte_progress
from kit.core.storage import digest_file
from kit.data.project import Project
from kit.errors import KitError, MissingStep, RemoteUnavailable, SubmissionError, UnknownName
from kit.imaging.metrics import Estimate
from kit.submission.ledger import LedgerRow, append_ledger, now, read_ledger, update_ledger
from kit.submission.write import Check, check_submission, sample_of, write_submission, zip_submission


@dataclass(frozen=True)
class Prepared:
    """A checked submission, ready to be sent."""

    path: Path
    what: str
    """`blend NAME`, `source NAME` or `csv`."""
    digest: str
    check: Check
    cv: Estimate | None
    """CV RMSE of what it was made from, None for a CSV."""


def prepare(project: Project, what: str | None, *, zipped: bool = False) -> Prepared:
    """Write and check the submission of a blend (default: the newest), a source or an existing CSV.

    Args:
        zipped: send it as a zip with the CSV in it; an existing file is sent as it is.

    Raises:
        UnknownName: no blend, source or file of that name.
        SubmissionError: the file is not what the competition wants.
    """
    if what is not None and (Path(what).suffix.lower() in (".csv", ".gz", ".zip") or Path(what).is_file()):
        path = Path(what).expanduser()
        check = check_submission(path, sample_of(project.workspace, project.layout))
        return Prepared(path, "csv", digest_file(path), check, None)
    kind, name, cv, values = _values(project, what)
    written = write_submission(project, values, name)
    check = check_submission(written.path, sample_of(project.workspace, project.layout))
    path = zip_submission(written.path) if zipped else written.path
    return Prepared(path, f"{kind} {name}", digest_file(path) if zipped else written.digest, check, cv)


def _values(project: Project, what: str | None) -> tuple[str, str, Estimate | None, Iterator[np.ndarray]]:
    workspace = project.workspace
    sources = project.predictions.sources()
    if what is not None and what in sources:
        predictions = project.predictions.read(what, "test")
        values = (predictions.values(photo) for photo in range(len(project.index.test)))
        return "source", what, _source_cv(project, what), values
    blends = sorted(path.stem for path in workspace.blends.glob("*.json"))
    if what is not None and what not in blends:
        raise UnknownName("blend, source or file", what, [*blends, *sources])
    if not blends:
        raise MissingStep("There is no blend to upload. Run: kit blend")
    blend = read_blend(workspace, what)
    return (
        "blend",
        blend.name,
        blend.cv,
        blend_test_values(project, blend),
    )


def _source_cv(project: Project, name: str) -> Estimate | None:
    if project.folds_if_any is None:
        return None
    scores = score_sources(project)
    return next((score.score for score in scores if score.name == name and score.complete), None)


def sent_before(project: Project, prepared: Prepared) -> LedgerRow | None:
    """Return the ledger's row of these very bytes, if they were sent before: they would score the same and cost
    quota."""
    rows = [row for row in read_ledger(project.workspace) if row.digest == prepared.digest and row.ref]
    return rows[-1] if rows else None


def send(
    project: Project,
    prepared: Prepared,
    message: str,
    *,
    wait_seconds: float,
    poll: Callable[[str], None] | None = None,
) -> LedgerRow:
    """Upload, note it in the ledger, wait for the score and note that too; without one in time the row is pending.

    Raises:
        RemoteError: refused, or no answer; the ledger then says what is known.
        SubmissionError: the service could not score it.
    """
    from kit.remote import Remote

    remote = Remote(project.workspace.slug)
    with byte_progress("Uploading") as report:
        ref = remote.submit(prepared.path, message, progress=report)
    row = LedgerRow(
        when=now(),
        competition=project.workspace.slug,
        file=prepared.path.name,
        digest=prepared.digest,
        what=prepared.what,
        cv=prepared.cv.value if prepared.cv else None,
        cv_low=prepared.cv.low if prepared.cv else None,
        cv_high=prepared.cv.high if prepared.cv else None,
        ref=str(ref),
        status="pending",
        message=message,
    )
    append_ledger(project.workspace, row)
    if wait_seconds <= 0:
        return row
    try:
        found = remote.wait(ref, deadline=wait_seconds, poll=(lambda seen: poll(seen.status)) if poll else None)
    except RemoteUnavailable:
        return row  # it was sent and noted; the score can be asked for later
    except SubmissionError:
        update_ledger(project.workspace, dataclasses.replace(row, status="error"))
        raise
    row = dataclasses.replace(row, status=found.status, public_score=found.public_score)
    update_ledger(project.workspace, row)
    return row


def refresh(project: Project) -> list[LedgerRow]:
    """Ask for the scores of submissions that the ledger has as pending, and note them."""
    from kit.remote import Remote

    rows = read_ledger(project.workspace)
    pending = [row for row in rows if row.status == "pending" and row.ref.isdecimal()]
    if pending:
        remote = Remote(project.workspace.slug)
        for row in pending:
            try:
                found = remote.submission(int(row.ref))
            except KitError as error:
                raise type(error)(f"Submission {row.ref}: {error}") from None
            update_ledger(
                project.workspace, dataclasses.replace(row, status=found.status, public_score=found.public_score)
            )
    return read_ledger(project.workspace)
