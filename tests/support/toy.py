"""A small competition made of real files, for tests: fetch-like raw folder, index, pack and folds, and fake sources.

    toy = make_toy_workspace(tmp_path)                     # 24 training and 6 test photos of 32x32, boxes of 10x10
    write_toy_source(toy, "good", noise=0.05)              # both splits, fitted on no fold
    write_toy_source(toy, "unet", noise=0.1, by_fold=True, present=[0, 2])   # fold 1 has not been trained

Importing this module registers the layout `toy`: `kit.competitions.competition("toy")` finds it, and the command line
finds the competition in a toy workspace by itself.

    data/toy/raw/train/image/*.png, train/truth/*.png, test/*.png, boxes.csv, sample_submission.csv
    truth/*.png                     the test photos as they were, outside the competition's files
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kit.competitions import Competition, Layout, register
from kit.competitions import photo_reconstruction as kaggle
from kit.core.workspace import PredictionSplit, Workspace
from kit.data.folds import Folds
from kit.data.index import Index
from kit.data.pack import Pack, build_pack, read_pack
from kit.data.prediction_store import PredictionStore
from kit.data.project import Project
from kit.data.splitting import make_folds
from kit.imaging.holes import Box, boxes_from_text, boxes_to_text, hole_of, scored_count, scored_pixels
from kit.imaging.images import resize, save_image

SLUG = "toy"
CLASSES = ("Cat", "Dog")


def toy_index(raw: Path) -> Layout:
    """`boxes.csv` is the index already."""
    table = pd.read_csv(raw / "boxes.csv", dtype=str, keep_default_na=False)
    return Layout(table, ())


TOY = Competition(
    slug=SLUG,
    title="Toy",
    metric="rmse",
    sample=kaggle.SAMPLE,
    index=toy_index,
    value_range=kaggle.value_range,
    header=kaggle.header,
    encode=kaggle.encode,
    decode=kaggle.decode,
)
register(TOY)


@dataclass(frozen=True)
class Toy:
    """A toy competition, fetched and split into folds."""

    workspace: Workspace
    layout: Competition
    index: Index
    pack: Pack
    folds: Folds
    truth: np.ndarray
    """`(M, H, W, 3)` uint8, the whole test photos."""

    @property
    def project(self) -> Project:
        """Open its workspace anew: what was changed on disk is seen."""
        return Project(self.workspace)

    def copy(self, folder: Path) -> Toy:
        """Copy its workspace to `folder`, to be written to."""
        shutil.copytree(self.workspace.root, folder)
        project = Project(Workspace(folder, self.workspace.slug))
        return Toy(project.workspace, self.layout, project.index, project.pack, project.folds, self.truth)

    @property
    def parts(self) -> tuple[Workspace, Index, Folds, Pack]:
        """What most functions of blending begin with."""
        return self.workspace, self.index, self.folds, self.pack

    def target(self, split: PredictionSplit) -> np.ndarray:
        """The whole photos of a prediction split."""
        return self.pack.train_target if split == "oof" else self.truth

    def true_values(self, split: PredictionSplit, position: int) -> np.ndarray:
        """Scored pixels of a whole photo, `(n, 3)` float64 in [0, 1]."""
        boxes = self.index.split("train" if split == "oof" else "test")[position].boxes
        return np.asarray(self.target(split)[position][scored_pixels(boxes)] / 255.0)


def toy_photo(rng: np.random.Generator, size: int) -> np.ndarray:
    """A smooth random photo with some grain, uint8 RGB `(size, size, 3)`."""
    coarse = rng.normal(0.5, 0.25, (5, 5, 3)).astype(np.float32)
    photo = resize(coarse, size, size) + rng.normal(0, 0.02, (size, size, 3))
    return np.clip(np.rint(photo * 255), 0, 255).astype(np.uint8)


def make_toy_workspace(
    path: Path,
    photos: int = 24,
    test: int = 6,
    size: int = 32,
    box: int = 10,
    k: int = 3,
    seed: int = 0,
    duplicates: int = 0,
) -> Toy:
    """Write the files of a toy competition below `path`, then index, pack and folds through the kit's own functions.

    Args:
        photos: training photos, half of each class.
        size: height and width of every photo.
        box: height and width of the two boxes; they overlap by half in every third photo.
        duplicates: so many training photos are mirrored copies of others, which puts them in one group.
    """
    workspace = make_toy_files(path, photos, test, size, box, seed, duplicates)
    index, _ = build_pack(workspace, TOY)
    pack = read_pack(workspace, index)
    folds = make_folds(Project(workspace), k=k, seed=seed)
    truth = np.stack([_load(path / "truth" / f"{photo_row.name}") for photo_row in index.test])
    return Toy(workspace, TOY, index, pack, folds, truth)


def toy_with(path: Path, sources: Sequence[dict[str, Any]] = (), **size: Any) -> Toy:
    """Make a toy workspace with sources: what the mark `toy` of a test's module asks for (`tests/conftest.py`).

    Args:
        sources: arguments of `write_toy_source`, for each one.
        size: arguments of `make_toy_workspace`.
    """
    toy = make_toy_workspace(path, **size)
    for source in sources:
        write_toy_source(toy, **source)
    return toy


def _load(path: Path) -> np.ndarray:
    from kit.imaging.images import load_image

    return load_image(path)


def make_toy_files(
    path: Path, photos: int = 24, test: int = 6, size: int = 32, box: int = 10, seed: int = 0, duplicates: int = 0
) -> Workspace:
    """Only the competition's own files, below `data/toy/raw`."""
    rng = np.random.default_rng(seed)
    workspace = Workspace(path, SLUG)
    rows = []
    originals: list[np.ndarray] = []
    for number in range(photos + test):
        copies = number >= photos - duplicates and number < photos
        photo = originals[number - photos + duplicates][:, ::-1] if copies else toy_photo(rng, size)
        originals.append(photo)
        boxes = _toy_boxes(rng, number, size, box)
        split = "train" if number < photos else "test"
        klass = CLASSES[number % len(CLASSES)]
        rows.append(_write_photo(workspace.raw, split, klass, f"{klass} ({number}).png", photo, boxes))
        if split == "test":
            save_image(path / "truth" / f"{klass} ({number}).png", photo)
    table = pd.DataFrame(rows)
    table.to_csv(workspace.raw / "boxes.csv", index=False, lineterminator="\n")
    _write_sample(workspace.raw, table[table["split"] == "test"])
    return workspace


