"""What leaves the workspace, and what comes from elsewhere: submissions, predictions, bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kit.api.folder import FilePath, Folder, Names, listed, path_of, say
from kit.api.results import Grade, ImportedSource, Submission
from kit.api.sending import What, name_of, submission, submit
from kit.api.shared import Bundled, BundleState, Sent, Submissions

if TYPE_CHECKING:
    from kit.core.workspace import PredictionSplit
    from kit.exchange import Exported
    from kit.submission.standing import Standing
    from kit.submission.write import Check


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

    def submissions(self, *, refresh: bool = False) -> Submissions:
        """Return what was submitted from here, with scores, as `kit submissions`; asks Kaggle for those still pending.

        Args:
            refresh: ask for all of them again, as for private scores.

        Returns:
            The ledger's rows; `.trouble` says why Kaggle could not be asked, where it could not.
        """
        from kit.submission.refresh import refresh as ask

        found = ask(self.opened, again=refresh)
        return Submissions(tuple(found.rows), tuple(found.notes), found.trouble)

    def leaderboard(self) -> Standing:
        """Return your place, what a better score is worth, and what is left of today, as `kit leaderboard`.

        Raises:
            UsageError: the data are the sample competition's.
            RemoteError: Kaggle refused, or did not answer.
        """
        from kit.submission.expected import expected_standing

        return expected_standing(self.opened)[0]

    def check(self, file: FilePath) -> Check:
        """Compare a submission with the competition's sample, as `kit check`.

        Raises:
            SubmissionError: the first thing that is wrong: line, what was found, what was expected.

        >>> project = kit.open(".")
        >>> project.check(project.submission("mean").path).rows
        2400
        """
        from kit.submission.formats import check_file

        return check_file(self.opened, Path(file).expanduser())

    def grade(self, file: FilePath, truth: FilePath, *, metric: str | None = None) -> Grade:
        """Compute the competition's own score of a submission, as `kit grade`.

        Args:
            file: a submission.
            truth: folder of the original test photos.
            metric: another one than the competition's: rmse, mse, mae, psnr, ssim, lpips.

        Raises:
            ImageError: an original is missing.
            SubmissionError: ids that are not those of the competition.
            TrainingError: no place has the weights that LPIPS needs.
        """
        from kit.imaging.metrics import metric_named
        from kit.pretrained.lpips import with_network
        from kit.submission.grade import grade_submission
        from kit.submission.originals import check_originals

        opened = self.opened
        chosen = with_network(metric_named(metric) if metric else opened.layout.graded_by)
        path, originals = Path(file).expanduser(), Path(truth).expanduser()
        check_originals(originals, opened)
        found = grade_submission(path, originals, opened.index, opened.layout, metric=chosen)
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

    def bundle(
        self,
        what: What = None,
        out: FilePath | None = None,
        *,
        wheels: Names = (),
        weights: Names = (),
        force: bool = False,
    ) -> Bundled:
        """Pack what predicts a blend or a source on a machine without a network, as `kit bundle`.

        Args:
            what: a blend or a source, by default the newest blend.
            out: the folder; by default `bundles/NAME` in the workspace.
            wheels: packages that the other machine lacks.
            weights: encoders whose ImageNet weights are packed too.
            force: replace a bundle that is there.

        Raises:
            UsageError: the folder is there, or a member cannot be predicted elsewhere.
            MissingStep, UnknownName: there is no such blend or source.
        """
        from kit.applying.carrying import bundle_folder, make_carried

        opened, name = self.opened, name_of(what)
        folder = bundle_folder(opened, name, path_of(out))
        made = make_carried(opened, name, folder, wheels=listed(wheels), weights=listed(weights), force=force, say=say)
        members = made.contents.members
        return Bundled(made.contents.name, tuple(members), folder, made.bytes, made.files, made.submission)

    def verify_bundle(self, folder: FilePath, submission: FilePath | None = None) -> BundleState:
        """Compare every file of a bundle with its digest, as `kit verify BUNDLE`.

        Args:
            submission: compare this one with what the bundle noted.

        Raises:
            DamagedStore: files are missing or changed, or it is no bundle.
            SubmissionError: the submission cannot be read.
        """
        from kit.bundling import compare_submission, verify_bundle

        whole, path = verify_bundle(Path(folder).expanduser()), path_of(submission)
        compared = None if path is None else compare_submission(whole.document, path)
        return BundleState(whole.document["name"], whole.files, whole.bytes, compared)

    def push_bundle(self, dataset: str, folder: FilePath | None = None, *, dry_run: bool = True) -> Sent:
        """Make or renew a private dataset of Kaggle of a bundle, as `kit bundle --push`. Never asks.

        Args:
            dataset: OWNER/NAME.
            folder: the bundle; by default the newest in `bundles/`.
            dry_run: verify it and send nothing; this is the default.

        Raises:
            UsageError: no name that Kaggle takes.
            DamagedStore, MissingStep: there is no such bundle, or not all of it.
            RemoteError: refused, or no answer.
        """
        from kit.applying.carrying import send_dataset, session_of
        from kit.bundling import newest_bundle, verify_bundle
        from kit.remote.push import checked_reference

        checked_reference("The dataset", dataset)
        workspace, place = self.workspace, path_of(folder)
        place = place or newest_bundle(workspace)
        whole = verify_bundle(place)
        if dry_run:
            return Sent(dataset, place, None)
        return Sent(dataset, place, send_dataset(whole, place, dataset, session_of(workspace.slug)))

    def push(
        self, notebook: str, dataset: str, folder: FilePath | None = None, *, gpu: str = "t4x2", dry_run: bool = True
    ) -> Sent:
        """Save a bundle's notebook on Kaggle, private and without internet, and run it, as `kit push`. Never asks.

        Args:
            notebook: OWNER/NAME.
            dataset: of the bundle, see `push_bundle`.
            folder: the bundle; by default the newest in `bundles/`.
            gpu: `t4x2`, `p100` or `none`.
            dry_run: verify the bundle and send nothing; this is the default.

        Raises:
            UsageError: names or a machine that Kaggle does not have.
            DamagedStore, MissingStep: there is no such bundle, or not all of it.
            RemoteError: refused, or no answer.
        """
        from kit.applying.carrying import check_notebook, send_notebook
        from kit.bundling import newest_bundle, verify_bundle

        check_notebook(notebook, dataset, gpu)
        place = path_of(folder) or newest_bundle(self.workspace)
        whole = verify_bundle(place)
        return Sent(notebook, place, None if dry_run else send_notebook(whole, place, notebook, dataset, gpu))
