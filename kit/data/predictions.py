"""The prediction store: for each source the hidden pixels alone. Knows photos by position, and no model.

    predictions/<source>/oof/<part>.npy, .json      training photos, each predicted by what has not seen it
    predictions/<source>/test/<part>.npy, .json     test photos

A part is `all` (fitted on no fold: classical fills, pretrained generators) or `fold_<k>` (in `oof` the photos of that
fold, in `test` all test photos; the folds' test predictions are averaged when read). Each `.npy` is flat, float16
`(values, 3)` RGB in [0, 1]: photo after photo in index order, within a photo the scored pixels in order
(`kit.imaging.holes.scored_pixels`). Folds trained on different machines meet here by copying files: no step gathers
them. The manifest is written last and names the digests of index, folds, recipe and values.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kit.core.array_reader import Rows
from kit.core.storage import digest_of, map_array, read_json, sweep, write_json, writing
from kit.core.workspace import PredictionSplit, Split, Workspace, checked_name
from kit.data.folds import Folds
from kit.data.index import Index, Sample
from kit.errors import DamagedStore, Mismatch, MissingStep, PredictionsError, StoreError, UnknownName
from kit.imaging.fills import FILLS

ALL = "all"


def fold_part(fold: int) -> str:
    """The part's name for one fold."""
    return f"fold_{fold}"


def photo_split(split: PredictionSplit) -> Split:
    """The index split that a prediction split is about."""
    return "train" if split == "oof" else "test"


@dataclass(frozen=True)
class Part:
    """One file of predictions as its manifest describes it."""

    name: str
    path: Path
    manifest: dict[str, Any]

    def mapped(self) -> np.ndarray:
        """Its values, memory-mapped."""
        return map_array(self.path, made_by=f"{self.manifest['made_by']} --force")

    def is_finite(self) -> bool:
        """Whether all its values are finite: reads them all."""
        values = self.mapped()
        return all(np.isfinite(values[start : start + 65536]).all() for start in range(0, len(values), 65536))


def write_part(
    workspace: Workspace,
    index: Index,
    source: str,
    split: PredictionSplit,
    values: Iterable[np.ndarray],
    *,
    made_by: str,
    recipe: dict[str, Any],
    folds: Folds | None = None,
    fold: int | None = None,
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
    samples = part_samples(index, split, folds, fold)
    path = workspace.source(source, split) / f"{_part_name(fold)}.npy"
    sweep(path.parent)
    total = sum(sample.scored for sample in samples)
    sha = hashlib.sha256()
    with writing(path) as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (total, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in _checked(values, samples, source):
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
            "part": _part_name(fold),
            "made_by": made_by,
            "recipe": recipe,
            "index": index.digest,
            "folds": None if fold is None or folds is None else folds.digest,
            "photos": len(samples),
            "values": total,
            "digest": sha.hexdigest()[:16],
            "seconds": round(seconds(), 3) if seconds else 0.0,
        },
    )


def _vouches_for(manifest: Path, digest: str) -> bool:
    # two processes that make the same values at once must not take each other's manifest away from a reader
    try:
        return bool(read_json(manifest, made_by="").get("digest") == digest)
    except StoreError:
        return False


def _part_name(fold: int | None) -> str:
    return ALL if fold is None else fold_part(fold)


def part_samples(index: Index, split: PredictionSplit, folds: Folds | None, fold: int | None) -> list[Sample]:
    """The photos of one part, in order."""
    samples = index.split(photo_split(split))
    if split == "test" or fold is None:
        return list(samples)
    assert folds is not None, "an OOF part of a fold needs the folds"
    return [samples[position] for position in folds.valid_positions(fold)]


def _checked(values: Iterable[np.ndarray], samples: Sequence[Sample], source: str) -> Iterator[np.ndarray]:
    count = 0
    for sample, chunk in _pairs(samples, values, source):
        count += 1
        if chunk.shape != (sample.scored, 3):
            raise PredictionsError(
                f"{source}: {sample.id} needs values of shape {(sample.scored, 3)}, got {tuple(chunk.shape)}."
            )
        if not np.isfinite(chunk).all():
            bad = int((~np.isfinite(chunk)).sum())
            raise PredictionsError(
                f"{source}: {bad} of the {chunk.size} values of {sample.id} are not finite (NaN or infinite)."
            )
        yield np.ascontiguousarray(np.clip(chunk, 0.0, 1.0).astype("<f2"))
    if count != len(samples):
        raise PredictionsError(f"{source}: values for {count} photos, but the part has {len(samples)}.")


def _pairs(samples: Sequence[Sample], values: Iterable[np.ndarray], source: str) -> Iterator[tuple[Sample, np.ndarray]]:
    position = -1
    for position, chunk in enumerate(values):
        if position >= len(samples):
            raise PredictionsError(f"{source}: values for more than the {len(samples)} photos of the part.")
        yield samples[position], chunk


