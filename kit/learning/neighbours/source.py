"""Make the source `clip-neighbours`: a fill corrected by the most similar training photos. Nested by fold.

A photo of fold f, and the part of the test photos that belongs to fold f, are predicted from whole photos of the other
folds alone; near duplicates are in one fold, so none is its own neighbour. How far the neighbours are trusted is
fitted on those other folds too, each of their photos without its near duplicates. What comes out is `fractional` and a
smooth residual, so it can be blended like any source.

Worth: with thumbnails nothing credible over `fractional`; with an EfficientNet-Lite0 that has seen ImageNet a little
that is (`EXPERIMENTS.md`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from kit.competitions import score_scale, to_score_space
from kit.core.progress import track
from kit.core.storage import digest_of
from kit.core.workspace import PredictionSplit
from kit.data.fill_sources import make_fill_source
from kit.data.index import PhotoRow
from kit.data.prediction_store import SPLITS, SourceKind, photo_split
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import Mismatch, UsageError
from kit.imaging.holes import scored_pixels
from kit.learning.datasets import hidden_share
from kit.learning.datasets.batches import load_photos
from kit.learning.neighbours.analogues import SIZE, Library, Ridge, align_neighbours, features, unit_vectors
from kit.pretrained.clip.embeddings import photo_embeddings
from kit.pretrained.clip.model import ClipModel

NAME = "clip-neighbours"
BASE = "fractional"
VERSION = 1  # raised when the same neighbours would give other values
FITTED_ON = 800  # photos at most: there are six coefficients
_CHUNK = 32


def make_neighbours(
    project: Project,
    model: ClipModel,
    *,
    k: int = 32,
    name: str = NAME,
    device: torch.device = torch.device("cpu"),
    force: bool = False,
) -> bool:
    """Store the source, both splits and all folds; return False when it was there already.

    Raises:
        UsageError: a k or a name that cannot be, or a name of another kind of source.
        Mismatch: the name was made with another encoder or k.
    """
    if k < 1:
        raise UsageError(f"--k {k}: at least one neighbour is needed.")
    recipe = {"kind": "neighbours", "model": model.digest, "k": k, "base": BASE, "version": VERSION}
    made_by = f"kit clip neighbours --model {model.text} --k {k}" + ("" if name == NAME else f" --as {name}")
    _check_name(project, name, recipe, force)
    todo = [fold for fold in range(project.folds.k) if force or not _is_done(project, name, recipe, fold)]
    if not todo:
        return False
    finder = _open(project, model, k, device)
    for fold in todo:
        finder.write(fold, name, recipe, made_by)
    return True


def _check_name(project: Project, name: str, recipe: dict[str, Any], force: bool) -> None:
    hint = "Store the neighbours under another name: --as NAME"
    project.predictions.claim_name(name, SourceKind.NEIGHBOURS, hint=hint)
    parts = [None, *range(project.folds.k)]
    for manifest in (project.predictions.manifest(name, split, part) for split in SPLITS for part in parts):
        if manifest is not None and digest_of(manifest["recipe"]) != digest_of(recipe) and not force:
            raise Mismatch(f"{name} was made with another encoder or k. Add --as NAME, or --force to replace it.")


def _is_done(project: Project, name: str, recipe: dict[str, Any], fold: int) -> bool:
    return all(project.predictions.is_done(name, split, recipe, fold=fold) for split in SPLITS)


def _open(project: Project, model: ClipModel, k: int, device: torch.device) -> _Finder:
    make_fill_source(project, BASE)
    base = {split: project.predictions.read(BASE, split) for split in SPLITS}
    vectors = {split: photo_embeddings(project, model, photo_split(split), device=device) for split in SPLITS}
    centre = vectors["oof"].mean(0)
    vectors = {split: unit_vectors(some, centre) for split, some in vectors.items()}
    first = project.index.train[0]
    size = min(SIZE, first.height, first.width)
    photos = load_photos(project.pack.train_target, np.arange(len(project.index.train)), size)
    return _Finder(project, Library(photos, vectors["oof"]), vectors, base, k, size)


@dataclass(frozen=True)
class _Finder:
    """Photos, vectors and base fill that all folds share."""

    project: Project
    library: Library
    vectors: dict[PredictionSplit, np.ndarray]
    base: dict[PredictionSplit, Predictions]
    k: int
    size: int

    def write(self, fold: int, name: str, recipe: dict[str, Any], made_by: str) -> None:
        """Fit one fold's coefficients and store what it predicts."""
        started, folds = time.perf_counter(), self.project.folds
        coefficients = self.fitted(fold)
        for split in SPLITS:
            count = len(self.project.index.split(photo_split(split)))
            photos = folds.valid_positions(fold) if split == "oof" else np.arange(count)
            title = f"Neighbours, fold {fold} ({split})"
            self.project.predictions.write(
                name,
                split,
                track(self.predicted(fold, split, photos, coefficients), title, len(photos), "photos"),
                made_by=made_by,
                recipe=recipe,
                fold=fold,
                seconds=partial(_since, started),
            )
            started = time.perf_counter()

    def fitted(self, fold: int) -> torch.Tensor:
        """Return `(3, FEATURES)`: how far neighbours are trusted, from photos of the other folds alone."""
        allowed = self.project.folds.train_positions(fold)
        some = allowed
        if len(allowed) > FITTED_ON:
            some = np.sort(np.random.default_rng(fold).choice(allowed, FITTED_ON, replace=False))
        group, ridge = self.project.folds.group, Ridge()
        chunks = [some[start : start + _CHUNK] for start in range(0, len(some), _CHUNK)]
        for chunk in track(chunks, f"Fitting neighbours, fold {fold}", len(chunks), "batches"):
            donors = [allowed[group[allowed] != group[photo]] for photo in chunk]
            usable = np.array([len(one) > 0 for one in donors])  # all other folds can be one group
            if usable.any():
                chunk, donors = chunk[usable], [one for one in donors if len(one)]
                estimated_range = np.asarray(self.project.pack.train_estimated_range)[chunk]
                scale = torch.from_numpy(score_scale(estimated_range[:, 0], estimated_range[:, 1])).float()
                ridge.add(self.features("oof", chunk, donors), self.wanted(chunk), scale)
        return ridge.coefficients()

    def predicted(
        self, fold: int, split: PredictionSplit, photos: np.ndarray, coefficients: torch.Tensor
    ) -> Iterator[np.ndarray]:
        """Return each photo's hidden pixels, `(n, 3)` float32."""
        donors = self.project.folds.train_positions(fold)
        photo_rows = self.project.index.split(photo_split(split))
        for start in range(0, len(photos), _CHUNK):
            chunk = photos[start : start + _CHUNK]
            seen = self.features(split, chunk, [donors] * len(chunk))
            residual = torch.einsum("nfcij,cf->ncij", seen, coefficients)
            for place, photo in enumerate(chunk):
                photo_row = photo_rows[photo]
                full = F.interpolate(
                    residual[place : place + 1], size=(photo_row.height, photo_row.width), mode="bilinear"
                )[0]
                rows, columns = scored_pixels(photo_row.boxes)
                yield np.clip(full.numpy()[:, rows, columns].T + self.base[split].values(int(photo)), 0.0, 1.0)

    def features(self, split: PredictionSplit, photos: np.ndarray, donors: list[np.ndarray]) -> torch.Tensor:
        """Return the features of each photo, from the most similar of its donors: `(n, FEATURES, 3, S, S)`."""
        photo_rows = self.project.index.split(photo_split(split))
        filled = torch.stack([self.filled(split, photo_rows[photo], int(photo)) for photo in photos])
        hole = torch.cat(
            [hidden_share(photo_rows[photo].boxes, _size(photo_rows[photo]), self.size) for photo in photos]
        )
        means = []
        for place, photo in enumerate(photos):
            nearest, weights = self.library.nearest(self.vectors[split][photo], donors[place], self.k)
            neighbours = self.library.photos[nearest].float() / 255
            means.append(align_neighbours(filled[place], hole[place], neighbours, weights))
        return features(torch.stack(means), filled, hole)

    def filled(self, split: PredictionSplit, photo_row: PhotoRow, photo: int) -> torch.Tensor:
        """Return the photo with the base fill in its holes, `(3, S, S)`."""
        full = np.asarray(self.project.pack.image(photo_split(split))[photo]).astype(np.float32) / 255
        full[scored_pixels(photo_row.boxes)] = self.base[split].values(photo)
        return _smaller(full, self.size)

    def wanted(self, photos: np.ndarray) -> torch.Tensor:
        """Return the error of the base fill in the holes, as the score counts it: `(n, 3, S, S)`."""
        pack, found = self.project.pack, []
        for photo in photos:
            photo_row = self.project.index.train[photo]
            scored = scored_pixels(photo_row.boxes)
            truth = to_score_space(np.asarray(pack.train_target[photo])[scored] / 255.0, pack.train_value_range[photo])
            low, high = pack.train_estimated_range[photo]
            full = np.zeros((photo_row.height, photo_row.width, 3), np.float32)
            full[scored] = low + truth * (high - low) - self.base["oof"].values(int(photo))
            found.append(_smaller(full, self.size))
        return torch.stack(found)


def _size(photo_row: PhotoRow) -> tuple[int, int]:
    return photo_row.height, photo_row.width


def _smaller(photo: np.ndarray, size: int) -> torch.Tensor:
    return F.interpolate(torch.from_numpy(photo.transpose(2, 0, 1))[None], size=(size, size), mode="area")[0]


def _since(started: float) -> float:
    return time.perf_counter() - started
