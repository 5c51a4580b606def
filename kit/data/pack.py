"""The pack: every photo of a competition as memory-mapped uint8 arrays. Knows layouts only through `Competition`.

    train_image.npy   (N, H, W, 3) uint8 RGB, the photos as given, hidden pixels set to 0
    train_target.npy  (N, H, W, 3) uint8 RGB, the whole photos
    test_image.npy    (M, H, W, 3)
    train_extremes.npy, train_estimated.npy, test_estimated.npy   (N, 2, 3) float64, see `Competition.value_range`

Where photos differ in size, photos lie one after the other in one flat array (`kit.data.photo_list`).

Hidden pixels are zeroed here, once, so that nothing downstream can depend on what a file has under its hole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from kit.competitions import Competition, Layout, sample_path
from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.core.storage import ArrayWriter, digest_bytes, digest_file, map_array, read_json, write_json, writing_folder
from kit.core.workspace import Split, Workspace
from kit.data.index import COLUMNS, Index, index_digest, read_index, write_index
from kit.data.likeness import perceptual_hash
from kit.data.photo_list import PhotoArray, PhotoList, starts_of
from kit.data.soundness import Doubt, Doubtful, described, doubt_about, is_few, turned
from kit.errors import ArchiveError, DamagedStore, ImageError, Mismatch, TableError
from kit.imaging.holes import Box, BoxArray, boxes_from_text, hole_of
from kit.imaging.images import decode_image, image_size

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

    train_image: PhotoArray
    train_target: PhotoArray
    test_image: PhotoArray
    train_value_range: np.ndarray
    train_estimated_range: np.ndarray
    test_estimated_range: np.ndarray

    def image(self, split: Split) -> PhotoArray:
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
    sizes = _sizes(workspace.raw, layout, found.rows)
    with writing_folder(workspace.pack) as folder:
        facts = _write_arrays(folder, workspace.raw, layout, found.rows, sizes)
        agreeing = _agreeing(found, facts)
        if len(agreeing.rows) < len(found.rows):  # rare: once more, without those
            for path in folder.glob("*.npy"):
                path.unlink()
            kept = found.rows["id"].isin(agreeing.rows["id"]).tolist()
            sizes = list(compress(sizes, kept))
            facts = _write_arrays(folder, workspace.raw, layout, agreeing.rows, sizes)
        heights, widths = zip(*sizes, strict=True)
        rows = agreeing.rows.assign(
            height=heights, width=widths, digest=[one.digest for one in facts], phash=[one.phash for one in facts]
        )
        digest = index_digest(rows[COLUMNS].to_csv(index=False, lineterminator="\n").encode(), chosen)
        alike = {"height": heights[0], "width": widths[0]} if len(set(sizes)) == 1 else {}
        write_json(folder / "manifest.json", {"index": digest, "version": PACK_VERSION, **alike})
    write_index(workspace, rows, agreeing.notes, layout=chosen, sample=_sample_digest(workspace.raw, layout))
    return read_index(workspace), agreeing.notes


def _sample_digest(raw: Path, layout: Competition) -> str:
    """Return the digest of the sample submission, "" where there is none."""
    try:
        return digest_file(sample_path(raw, layout.sample)) if layout.sample else ""
    except ArchiveError:
        return ""


def _sizes(raw: Path, layout: Competition, rows: pd.DataFrame) -> list[tuple[int, int]]:
    """Return height and width of each photo: all those of the first, unless the layout says that they differ."""
    paths = [raw / path for path in rows["image"].tolist()]
    if not layout.mixed_sizes:
        return [image_size(paths[0])] * len(paths)
    return list(track(map_in_order(image_size, paths), "Measuring photos", len(paths), "photos"))


def _write_arrays(
    folder: Path, raw: Path, layout: Competition, rows: pd.DataFrame, sizes: list[tuple[int, int]]
) -> list[_Facts]:
    with _open_arrays(folder, rows, sizes) as arrays:
        packer = _Packer(raw, layout, arrays, sizes)
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
    boxes: tuple[Box, ...] | BoxArray
    number: int
    """Its row in the table of both splits."""


def _pack_rows(rows: pd.DataFrame) -> Iterator[_PackRow]:
    position = {"train": 0, "test": 0}
    columns = (rows[name].tolist() for name in ("id", "split", "image", "target", "boxes"))
    for number, (photo_id, split, image, target, boxes) in enumerate(zip(*columns, strict=True)):
        yield _PackRow(photo_id, split, position[split], image, target, boxes_from_text(boxes), number)
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

    def __init__(
        self, raw: Path, layout: Competition, arrays: dict[str, _Writer], sizes: Sequence[tuple[int, int]]
    ) -> None:
        self.raw, self.layout, self.arrays, self.sizes = raw, layout, arrays, sizes

    def pack(self, row: _PackRow) -> _Facts:
        """Store one photo; return what its files have told."""
        given, data = self._image(row)
        hole = hole_of(row.boxes, *self.sizes[row.number])
        image = cv2.copyTo(given, np.where(hole, np.uint8(0), np.uint8(255)))
        self.arrays[f"{row.split}_image"].write(row.position, image)
        self.arrays[f"{row.split}_estimated"].write(row.position, self.layout.value_range(image, hole))
        if not row.target:
            doubt = doubt_about(given, row.boxes, hole, None, painted=self.layout.painted)
            return _Facts(digest_bytes(data), "", Doubtful(row.id, doubt) if doubt else None)
        target, target_data = (given, data) if row.target == row.image else _read(self.raw / row.target)
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
        height, width = self.sizes[row.number]
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


class _Writer(Protocol):
    """Writes a photo, or numbers of it, at its position."""

    def write(self, row: int, values: np.ndarray) -> None:
        """Write one row."""

    def close(self) -> None:
        """Flush and close the file."""


class _FlatWriter:
    """Writes photos of several sizes one after the other."""

    def __init__(self, path: Path, sizes: Sequence[tuple[int, int]]) -> None:
        self.starts = starts_of(sizes)
        self._writer = ArrayWriter(path, (self.starts[-1],), np.uint8)

    def write(self, row: int, values: np.ndarray) -> None:
        """Write the photo at this position, of the size that was announced."""
        flat = np.ascontiguousarray(values).reshape(-1)
        if len(flat) != self.starts[row + 1] - self.starts[row]:
            raise ValueError(f"photo {row} was announced with another size")
        self._writer.write_many(self.starts[row], flat)

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


@contextlib.contextmanager
def _open_arrays(folder: Path, rows: pd.DataFrame, sizes: Sequence[tuple[int, int]]) -> Iterator[dict[str, _Writer]]:
    splits = rows["split"].tolist()
    by_split = {
        split: [size for size, own in zip(sizes, splits, strict=True) if own == split] for split in ("train", "test")
    }
    with contextlib.ExitStack() as stack:
        arrays: dict[str, _Writer] = {}
        for name, (shape, dtype) in _shapes(by_split["train"], by_split["test"]).items():
            path = folder / f"{name}.npy"
            is_flat = len(shape) == 1
            arrays[name] = (
                _FlatWriter(path, by_split[name.split("_")[0]]) if is_flat else ArrayWriter(path, shape, dtype)
            )
            stack.callback(arrays[name].close)
        yield arrays


def _shapes(
    train: Sequence[tuple[int, int]], test: Sequence[tuple[int, int]]
) -> dict[str, tuple[tuple[int, ...], type]]:
    """Return shape and type of each file, by the sizes of the photos."""
    is_one = len({*train, *test}) == 1

    def photos(sizes: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        return (len(sizes), *(train or test)[0], 3) if is_one else (starts_of(sizes)[-1],)

    return {
        "train_image": (photos(train), np.uint8),
        "train_target": (photos(train), np.uint8),
        "test_image": (photos(test), np.uint8),
        "train_extremes": ((len(train), 2, 3), np.float64),
        "train_estimated": ((len(train), 2, 3), np.float64),
        "test_estimated": ((len(test), 2, 3), np.float64),
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
    sizes = {
        split: [(row.height, row.width) for row in rows]
        for split, rows in (("train", index.train), ("test", index.test))
    }
    arrays: dict[str, Any] = {}
    for name, (shape, dtype) in _shapes(sizes["train"], sizes["test"]).items():
        path = workspace.pack / f"{name}.npy"
        array = arrays[name] = map_array(path, made_by="kit fetch --force")
        if array.shape != shape or array.dtype != dtype:
            raise DamagedStore(
                f"{path} holds {array.dtype} values of shape {array.shape}, but {np.dtype(dtype)} of {shape} belong "
                "there. Run: kit fetch --force"
            )
        if len(shape) == 1:
            arrays[name] = PhotoList(array, sizes[name.split("_")[0]])
    return Pack(**{_STORED_AS.get(name, name): array for name, array in arrays.items()})
