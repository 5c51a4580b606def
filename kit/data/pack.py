"""The pack: every photo of a competition as memory-mapped uint8 arrays. Knows layouts only through `Competition`.

    train_image.npy   (N, H, W, 3) uint8 RGB, the photos as given, hidden pixels set to 0
    train_target.npy  (N, H, W, 3) uint8 RGB, the whole photos
    test_image.npy    (M, H, W, 3)
    train_extremes.npy, train_estimated.npy, test_estimated.npy   (N, 2, 3) float64, see `Competition.value_range`

Hidden pixels are zeroed here, once, so that nothing downstream can depend on what a file has under its hole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from kit.competitions import Competition, Layout
from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.core.storage import ArrayWriter, digest_bytes, map_array, read_json, write_json, writing_folder
from kit.core.workspace import Split, Workspace
from kit.data.index import COLUMNS, Index, index_digest, read_index, write_index
from kit.data.likeness import perceptual_hash
from kit.data.soundness import Doubt, Doubtful, described, doubt_about, is_few, turned
from kit.errors import DamagedStore, ImageError, Mismatch, TableError
from kit.imaging.holes import Box, boxes_from_text, hole_of
from kit.imaging.images import decode_image

if TYPE_CHECKING:
    import pandas as pd

PACK_VERSION = 1
_STORED_AS = {
    "train_extremes": "train_value_range",
    "train_estimated": "train_estimated_range",
    "test_estimated": "test_estimated_range",
}
"""Files of the pack that are named otherwise than the fields of `Pack`."""


@dataclass(frozen=True)
class Pack:
    """Memory maps of the photos; nothing is read until it is indexed."""

    train_image: np.ndarray
    train_target: np.ndarray
    test_image: np.ndarray
    train_value_range: np.ndarray
    train_estimated_range: np.ndarray
    test_estimated_range: np.ndarray

    def image(self, split: Split) -> np.ndarray:
        """Return the photos as given, holes zero, `(N, H, W, 3)` uint8."""
        return self.train_image if split == "train" else self.test_image

    def estimated_range(self, split: Split) -> np.ndarray:
        """Return the value ranges estimated from known pixels, `(N, 2, 3)` float64."""
        return self.train_estimated_range if split == "train" else self.test_estimated_range


def build_pack(
    workspace: Workspace, layout: Competition, found: Layout | None = None, *, chosen: str = ""
) -> tuple[Index, tuple[str, ...]]:
    """Read every photo once; write the index and the pack. Returns the index and what the layout has to say.

    Args:
        found: the photos, by default all that the layout finds.
        chosen: digest of a layout that was given by hand.

    Raises:
        DataError: a photo that cannot be read, has another size than the rest, or a box outside the photo.
    """
    found = found or layout.index(workspace.raw)
    height, width = size = _read(workspace.raw / found.rows["image"].iloc[0])[0].shape[:2]
    with writing_folder(workspace.pack) as folder:
        facts = _write_arrays(folder, workspace.raw, layout, found.rows, size)
        agreeing = _agreeing(found, facts)
        if len(agreeing.rows) < len(found.rows):  # rare: once more, without those
            for path in folder.glob("*.npy"):
                path.unlink()
            facts = _write_arrays(folder, workspace.raw, layout, agreeing.rows, size)
        rows = agreeing.rows.assign(
            height=height, width=width, digest=[one.digest for one in facts], phash=[one.phash for one in facts]
        )
        digest = index_digest(rows[COLUMNS].to_csv(index=False, lineterminator="\n").encode(), chosen)
        write_json(
            folder / "manifest.json", {"index": digest, "version": PACK_VERSION, "height": height, "width": width}
        )
    write_index(workspace, rows, agreeing.notes, layout=chosen)
    return read_index(workspace), agreeing.notes


def _write_arrays(
    folder: Path, raw: Path, layout: Competition, rows: pd.DataFrame, size: tuple[int, int]
) -> list[_Facts]:
    with _open_arrays(folder, rows, *size) as arrays:
        packer = _Packer(raw, layout, arrays, size)
        # threads: reading, decoding and writing release the interpreter's lock
        packed = map_in_order(packer.pack, _pack_rows(rows))
        return list(track(packed, "Reading photos", len(rows), "photos"))


def _agreeing(found: Layout, facts: Sequence[_Facts]) -> Layout:
    """Return the photos without the training photos that contradict themselves, and notes about all that do.

    Raises:
        ImageError: they are more than a few of their split.
    """
    notes, keep = list(found.notes), np.ones(len(facts), bool)
    for split, called in (("train", "training"), ("test", "test")):
        inside = (found.rows["split"] == split).to_numpy()
        doubtful = [one.doubt for one, here in zip(facts, inside, strict=True) if here and one.doubt is not None]
        wrong = [one for one in doubtful if one.doubt is not Doubt.UNPAINTED]
        unpainted = [one for one in doubtful if one.doubt is Doubt.UNPAINTED]
        total = int(inside.sum())
        if wrong and not is_few(len(wrong), total):
            raise ImageError(
                f"{len(wrong)} of {total} {called} photos contradict themselves: {described(wrong)}. Nothing was kept. "
                "Give pictures and boxes that agree: kit fetch --from FOLDER"
            )
        if wrong:
            done = "left out" if split == "train" else "kept, for a submission needs all"
            notes.append(
                f"{len(wrong)} of {total} {called} photos contradict themselves and are {done}: {described(wrong)}"
            )
        if unpainted:
            notes.append(
                f"{len(unpainted)} of {total} {called} photos are {described(unpainted, counted=False)}: what they "
                "show there is not looked at"
            )
        out = {one.id for one in wrong} if split == "train" else set()
        keep &= ~(inside & found.rows["id"].isin(out).to_numpy())
    return Layout(found.rows[keep].reset_index(drop=True), tuple(notes))


@dataclass(frozen=True)
class _PackRow:
    """One photo before it is read, and its row in the arrays of its split."""

    id: str
    split: Split
    position: int
    image: str
    target: str
    boxes: tuple[Box, ...]


def _pack_rows(rows: pd.DataFrame) -> Iterator[_PackRow]:
    position = {"train": 0, "test": 0}
    columns = (rows[name].tolist() for name in ("id", "split", "image", "target", "boxes"))
    for photo_id, split, image, target, boxes in zip(*columns, strict=True):
        yield _PackRow(photo_id, split, position[split], image, target, boxes_from_text(boxes))
        position[split] += 1


def _read(path: Path) -> tuple[np.ndarray, bytes]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path} is missing. Fetch again: kit fetch --force") from None
    return decode_image(data, path), data


@dataclass(frozen=True)
class _Facts:
    """What a photo's files have told."""

    digest: str
    phash: str
    """"" in the test split."""
    doubt: Doubtful | None


