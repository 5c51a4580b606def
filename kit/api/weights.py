"""Pretrained weights of encoders: `project.weights`, as `kit weights`. Computes nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.api.folder import FilePath, Folder, path_of, say
from kit.api.needs import extras_of
from kit.api.tables import Table
from kit.core.tables import Shown

if TYPE_CHECKING:
    from kit.pretrained.weights.managing import Source


class Places(Table["Source"]):
    """Where weights can be had; a model's first row is what `encoder_weights=imagenet` takes."""

    named_by = "model"

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("model", "from", "here", "licence", "MB", "where")

    def cells(self, record: Source) -> Sequence[str]:
        """Return what is shown of a place."""
        size = "-" if record.megabytes is None else f"{record.megabytes:.1f}"
        return (record.model, record.place, "yes" if record.here else "-", record.licence, size, record.where)


@dataclass(frozen=True)
class WeightsFile(Shown):
    """A file of weights."""

    path: Path
    models: tuple[str, ...]
    """Of timm, that it fits."""
    tensors: int
    digest: str
    """Of the tensors under timm's names."""
    licence: str
    already: bool
    """It was there before."""


class Weights:
    """The verbs of `kit weights`."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def list(self) -> Places:
        """Return what can be had for the encoders of the catalog and of trainings here, as `kit weights list`.

        >>> "tf_efficientnet_lite0" in [place.model for place in kit.open(".").weights.list()]
        True
        """
        with extras_of("weights"):
            from kit.learning.encoders_used import encoders_used
            from kit.pretrained.weights.managing import list_weights

            return Places(tuple(list_weights(encoders_used(self._folder.folder))))

    def get(self, name: str, out: FilePath | None = None) -> WeightsFile:
        """Bring a model's weights to this machine, as `kit weights get`; licence and size are said before a download.

        Args:
            name: a model of timm.
            out: write this `.safetensors`, and nothing into the cache.

        Raises:
            UnknownName: timm has no such model.
            TrainingError: no place has its weights.
        """
        with extras_of("weights"):
            from kit.pretrained.weights.managing import get_weights

            got = get_weights(name, path_of(out), say=say)
            fit, place = got.found.fit, got.found.place
            return WeightsFile(
                got.path, (fit.model,), len(fit.tensors), got.found.digest, place.licence, already=not got.fresh
            )

    def check(self, file: FilePath, encoder: str | None = None) -> WeightsFile:
        """Return what a weights file is, and which encoders it fits, as `kit weights check`. No code in it is run.

        Args:
            encoder: whether it fits this model of timm.

        Raises:
            TrainingError: it fits none, or cannot be read.
        """
        with extras_of("weights"):
            from kit.pretrained.weights.managing import check_file

            found, path = check_file(Path(file).expanduser(), encoder), Path(file).expanduser()
            models = tuple(fit.model for fit in found.fits)
            return WeightsFile(path, models, found.tensors, found.digest, "unknown, a file does not say", already=True)