def read_manifest(workspace: Workspace, source: str, split: PredictionSplit, fold: int | None) -> dict[str, Any] | None:
    """The manifest of one part, or None when the part is not there (or not whole)."""
    path = workspace.source(source, split) / f"{_part_name(fold)}.json"
    if not path.is_file() or not path.with_suffix(".npy").is_file():
        return None
    again = f"kit predict {source} --fold {fold}"
    if fold is None:
        again = f"kit fill {source}" if source in FILLS else f"kit import {source} --{split} FILE, or what made it"
    manifest = read_json(path, made_by=again)
    wrong = [key for key, kinds in _MANIFEST.items() if key not in manifest or not isinstance(manifest[key], kinds)]
    if wrong or (manifest["source"], manifest["split"], manifest["part"]) != (source, split, _part_name(fold)):
        what = f"{', '.join(wrong)} missing or of the wrong kind" if wrong else "it is of another source or part"
        raise DamagedStore(f"{path} is not the manifest that kit wrote ({what}). Delete it, then run: {again}")
    return manifest


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


def is_done(
    workspace: Workspace,
    index: Index,
    source: str,
    split: PredictionSplit,
    recipe: dict[str, Any],
    *,
    folds: Folds | None = None,
    fold: int | None = None,
) -> bool:
    """Whether exactly this part is there already: same recipe, index and folds."""
    manifest = read_manifest(workspace, source, split, fold)
    return (
        manifest is not None
        and digest_of(manifest["recipe"]) == digest_of(recipe)
        and manifest["index"] == index.digest
        and manifest["folds"] == (None if fold is None or folds is None else folds.digest)
        and _is_whole(workspace.source(source, split) / f"{_part_name(fold)}.npy", manifest)
    )


def _is_whole(path: Path, manifest: dict[str, Any]) -> bool:
    """Whether the file has the length that its manifest says: cheap, and catches what was cut."""
    header = 128  # of every .npy that `write_part` writes
    return path.stat().st_size == header + manifest["values"] * 3 * 2


@dataclass(frozen=True)
class Predictions:
    """One source's values of one split, on disk; nothing is read before it is asked for, and nothing is kept."""

    source: str
    split: PredictionSplit
    parts: tuple[Part, ...]
    places: np.ndarray
    """`(photos, copies, 2)` int: for each photo and copy the part and the first row in it. OOF has one copy, test as
    many as there are folds. A part of -1: no model has predicted this photo yet (only when read with `partial`)."""
    counts: np.ndarray
    """`(photos,)` int, scored pixels."""

    @cached_property
    def photos(self) -> np.ndarray:
        """Positions of the photos that are predicted, ascending."""
        return np.flatnonzero(self.places[:, 0, 0] >= 0)

    @cached_property
    def _files(self) -> list[Rows]:
        return [Rows(part.mapped()) for part in self.parts]

    def opened(self) -> Predictions:
        """Itself, its files open now and not with the first photo: for readers that share it between threads."""
        assert self._files is not None
        return self

    def raw(self, photo: int, copy: int, out: np.ndarray) -> np.ndarray:
        """One copy of a photo's values as stored, float16 `(n, 3)`, into `out`; not checked."""
        part, start = self.places[photo, copy]
        return self._files[part].read(int(start), out)

    def values(self, photo: int) -> np.ndarray:
        """`(n, 3)` float32 RGB in [0, 1] of the photo at this position, the mean of its copies.

        Raises:
            PredictionsError: a value is not finite.
        """
        buffer = np.empty((int(self.counts[photo]), 3), np.float16)
        copies = self.places.shape[1]
        values = self.raw(photo, 0, buffer).astype(np.float32)
        for copy in range(1, copies):
            values += self.raw(photo, copy, buffer)
        if copies > 1:
            values /= copies
        if not np.isfinite(values).all():
            raise self.not_finite(photo)
        return values

    def not_finite(self, photo: int) -> PredictionsError:
        """The error for a photo with values that are not finite; names the part that has them."""
        parts = [self.parts[part] for part in self.places[photo, :, 0]]
        part = parts[0] if len(parts) == 1 else next((one for one in parts if not one.is_finite()), parts[0])
        return PredictionsError(
            f"{part.path} holds values that are not finite (NaN or infinite). Make it again: "
            f"{part.manifest['made_by']} --force"
        )

    @property
    def digest(self) -> str:
        """Names these very values."""
        return digest_of([part.manifest["digest"] for part in self.parts])

    @property
    def seconds(self) -> float:
        """Computing time noted in the manifests."""
        return float(sum(part.manifest["seconds"] for part in self.parts))


def list_sources(workspace: Workspace) -> list[str]:
    """Names of all sources with at least one part, sorted."""
    if not workspace.predictions.is_dir():
        return []
    return sorted(path.name for path in workspace.predictions.iterdir() if list(path.glob("*/*.json")))


