"""What a competition is sent: its layout says which. Writing and checking, whatever it is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from kit.data.project import Project
from kit.submission.pictures import check_pictures, write_pictures
from kit.submission.write import Check, SubmissionFile, check_submission, check_written, sample_of, write_submission


def write_checked(
    project: Project, values: Iterable[np.ndarray], name: str, folder: Path | None = None
) -> tuple[SubmissionFile, Check]:
    """Write a submission of these values and check it, as `write_submission` or `write_pictures` do.

    Raises:
        SubmissionError: it is not what the competition wants.
        PredictionsError: values that are not finite or not of the right number.
    """
    if project.layout.submission == "pictures":
        written = write_pictures(project, values, name, folder)
        return written, check_pictures(written.path, project)
    table = write_submission(project, values, name, folder=folder)
    return check_written(table, sample_of(project.workspace, project.layout))


def check_file(project: Project, path: Path) -> Check:
    """Check a submission that is there.

    Raises:
        SubmissionError: the first thing that is wrong.
        TableError, ArchiveError: the competition's sample cannot be read.
    """
    if project.layout.submission == "pictures":
        return check_pictures(path, project)
    return check_submission(path, sample_of(project.workspace, project.layout))


def submission_path(project: Project, name: str) -> Path:
    """Return where the submission of a blend or source is written."""
    path = project.workspace.submission(name)
    return path.with_suffix(".zip") if project.layout.submission == "pictures" else path