def _toy_boxes(rng: np.random.Generator, number: int, size: int, box: int) -> list[Box]:
    row, col, second_row, second_col = (int(rng.integers(0, size - box + 1)) for _ in range(4))
    if number % 3 == 0:  # these overlap
        second_row, second_col = (min(place + box // 2, size - box) for place in (row, col))
    return [Box(row, col, box, box), Box(second_row, second_col, box, box)]


def _write_photo(
    raw: Path, split: str, klass: str, name: str, photo: np.ndarray, boxes: Sequence[Box]
) -> dict[str, str]:
    hidden = photo.copy()
    hidden[hole_of(boxes, *photo.shape[:2])] = 0
    image = f"train/image/{name}" if split == "train" else f"test/{name}"
    target = f"train/truth/{name}" if split == "train" else ""
    save_image(raw / image, hidden)
    if target:
        save_image(raw / target, photo)
    identity = f"{split}/{klass}/{name}" if split == "train" else f"test/{name}"
    return {
        "id": identity,
        "split": split,
        "klass": klass,
        "name": name,
        "image": image,
        "target": target,
        "boxes": boxes_to_text(boxes),
    }


def _write_sample(raw: Path, rows: pd.DataFrame) -> None:
    lines = [b"filename_box_pixel,value\n"]
    for name, text in zip(rows["name"], rows["boxes"], strict=True):
        boxes = boxes_from_text(text)
        lines.append(kaggle.encode(name, boxes, np.full((scored_count(boxes), 3), 0.5)))
    (raw / kaggle.SAMPLE).write_bytes(b"".join(lines))


Predictor = Callable[[PredictionSplit, int, np.ndarray], np.ndarray]
"""`(split, photo's position, truth (n, 3) in [0, 1])` to `(n, 3)` predictions."""


def noisy(noise: float, seed: int = 0, blur: float = 0.0) -> Predictor:
    """Truth drawn toward grey by `blur`, plus noise that depends on (seed, split, photo) alone."""

    def predict(split: PredictionSplit, photo: int, truth: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng([seed, split == "test", photo])
        level = rng.normal(0, noise, 3)  # an error of the whole photo: photos, not pixels, are the sample
        return truth + blur * (0.5 - truth) + level + rng.normal(0, noise, truth.shape)

    return predict


def write_toy_source(
    toy: Toy,
    name: str,
    noise: float = 0.1,
    seed: int = 0,
    *,
    predict: Predictor | None = None,
    by_fold: bool = False,
    present: Sequence[int] | None = None,
    splits: Sequence[PredictionSplit] = ("oof", "test"),
    seconds: float = 1.0,
    recipe: dict[str, object] | None = None,
    made_by: str | None = None,
) -> None:
    """Write a source through the prediction store's own function.

    Args:
        predict: what it predicts; by default `noisy(noise, seed)`.
        by_fold: write one part a fold instead of one for all photos.
        present: which folds, all by default.
    """
    predict = predict or noisy(noise, seed)
    write = functools.partial(
        PredictionStore(toy.workspace, toy.index, lambda: toy.folds).write,
        name,
        made_by=made_by or f"kit {'train' if by_fold else 'fill'} {name}",
        recipe=recipe or {"kind": "experiment" if by_fold else "fill", "name": name},
        seconds=lambda: seconds,
    )
    for split in splits:
        if not by_fold:
            write(split, _values(toy, split, range(len(toy.target(split))), predict))
            continue
        for fold in range(toy.folds.k) if present is None else present:
            positions = toy.folds.valid_positions(fold) if split == "oof" else range(len(toy.truth))
            write(split, _values(toy, split, positions, predict), fold=fold)


def _values(toy: Toy, split: PredictionSplit, positions: Sequence[int], predict: Predictor) -> Iterator[np.ndarray]:
    for position in positions:
        yield predict(split, int(position), toy.true_values(split, position))