def read_predictions(
    workspace: Workspace,
    index: Index,
    folds: Folds | None,
    source: str,
    split: PredictionSplit,
    *,
    partial: bool = False,
) -> Predictions:
    """Open one source; with `partial`, whatever folds of it are there (`Predictions.photos` tells which photos).

    Raises:
        UnknownName: there is no such source.
        MissingStep: folds are absent; the message names them.
        Mismatch: made for another index or other folds.
        DamagedStore: a file is not as its manifest says.
    """
    checked_name("The source", source)
    known = list_sources(workspace)
    if source not in known:
        raise UnknownName("source", source, known)
    samples = index.split(photo_split(split))
    counts = np.array([sample.scored for sample in samples], np.int64)
    if read_manifest(workspace, source, split, None) is not None:
        part = _open_part(workspace, index, None, source, split, None)
        places = np.stack([np.zeros(len(counts), np.int64), _starts(counts)], axis=1)[:, None]
        return Predictions(source, split, (part,), places, counts)
    return _read_folds_of(workspace, index, folds, source, split, counts, partial)


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else np.zeros(0, np.int64)


def _read_folds_of(
    workspace: Workspace,
    index: Index,
    folds: Folds | None,
    source: str,
    split: PredictionSplit,
    counts: np.ndarray,
    partial: bool,
) -> Predictions:
    if folds is None:
        raise MissingStep(f"{source} was made fold by fold, and {workspace.folds} is missing. Run: kit folds")
    absent = missing_folds(workspace, folds, source, split)
    if absent and not (partial and len(absent) < folds.k):
        named = ", ".join(map(str, absent))
        how = _how_to_make(workspace, source, split, absent, folds.k)
        raise MissingStep(f"{source} lacks the {split} predictions of folds {named}. {how}")
    present = [fold for fold in range(folds.k) if fold not in absent]
    parts = tuple(_open_part(workspace, index, folds, source, split, fold) for fold in present)
    if len({digest_of(part.manifest["recipe"]) for part in parts}) > 1:
        again = f"kit train {source} --fold all --force"
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


def missing_folds(workspace: Workspace, folds: Folds, source: str, split: PredictionSplit) -> list[int]:
    """Folds of which this source has no predictions."""
    return [fold for fold in range(folds.k) if read_manifest(workspace, source, split, fold) is None]


def _how_to_make(workspace: Workspace, source: str, split: PredictionSplit, absent: Sequence[int], k: int) -> str:
    for other in ("oof", "test"):
        manifest = read_manifest(workspace, source, other, None)  # type: ignore[arg-type]
        if manifest is not None and manifest["recipe"].get("kind") == "import":
            return f"Run: kit import {source} --{split} FILE"
    # whatever made the folds that are there makes the others: a stack, neighbours, samples drawn toward a fill
    manifests = (read_manifest(workspace, source, split, fold) for fold in range(k) if fold not in absent)
    for manifest in manifests:
        kind = "" if manifest is None else manifest["recipe"].get("kind", "")
        if kind == "stack":
            return "Run: kit blend --stack"
        if manifest is not None and kind in ("neighbours", "diffusion"):
            return f"Run: {manifest['made_by']}"
    if source in FILLS:
        return f"Run: kit fill {source} --force"
    flags = " ".join(f"--fold {fold}" for fold in absent)
    trained = all((workspace.run(source, fold) / "model.safetensors").is_file() for fold in absent)
    return f"Run: kit {'predict' if trained else 'train'} {source} {flags}"


def _open_part(
    workspace: Workspace, index: Index, folds: Folds | None, source: str, split: PredictionSplit, fold: int | None
) -> Part:
    manifest = read_manifest(workspace, source, split, fold)
    name = _part_name(fold)
    path = workspace.source(source, split) / f"{name}.npy"
    again = "kit sources" if manifest is None else manifest["made_by"]
    if manifest is None:
        raise MissingStep(f"{path} is missing.")
    if manifest["index"] != index.digest:
        raise Mismatch(
            f"{path} was made for another index ({manifest['index']}, here {index.digest}). Run: {again} --force"
        )
    if fold is not None and folds is not None and manifest["folds"] != folds.digest:
        raise Mismatch(
            f"{path} was made with other folds ({manifest['folds']}, here {folds.digest}). Run: {again} --force"
        )
    part = Part(name, path, manifest)
    array, total = part.mapped(), sum(sample.scored for sample in part_samples(index, split, folds, fold))
    if array.shape != (total, 3) or array.dtype != np.float16 or manifest["values"] != total:
        raise DamagedStore(
            f"{path} holds {array.dtype} values of shape {array.shape}, and its manifest says {manifest['values']}; "
            f"it should be float16 ({total}, 3). Run: {again} --force"
        )
    return part
