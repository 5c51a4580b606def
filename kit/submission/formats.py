"""What a competition is sent: its layout says which. Writing and checking, whatever it is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from kit.data.project import Project
from kit.submission.cells import check_cells, write_cells
from kit.submission.pictures import check_pictures, write_array, write_pictures
from kit.submission.write import Check, SubmissionFile, check_submission, check_written, sample_of, write_submission

_SUFFIXES = {"csv": ".csv", "cells": ".csv", "pictures": ".zip", "npy": ".npy"}


def write_checked(
    project: Project, values: Iterable[np.ndarray], name: str, folder: Path | None = None
) -> tuple[SubmissionFile, Check]:
    """Write a submission of these values and check it.

    Args:
        folder: where, by default the workspace's `submissions/`.

    Raises:
        SubmissionError: it is not what the competition wants.
        PredictionsError: values that are not finite or not of the right number.
    """
    kind = project.layout.submission
    if kind == "csv":
        table = write_submission(project, values, name, folder=folder)
        return check_written(table, sample_of(project.workspace, project.layout))
    write = {"pictures": write_pictures, "npy": write_array, "cells": write_cells}[kind]
    written = write(project, values, name, folder)
    return written, check_file(project, written.path)


def check_file(project: Project, path: Path) -> Check:
    """Check a submission that is there.

    Raises:
        SubmissionError: the first thing that is wrong.
        TableError, ArchiveError: the competition's sample cannot be read.
    """
    kind = project.layout.submission
    if kind == "csv":
        return check_submission(path, sample_of(project.workspace, project.layout))
    return check_cells(path, project) if kind == "cells" else check_pictures(path, project)


def submission_path(project: Project, name: str) -> Path:
    """Return where the submission of a blend or source is written."""
    return project.workspace.submission(name).with_suffix(_SUFFIXES[project.layout.submission])
