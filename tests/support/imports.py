"""Files of predictions as others write them, for tests of imports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kit.competitions import to_score_space
from kit.core.workspace import PredictionSplit
from kit.data.project import Project
from kit.exchange.values import Photos
from kit.imaging.holes import scored_pixels
from kit.imaging.images import save_image, to_uint8
from support.toy import Predictor, Toy

SPLITS: tuple[PredictionSplit, PredictionSplit] = ("oof", "test")


def faded(share: float) -> Predictor:
    """Truth drawn toward grey: the same for a pixel in both boxes, as it is in a picture."""
    return lambda split, photo, truth: truth + share * (0.5 - truth) + 0.05 * ((photo % 3) - 1)


READY: dict[str, Any] = {
    "photos": 30,
    "sources": [
        {"name": "good", "predict": faded(0.3)},
        {"name": "other", "noise": 0.2, "seed": 2},
        {"name": "unet", "noise": 0.05, "seed": 3, "by_fold": True},
    ],
}
"""The toy competition of the tests of imports and exports, for the mark `toy`."""


def project_of(toy: Toy) -> Project:
    return Project(toy.workspace)


def stored(toy: Toy, name: str, split: PredictionSplit) -> np.ndarray:
    """The values of a source in the store, `(values, 3)` float16."""
    return np.array(np.load(toy.workspace.source(name, split) / "all.npy"))


def values_of(toy: Toy, name: str, split: PredictionSplit) -> list[np.ndarray]:
    predictions = toy.project.predictions.read(name, split)
    return [predictions.values(photo) for photo in range(len(predictions.counts))]


def pictures_of(toy: Toy, name: str, split: PredictionSplit) -> list[np.ndarray]:
    """Whole pictures, float32 `(H, W, 3)`: the photo with the predictions in its hole."""
    photos = Photos.of(project_of(toy), split)
    pictures = []
    for position, values in enumerate(values_of(toy, name, split)):
        picture = (photos.images[position] / 255.0).astype(np.float32)
        picture[scored_pixels(photos.photo_rows[position].boxes)] = values
        pictures.append(picture)
    return pictures


def csv_of(toy: Toy, name: str, split: PredictionSplit) -> list[bytes]:
    """The CSV lines of each photo, the header first."""
    photos = Photos.of(project_of(toy), split)
    lines = [toy.layout.header(toy.workspace.raw)]
    for photo_row, values, value_range in zip(
        photos.photo_rows, values_of(toy, name, split), photos.estimated_range, strict=True
    ):
        lines.append(toy.layout.encode(photo_row.name, photo_row.boxes, to_score_space(values, value_range)))
    return lines


def flat(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.concatenate(values_of(toy, "good", split)).astype(np.float16))
    return path.with_suffix(".npy")


def by_photo(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.stack(values_of(toy, "good", split)))
    return path.with_suffix(".npy")


def whole(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.stack(pictures_of(toy, "good", split)))
    return path.with_suffix(".npy")


def photos_shuffled(parts: list[bytes]) -> bytes:
    header, *photos = parts
    return header + b"".join(photos[place] for place in np.random.default_rng(0).permutation(len(photos)))


def painted(toy: Toy, folder: Path, split: PredictionSplit = "oof", suffix: str = "", swap: bool = False) -> Path:
    photos = Photos.of(project_of(toy), split)
    for photo_row, picture in zip(photos.photo_rows, pictures_of(toy, "good", split), strict=True):
        name = f"{Path(photo_row.name).stem}{suffix}" if suffix else photo_row.name
        save_image(folder / name, to_uint8(picture[..., ::-1] if swap else picture))
    return folder


Write = Callable[[Toy, Path], Path]


def npy(change: Callable[[np.ndarray], np.ndarray]) -> Write:
    def write(toy: Toy, folder: Path) -> Path:
        np.save(folder / "bad.npy", change(np.stack(values_of(toy, "good", "oof"))), allow_pickle=True)
        return folder / "bad.npy"

    return write


def npz(change: Callable[[dict[str, np.ndarray]], None]) -> Write:
    def write(toy: Toy, folder: Path) -> Path:
        named = {one.id: values for one, values in zip(toy.index.train, values_of(toy, "good", "oof"), strict=True)}
        change(named)
        np.savez(folder / "bad.npz", **named)
        return folder / "bad.npz"

    return write


def csv(change: Callable[[list[bytes]], list[bytes]]) -> Write:
    def write(toy: Toy, folder: Path) -> Path:
        lines = b"".join(csv_of(toy, "good", "oof")).splitlines(keepends=True)
        (folder / "bad.csv").write_bytes(b"".join(change(lines)))
        return folder / "bad.csv"

    return write


def raw(name: str, data: bytes) -> Write:
    def write(toy: Toy, folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def pictures(change: Callable[[Path], object]) -> Write:
    def write(toy: Toy, folder: Path) -> Path:
        painted(toy, folder / "bad")
        change(folder / "bad")
        return folder / "bad"

    return write
