"""The submission for other test photos than the fetched ones (`kit.data.other_tests`). Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.blending import Blend
from kit.competitions import sample_path
from kit.data.origin import raw_folder
from kit.data.project import Project
from kit.errors import ArchiveError
from kit.submission.formats import write_checked
from kit.submission.values import values_to_send
from kit.submission.write import check_written, write_submission


@dataclass(frozen=True)
class Written:
    """A submission for other test photos."""

    path: Path
    described: str
    """Rows, values, and whether the ids could be checked."""


def write_other(project: Project, what: Blend | str) -> Written:
    """Write the submission of a blend or a source for other test photos, and check it against their sample.

    Without a sample among them the header is that of the fetched one, and nothing can be checked.

    Raises:
        SubmissionError: the sample asks for other rows.
    """
    layout, trained = project.layout, project.trained
    assert trained is not None
    name, values = values_to_send(project, what)
    if layout.submission != "csv":
        written, check = write_checked(project, values, name)
        return Written(written.path, f"{check.rows} {'pictures' if check.pictures else 'rows'}, checked")
    try:
        sample, header = sample_path(raw_folder(project.workspace), layout.sample), None
    except ArchiveError:
        sample, header = None, layout.header(raw_folder(trained.workspace))
    written = write_submission(project, values, name, header)
    if sample is None:
        return Written(written.path, f"{written.rows} rows, not checked: there is no {layout.sample} among them")
    written, check = check_written(written, sample)
    return Written(
        written.path, f"{check.rows} rows, values {check.lowest:.4f} to {check.highest:.4f}, ids as in the sample"
    )
