"""The prediction store: every source's predictions of one project, written, named and opened. Knows no model.

    predictions/<source>/oof/<part>.npy, .json      training photos, each predicted by what has not seen it
    predictions/<source>/test/<part>.npy, .json     test photos

A part is `all` (fitted on no fold: classical fills, pretrained generators) or `fold_<k>` (in `oof` the photos of that
fold, in `test` all test photos; the folds' test predictions are averaged when read). `fold_full`, in `test` alone, is
one member more of that mean: what a model of all training photos says. Each `.npy` is flat, float16 `(values, 3)` RGB
in [0, 1]: photo after photo in index order, within a photo the scored pixels in order
(`kit.imaging.holes.scored_pixels`). Folds trained on different machines meet here by copying files: no step gathers
them. The manifest is written last and names the digests of index, folds, recipe and values.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kit.core.parallel import is_main_process
from kit.core.speech import say_once
from kit.core.storage import digest_of, read_json, sweep, write_json, writing
from kit.core.workspace import (
    FULL,
    NAMED_SO,
    Fold,
    PredictionSplit,
    Split,
    Workspace,
    checked_name,
    checked_source_name,
    is_name,
)
from kit.data.folds import Folds
from kit.data.index import Index, PhotoRow
from kit.data.predictions import Part, Predictions
from kit.errors import DamagedStore, Mismatch, MissingStep, PredictionsError, StoreError, UnknownName, UsageError
from kit.imaging.fills import FILLS

ALL = "all"
SPLITS: tuple[PredictionSplit, PredictionSplit] = ("oof", "test")


class SourceKind(StrEnum):
    """The kind of thing that made a source, as `kind` in its recipe; blends share the sources' names."""

    FILL = "fill"
    EXPERIMENT = "experiment"
    STACK = "stack"
    IMPORT = "import"
    DIFFUSION = "diffusion"
    NEIGHBOURS = "neighbours"
    MEAN = "mean"
    LOOP = "loop"
    BLEND = "blend"


CALLED = {
    SourceKind.FILL: "a fill",
    SourceKind.EXPERIMENT: "a trained experiment",
    SourceKind.STACK: "a stack",
    SourceKind.IMPORT: "an imported source",
    SourceKind.DIFFUSION: "a source of Stable Diffusion",
    SourceKind.NEIGHBOURS: "a source of neighbours",
    SourceKind.MEAN: "a mean of sources",
    SourceKind.LOOP: "a source of your own loop",
    SourceKind.BLEND: "a blend",
}
"""What a sentence calls each kind."""

_NAMED_BY_KIT = {
    "sd": SourceKind.DIFFUSION,
    "sd-mean": SourceKind.DIFFUSION,
    "sd-shrunk": SourceKind.DIFFUSION,
    "clip-neighbours": SourceKind.NEIGHBOURS,
}
"""Names that other commands give by themselves, kept free of new trainings."""

_MADE_BY_ONE_COMMAND = {SourceKind.STACK, SourceKind.DIFFUSION, SourceKind.NEIGHBOURS, SourceKind.MEAN}

_MANIFEST: dict[str, tuple[type, ...]] = {
    "source": (str,),
    "split": (str,),
    "part": (str,),
    "made_by": (str,),
    "recipe": (dict,),
    "index": (str,),
    "folds": (str, type(None)),
    "values": (int,),
    "digest": (str,),
    "seconds": (int, float),
}


def splits_of(fold: Fold) -> tuple[PredictionSplit, ...]:
    """Return the splits that the model of `fold` predicts: the full one has seen every training photo."""
    return ("test",) if fold == FULL else SPLITS


def fold_part(fold: Fold) -> str:
    """Return the part's name for one fold."""
    return f"fold_{fold}"


def part_name(fold: Fold | None) -> str:
    """Return the part's name for one fold, or for no fold."""
    return ALL if fold is None else fold_part(fold)


def photo_split(split: PredictionSplit) -> Split:
    """Return the index split that a prediction split is about."""
    return "train" if split == "oof" else "test"


