"""What leaves the workspace, and what comes from elsewhere: submissions, predictions, bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kit.api.folder import FilePath, Folder
from kit.api.results import Grade, ImportedSource, Submission
from kit.api.sending import What, submission, submit

if TYPE_CHECKING:
    from kit.core.workspace import PredictionSplit
    from kit.exchange import Exported


class Sharing(Folder):
    """Submissions, and predictions from and for others."""

    def submission(self, what: What = None, out: FilePath | None = None, *, zipped: bool = False) -> Submission:
        """Write and check a submission, as `kit upload --dry-run`. Nothing is sent.

        Args:
            what: a blend, the name of one, a source, or a file; by default the newest blend.
            out: copy it to this `.csv` or `.zip` too.
            zipped: as a zip with the CSV in it.

        Raises:
            UnknownName, MissingStep: there is no such blend, source or file, or no blend at all.
            SubmissionError: the competition would refuse it.

        >>> project = kit.open(".")
        >>> found = project.submission(project.blend("harmonic", name="alone"))
        >>> found.what, found.path.name, found.rows
        ('blend alone', 'alone.csv', 2400)
        """
        return submission(self.opened, what, None if out is None else Path(out), zipped=zipped)

    def submit(
        self,
        what: What = None,
        *,
        dry_run: bool = True,
        message: str | None = None,
        wait: float = 10,
        zipped: bool = False,
        again: bool = False,
    ) -> Submission:
        """Write, check and, with `dry_run=False`, send a submission, as `kit upload --yes`. Never asks.

        Args:
            what: as for `submission`.
            dry_run: send nothing; this is the default.
            message: the description on the leaderboard.
            wait: minutes to wait for the score.
            again: also bytes that were sent before.

        Raises:
            UsageError: bytes that were sent before, or the sample competition, which nobody takes.
            RemoteError: refused, or no answer; the ledger says what is known.
            SubmissionError: the competition would refuse it, or could not score it.
        """
        if dry_run:
            return submission(self.opened, what, None, zipped=zipped)
        return submit(self.opened, what, message=message, wait=wait, zipped=zipped, again=again)

    def grade(self, file: FilePath, truth: FilePath) -> Grade:
        """Compute the competition's own score of a submission, as `kit grade`.

        Args:
            file: a submission.
            truth: folder of the original test photos.

        Raises:
            ImageError: an original is missing.
            SubmissionError: ids that are not those of the competition.
        """
        from kit.submission.grade import grade_submission

        opened = self.opened
        found = grade_submission(Path(file).expanduser(), Path(truth).expanduser(), opened.index, opened.layout)
        return Grade(found.photos, found.score, found.rows, found.metric)

    def export(self, name: str, out: FilePath | None = None, *, force: bool = False) -> Exported:
        """Write the predictions of a source or a blend to one `.npz` for a team mate, as `kit export`.

        Args:
            out: the file; by default `NAME.npz` in the current folder.
            force: replace it.

        Raises:
            UsageError: the file is there already, or lies among kit's own.
            UnknownName, MissingStep: there is no such source or blend, or folds are absent.
        """
        from kit.core.workspace import check_output
        from kit.exchange import export_source

        opened, target = self.opened, Path(f"{name}.npz" if out is None else out)
        check_output(opened.workspace, target)
        return export_source(opened, name, target, force=force)

    def import_(
        self,
        name: str,
        *,
        oof: FilePath | None = None,
        test: FilePath | None = None,
        space: Literal["pixel", "score"] | None = None,
        channels: Literal["rgb", "bgr"] | None = None,
        scale: float | None = None,
        folds: FilePath | None = None,
        force: bool = False,
    ) -> ImportedSource:
        """Make a source of predictions that something else has made, as `kit import`.

        Args:
            oof: `.npz`, `.npy`, `.csv` or a folder of pictures, of all training photos, out of fold.
            test: the same of all test photos.
            space: `pixel`, or `score`: stretched as in a submission, a CSV's default.
            channels: their order; by default `rgb`.
            scale: what stands for white, 0.001 to 1e6; by default 1, of whole numbers 255.
            folds: a CSV of `id,fold` by which they were made, to be compared with ours.
            force: replace what was imported under this name.

        Raises:
            UsageError: nothing to import, the name is something else's, or a format that kit does not read.
            KitError: of what is wrong in a file.
        """
        from kit.api.exchanging import import_source

        given: list[tuple[PredictionSplit, FilePath | None]] = [("oof", oof), ("test", test)]
        paths = {split: Path(path).expanduser() for split, path in given if path is not None}
        theirs = None if folds is None else Path(folds).expanduser()
        return import_source(
            self.opened, name, paths, space=space, channels=channels, scale=scale, folds=theirs, force=force
        )
