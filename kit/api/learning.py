"""What is trained, and what it predicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kit.api.folder import FilePath, Folder
from kit.api.needs import extras_of
from kit.api.results import PredictedFolds, Trainings
from kit.api.sending import What, name_of
from kit.api.training import Folds, Request, predict, train

if TYPE_CHECKING:
    from kit.applying import FilledPictures, PredictedTests


class Learning(Folder):
    """Trainings, and the predictions of what is trained."""

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
