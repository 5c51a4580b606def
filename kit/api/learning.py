"""What is trained, and what it predicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kit.api.folder import FilePath, Folder, Names, listed, path_of
from kit.api.needs import extras_of
from kit.api.results import PredictedFolds, Study, Trainings, Tried
from kit.api.sending import What, name_of
from kit.api.training import Folds, Request, predict, train, try_training, tune

if TYPE_CHECKING:
    from kit.api.clip import Clip
    from kit.api.filled import FilledFolder
    from kit.api.sampling import Sampling
    from kit.api.weights import Weights
    from kit.applying.other_tests import PredictedTests
    from kit.core.workspace import Fold


class Learning(Folder):
    """Trainings, and the predictions of what is trained."""

    def train(
        self,
        experiment: str | None = None,
        fold: Folds = (),
        *,
        name: str | None = None,
        config: FilePath | None = None,
        seeds: int = 1,
        mean: bool = False,
        device: str = "auto",
        gpus: str | int | Iterable[int] | None = None,
        jobs: int | None = None,
        on: str | None = None,
        cpus: int | None = None,
        bucket: str | None = None,
        max_minutes: float | None = None,
        compiled: bool = False,
        tensorboard: bool = False,
        log: Names = (),
        pictures: bool = True,
        force: bool = False,
        **settings: object,
    ) -> Trainings:
        """Train on all folds but one, and predict that one and the test photos, as `kit train`.

        Interrupted and called again, it goes on where it was; what is done is skipped. With `gpus`, `jobs` or `on`
        each training is a process of its own, which ends with this one.

        Args:
            experiment: one of `kit train --list`, a source that was trained before, or `FILE.py:NAME`. Default: what
                `config` says, else `regress-imagenet`.
            fold: a number, several, `all`, or `full`: a model of all training photos, which predicts test photos alone.
            name: store the source under this name.
            config: take settings from this TOML file.
            seeds: so many sources, with the seeds after the experiment's own: NAME, NAME-s1, NAME-s2 ...
            mean: store the mean of the seeds too, as NAME-mean, once all their folds are there.
            device: `auto`, `cpu`, `cuda`, `cuda:1` ...
            gpus: `all` or numbers: one training at a time on each of these.
            jobs: so many at a time, which share the cores; or the GPUs, where these are given.
            on: `ray`: each training is a job of the cluster of RAY_ADDRESS, or of a Ray of this machine. `gpus` is then
                how many it has.
            cpus: cores of each job on a cluster.
            bucket: by way of this object store jobs on a cluster get and return files, such as `s3://mine/work`.
            max_minutes: plan each fold for this long; an epoch at least.
            compiled: run the generator through `torch.compile`.
            tensorboard: as `log="tensorboard"`.
            log: trackers to write to: `tensorboard`, `wandb`, `mlflow`, `trackio`.
            pictures: draw `progress.png` and `strip.png` beside `log.csv`.
            force: train again, in place of what is there.
            settings: over those of the experiment: `size=128, epochs=60, decoder_channels=(64, 32)`.

        Raises:
            UnknownName: there is no such experiment or setting.
            UsageError: a value that cannot be, or one that changes nothing.
            Mismatch: other settings are stored under this name.
            TrainingError: it has diverged, or the device's memory is too small; of several, which have failed.
            Busy: another process is training one of them; the others are done.
            MissingPackage: torch is not installed.
        """
        request = Request(experiment, settings, name, path_of(config), force)
        from kit.core.trackers import chosen_trackers
        from kit.report.training import TrainingPictures

        trackers = chosen_trackers([*listed(log), *(["tensorboard"] if tensorboard else [])])
        drawn = TrainingPictures if pictures else None
        options = {"max_minutes": max_minutes, "compiled": compiled, "trackers": trackers, "pictures": drawn}
        with extras_of("train"):
            from kit.pretrained.slots import place_for

            where = place_for(on, _numbers(gpus), jobs, cpus, device, bucket)
            return train(self.opened, request, fold, device, options, seeds=seeds, mean=mean, where=where)

    def try_(
        self,
        experiment: str | None = None,
        fold: Fold = 0,
        *,
        config: FilePath | None = None,
        device: str = "auto",
        compiled: bool = False,
        **settings: object,
    ) -> Tried:
        """Train one epoch and store nothing, as `kit train --try`: does it run, and how long would it take?

        Args:
            experiment, config, device, compiled, settings: as for `train`.
            fold: a number, or `full`.

        Returns:
            Seconds and RMSE of the epoch, and `.seconds_a_fold`, `.seconds_of_all_folds`.

        Raises:
            UnknownName, UsageError, TrainingError: as `train`.

        >>> project = kit.open(".")
        >>> tried = project.try_("regress", architecture="plain", width=8, size=32, batch_size=8, base="mean")
        >>> tried.fold, tried.epochs, tried.rmse < 1, "regress" in project.predictions.names()
        (0, 12, True, False)
        """
        request = Request(experiment, settings, None, path_of(config))
        with extras_of("train"):
            options = {"max_minutes": None, "compiled": compiled}
            return try_training(self.opened, request, fold, device, options)

    def tune(
        self,
        experiment: str | None = None,
        *,
        trials: int = 20,
        max_minutes: float | None = None,
        fold: int = 0,
        space: Mapping[str, object] | None = None,
        config: FilePath | None = None,
        name: str | None = None,
        device: str = "auto",
        gpus: str | int | Iterable[int] | None = None,
        jobs: int | None = None,
        on: str | None = None,
        cpus: int | None = None,
        bucket: str | None = None,
        force: bool = False,
        **settings: object,
    ) -> Study:
        """Find settings that score best on one fold, as `kit tune`; called again, it goes on where it was.

        Args:
            experiment: an experiment, or a trained source.
            trials: in all, the first included, which has the experiment's own settings.
            max_minutes: stop then.
            fold: the one that measures.
            space: tune these too: `{"l1_weight": (10, 1000), "adversary": ["bce", "lsgan"]}`.
            config: take settings from this TOML file.
            name: of the study; by default EXPERIMENT-tuned.
            gpus, jobs: as for `train`: so many trials at a time, which are proposed together.
            on, cpus, bucket: as for `train`: on a cluster, one at a time or as many as `jobs`.
            force: begin it anew.
            settings: fixed, and not tuned.

        Returns:
            The trials; `.best`, `.default`, and `.config` for `train(config=...)`.

        Raises:
            UnknownName, UsageError: a setting or value that cannot be, or a name that is taken.
            Mismatch: another study has this name.
            MissingPackage: Optuna is not installed.
        """
        request = Request(experiment, settings, name, path_of(config), force)
        with extras_of("tune"):
            from kit.pretrained.slots import place_for

            where = place_for(on, _numbers(gpus), jobs, cpus, device, bucket)
            return tune(self.opened, request, fold, space or {}, device, where, trials=trials, max_minutes=max_minutes)

    @property
    def sd(self) -> Sampling:
        """Return what `kit sd` does: `sd.run`, `sd.status`, `sd.curve`."""
        from kit.api.sampling import Sampling

        return Sampling(self)

    @property
    def clip(self) -> Clip:
        """Return what `kit clip` does: `clip.embed`, `clip.classes`, `clip.prompts`, `clip.neighbours`."""
        from kit.api.clip import Clip

        return Clip(self)

    @property
    def weights(self) -> Weights:
        """Return what `kit weights` does: `weights.list`, `weights.get`, `weights.check`."""
        from kit.api.weights import Weights

        return Weights(self)

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
            from kit.applying.other_tests import predict_tests
            from kit.core.workspace import check_output

            target, opened = None if out is None else Path(out), self.opened
            if target is not None:
                check_output(opened.workspace, target)
            where = None if work is None else Path(work)
            name = name_of(what)
            return predict_tests(opened, Path(photos), name, out=target, work=where, device=device, force=force)

    def fill_pictures(
        self, images: FilePath, masks: FilePath, out: FilePath, what: What = None, *, device: str = "auto"
    ) -> FilledFolder:
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
            from kit.api.filled import FilledFolder
            from kit.applying.pictures import fill_pictures
            from kit.core.workspace import check_output

            opened, target = self.opened, Path(out)
            check_output(opened.workspace, target)
            done = fill_pictures(opened, Path(images), Path(masks), target, name_of(what), device=device)
            return FilledFolder(**vars(done))


def _numbers(gpus: str | int | Iterable[int] | None) -> str | None:
    """Return GPUs as they are typed after `--gpus`."""
    if gpus is None or isinstance(gpus, str):
        return gpus
    return ",".join(map(str, [gpus] if isinstance(gpus, int) else gpus))
