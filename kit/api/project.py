"""An opened workspace: what the commands do, as methods. Computes nothing itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kit.api.needs import extras_of
from kit.api.results import (
    Blend,
    Blends,
    Fetched,
    Filled,
    Fills,
    Grade,
    ImportedSource,
    PredictedFolds,
    Sources,
    Submission,
    Trainings,
)
from kit.api.sending import What, name_of, submission, submit
from kit.api.training import Folds, Request, chosen, predict, train

if TYPE_CHECKING:
    from kit.api.loop import Batches, Inputs
    from kit.api.store import Store
    from kit.applying import FilledPictures, PredictedTests
    from kit.core.workspace import Fold, PredictionSplit, Workspace
    from kit.data.folds import Folds as Split
    from kit.data.project import Project as Opened
    from kit.exchange import Exported
    from kit.learning.experiments import Experiment
    from kit.upkeep.status import Status

Names = str | Iterable[str]
FilePath = str | Path


class Project:
    """A workspace, opened: `kit.open(".")`. Every method reads what is on the disk when it is called."""

    def __init__(self, folder: Path, competition: str | None = None) -> None:
        from kit.data.index import checked_folder

        self.folder = checked_folder(folder).absolute()  # another folder may be the current one later
        self._slug = competition
        _ = self.workspace  # several competitions are told of at once

    @property
    def workspace(self) -> Workspace:
        """Return the paths of the workspace."""
        from kit.data.index import open_workspace

        return open_workspace(self.folder, self._slug)

    @property
    def competition(self) -> str:
        """Return the competition's slug."""
        return self.workspace.slug

    @property
    def opened(self) -> Opened:
        """Open index, pack, folds and predictions of the workspace, as kit's own functions take them."""
        from kit.data.project import Project as Opened

        return Opened(self.workspace)

    def __repr__(self) -> str:
        """Return how it is opened."""
        return f"<kit project {self.competition} in {self.folder}>"

    # --- the chain

    def fetch(
        self,
        source: FilePath | None = None,
        *,
        sample: bool = False,
        in_place: bool = False,
        layout: str | None = None,
        images: FilePath | None = None,
        masks: FilePath | None = None,
        test_images: FilePath | None = None,
        test_masks: FilePath | None = None,
        targets: FilePath | None = None,
        boxes: FilePath | None = None,
        columns: str | None = None,
        hole: str | None = None,
        hidden: str = "white",
        metric: str = "rmse",
        force: bool = False,
    ) -> Fetched:
        """Bring the competition's data here, check it, make index and pack, as `kit fetch`. Which competition it is,
        `kit.open` says.

        Args:
            source: a zip or folder instead of Kaggle. Without it and `sample`, the data come from where they came
                before.
            sample: take the small built-in competition, which needs no account.
            in_place: read the files of the folder `source` where they are.
            layout: how the files are read: `FILE.py` or a name. Default: the slug's.
            images, masks, test_images, test_masks, targets, boxes, columns, hole, hidden, metric: of a competition that
                is plain folders; see `kit fetch --help`.
            force: do it again although it is there.

        Raises:
            UsageError: two sources at once, or another competition is here.
            ArchiveError, DataError: the data cannot be used; what was there stays.
            RemoteError: the download was refused or failed.

        >>> found = kit.open(".").fetch()
        >>> found.train, found.test, found.already
        (12, 4, True)
        """
        from kit.competitions.chosen import chosen_layout
        from kit.data.fetch import fetch, origin_of_before, truth_of

        workspace, path = self.workspace, None if source is None else Path(source)
        folders = {"images": images, "masks": masks, "test_images": test_images, "test_masks": test_masks}
        folders |= {"targets": targets, "boxes": boxes}
        given = {name: None if one is None else Path(one) for name, one in folders.items()}
        texts = {"columns": columns, "hole": hole, "hidden": hidden, "metric": metric}
        choice, at = chosen_layout(layout, given, texts, path)
        if at is not None:  # plain folders are read where they are
            path, in_place = at, True
        origin = None if path or sample else origin_of_before(workspace, force=force)
        if origin is not None:
            path, sample, in_place = origin.source, origin.sample, in_place or origin.in_place
        with extras_of("demo"):
            found = fetch(workspace, source=path, in_place=in_place, sample=sample, force=force, choice=choice)
        train, test = len(found.index.train), len(found.index.test)
        truth = truth_of(workspace) if sample else None
        return Fetched(workspace.slug, workspace.data, train, test, found.already, tuple(found.notes), truth)

    def folds(self, k: int = 5, seed: int = 0, *, force: bool = False) -> Split:
        """Split the training photos into folds, classes even and near duplicates together, as `kit folds`.

        Returns:
            The folds, also where they were there: `.fold` and `.group` of each training photo, `(N,)` int, and
            `train_positions(fold)`, `valid_positions(fold)`.

        Raises:
            UsageError: fewer than 2 folds, or fewer groups of photos than folds.
            Mismatch: other folds are there; `force` replaces them, and what was trained on them no longer counts.

        >>> kit.open(".").folds(k=3).valid_positions(0).shape
        (4,)
        """
        from kit.data.splitting import ensure_folds

        return ensure_folds(self.opened, k=k, seed=seed, force=force)[1]

    def fill(self, names: Names = "all", *, jobs: int = 0, force: bool = False) -> Fills:
        """Fill every hole by classical methods and store each as a source, as `kit fill`.

        Args:
            names: `mean`, `telea`, `navier-stokes`, `harmonic`, `fractional`, several of them, or `all`.
            jobs: so many processes; 0 takes threads. The values are the same. A script that gives it must be guarded
                by `if __name__ == "__main__"`.

        Raises:
            UnknownName: there is no such fill.

        >>> kit.open(".").fill(["mean", "harmonic"])
        fill      state
        --------  -------------
        mean      there already
        harmonic  there already
        """
        from kit.data.fill_sources import fills_named, make_fill_source

        opened = self.opened
        made = [
            Filled(name, already=not make_fill_source(opened, name, force=force, processes=jobs))
            for name in fills_named(_listed(names))
        ]
        return Fills(tuple(made))

    def train(
        self,
        experiment: str | None = None,
        fold: Folds = (),
        *,
        name: str | None = None,
        config: FilePath | None = None,
        device: str = "auto",
        max_minutes: float | None = None,
        compiled: bool = False,
        tensorboard: bool = False,
        force: bool = False,
        **settings: object,
    ) -> Trainings:
        """Train on all folds but one, and predict that one and the test photos, as `kit train`.

        Interrupted and called again, it goes on where it was; what is done is skipped.

        Args:
            experiment: one of `kit train --list`, a source that was trained before, or `FILE.py:NAME`. Default: what
                `config` says, else `regress-imagenet`.
            fold: a number, several, `all`, or `full`: a model of all training photos, which predicts test photos alone.
            name: store the source under this name.
            config: take settings from this TOML file.
            device: `auto`, `cpu`, `cuda`, `cuda:1` ...
            max_minutes: plan each fold for this long; an epoch at least.
            compiled: run the generator through `torch.compile`.
            tensorboard: write TensorBoard events beside `log.csv`.
            force: train again, in place of what is there.
            settings: over those of the experiment: `size=128, epochs=60, decoder_channels=(64, 32)`.

        Raises:
            UnknownName: there is no such experiment or setting.
            UsageError: a value that cannot be, or one that changes nothing.
            Mismatch: other settings are stored under this name.
            TrainingError: it has diverged, or the device's memory is too small.
            MissingPackage: torch is not installed.
        """
        request = Request(experiment, settings, name, None if config is None else Path(config), force)
        options = {"max_minutes": max_minutes, "compiled": compiled, "board": tensorboard}
        with extras_of("train"):
            return train(self.opened, request, fold, device, options)

    def predict(
        self, source: str, fold: Folds = "all", *, device: str = "auto", size: int | None = None, force: bool = False
    ) -> PredictedFolds:
        """Predict again from stored weights, as `kit predict SOURCE`: each fold's photos and the test photos.

        Args:
            source: a trained source.
            fold: as for `train`.
            size: show photos at this side from now on; 0: as trained.

        Raises:
            UnknownName: there is no such source.
            MissingStep, Mismatch: a fold has not been trained, or on other folds.
        """
        with extras_of("predict"):
            return predict(self.opened, source, fold, device=device, size=size, force=force)

    def predict_tests(
        self,
        photos: FilePath,
        what: What = None,
        *,
        out: FilePath | None = None,
        work: FilePath | None = None,
        device: str = "auto",
        force: bool = False,
    ) -> PredictedTests:
        """Predict other test photos and write their checked submission, as `kit predict --input`.

        Args:
            photos: a folder or zip in the competition's layout, such as the hidden photos of a notebook competition.
            what: a blend or a source, by default the newest blend.
            out: copy the submission to this `.csv` or `.zip` too.
            work: keep the work here, by default in the workspace.

        Raises:
            UnknownName, UsageError: there is no such blend or source, or it cannot predict other photos.
            KitError: of photos, folds and models that do not fit.
        """
        with extras_of("predict"):
            from kit.applying import predict_tests
            from kit.core.workspace import check_output

            target, opened = None if out is None else Path(out), self.opened
            if target is not None:
                check_output(opened.workspace, target)
            where = None if work is None else Path(work)
            name = name_of(what)
            return predict_tests(opened, Path(photos), name, out=target, work=where, device=device, force=force)

    def fill_pictures(
        self, images: FilePath, masks: FilePath, out: FilePath, what: What = None, *, device: str = "auto"
    ) -> FilledPictures:
        """Fill pictures of your own where their masks are white, as `kit predict --images`; the rest stays bit for bit.

        Args:
            images: a folder of pictures of any shape.
            masks: their masks, by the same names or NAME_mask.
            out: the folder for the filled ones, as PNG.
            what: a blend or a source, by default the newest blend.

        Raises:
            UnknownName, UsageError: there is no such blend or source, or it cannot predict other photos.
            ImageError: a picture or mask that cannot be read, or is not there.
        """
        with extras_of("predict"):
            from kit.applying import fill_pictures
            from kit.core.workspace import check_output

            opened, target = self.opened, Path(out)
            check_output(opened.workspace, target)
            return fill_pictures(opened, Path(images), Path(masks), target, name_of(what), device=device)

    def sources(self) -> Sources:
        """Score every source, as `kit sources`: best first, 95 % interval by photo.

        >>> found = kit.open(".").sources()
        >>> found["harmonic"].complete, list(found.frame.columns[:4])
        (True, ['name', 'score', 'score_low', 'score_high'])
        """
        from kit.blending import score_sources

        opened = self.opened
        return Sources(tuple(score_sources(opened)), _metric(opened))

    def blend(
        self,
        members: Names | None = None,
        rung: str = "auto",
        name: str | None = None,
        *,
        stack: bool = False,
        seed: int = 0,
    ) -> Blend:
        """Find the weights that score best, and how good they are on photos they were not fitted on, as `kit blend`.

        Args:
            members: sources; by default every complete one.
            rung: one by name, or `auto`: climb as far as the gain is credible.
            name: by default made from what goes in.
            stack: train a stacking network too (minutes).
            seed: of the intervals.

        Raises:
            UnknownName: there is no such source or rung.
            MissingStep: no source is complete, or a member lacks folds.
            Mismatch: predictions for other photos or folds.

        >>> b = kit.open(".").blend(["mean", "harmonic"], rung="simplex", name="both")
        >>> sorted(b.weights), round(sum(b.weights.values()), 6), b.cv.low <= b.cv.value <= b.cv.high
        (['harmonic', 'mean'], 1.0, True)
        """
        from kit.blending import chosen_members, make_blend, nested_weights, stack_recipe

        opened, named = self.opened, [] if members is None else _listed(members)
        if stack:
            with extras_of("blend"):
                from kit.learning.stacking import train_stack

                chosen_names = chosen_members(opened, named)
                train_stack(opened, chosen_names, nested_weights(opened, chosen_names), seed=seed)
        made = make_blend(opened, named, name=name, rung=rung, seed=seed)
        left_out = tuple(
            source
            for source in ([] if named else opened.predictions.sources())
            if source not in made.weights and stack_recipe(opened, source) is None
        )
        return Blend(made, opened.workspace, _metric(opened), left_out)

    def blends(self) -> Blends:
        """Return the blends that are there, newest first, as `kit blends`."""
        from kit.upkeep.status import list_blends

        return Blends(list_blends(self.opened))

    # --- what leaves the machine

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

        opened = self.opened
        chosen = with_network(metric_named(metric) if metric else opened.layout.graded_by)
        path, originals = Path(file).expanduser(), Path(truth).expanduser()
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

    def status(self) -> Status:
        """Return what is here, what is stale and why, what runs, and what to do next, as `kit status`.

        >>> kit.open(".").status().data
        '12 training and 4 test photos, of unknown origin'
        """
        from kit.upkeep.status import read_status

        return read_status(self.opened)

    # --- a loop of one's own

    @property
    def predictions(self) -> Store:
        """Return the store of every source's predictions; `write` is the way into it for a loop of one's own."""
        from kit.api.store import Store

        return Store(self.opened)

    def batches(
        self,
        experiment: str = "regress",
        fold: Fold = 0,
        *,
        epochs: int = 1,
        begin: int = 0,
        device: str = "cpu",
        **settings: object,
    ) -> Batches:
        """Return the batches on which the model of a fold may be trained, as `kit train` would make them.

        Each is a `kit.learning.datasets.Batch`: `filled`, `hole`, `target`, `weight` at the experiment's size, with
        fresh holes and the base fill in them. Passing over it once more brings the next epochs, as a data loader does;
        equal calls bring equal batches.

        Args:
            experiment: whose sizes, boxes, augmentation and base fill: `kit train --list`, section by section.
            fold: the fold that the model is not to see; `full`: it sees every training photo.
            epochs: in one pass.
            begin: the first epoch, to go on.
            device: where they are made.
            settings: over those of the experiment.

        >>> batches = kit.open(".").batches("regress", fold=0, size=32, batch_size=4)
        >>> len(batches), [tuple(batch.filled.shape) for batch in batches]
        (2, [(4, 3, 32, 32), (4, 3, 32, 32)])
        """
        with extras_of("train"):
            from kit.api.loop import batches

            opened = self.opened
            return batches(
                opened, self._settings(opened, experiment, settings), fold, epochs=epochs, begin=begin, device=device
            )

    def validation(self, experiment: str = "regress", fold: Fold = 0, **settings: object) -> Inputs:
        """Return the photos of a fold as its model is to predict them: `filled`, `hole`, `positions`, `to_values`.

        Args:
            experiment: as for `batches`, with the same settings.
            fold: the fold that the model has not seen.

        Raises:
            UsageError: a full model has seen every photo.

        >>> inputs = kit.open(".").validation("regress", fold=0, size=32)
        >>> inputs, inputs.to_values(inputs.filled * 0)
        (<4 photos of fold 0, 32 px>, <values of 4 photos of fold 0, 32 px>)
        """
        with extras_of("train"):
            from kit.api.loop import inputs

            opened = self.opened
            return inputs(opened, self._settings(opened, experiment, settings), "oof", fold)

    def test(self, experiment: str = "regress", fold: Fold | None = None, **settings: object) -> Inputs:
        """Return the test photos as a model is to predict them, see `validation`.

        Args:
            fold: of which the model is; needed only where networks take a condition (`clip_model`).
        """
        with extras_of("train"):
            from kit.api.loop import inputs

            opened = self.opened
            return inputs(opened, self._settings(opened, experiment, settings), "test", fold)

    def _settings(self, opened: Opened, experiment: str, settings: dict[str, object]) -> Experiment:
        return chosen(opened, Request(experiment, settings))


def _listed(names: Names) -> list[str]:
    """Return names as a list: one may be given alone."""
    return [names] if isinstance(names, str) else [*names]


def _metric(opened: Opened) -> str:
    """Return what the competition's score is called."""

    return opened.layout.measured_by.label
