"""Pictures of one's own and their masks: matched, checked, and cut to the window that is predicted. Knows no model.

A picture is predicted at its own resolution. What a network sees of it is a window of about the competition's shape
around the hole, as wide as the competition's photos are for their boxes: of a picture no larger than those, the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kit.data.index import PhotoRow
from kit.errors import ImageError, KitError, UsageError
from kit.imaging.holes import boxes_of
from kit.imaging.images import IMAGE_SUFFIXES, load_image
from kit.imaging.masks import HIDDEN

ROOM = 3  # a window is so many times as high and wide as what is hidden in it, if the picture is


@dataclass(frozen=True)
class OwnPicture:
    """A picture and its mask."""

    path: Path
    mask: Path

    @property
    def name(self) -> str:
        """Return the name without its suffix."""
        return self.path.stem


@dataclass(frozen=True)
class Window:
    """The part of a picture that is predicted, as if it were a photo of the competition."""

    row: PhotoRow
    image: np.ndarray
    """`(h, w, 3)` uint8 RGB, hidden pixels 0."""
    top: int
    left: int


def match_masks(images: Path, masks: Path) -> tuple[list[OwnPicture], list[str]]:
    """Return every picture of a folder with its mask, `NAME` or `NAME_mask`, by name; and what is to be noted.

    Raises:
        UsageError: no such folder, no pictures, a picture without a mask or with two, two pictures of one name.
    """
    pictures = _by_name(images, "--images")
    drawn = _by_name(masks, "--masks")
    if images.resolve() == masks.resolve():
        drawn = {name: paths for name, paths in drawn.items() if name.endswith("_mask")}
        pictures = {name: paths for name, paths in pictures.items() if name not in drawn}
    if not pictures:
        raise UsageError(f"{images} holds no pictures ({', '.join(IMAGE_SUFFIXES)}). Give another folder: --images DIR")
    found, absent = [], []
    for name, paths in sorted(pictures.items()):
        candidates = [*drawn.get(name, []), *drawn.get(f"{name}_mask", [])]
        if len(paths) > 1:
            raise UsageError(f"{paths[0]} and {paths[1]} would both become {name}.png. Rename one of them.")
        if len(candidates) > 1:
            raise UsageError(f"{paths[0]} has two masks, {candidates[0]} and {candidates[1]}. Leave one of them.")
        if candidates:
            found.append(OwnPicture(paths[0], candidates[0]))
        else:
            absent.append(paths[0])
    if absent:
        more = f", as {len(absent) - 1} others" if len(absent) > 1 else ""
        raise UsageError(
            f"{absent[0]} has no mask{more}. Put one there, white where hidden: {masks / (absent[0].stem + '.png')}"
        )
    unused = sorted(drawn.keys() - {one.mask.stem for one in found})
    notes = [f"{len(unused)} masks are of no picture (first: {drawn[unused[0]][0]})"] if unused else []
    notes += _notes_on(images, [one.path for one in found])
    return found, notes


def _notes_on(folder: Path, pictures: Sequence[Path]) -> list[str]:
    """Say what of a folder is passed over, and what of its pictures is lost."""
    other = [path for path in sorted(folder.iterdir()) if path not in pictures and not path.name.startswith(".")]
    clear = [path for path in pictures if _has_alpha(path)]
    notes = []
    if other:
        notes.append(f"{len(other)} of {folder} passed over: no pictures that kit reads (first: {other[0].name})")
    if clear:
        notes.append(f"transparency is lost, and pictures come out opaque: {len(clear)} of them (first: {clear[0]})")
    return notes


def _has_alpha(path: Path) -> bool:
    """Return whether a PNG has a channel of alpha: its header says so."""
    if path.suffix.lower() != ".png":
        return False
    with path.open("rb") as file:
        return file.read(26)[25:26] in (b"\x04", b"\x06")


def _by_name(folder: Path, option: str) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise UsageError(f"{option} {folder}: there is no such folder.")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            found.setdefault(path.stem, []).append(path)
    return found


def check_out(out: Path, images: Path, masks: Path) -> None:
    """Raise `UsageError` for a folder in which results would replace what they are made from."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file. Give a folder for the pictures: --out DIR")
    if out.resolve() in (images.resolve(), masks.resolve()):
        raise UsageError(f"--out {out} holds the pictures or masks themselves. Give another folder: --out DIR")


def read_own(picture: OwnPicture) -> tuple[np.ndarray, np.ndarray]:
    """Read a picture, uint8 RGB `(H, W, 3)`, and what of it is hidden, bool `(H, W)`.

    Raises:
        ImageError: one of them cannot be read, has more than 8 bits, they differ in size, or nothing is known.
    """
    image, mask = _loaded(picture.path), _loaded(picture.mask)
    if image.shape != mask.shape:
        raise ImageError(
            f"{picture.mask} is {mask.shape[1]}x{mask.shape[0]}, but {picture.path} is {image.shape[1]}x"
            f"{image.shape[0]}. Give a mask of the picture's size."
        )
    hole = cv2.cvtColor(mask, cv2.COLOR_RGB2GRAY) >= HIDDEN
    if hole.all():
        raise ImageError(f"{picture.mask} hides all of {picture.path}: white is hidden. Leave something known.")
    return image, hole


def _loaded(path: Path) -> np.ndarray:
    try:
        image = load_image(path)
    except KitError as error:
        what = str(error).split(" Fetch it again")[0].split(" Run: ")[0]
        raise ImageError(f"{what} Give another file of that name.") from None
    if path.suffix.lower() == ".png":
        bits = path.read_bytes()[24]  # of the header, which every whole PNG has
        if bits == 16:
            raise ImageError(f"{path} has 16 bits a channel, and kit keeps 8. Save it with 8 bits a channel.")
    return image


def window_of(picture: OwnPicture, image: np.ndarray, hole: np.ndarray, usual: tuple[int, int]) -> Window:
    """Cut the window that is predicted.

    Args:
        usual: height and width of the competition's photos.
    """
    spans = [np.flatnonzero(hole.any(axis=1 - axis)) for axis in (0, 1)]
    lengths = [int(span[-1] - span[0] + 1) for span in spans]
    scale = max(1.0, *(ROOM * length / side for length, side in zip(lengths, usual, strict=True)))
    cuts = []
    for span, side, full in zip(spans, usual, hole.shape, strict=True):
        size = min(full, round(scale * side))
        middle = (int(span[0]) + int(span[-1]) + 1) // 2
        start = min(max(0, middle - size // 2), full - size)
        cuts.append(slice(start, start + size))
    inside = hole[cuts[0], cuts[1]]
    shown = np.where(inside[..., None], np.uint8(0), image[cuts[0], cuts[1]])
    height, width = inside.shape
    row = PhotoRow(picture.name, "", picture.name, str(picture.path), "", boxes_of(inside), height, width, "", "")
    return Window(row, shown, cuts[0].start, cuts[1].start)


def larger(shapes: Sequence[tuple[int, ...]], usual: tuple[int, int]) -> int:
    """Return how many pictures are higher or wider than the competition's photos."""
    return sum(shape[0] > usual[0] or shape[1] > usual[1] for shape in shapes)
