"""Generated competitions for `blend.py`: photos, members that err as real ones do, and their values as plain arrays.

A photo is what can be predicted (smooth) plus what cannot (texture, and a level of the whole hole). Members know the
first and miss the second, which all of them share; each adds errors of its own, by pixel and by photo, and some in
common with its family. So residuals correlate above 0.9 between the better members, as those of trained models do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kit.competitions import to_score_space
from kit.core.storage import digest_bytes, write_json, write_text
from kit.core.workspace import Workspace
from kit.data.index import Index, PhotoRow, read_index, write_index
from kit.data.pack import PACK_VERSION
from kit.data.prediction_store import SPLITS, PredictionStore
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.imaging.holes import Box, boxes_to_text, scored_pixels

SIZE, BOX, K_FOLDS = 256, 75, 5
VALUES = 6 * BOX * BOX
"""Scored values of a photo: two boxes, three channels."""
_TEST = 1_000_000  # test photos are numbered from here: the same ones whatever there is to train on


def generate(workspace: Workspace, photos: int, members: int, test: int = 8) -> None:
    """A competition of generated photos on disk, and the OOF and test predictions of its members."""
    numbers = [("train", number) for number in range(photos)] + [("test", _TEST + number) for number in range(test)]
    write_index(workspace, pd.DataFrame([_row(number, split) for split, number in numbers]))
    index = read_index(workspace)
    _write_pack(workspace, index)
    _write_folds(workspace, index)
    store = PredictionStore(workspace, index)
    for member in range(members):
        for split in SPLITS:
            photo_rows = index.train if split == "oof" else index.test
            values = _predicted(photo_rows, member, members)
            made_by = f"kit fill m{member}"
            recipe = {"kind": "fill", "member": member}
            store.write(f"m{member}", split, values, made_by=made_by, recipe=recipe)


def _number(photo_row: PhotoRow) -> int:
    return int(Path(photo_row.name).stem)


def _row(number: int, split: str) -> dict[str, object]:
    places = np.random.default_rng([0, number]).integers(0, SIZE - BOX + 1, (2, 2))
    return {
        "id": f"{split}/{number}.png",
        "split": split,
        "klass": "Cat",
        "name": f"{number}.png",
        "image": f"{number}.png",
        "target": f"truth/{number}.png" if split == "train" else "",
        "boxes": boxes_to_text([Box(int(row), int(col), BOX, BOX) for row, col in places]),
        "height": SIZE,
        "width": SIZE,
        "digest": str(number),
        "phash": "0" * 16,
    }


def _write_pack(workspace: Workspace, index: Index) -> None:
    photos, test = len(index.train), len(index.test)
    workspace.pack.mkdir(parents=True)

    def array(name: str, dtype: type, *shape: int) -> np.ndarray:
        return np.lib.format.open_memmap(workspace.pack / f"{name}.npy", "w+", dtype=dtype, shape=shape)

    # images are never written to: sparse files, which take no room
    array("train_image", np.uint8, photos, SIZE, SIZE, 3)
    array("test_image", np.uint8, test, SIZE, SIZE, 3)
    target = array("train_target", np.uint8, photos, SIZE, SIZE, 3)
    for place, photo_row in enumerate(index.train):
        target[place] = _truth(_number(photo_row))
    for split, photo_rows in (("train", index.train), ("test", index.test)):
        both = np.array([_value_ranges(_number(photo_row)) for photo_row in photo_rows])
        array(f"{split}_estimated", np.float64, len(photo_rows), 2, 3)[:] = both[:, 1]
        if split == "train":
            array("train_extremes", np.float64, photos, 2, 3)[:] = both[:, 0]
    write_json(workspace.pack / "manifest.json", {"index": index.digest, "version": PACK_VERSION})


def _value_ranges(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo's true value range and that of its known pixels, which misses the true one in every fifth."""
    rng = np.random.default_rng([3, number])
    true = np.stack([rng.uniform(0.0, 0.03, 3), rng.uniform(0.97, 1.0, 3)])
    missed = rng.uniform(0.0, 0.04, (2, 3)) * (rng.random() < 0.2)
    return true, true + missed * [[1.0], [-1.0]]


def _truth(number: int) -> np.ndarray:
    """The photo, `(SIZE, SIZE, 3)` uint8."""
    return np.clip((_smooth(number) + _unpredictable(number)) * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)


def _write_folds(workspace: Workspace, index: Index) -> None:
    numbers = np.arange(len(index.train))
    table = pd.DataFrame(
        {"id": [photo_row.id for photo_row in index.train], "fold": numbers % K_FOLDS, "group": numbers}
    )
    text = table.to_csv(index=False, lineterminator="\n")
    write_text(workspace.folds, text)
    recipe = {"k": K_FOLDS, "seed": 0, "index": index.digest, "digest": digest_bytes(text.encode())}
    write_json(workspace.folds.with_suffix(".json"), recipe)


