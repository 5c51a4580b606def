"""Other test photos in the competition's layout, predicted by what is trained, and their submission. Trains nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kit.applying.chosen import chosen_sources
from kit.core.tables import Shown
from kit.core.workspace import check_output
from kit.data.other_tests import open_other_tests
from kit.data.project import Project
from kit.learning.other_photos import applicable, predict_other_tests
from kit.pretrained.devices import device_named
from kit.submission.other import write_other
from kit.submission.write import check_copy, copy_submission


@dataclass(frozen=True)
class PredictedTests(Shown):
    """Other test photos, predicted, and their submission."""

    path: Path
    """The submission where the work is kept."""
    called: str
    """What has predicted: `blend NAME`, or the source."""
    photos: int
    described: str
    """Rows, values, and whether the ids could be checked."""
    folder: Path
    """Where the work is kept."""
    notes: tuple[str, ...]


def predict_tests(
    project: Project,
    source: Path,
    name: str | None = None,
    *,
    out: Path | None = None,
    work: Path | None = None,
    device: str = "auto",
    force: bool = False,
    on_note: Callable[[str], object] = lambda _: None,
    on_source: Callable[[str, bool], object] = lambda *_: None,
) -> PredictedTests:
    """Predict other test photos by all the models of a blend or a source, and write their submission; what is there is
    not made again.

    Args:
        source: a folder or zip in the competition's layout.
        name: a blend or a source, by default the newest blend.
        out: copy the submission to this `.csv` or `.zip` too.
        work: keep the work here, by default in the workspace.
        on_note, on_source: hear of what is odd about the photos, and of each source and whether it was made now.

    Raises:
        UnknownName, UsageError: there is no such blend or source, or it cannot predict other photos.
        KitError: of photos, folds and models that do not fit.
    """
    if out is not None:
        check_copy(out, project.layout)
    if work is not None:
        check_output(project.workspace, work, "--work", home="inputs")
    called, blend, names = chosen_sources(project, name)
    kinds = applicable(project, names, called=called)
    tests, notes = open_other_tests(project, source, work=work, force=force)
    for note in notes:
        on_note(note)
    for predicted, made in predict_other_tests(tests, kinds, device_named(device)):
        on_source(predicted, made)
    written = write_other(tests, blend or names[0])
    if out is not None:
        copy_submission(written.path, out)
    count = len(tests.index.test)
    return PredictedTests(written.path, called, count, written.described, tests.workspace.root, tuple(notes))
