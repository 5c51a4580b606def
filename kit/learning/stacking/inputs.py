"""All photos at a stack's size, once, in a file each for training and test photos. Knows the store; no network.

Channels of `(N, C, S, S)` float16: each member's hidden pixels (3K, zero at known ones), the known pixels (3, zero at
hidden ones), hole, distance, and for training photos how often pixels are scored and the truth (1 + 3). All are means
over areas, so the linear blend of a fold is a weighted sum of the members' channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kit.competitions import score_scale, to_score_space
from kit.core.array_reader import ArrayReader
from kit.core.progress import progress
from kit.core.storage import map_array, read_json, write_json, writing_folder
from kit.core.workspace import PredictionSplit
from kit.data.index import PhotoRow
from kit.data.pack import Pack
from kit.data.prediction_store import SPLITS, photo_split
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import StoreError
from kit.imaging.holes import border_distances, scored_pixels
from kit.imaging.images import resize
from kit.learning.stacking.network import Views
from kit.learning.stacking.settings import MADE_BY


@dataclass(frozen=True)
class StackInputs:
    """The photos of one split at a stack's size, and its members at full size."""

    photo_rows: tuple[PhotoRow, ...]
    members: list[Predictions]
    stored: ArrayReader
    shape: tuple[int, ...]
    """`(C, S, S)`."""
    scale: np.ndarray
    """`(N, 3)` float64, by how much score space stretches each photo's channels."""

    def read(self, photos: np.ndarray) -> torch.Tensor:
        """Read these photos' channels, `(n, C, S, S)` float32."""
        rows = np.empty((len(photos), *self.shape), np.float16)
        for row, photo in enumerate(photos):
            self.stored.read(int(photo), rows[row : row + 1])
        return torch.from_numpy(rows).float()


def weighted_sum(values: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum in float64, the same bits whatever the values' shape."""
    total = values[0] * np.float64(weights[0])
    for one, weight in zip(values[1:], weights[1:], strict=True):
        total += one * np.float64(weight)
    return total


def views_of(stored: torch.Tensor, base: torch.Tensor) -> Views:
    """Return what a fold's network sees of photos read by `StackInputs.read`.

    Args:
        stored: `(N, C, S, S)` float32.
        base: `(K,)` float32, the weights of that fold.
    """
    K, count = len(base), len(stored)
    members = stored[:, : 3 * K].reshape(count, K, 3, *stored.shape[2:])
    linear = torch.einsum("nkchw,k->nchw", members, base)
    known, hole, distance = stored[:, 3 * K : 3 * K + 3], stored[:, 3 * K + 3], stored[:, 3 * K + 4]
    return Views(known + linear, members - linear[:, None], hole[:, None], distance[:, None])


def truth_of(stored: torch.Tensor, members: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how often pixels are scored `(N, 1, S, S)` and the photo `(N, 3, S, S)` with the truth in its holes."""
    after = 3 * members
    return stored[:, after + 5 : after + 6], stored[:, after : after + 3] + stored[:, after + 6 : after + 9]


def open_inputs(
    project: Project, members: Sequence[str], folder: Path, size: int, splits: Sequence[PredictionSplit] = SPLITS
) -> dict[PredictionSplit, StackInputs]:
    """Open the photos of these splits at `size` in `folder`; make them if they are not there.

    Raises:
        PredictionsError: a member's value is not finite.
    """
    predictions = {split: [project.predictions.read(name, split) for name in members] for split in splits}
    stamp = {
        "index": project.index.digest,
        "size": size,
        "members": {split: [member.digest for member in read] for split, read in predictions.items()},
    }
    if not _is_there(folder, stamp):
        _make(project, predictions, folder, size, stamp)
    return {split: _opened(project, read, folder, split) for split, read in predictions.items()}


def _is_there(folder: Path, stamp: dict[str, Any]) -> bool:
    try:
        return bool(read_json(folder / "manifest.json", made_by=MADE_BY) == stamp)
    except StoreError:
        return False


def _opened(project: Project, members: list[Predictions], folder: Path, split: PredictionSplit) -> StackInputs:
    array = map_array(folder / f"{split}.npy", made_by=f"{MADE_BY} --force")
    low, high = np.asarray(project.pack.estimated_range(photo_split(split))).transpose(1, 0, 2)
    photo_rows = project.index.split(photo_split(split))
    return StackInputs(photo_rows, members, ArrayReader(array), array.shape[1:], score_scale(low, high))


def _make(
    project: Project,
    predictions: dict[PredictionSplit, list[Predictions]],
    path: Path,
    size: int,
    stamp: dict[str, Any],
) -> None:
    index, pack = project.index, project.pack
    total = sum(len(index.split(photo_split(split))) for split in predictions)
    with writing_folder(path) as folder, progress("Preparing the stack's photos", total, "photos") as bar:
        for split, members in predictions.items():
            photo_rows, images = index.split(photo_split(split)), pack.image(photo_split(split))
            shape = (len(photo_rows), 3 * len(members) + 5 + (4 if split == "oof" else 0), size, size)
            with (folder / f"{split}.npy").open("wb") as file:  # not mapped: a full disk would kill the process
                np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
                for photo, photo_row in enumerate(photo_rows):
                    full = _full_size(photo_row, [one.values(photo) for one in members], images[photo])
                    if split == "oof":
                        full = np.concatenate([full, _truth(photo_row, pack, photo)], axis=2)
                    file.write(resize(full, size, size).transpose(2, 0, 1).astype("<f2").tobytes())
                    bar.update()
        write_json(folder / "manifest.json", stamp)


def _full_size(photo_row: PhotoRow, values: list[np.ndarray], image: np.ndarray) -> np.ndarray:
    """Return `(H, W, 3K + 5)` float32: members, known pixels, hole, distance."""
    K, scored, hole = len(values), scored_pixels(photo_row.boxes), photo_row.hole
    full = np.zeros((photo_row.height, photo_row.width, 3 * K + 5), np.float32)
    for number, one in enumerate(values):
        full[*scored, 3 * number : 3 * number + 3] = one
    full[..., 3 * K : 3 * K + 3] = np.where(hole[..., None], 0.0, np.asarray(image) / 255.0)
    full[..., 3 * K + 3] = hole
    deep = border_distances(photo_row.boxes, photo_row.height, photo_row.width) * (
        8.0 / max(photo_row.height, photo_row.width)
    )
    full[*scored, 3 * K + 4] = deep
    return full


def _truth(photo_row: PhotoRow, pack: Pack, photo: int) -> np.ndarray:
    """Return `(H, W, 4)` float32: how often each pixel is scored, and what would be scored as perfect.

    The truth is stretched by the photo's true value range, a prediction by that which known pixels give; the target is
    what the second stretch brings to where the first brings the truth.
    """
    full = np.zeros((photo_row.height, photo_row.width, 4), np.float32)
    scored = scored_pixels(photo_row.boxes)
    np.add.at(full[..., 0], scored, 1.0)
    wanted = to_score_space(np.asarray(pack.train_target[photo])[scored] / 255.0, pack.train_value_range[photo])
    low, high = pack.train_estimated_range[photo]
    full[*scored, 1:] = low + wanted * (high - low)
    return full