class PredictionStore:
    """All sources of one workspace, bound to its index and folds.

    Args:
        folds: what gives the folds, or None before `kit folds`; asked when a part by fold is first needed.
    """

    def __init__(self, workspace: Workspace, index: Index, folds: Callable[[], Folds | None] = lambda: None) -> None:
        self.workspace = workspace
        self.index = index
        self._give_folds = folds

    @cached_property
    def folds(self) -> Folds | None:
        """Return the folds, or None before `kit folds`."""
        return self._give_folds()

    # --- names

    def sources(self) -> list[str]:
        """Return the names of all sources with at least one part, sorted; a folder whose name no source can have is
        passed over, with a line. Raises `OSError` for one that may not be read."""
        if not self.workspace.predictions.is_dir():
            return []
        found = sorted(path.name for path in self.workspace.predictions.iterdir() if _manifests_in(path))
        foreign = [name for name in found if not is_name(name)]
        if foreign and is_main_process():
            named = ", ".join(map(repr, foreign))
            where, so = self.workspace.predictions, f"a source's name has to {NAMED_SO}"
            say_once(f"Passed over in {where}: {named}; {so}. Move what is not kit's elsewhere.")
        return [name for name in found if is_name(name)]

    def kind_of(self, name: str) -> SourceKind | None:
        """Return what has this name: a fill, a blend, a training, a stored source, or None when the name is free.

        Raises:
            DamagedStore: a manifest under this name is not one that kit wrote.
        """
        if name in FILLS:
            return SourceKind.FILL
        if self.workspace.blend(name).is_file():
            return SourceKind.BLEND
        for path in _manifests_in(self.workspace.predictions / name):
            recipe = read_json(path, made_by="kit sources").get("recipe")
            if not isinstance(recipe, dict) or recipe.get("kind") not in list(SourceKind):
                raise DamagedStore(f"{path} is not the manifest that kit wrote. Delete it, then run the same again.")
            return SourceKind(recipe["kind"])
        runs = self.workspace.runs / name  # there before its predictions are
        if any(runs.glob("*/stack.json")):
            return SourceKind.STACK
        # a stack that was killed before it wrote anything of its own leaves folders that hold nothing of a training
        of_training = ("experiment.json", "run.json", "model.safetensors", "checkpoint_*.pt")
        return SourceKind.EXPERIMENT if any(any(runs.glob(f"*/{name}")) for name in of_training) else None

    def claim_name(self, name: str, kind: SourceKind, *, hint: str) -> None:
        """Check that a source (or a blend) of this kind may be stored under this name.

        Args:
            hint: ends the message: how to give another name.

        Raises:
            UsageError: the name cannot be a file's, or belongs to something of another kind.
        """
        checked_source_name("The blend" if kind is SourceKind.BLEND else "The source", name)
        taken = self.kind_of(name)
        if taken is None and kind in (SourceKind.EXPERIMENT, SourceKind.LOOP):
            taken = _NAMED_BY_KIT.get(name)
        if taken is not None and taken is not kind:
            raise UsageError(f"{name} is the name of {CALLED[taken]}. {hint}")

    # --- writing

    def write(
        self,
        source: str,
        split: PredictionSplit,
        values: Iterable[np.ndarray],
        *,
        made_by: str,
        recipe: dict[str, Any],
        fold: Fold | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        """Stream one part to disk, whole or not at all.

        Args:
            values: for each photo of the part, in order, `(n, 3)` float RGB; clipped to [0, 1] here.
            made_by: the command that makes this part again.
            recipe: what made it; another recipe under the same source name is refused when read together.
            fold: None for a source fitted on no fold.
            seconds: called at the end; the computing time to note in the manifest.

        Raises:
            PredictionsError: values that are not finite, or not one `(n, 3)` array for each photo.
        """
        photo_rows = self.photos(split, fold)
        path = self.path(source, split, fold)
        sweep(path.parent)
        total = sum(photo_row.scored for photo_row in photo_rows)
        sha = hashlib.sha256()
        with writing(path) as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": (total, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in _checked(values, photo_rows, source):
                data = chunk.tobytes()
                sha.update(data)
                file.write(data)
            # a manifest of older values must not vouch for these, but must stay until these are safely on the disk
            file.flush()
            os.fsync(file.fileno())
            if not _vouches_for(path.with_suffix(".json"), sha.hexdigest()[:16]):
                path.with_suffix(".json").unlink(missing_ok=True)
        write_json(
            path.with_suffix(".json"),
            {
                "source": source,
                "split": split,
                "part": part_name(fold),
                "made_by": made_by,
                "recipe": recipe,
                "index": self.index.digest,
                "folds": self.folds_digest(fold),
                "photos": len(photo_rows),
                "values": total,
                "digest": sha.hexdigest()[:16],
                "seconds": round(seconds(), 3) if seconds else 0.0,
            },
        )

    def delete(self, source: str, fold: Fold) -> None:
        """Delete what the model of `fold` predicted, manifests first; nothing where there is nothing."""
        for split in splits_of(fold):
            for suffix in (".json", ".npy"):
                self.path(source, split, fold).with_suffix(suffix).unlink(missing_ok=True)

    def path(self, source: str, split: PredictionSplit, fold: Fold | None) -> Path:
        """Return the `.npy` of one part."""
        return self.workspace.source(source, split) / f"{part_name(fold)}.npy"

    def photos(self, split: PredictionSplit, fold: Fold | None) -> list[PhotoRow]:
        """Return the photos of one part, in order."""
        photo_rows = self.index.split(photo_split(split))
        if split == "test" or fold is None:
            return list(photo_rows)
        assert self.folds is not None, "an OOF part of a fold needs the folds"
        return [photo_rows[position] for position in self.folds.valid_positions(fold)]

    def folds_digest(self, fold: Fold | None) -> str | None:
        """Return the digest of the folds if a part of `fold` depends on them; what has seen all photos does not."""
        return None if fold is None or fold == FULL or self.folds is None else self.folds.digest

    # --- what is there

    def manifest(self, source: str, split: PredictionSplit, fold: Fold | None) -> dict[str, Any] | None:
        """Return the manifest of one part, or None when the part is not there (or not whole).

        Raises:
            DamagedStore: it is not as kit wrote it.
        """
        path = self.path(source, split, fold).with_suffix(".json")
        if not path.is_file() or not path.with_suffix(".npy").is_file():
            return None
        again = f"kit predict {source} --fold {fold}"
        if fold is None:
            again = f"kit fill {source}" if source in FILLS else f"kit import {source} --{split} FILE, or what made it"
        manifest = read_json(path, made_by=again)
        wrong = [key for key, kinds in _MANIFEST.items() if key not in manifest or not isinstance(manifest[key], kinds)]
        if wrong or (manifest["source"], manifest["split"], manifest["part"]) != (source, split, part_name(fold)):
            what = f"{', '.join(wrong)} missing or of the wrong kind" if wrong else "it is of another source or part"
            raise DamagedStore(f"{path} is not the manifest that kit wrote ({what}). Delete it, then run: {again}")
        return manifest

    def is_done(self, source: str, split: PredictionSplit, recipe: dict[str, Any], *, fold: Fold | None = None) -> bool:
        """Return whether exactly this part is there already: same recipe, index and folds."""
        manifest = self.manifest(source, split, fold)
        return (
            manifest is not None
            and digest_of(manifest["recipe"]) == digest_of(recipe)
            and manifest["index"] == self.index.digest
            and manifest["folds"] == self.folds_digest(fold)
            and _is_whole(self.path(source, split, fold), manifest)
        )

    def missing_folds(self, source: str, split: PredictionSplit) -> list[int]:
        """Return the folds of which this source has no predictions."""
        assert self.folds is not None
        return [fold for fold in range(self.folds.k) if self.manifest(source, split, fold) is None]

    def has_full(self, source: str) -> bool:
        """Return whether a model of all training photos has predicted the test photos."""
        return self.manifest(source, "test", FULL) is not None

    # --- reading

    def read(self, source: str, split: PredictionSplit, *, partial: bool = False) -> Predictions:
        """Open one source; with `partial`, whatever folds of it are there (`Predictions.photos` tells which photos).

        Raises:
            UnknownName: there is no such source.
            MissingStep: folds are absent; the message names them.
            Mismatch: made for another index or other folds.
            DamagedStore: a file is not as its manifest says.
        """
        checked_name("The source", source)
        known = self.sources()
        if source not in known:
            raise UnknownName("source", source, known)
        counts = np.array([photo_row.scored for photo_row in self.index.split(photo_split(split))], np.int64)
        if self.manifest(source, split, None) is not None:
            part = self._open_part(source, split, None)
            places = np.stack([np.zeros(len(counts), np.int64), _starts(counts)], axis=1)[:, None]
            return Predictions(source, split, (part,), places, counts)
        return self._read_by_fold(source, split, counts, partial)

    def _read_by_fold(self, source: str, split: PredictionSplit, counts: np.ndarray, partial: bool) -> Predictions:
        folds = self.folds
        if folds is None:
            raise MissingStep(f"{source} was made fold by fold, and {self.workspace.folds} is missing. Run: kit folds")
        absent = self.missing_folds(source, split)
        if absent and not (partial and len(absent) < folds.k):
            named = ", ".join(map(str, absent))
            how = self._how_to_make(source, split, absent)
            raise MissingStep(f"{source} lacks the {split} predictions of folds {named}. {how}")
        present = [fold for fold in range(folds.k) if fold not in absent]
        full: list[Fold] = [FULL] if split == "test" and self.has_full(source) else []
        parts = tuple(self._open_part(source, split, fold) for fold in [*present, *full])
        if len({digest_of(part.manifest["recipe"]) for part in parts}) > 1:
            if parts[0].manifest["recipe"].get("kind") == SourceKind.LOOP:
                raise Mismatch(f"The folds of {source} were written with different settings. Write them all alike.")
            if parts[0].manifest["recipe"].get("kind") in _MADE_BY_ONE_COMMAND:  # killed while it was made anew
                raise Mismatch(f"The folds of {source} differ in what made them. Run: {parts[0].manifest['made_by']}")
            again = f"kit train {source} --fold {'all,full' if full else 'all'} --force"
            raise Mismatch(f"The folds of {source} were trained with different settings. Train them alike: {again}")
        if split == "test":
            starts = np.broadcast_to(_starts(counts)[:, None], (len(counts), len(parts)))
            numbers = np.broadcast_to(np.arange(len(parts)), starts.shape)
            return Predictions(source, split, parts, np.stack([numbers, starts], axis=2), counts)
        places = np.full((len(counts), 1, 2), -1, np.int64)
        for number, fold in enumerate(present):
            positions = folds.valid_positions(fold)
            places[positions, 0, 0] = number
            places[positions, 0, 1] = _starts(counts[positions])
        return Predictions(source, split, parts, places, counts)

    def _how_to_make(self, source: str, split: PredictionSplit, absent: Sequence[int]) -> str:
        """Return how absent folds are made: as the manifests of those that are there say, else by training."""
        assert self.folds is not None
        for other in SPLITS:
            whole = self.manifest(source, other, None)
            if whole is not None and whole["recipe"].get("kind") == SourceKind.IMPORT:
                return f"Run: kit import {source} --{split} FILE"
        for fold in range(self.folds.k):
            manifest = None if fold in absent else self.manifest(source, split, fold)
            if manifest is not None and manifest["recipe"].get("kind") in _MADE_BY_ONE_COMMAND:
                return f"Run: {manifest['made_by']}"
            if manifest is not None and manifest["recipe"].get("kind") == SourceKind.LOOP:
                return "Run your loop for them too"
        if source in FILLS:
            return f"Run: kit fill {source} --force"
        flags = " ".join(f"--fold {fold}" for fold in absent)
        trained = all((self.workspace.run(source, fold) / "model.safetensors").is_file() for fold in absent)
        return f"Run: kit {'predict' if trained else 'train'} {source} {flags}"

    def _open_part(self, source: str, split: PredictionSplit, fold: Fold | None) -> Part:
        manifest = self.manifest(source, split, fold)
        path = self.path(source, split, fold)
        if manifest is None:
            raise MissingStep(f"{path} is missing.")
        again = f"Run: {self._made_again_by(manifest, fold)} --force"
        if manifest["recipe"].get("kind") == SourceKind.LOOP:
            again = "Run your loop anew."
        if manifest["index"] != self.index.digest:
            raise Mismatch(
                f"{path} was made for another index ({manifest['index']}, here {self.index.digest}). {again}"
            )
        if manifest["folds"] != (digest := self.folds_digest(fold)) and digest is not None:
            raise Mismatch(f"{path} was made with other folds ({manifest['folds']}, here {digest}). {again}")
        part = Part(part_name(fold), path, manifest)
        array, total = part.mapped(), sum(photo_row.scored for photo_row in self.photos(split, fold))
        if array.shape != (total, 3) or array.dtype != np.float16 or manifest["values"] != total:
            raise DamagedStore(
                f"{path} holds {array.dtype} values of shape {array.shape}, and its manifest says "
                f"{manifest['values']}; it should be float16 ({total}, 3). {again}"
            )
        return part

    def _made_again_by(self, manifest: dict[str, Any], fold: Fold | None) -> str:
        """Return what makes a part again: of other folds or photos a trained model can predict nothing."""
        if manifest["recipe"].get("kind") == SourceKind.EXPERIMENT:
            return f"kit train {manifest['source']} --fold {fold if fold == FULL else 'all'}"
        made_by: str = manifest["made_by"]
        return made_by


def _manifests_in(folder: Path) -> list[Path]:
    # `glob` passes over a folder that may not be read, and its source would seem not to be there
    if not folder.is_dir():
        return []
    splits = [split for split in folder.iterdir() if split.is_dir()]
    return sorted(path for split in splits for path in split.iterdir() if path.suffix == ".json")


def _vouches_for(manifest: Path, digest: str) -> bool:
    # two processes that make the same values at once must not take each other's manifest away from a reader
    try:
        return bool(read_json(manifest, made_by="").get("digest") == digest)
    except StoreError:
        return False


def _checked(values: Iterable[np.ndarray], photo_rows: Sequence[PhotoRow], source: str) -> Iterator[np.ndarray]:
    count = 0
    for photo_row, chunk in _pairs(photo_rows, values, source):
        count += 1
        if chunk.shape != (photo_row.scored, 3):
            raise PredictionsError(
                f"{source}: {photo_row.id} needs values of shape {(photo_row.scored, 3)}, got {tuple(chunk.shape)}."
            )
        if not np.isfinite(chunk).all():
            bad = int((~np.isfinite(chunk)).sum())
            raise PredictionsError(
                f"{source}: {bad} of the {chunk.size} values of {photo_row.id} are not finite (NaN or infinite)."
            )
        yield np.ascontiguousarray(np.clip(chunk, 0.0, 1.0).astype("<f2"))
    if count != len(photo_rows):
        raise PredictionsError(f"{source}: values for {count} photos, but the part has {len(photo_rows)}.")


def _pairs(
    photo_rows: Sequence[PhotoRow], values: Iterable[np.ndarray], source: str
) -> Iterator[tuple[PhotoRow, np.ndarray]]:
    position = -1
    for position, chunk in enumerate(values):
        if position >= len(photo_rows):
            raise PredictionsError(f"{source}: values for more than the {len(photo_rows)} photos of the part.")
        yield photo_rows[position], chunk


def _is_whole(path: Path, manifest: dict[str, Any]) -> bool:
    """Return whether the file has the length that its manifest says: cheap, and catches what was cut."""
    header = 128  # of every .npy that `write_part` writes
    whole: bool = path.stat().st_size == header + manifest["values"] * 3 * 2
    return whole


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else np.zeros(0, np.int64)