class _Packer:
    """Reads photos into the arrays of the pack; safe between threads, for each photo has rows of its own."""

    def __init__(self, raw: Path, layout: Competition, arrays: dict[str, ArrayWriter], size: tuple[int, int]) -> None:
        self.raw, self.layout, self.arrays, self.size = raw, layout, arrays, size

    def pack(self, row: _PackRow) -> _Facts:
        """Store one photo; return what its files have told."""
        given, data = self._image(row)
        hole = hole_of(row.boxes, *self.size)
        image = cv2.copyTo(given, np.where(hole, np.uint8(0), np.uint8(255)))
        self.arrays[f"{row.split}_image"].write(row.position, image)
        self.arrays[f"{row.split}_estimated"].write(row.position, self.layout.value_range(image, hole))
        if not row.target:
            doubt = doubt_about(given, row.boxes, hole, None, painted=self.layout.painted)
            return _Facts(digest_bytes(data), "", Doubtful(row.id, doubt) if doubt else None)
        target, target_data = _read(self.raw / row.target)
        if target.shape != image.shape:
            raise ImageError(
                f"{self.raw / row.target} is not of the size of {self.raw / row.image}. Fetch again: kit fetch --force"
            )
        self.arrays["train_target"].write(row.position, target)
        self.arrays["train_extremes"].write(row.position, self.layout.value_range(target, None))
        doubt = doubt_about(given, row.boxes, hole, target, painted=self.layout.painted)
        hint = turned(given, target, hole) if doubt is Doubt.PAIR else ""
        return _Facts(
            digest_bytes(data + target_data),
            perceptual_hash(target),
            Doubtful(row.id, doubt, hint) if doubt else None,
        )

    def _image(self, row: _PackRow) -> tuple[np.ndarray, bytes]:
        """Return the photo as given, and its file's bytes."""
        height, width = self.size
        image, data = _read(self.raw / row.image)
        if image.shape[:2] != (height, width):
            raise ImageError(
                f"{self.raw / row.image} is {image.shape[1]}x{image.shape[0]}, but the first photo is "
                f"{width}x{height}: all photos of a competition must be of one size."
            )
        for box in row.boxes:
            if not box.fits(height, width):
                raise TableError(
                    f"{row.id}: the box {box.row},{box.col} of {box.height}x{box.width} leaves the photo of "
                    f"{height}x{width}."
                )
        return image, data


@contextlib.contextmanager
def _open_arrays(folder: Path, rows: pd.DataFrame, height: int, width: int) -> Iterator[dict[str, ArrayWriter]]:
    train, test = (int((rows["split"] == split).sum()) for split in ("train", "test"))
    with contextlib.ExitStack() as stack:
        arrays = {}
        for name, (shape, dtype) in _shapes(train, test, height, width).items():
            arrays[name] = ArrayWriter(folder / f"{name}.npy", shape, dtype)
            stack.callback(arrays[name].close)
        yield arrays


def _shapes(train: int, test: int, height: int, width: int) -> dict[str, tuple[tuple[int, ...], type]]:
    return {
        "train_image": ((train, height, width, 3), np.uint8),
        "train_target": ((train, height, width, 3), np.uint8),
        "test_image": ((test, height, width, 3), np.uint8),
        "train_extremes": ((train, 2, 3), np.float64),
        "train_estimated": ((train, 2, 3), np.float64),
        "test_estimated": ((test, 2, 3), np.float64),
    }


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
    return Pack(**{_STORED_AS.get(name, name): array for name, array in arrays.items()})
