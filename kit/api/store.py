"""The prediction store for a loop of the user's own, under the rule of OOF: no model predicts a photo that it has seen.
Knows no network.
"""

from __future__ import annotations

import html
import itertools
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from kit.api.loop import Batches, Values, checked_fold, made_from
from kit.api.pictures import html_of_source
from kit.core.storage import digest_of
from kit.core.tables import Shown
from kit.core.workspace import FULL, Fold, PredictionSplit
from kit.data.prediction_store import SourceKind, splits_of
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.data.scoring import rmse_of
from kit.errors import Mismatch, UsageError
from kit.exchange.checks import NEAR_TRUTH


@dataclass(frozen=True)
class Written(Shown):
    """A fold of a source as it is in the store now."""

    name: str
    fold: Fold
    rmse: float
    """On the fold's photos, in score space; NaN of a full model."""
    missing: tuple[int, ...]
    """Folds that are still to be written before a blend takes the source."""


@dataclass(frozen=True)
class SourcePredictions(Predictions):
    """One source's values of one split; a notebook shows a few of its photos filled."""

    project: Project = field(repr=False, compare=False)

    def __repr__(self) -> str:
        """Return whose they are, and of how many photos."""
        return f"<{self.split} predictions of {self.source}, {len(self.photos)} photos>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>" + html_of_source(self.project, self)


class Store:
    """The predictions of a project's sources: to be read, and written by a loop of one's own."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def __repr__(self) -> str:
        """Return the sources' names."""
        return f"<predictions of {', '.join(self.names()) or 'no source'}>"

    def names(self) -> list[str]:
        """Return the names of all sources, sorted."""
        return self._project.predictions.sources()

    def read(self, source: str, split: PredictionSplit, *, partial: bool = False) -> SourcePredictions:
        """Open a source: `.values(photo)` gives `(n, 3)` float32 of the photo at that place of its split.

        Args:
            split: `oof` or `test`.
            partial: also where folds are absent.

        Raises:
            UnknownName: there is no such source.
            MissingStep, Mismatch, DamagedStore: it cannot be read.
        """
        found = self._project.predictions.read(source, split, partial=partial)
        return SourcePredictions(**{one.name: getattr(found, one.name) for one in fields(found)}, project=self._project)

    def write(
        self,
        source: str,
        fold: Fold,
        *,
        oof: Iterable[Any] | None = None,
        test: Iterable[Any],
        trained_on: Batches | Iterable[int] | None = None,
        settings: Mapping[str, object] | None = None,
        seconds: float = 0.0,
    ) -> Written:
        """Store what the model of a fold predicts, in place of what was written of that fold before.

        OOF means out of fold: the model must not have seen the photos of `oof`. Kit refuses what it can notice: values
        of another fold or of older folds, and a fold that `trained_on` has a photo of; values that are as good as the
        truth are warned of.

        Args:
            source: a new name, or that of a source that was written so.
            fold: the fold that the model has not seen; `full` for a model of all training photos, which has no `oof`.
            oof: of the fold's photos in order, `(n, 3)` RGB in [0, 1] for each, in the order of its scored pixels; or
                `inputs.to_values(...)`.
            test: the same of all test photos.
            trained_on: the batches, or places of the training photos, that the model was trained on.
            settings: what the folds of this source must have in common, as JSON has it.
            seconds: what it cost, for `sources`.

        Raises:
            UsageError: the name is something else's, there is no such fold, or a value breaks the rule above.
            Mismatch: other folds of the source were written with other settings, or the folds are others now.
            PredictionsError: values that are not finite, or not one `(n, 3)` array for each photo.
        """
        _check_name(self._project, source)
        fold = checked_fold(self._project, fold)
        given: dict[PredictionSplit, Iterable[Any] | None] = {"oof": oof, "test": test}
        _check_given(self._project, fold, given)
        _check_seen(self._project, fold, trained_on)
        recipe = _recipe(source, settings or {})
        _check_alike(self._project, source, fold, recipe)
        # whatever happens between the two parts, no fold has OOF of one model and test predictions of another
        self._project.predictions.delete(source, fold)
        for split in splits_of(fold):
            self._project.predictions.write(
                source,
                split,
                _arrays(given[split]),
                made_by=f"project.predictions.write({source!r}, {fold!r})",
                recipe=recipe,
                fold=fold,
                seconds=(lambda: seconds) if split == splits_of(fold)[0] else None,
            )
        missing = tuple(self._project.predictions.missing_folds(source, "oof"))
        return Written(source, fold, _rmse(self._project, source, fold), missing)


