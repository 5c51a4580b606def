"""`kit upload`: from a blend, a source or a CSV to a score in the ledger. Prints nothing; the caller asks the person.

The steps are separate functions so that a person sees what would be sent before anything is: `preflight`, which asks
the service before anything is written, then `prepare`, then `send`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.blending import read_blend, score_sources
from kit.core.progress import byte_progress
from kit.core.storage import can_write, digest_file, disk_errors
from kit.data.origin import read_origin
from kit.data.project import Project
from kit.errors import (
    KitError,
    MissingStep,
    RemoteUnavailable,
    SubmissionError,
    UnknownName,
    UsageError,
)
from kit.imaging.metrics import Estimate
from kit.submission.circumstances import commit_of, versions
from kit.submission.formats import check_file, write_checked
from kit.submission.ledger import LedgerRow, append_ledger, drop_from_ledger, now, read_ledger, update_ledger
from kit.submission.refresh import UNCLEAR, clear_up, rank_now, scored
from kit.submission.values import values_to_send
from kit.submission.write import Check, zip_submission

if TYPE_CHECKING:
    from kit.remote import CompetitionInfo, Limits


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


def is_sample(project: Project) -> bool:
    """Return whether the data are kit's own sample: there is no competition that a submission of it could go to."""
    origin = read_origin(project.workspace)
    return origin is not None and origin.sample


def check_not_sample(project: Project) -> None:
    """Raise `UsageError` for a workspace that holds the sample."""
    if is_sample(project):
        raise UsageError(
            "This workspace holds kit's own sample, which is no competition on Kaggle. Check a submission with: kit "
            "upload --dry-run. The real data go into another folder: kit -w FOLDER fetch"
        )


def check_can_note(project: Project) -> None:
    """Raise `UsageError` for a workspace that cannot be written: what is sent is noted in it."""
    if not can_write(project.workspace.ledger.parent):
        raise UsageError(
            f"{project.workspace.root} cannot be written, and what is sent is noted there. Write the submission "
            "elsewhere: kit upload --dry-run --out submission.csv"
        )


def check_known(project: Project, what: str | None) -> None:
    """Raise `UnknownName` or `MissingStep` unless there is such a blend, source or file."""
    if not is_file(what):
        _kind_of(project, what)


def preflight(project: Project) -> tuple[CompetitionInfo, Limits]:
    """Ask everything that could stop a submission, before a large file is written for it.

    Raises:
        RemoteError: or the member of its tree; see `Remote.preflight`.
    """
    from kit.remote import Remote

    remote = Remote(project.workspace.slug)
    answer = remote.preflight()
    clear_up(project, remote, [row for row in read_ledger(project.workspace) if row.status in UNCLEAR])
    return answer


def prepare(project: Project, what: str | None, *, zipped: bool = False, folder: Path | None = None) -> Prepared:
    """Write and check the submission of a blend (default: the newest), a source or an existing CSV.

    Args:
        zipped: send it as a zip with the CSV in it; an existing file is sent as it is.
        folder: where it is written, by default the workspace's `submissions/`.

    Raises:
        UnknownName: no blend, source or file of that name.
        SubmissionError: the file is not what the competition wants.
    """
    if what is not None and is_file(what):
        path = Path(what).expanduser()
        check = check_file(project, path)
        return Prepared(path, "csv", digest_file(path), check, None)
    kind, name, cv, values = _values(project, what)
    written, check = write_checked(project, values, name, folder)
    zipped = zipped and written.path.suffix == ".csv"
    path = zip_submission(written.path) if zipped else written.path
    return Prepared(path, f"{kind} {name}", digest_file(path) if zipped else written.digest, check, cv)


@contextlib.contextmanager
def elsewhere_if_read_only(project: Project, out: Path | None) -> Iterator[Path | None]:
    """Give a folder beside `out` for the submission of a workspace that cannot be written; else None.

    Raises:
        UsageError: it cannot be written, and no `out` is given.
    """
    if can_write(project.workspace.submission("any").parent):
        yield None
    elif out is None:
        raise UsageError(
            f"{project.workspace.root} cannot be written. Write the submission elsewhere: kit upload --dry-run --out "
            "submission.csv"
        )
    else:
        with disk_errors(out):
            out.absolute().parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".kit-") as folder:
                yield Path(folder)


