"""Submissions: written, checked, and sent where that is wanted. Asks nobody."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from kit.api.results import Blend, Submission

if TYPE_CHECKING:
    from kit.data.project import Project
    from kit.submission.upload import Prepared

What = str | Path | Blend | None
"""A blend, or the name of one, of a source or of a file; None is the newest blend."""


def name_of(what: What) -> str | None:
    """Return what is to be sent as it is typed."""
    if what is None:
        return None
    return what.name if isinstance(what, Blend) else str(what)


def submission(project: Project, what: What, out: Path | None, *, zipped: bool) -> Submission:
    """Write and check a submission, as `kit upload --dry-run` does."""
    return _written(project, name_of(what), out, zipped=zipped)[0]


def submit(
    project: Project,
    what: What,
    *,
    message: str | None,
    wait: float,
    zipped: bool,
    again: bool,
) -> Submission:
    """Write, check and send a submission, and wait for its score, as `kit upload --yes` does."""
    from kit.submission.upload import (
        already_sent,
        check_can_note,
        check_known,
        check_not_sample,
        preflight,
        send,
        sent_before,
    )

    name = name_of(what)
    check_not_sample(project)
    check_known(project, name)
    check_can_note(project)
    info, _ = preflight(project)  # all that could be in the way is asked before a large file is written
    found, ready = _written(project, name, None, zipped=zipped)
    earlier = sent_before(project, ready)
    if earlier is not None and not again:
        raise already_sent(earlier)
    said = message or f"kit {ready.what}"
    row = send(project, ready, said, wait_seconds=wait * 60, late=info.is_over)
    return dataclasses.replace(found, sent=row)


def _written(project: Project, name: str | None, out: Path | None, *, zipped: bool) -> tuple[Submission, Prepared]:
    from kit.core.workspace import check_output
    from kit.exchange import doubts_about_submission
    from kit.submission.upload import elsewhere_if_read_only, is_file, prepare, reference, sent_before
    from kit.submission.write import check_copy, copy_submission
    from kit.upkeep.remarks import remarks_on

    if out is not None:
        out = out.expanduser()
        check_output(project.workspace, out)
        check_copy(out, None if is_file(name) else project.layout)
    with contextlib.nullcontext() if is_file(name) else elsewhere_if_read_only(project, out) as elsewhere:
        ready = prepare(project, name, zipped=zipped, folder=elsewhere)
        check = ready.check
        notes = [*doubts_about_submission(project, check.path, check.lowest, check.highest)]
        if out is not None:
            copy_submission(check.path, out)
    notes += remarks_on(project, ready)
    earlier = sent_before(project, ready)
    if earlier is not None:
        notes.append(f"These very bytes were sent on {earlier.when} ({reference(earlier)}).")
    path = out if elsewhere is not None and out is not None else ready.path
    found = Submission(path, ready.what, ready.digest, check.rows, check.lowest, check.highest, ready.cv, tuple(notes))
    return found, ready