def _check_name(project: Project, source: str) -> None:
    from kit.learning.experiments import EXPERIMENTS

    hint = "Choose another name for your source."
    project.predictions.claim_name(source, SourceKind.LOOP, hint=hint)
    if source in EXPERIMENTS:
        raise UsageError(f"{source} is an experiment. {hint}")


def _recipe(source: str, settings: Mapping[str, object]) -> dict[str, Any]:
    """Return what all folds of a source have in common. Raises `UsageError` for settings that JSON cannot hold."""
    try:
        json.dumps(dict(settings), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"settings={settings!r}: {error}. Give numbers, texts, lists and such.") from None
    return {"kind": SourceKind.LOOP.value, "name": source, "settings": dict(settings)}


def _check_given(project: Project, fold: Fold, given: Mapping[PredictionSplit, Iterable[Any] | None]) -> None:
    """Raise for values that are absent, too many, or of something else."""
    here = made_from(project, fold)
    if fold == FULL and given["oof"] is not None:
        raise UsageError("A full model has seen every training photo, so it has no OOF predictions: leave oof out.")
    for split in splits_of(fold):
        values = given[split]
        if values is None:
            raise UsageError(f"Fold {fold} needs oof, the predictions of its own photos, and test. {split} is missing.")
        if not isinstance(values, Values):
            continue
        of = values.inputs
        if of.split != split:
            raise UsageError(f"{split}= is given the values of {of!r}.")
        if of.made_from.fold is not None and of.made_from.fold != fold:
            raise UsageError(f"{split}= is given the values of fold {of.made_from.fold}, to be stored as fold {fold}.")
        if (of.made_from.index, of.made_from.folds) != (here.index, here.folds):
            raise Mismatch("Index or folds were made anew since these values were begun. Train on the new ones.")


def _check_seen(project: Project, fold: Fold, trained_on: Batches | Iterable[int] | None) -> None:
    """Raise `UsageError` for a model that has seen photos of the fold."""
    if trained_on is None or fold == FULL:
        return
    seen = trained_on.positions if isinstance(trained_on, Batches) else np.fromiter(trained_on, np.int64)
    both = np.intersect1d(seen, project.folds.valid_positions(fold))
    if len(both):
        first = project.index.train[int(both[0])].id
        raise UsageError(
            f"The model was trained on {len(both)} of the photos of fold {fold} (first: {first}), so its predictions "
            "of them are not out of fold. Train on project.batches(..., fold=...) of the same fold."
        )


def _check_alike(project: Project, source: str, fold: Fold, recipe: Mapping[str, Any]) -> None:
    """Raise `Mismatch` where other folds of the source, which are read as one with this, have other settings."""
    store = project.predictions
    others: list[Fold] = [*range(project.folds.k), FULL]
    for other in others:
        manifest = None if other == fold else store.manifest(source, "test", other)
        if manifest is None or manifest["folds"] != store.folds_digest(other):
            continue
        if digest_of(manifest["recipe"]) != digest_of(recipe):
            raise Mismatch(
                f"Fold {other} of {source} was written with settings {manifest['recipe'].get('settings')}. Give this "
                f"one the same, or another name; or give up the old ones: kit rm {source}"
            )


def _arrays(values: Iterable[Any] | None) -> Iterator[np.ndarray]:
    """Yield each photo's values as an array, tensors included."""
    for one in () if values is None else values:
        yield np.asarray(one.detach().cpu() if hasattr(one, "detach") else one, np.float32)


def _rmse(project: Project, source: str, fold: Fold) -> float:
    """Return the RMSE of a fold that is stored, in score space; warn where it is too good to be out of fold."""
    if fold == FULL:
        return float("nan")
    positions = project.folds.valid_positions(fold).tolist()
    photo_rows = [project.index.train[position] for position in positions]
    values = np.load(project.predictions.path(source, "oof", fold), mmap_mode="r")
    starts = [0, *itertools.accumulate(photo_row.scored for photo_row in photo_rows)]
    stored = (values[start:end].astype(np.float32) for start, end in itertools.pairwise(starts))
    rmse = rmse_of(stored, positions, photo_rows, project.pack)
    if rmse < NEAR_TRUTH:
        text = f"{source}, fold {fold}: an RMSE of {rmse:.4f} is as good as the truth. Did the model see these photos?"
        warnings.warn(text, stacklevel=3)
    return rmse