def is_file(what: str | None) -> bool:
    """Return whether `what` names a file, and not a blend or a source."""
    return what is not None and (Path(what).suffix.lower() in (".csv", ".gz", ".zip", ".npy") or Path(what).is_file())


def _kind_of(project: Project, what: str | None) -> str:
    """Return `source` or `blend`; which of the blends is the newest is not looked at."""
    sources = project.predictions.sources()
    if what is not None and what in sources:
        return "source"
    blends = sorted(path.stem for path in project.workspace.blends.glob("*.json"))
    if what is not None and what not in blends:
        raise UnknownName("blend, source or file", what, [*blends, *sources])
    if not blends:
        raise MissingStep("There is no blend to upload. Run: kit blend")
    return "blend"


def _values(project: Project, what: str | None) -> tuple[str, str, Estimate | None, Iterator[np.ndarray]]:
    if _kind_of(project, what) == "source" and what is not None:
        name, values = values_to_send(project, what)
        return "source", name, _source_cv(project, name), values
    blend = read_blend(project.workspace, what)
    name, values = values_to_send(project, blend)
    return "blend", name, blend.cv, values


def _source_cv(project: Project, name: str) -> Estimate | None:
    if project.folds_if_any is None:
        return None
    scores = score_sources(project)
    return next((score.score for score in scores if score.name == name and score.complete), None)


def sent_before(project: Project, prepared: Prepared) -> LedgerRow | None:
    """Return the ledger's row of these very bytes, if they were sent before, or perhaps were: they would score the
    same and cost quota."""
    rows = [row for row in read_ledger(project.workspace) if row.digest == prepared.digest]
    rows = [row for row in rows if row.ref or row.status in UNCLEAR]
    return rows[-1] if rows else None


def already_sent(earlier: LedgerRow) -> UsageError:
    """Return the error for bytes that were sent before, or perhaps were."""
    return UsageError(
        f"These very bytes were sent on {earlier.when} ({reference(earlier)}): they would score the same, and "
        "cost one of today's submissions. See: kit submissions. To send them all the same, add --again"
    )


def reference(row: LedgerRow) -> str:
    """Return by what the competition knows a submission."""
    return f"ref {row.ref}" if row.ref else "it is not known whether they arrived"


def send(
    project: Project,
    prepared: Prepared,
    message: str,
    *,
    wait_seconds: float,
    late: bool | None = None,
    poll: Callable[[str], None] | None = None,
) -> LedgerRow:
    """Upload, note it in the ledger, wait for the score and note that too; without one in time the row is pending.

    The row is there before anything is sent: whatever ends this process, `refresh` finds out what became of it.

    Args:
        late: whether the deadline has passed, as `preflight` says.

    Raises:
        RemoteError: refused, or no answer; the ledger then says what is known.
        SubmissionError: the service could not score it.
    """
    from kit.remote import AnswerLost, Remote, new_tag

    workspace, remote, cv = project.workspace, Remote(project.workspace.slug), prepared.cv
    row = LedgerRow(
        when=now(),
        competition=workspace.slug,
        file=prepared.path.name,
        digest=prepared.digest,
        what=prepared.what,
        cv=cv.value if cv else None,
        cv_low=cv.low if cv else None,
        cv_high=cv.high if cv else None,
        status="sending",
        message=message,
        late=late,
        commit=commit_of(workspace.root),
        versions=versions(),
        tag=new_tag(),
    )
    append_ledger(workspace, row)
    try:
        with byte_progress("Uploading") as report:
            ref = remote.submit(prepared.path, message, tag=row.tag, progress=report)
    except AnswerLost:
        update_ledger(workspace, dataclasses.replace(row, status="unknown"))
        raise
    except KitError:
        drop_from_ledger(workspace, row)
        raise
    row = dataclasses.replace(row, ref=str(ref), status="pending")
    update_ledger(workspace, row)
    if wait_seconds <= 0:
        return row
    try:
        found = remote.wait(ref, deadline=wait_seconds, poll=(lambda seen: poll(seen.status)) if poll else None)
    except RemoteUnavailable:
        return row  # it was sent and noted; the score can be asked for later
    except SubmissionError:
        update_ledger(workspace, dataclasses.replace(row, status="error"))
        raise
    row = scored(row, found, None if late else rank_now(remote))
    update_ledger(workspace, row)
    return row
