"""Vectors of what photos show, and what follows from them: `project.clip`, as `kit clip`. Computes nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kit.api.folder import Folder, Names, listed, say
from kit.api.needs import extras_of
from kit.api.results import Filled
from kit.api.tables import Table
from kit.core.tables import html_table

if TYPE_CHECKING:
    from kit.pretrained.clip.model import ClipModel
    from kit.pretrained.clip.zero_shot import PromptScore

THUMBNAIL = "thumbnail"


@dataclass(frozen=True, repr=False)
class Vectors:
    """One vector of the visible part of each photo."""

    model: str
    train: np.ndarray
    """`(N, D)` float32 of unit length."""
    test: np.ndarray

    def __repr__(self) -> str:
        """Return how many they are."""
        sizes = f"{len(self.train)} training and {len(self.test)} test photos"
        return f"<{sizes} by {self.model}, {self.train.shape[1]} numbers each>"

    def _repr_html_(self) -> str:
        rows = [(split, str(len(one))) for split, one in (("train", self.train), ("test", self.test))]
        return html_table(("split", "photos"), rows, [f"{self.train.shape[1]} numbers each, by {self.model}"])


@dataclass(frozen=True)
class PhotoClass:
    """The class of one photo."""

    photo: str
    split: str
    known: str
    """What the layout says; "" where it says nothing."""
    predicted: str


@dataclass(frozen=True, repr=False)
class Classes(Table[PhotoClass]):
    """The class that a CLIP predicts for each photo."""

    right: tuple[tuple[str, float, int], ...] = ()
    """By split: the share that is right, and of how many photos whose class is known."""

    named_by = "photo"

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("photo", "split", "known", "predicted")

    def cells(self, record: PhotoClass) -> Sequence[str]:
        """Return what is shown of a photo."""
        return (record.photo, record.split, record.known or "-", record.predicted)

    def notes(self) -> Iterable[str]:
        """Yield how often it is right."""
        return (f"Right on {share:.1%} of the {told} {split} of known class." for split, share, told in self.right)


class Prompts(Table["PromptScore"]):
    """Prompts, the best first."""

    named_by = "template"

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("prompt", "OOF RMSE", "similarity")

    def cells(self, record: PromptScore) -> Sequence[str]:
        """Return what is shown of a prompt."""
        return (record.template, "-" if record.rmse is None else f"{record.rmse:.4f}", f"{record.similarity:.4f}")


class Clip:
    """The verbs of `kit clip`. A model is `thumbnail`, a folder, OWNER/NAME of the hub, or timm:MODEL:WEIGHTS_FILE."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def embed(self, model: str = THUMBNAIL, *, download: bool = False, device: str = "auto") -> Vectors:
        """Compute the vector of each photo's visible part, as `kit clip embed`; those that are stored stay.

        Args:
            download: fetch from the hub what is not here.

        Raises:
            UsageError: there is no such model.
            MissingStep: it is on the hub, and `download` is not given; says licence and size.

        >>> vectors = kit.open(".").clip.embed()
        >>> vectors.train.shape[0], vectors.test.shape[0]
        (12, 4)
        """
        with extras_of("clip"):
            found, opened = _model(model, download), self._folder.opened
            from kit.pretrained.clip.embeddings import SPLITS, photo_embeddings
            from kit.pretrained.devices import device_named

            place = device_named(device)
            train, test = (photo_embeddings(opened, found, split, device=place) for split in SPLITS)
            return Vectors(found.text, train, test)

    def classes(
        self,
        model: str,
        names: Names = (),
        prompts: Names = (),
        *,
        download: bool = False,
        device: str = "auto",
    ) -> Classes:
        """Predict each photo's class, as `kit clip classes`.

        Args:
            names: of the classes; by default those of the training photos.
            prompts: templates with `{class}` in them; several are averaged.

        Raises:
            UsageError: fewer than two names, or a model that reads no text.
        """
        with extras_of("clip"):
            found, opened = _model(model, download), self._folder.opened
            from kit.pretrained.clip.embeddings import SPLITS
            from kit.pretrained.clip.zero_shot import TEMPLATE, zero_shot
            from kit.pretrained.devices import device_named

            place, templates = device_named(device), listed(prompts) or [TEMPLATE]
            records, right = list[PhotoClass](), list[tuple[str, float, int]]()
            for split in SPLITS:
                one = zero_shot(opened, found, split, names=listed(names), templates=templates, device=place)
                ids = [photo_row.id for photo_row in opened.index.split(split)]
                records += map(PhotoClass, ids, [split] * len(ids), one.known, one.chosen)
                right += [(split, one.agreement, one.told)] if one.told else []
            return Classes(tuple(records), tuple(right))

    def prompts(self, templates: Names, model: str, *, download: bool = False, device: str = "auto") -> Prompts:
        """Compare prompts with the training photos, and with what `sd` drew by them, as `kit clip prompts`.

        Args:
            templates: with or without `{class}`.

        Raises:
            UsageError: no template, or a model that reads no text.
        """
        with extras_of("clip"):
            found, opened, chosen = _model(model, download), self._folder.opened, listed(templates)
            from kit.blending.by_prompt import rmse_by_prompt
            from kit.pretrained.clip.zero_shot import search_prompts
            from kit.pretrained.devices import device_named

            rmse = rmse_by_prompt(opened, chosen)
            return Prompts(tuple(search_prompts(opened, found, chosen, rmse=rmse, device=device_named(device))))

    def neighbours(
        self,
        model: str = THUMBNAIL,
        *,
        k: int = 32,
        name: str | None = None,
        download: bool = False,
        device: str = "auto",
        force: bool = False,
    ) -> Filled:
        """Make a source of the fill, corrected by similar photos of other folds, as `kit clip neighbours`.

        Args:
            k: neighbours of each photo.
            name: store the source under this name.
            force: make it again.

        Raises:
            UsageError: a number or name that cannot be.
        """
        with extras_of("clip"):
            found, opened = _model(model, download), self._folder.opened
            from kit.learning.neighbours.source import NAME, make_neighbours
            from kit.pretrained.devices import device_named

            called = name or NAME
            made = make_neighbours(opened, found, k=k, name=called, device=device_named(device), force=force)
            return Filled(called, already=not made)


def _model(text: str, download: bool) -> ClipModel:
    from kit.pretrained.clip.model import bring_model

    return bring_model(text, download=download, say=say)