_GREY = 0.5


def _smooth(number: int) -> np.ndarray:
    """What a model can know of a photo, `(SIZE, SIZE, 3)` float32."""
    coarse = np.random.default_rng([1, number]).normal(_GREY, 0.18, (5, 5, 3)).astype(np.float32)
    return cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def _unpredictable(number: int) -> np.ndarray:
    """What none can: texture and slow changes, by the photo's own amplitude, mean 0.15 and 5 % to 95 % 0.08 to 0.24."""
    rng = np.random.default_rng([2, number])
    coarse = rng.normal(0.0, 0.06, (6, 6, 3)).astype(np.float32)
    texture = np.roll(_textures()[rng.integers(len(_textures()))], rng.integers(0, SIZE, 2), (0, 1))
    amplitude = np.float32(0.14 * np.exp(rng.normal(0.0, 0.33)))
    return texture * amplitude + cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


@cache
def _textures() -> np.ndarray:
    rng = np.random.default_rng(4)
    grey, colour = rng.standard_normal((8, SIZE, SIZE, 1), np.float32), rng.standard_normal((8, SIZE, SIZE, 3))
    return np.float32(0.95) * grey + np.float32(0.3) * colour.astype(np.float32)


@cache
def _noise() -> np.ndarray:
    """Pixel noise, `(16, 4 VALUES)`: errors of a member in a photo are a stretch of one row; quick to make."""
    return np.random.default_rng(5).standard_normal((16, 4 * VALUES), np.float32)


def _predicted(photo_rows: tuple[PhotoRow, ...], member: int, members: int) -> Iterator[np.ndarray]:
    """A member's values of these photos, `(n, 3)` float32.

    The first member errs by 0.03, the last by 0.09; half of the variance is its family's, of every third member. The
    level of a whole photo errs by a fifth of that. Then all is drawn to grey by what half of these errors teach a model
    that minimises squared error. That half was chosen so that free weights add up to about one (0.99 to 1.00 here, 0.97
    to 1.00 for members of a real workspace): without it regressions gain by shrinking what real members have shrunk.
    """
    own = 0.03 * 3.0 ** (member / max(members - 1, 1))
    slope = np.float32(0.132**2 / (0.132**2 + 0.5 * own**2))  # 0.132: deviation of `_smooth`
    noise, family = _noise(), 12 + member % 3
    for photo_row in photo_rows:
        number = _number(photo_row)
        truth = _smooth(number)
        known = np.concatenate([truth[b.row : b.row + BOX, b.col : b.col + BOX].reshape(-1) for b in photo_row.boxes])
        rng, shared = np.random.default_rng([6, number, member]), np.random.default_rng([7, number, family])
        at, beside = int(rng.integers(3 * VALUES)), int(shared.integers(3 * VALUES))
        scale = np.float32(own * np.sqrt(0.5) * np.exp(rng.normal(0.0, 0.2)))
        known += noise[member % 12, at : at + VALUES] * scale
        known += noise[family, beside : beside + VALUES] * scale
        known += np.float32(rng.normal(0.0, 0.2 * own))
        yield (_GREY + slope * (known - _GREY)).reshape(-1, 3)


@dataclass(frozen=True)
class Opened:
    """A project, and its predictions opened."""

    project: Project
    predictions: list[Predictions]
    """OOF."""
    tests: list[Predictions]


def opened(workspace: Workspace) -> Opened:
    """Open a generated competition; no value is read."""
    project = Project(workspace)
    store = project.predictions
    oof, test = ([store.read(source, split) for source in store.sources()] for split in SPLITS)
    return Opened(project, oof, test)


def write_arrays(workspace: Workspace, dtype: str) -> None:
    """The same values as arrays in score space: `oof-x.npy` `(K, N)` and `oof-y.npy` `(N,)`, `test-x.npy` and so on."""
    data = opened(workspace)
    for split in ("oof", "test"):
        photo_rows = data.project.index.train if split == "oof" else data.project.index.test
        members = data.predictions if split == "oof" else data.tests
        shape = len(members), VALUES * len(photo_rows)
        x = np.lib.format.open_memmap(workspace.root / f"{split}-x.npy", "w+", dtype=np.dtype(dtype), shape=shape)
        y = np.lib.format.open_memmap(workspace.root / f"{split}-y.npy", "w+", dtype=np.dtype(dtype), shape=shape[1:])
        for photo, photo_row in enumerate(photo_rows):
            true, estimated_range = _value_ranges(_number(photo_row))
            place = slice(photo * VALUES, (photo + 1) * VALUES)
            truth = _truth(_number(photo_row))[scored_pixels(photo_row.boxes)] / 255.0
            y[place] = to_score_space(truth, true).reshape(-1)
            for member, one in enumerate(members):
                x[member, place] = to_score_space(one.values(photo), estimated_range).reshape(-1)
