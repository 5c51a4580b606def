"""The pack: every photo of a competition as memory-mapped uint8 arrays. Knows layouts only through `Competition`.

    train_image.npy   (N, H, W, 3) uint8 RGB, the photos as given, hidden pixels set to 0
    train_target.npy  (N, H, W, 3) uint8 RGB, the whole photos
    test_image.npy    (M, H, W, 3)
    train_extremes.npy, train_estimated.npy, test_estimated.npy   (N, 2, 3) float64, see `Competition.extremes`

Hidden pixels are zeroed here, once, so that nothing downstream can depend on what a file has under its hole.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kit.competitions import Competition
from kit.core.progress import track
from kit.core.storage import digest_bytes, map_array, read_json, write_json, writing_folder
from kit.core.workspace import Split, Workspace
from kit.data.index import COLUMNS, Index, read_index, write_index
from kit.errors import DamagedStore, ImageError, Mismatch, TableError
from kit.imaging.holes import boxes_from_text, hole_of
from kit.imaging.images import decode_image, resize

PACK_VERSION = 1
HASH_SIZE = 8


@dataclass(frozen=True)
class Pack:
    """Memory maps of the photos; nothing is read until it is indexed."""

    train_image: np.ndarray
    train_target: np.ndarray
    test_image: np.ndarray
    train_extremes: np.ndarray
    train_estimated: np.ndarray
    test_estimated: np.ndarray

    def image(self, split: Split) -> np.ndarray:
        """The photos as given, holes zero, `(N, H, W, 3)` uint8."""
        return self.train_image if split == "train" else self.test_image

    def estimated(self, split: Split) -> np.ndarray:
        """Extremes estimated from known pixels, `(N, 2, 3)` float64."""
        return self.train_estimated if split == "train" else self.test_estimated


def perceptual_hash(image: np.ndarray) -> str:
    """64 signs of the lowest DCT coefficients of the grey photo, as 16 hexadecimal digits.

    Signs instead of comparisons with the median (Zauner 2010): then a mirrored photo's hash differs by a constant
    pattern, because DCT coefficients of odd frequency change sign, and all four mirrorings cost no pixel.
    """
    grey = resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 32, 32).astype(np.float32)
    low = cv2.dct(grey - grey.mean())[:HASH_SIZE, :HASH_SIZE]
    return np.packbits(low.reshape(-1) > 0).tobytes().hex()


def build_pack(workspace: Workspace, layout: Competition) -> tuple[Index, tuple[str, ...]]:
    """Read every photo once; write the index and the pack. Returns the index and what the layout has to say.

    Raises:
        DataError: a photo that cannot be read, has another size than the rest, or a box outside the photo.
    """
    found = layout.index(workspace.raw)
    rows = found.rows.copy()
    height, width = _read(workspace.raw / rows["image"].iloc[0])[0].shape[:2]
    facts: list[tuple[str, str]] = []
    with writing_folder(workspace.pack) as folder:
        writers = _open_arrays(folder, rows, height, width)
        for position, photo in enumerate(
            track(_photos(workspace.raw, rows, height, width), "Reading photos", len(rows), "photos")
        ):
            facts.append((photo.digest, photo.phash))
            _store(writers, layout, rows, position, photo)
        for array in writers.values():
            array.flush()
        rows = rows.assign(
            height=height, width=width, digest=[fact[0] for fact in facts], phash=[fact[1] for fact in facts]
        )
        digest = digest_bytes(rows[COLUMNS].to_csv(index=False, lineterminator="\n").encode())
        write_json(
            folder / "manifest.json", {"index": digest, "version": PACK_VERSION, "height": height, "width": width}
        )
    write_index(workspace, rows, found.notes)
    return read_index(workspace), found.notes


@dataclass(frozen=True)
class _Photo:
    image: np.ndarray
    target: np.ndarray | None
    hole: np.ndarray
    digest: str
    phash: str


def _read(path: Path) -> tuple[np.ndarray, bytes]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path} is missing. Fetch again: kit fetch --force") from None
    return decode_image(data, path), data


def _photos(raw: Path, rows: pd.DataFrame, height: int, width: int) -> Iterator[_Photo]:
    def one(row: tuple[str, str, str, str]) -> _Photo:
        image_path, target_path, text, photo_id = row
        boxes = boxes_from_text(text)
        image, data = _read(raw / image_path)
        if image.shape[:2] != (height, width):
            raise ImageError(
                f"{raw / image_path} is {image.shape[1]}x{image.shape[0]}, but the first photo is {width}x{height}: "
                "all photos of a competition must be of one size."
            )
        for box in boxes:
            if not box.fits(height, width):
                raise TableError(
                    f"{photo_id}: the box {box.row},{box.col} of {box.height}x{box.width} leaves the photo of "
                    f"{height}x{width}."
                )
        hole = hole_of(boxes, height, width)
        image[hole] = 0
        if not target_path:
            return _Photo(image, None, hole, digest_bytes(data), "")
        target, target_data = _read(raw / target_path)
        if target.shape != image.shape:
            raise ImageError(
                f"{raw / target_path} is not of the size of {raw / image_path}. Fetch again: kit fetch --force"
            )
        return _Photo(image, target, hole, digest_bytes(data + target_data), perceptual_hash(target))

    columns = zip(rows["image"], rows["target"], rows["boxes"], rows["id"], strict=True)
    with ThreadPoolExecutor(4) as pool:  # decoding releases the GIL
        pending = []
        for row in columns:
            pending.append(pool.submit(one, row))
            if len(pending) >= 64:  # bounded: memory must not grow with the number of photos
                yield pending.pop(0).result()
        for future in pending:
            yield future.result()


def _open_arrays(folder: Path, rows: pd.DataFrame, height: int, width: int) -> dict[str, np.memmap]:
    train, test = (int((rows["split"] == split).sum()) for split in ("train", "test"))
    return {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype=dtype, shape=shape)
        for name, (shape, dtype) in _shapes(train, test, height, width).items()
    }


def _shapes(train: int, test: int, height: int, width: int) -> dict[str, tuple[tuple[int, ...], type]]:
    return {
        "train_image": ((train, height, width, 3), np.uint8),
        "train_target": ((train, height, width, 3), np.uint8),
        "test_image": ((test, height, width, 3), np.uint8),
        "train_extremes": ((train, 2, 3), np.float64),
        "train_estimated": ((train, 2, 3), np.float64),
        "test_estimated": ((test, 2, 3), np.float64),
    }


def _store(
    writers: dict[str, np.memmap], layout: Competition, rows: pd.DataFrame, position: int, photo: _Photo
) -> None:
    split = rows["split"].iloc[position]
    place = position if split == "train" else position - len(writers["train_image"])
    writers[f"{split}_image"][place] = photo.image
    writers[f"{split}_estimated"][place] = layout.extremes(photo.image, photo.hole)
    if photo.target is not None:
        writers["train_target"][place] = photo.target
        writers["train_extremes"][place] = layout.extremes(photo.target, None)


def read_pack(workspace: Workspace, index: Index) -> Pack:
    """Map the pack of `index`.

    Raises:
        MissingStep: `kit fetch` has not been run here.
        Mismatch: the pack was made from another index.
        DamagedStore: a file is not a whole array, or not of the shape that the index asks for.
    """
    manifest = read_json(workspace.pack / "manifest.json", made_by="kit fetch")
    if manifest.get("index") != index.digest or manifest.get("version") != PACK_VERSION:
        raise Mismatch(f"{workspace.pack} was made from another index. Run: kit fetch --force")
    first = (index.train or index.test)[0]
    arrays = {}
    for name, (shape, dtype) in _shapes(len(index.train), len(index.test), first.height, first.width).items():
        path = workspace.pack / f"{name}.npy"
        array = arrays[name] = map_array(path, made_by="kit fetch --force")
        if array.shape != shape or array.dtype != dtype:
            raise DamagedStore(
                f"{path} holds {array.dtype} values of shape {array.shape}, but {np.dtype(dtype)} of {shape} belong "
                "there. Run: kit fetch --force"
            )
    return Pack(**arrays)
