"""A competition that is plain folders: whole training pictures, and what is hidden by masks, boxes, alpha or a colour.

    kit fetch NAME --images train --masks train_masks --test-images test --test-masks test_masks

Folders in these folders are classes. A mask has its picture's name, or NAME_mask, or NAME_mask001 and so on, as in the
evaluation folders of LaMa (Suvorov et al. 2022, github.com/advimman/lama), where pictures and masks lie together: then
every mask is a photo. Without masks of training pictures, those of the test pictures are laid on them. A submission is
a zip of the test pictures as PNG.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from kit.competitions import Competition, Layout
from kit.core.numbers import counted
from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.core.storage import digest_bytes
from kit.errors import ArchiveError, ImageError, TableError, UsageError
from kit.imaging.holes import Box, boxes_of, boxes_to_text
from kit.imaging.images import IMAGE_SUFFIXES, image_size
from kit.imaging.masks import colour_of, has_alpha, of_colour, read_mask, transparent
from kit.imaging.metrics import metric_named

NAME = "folder"
MASK_NAME = re.compile(r"_mask(\d*)$")
_OTHER_PICTURES = {".gif", ".tif", ".tiff", ".heic", ".avif", ".jp2", ".ppm", ".pgm", ".npy"}
_BOX = ("name", "row", "col", "height", "width")


@dataclass(frozen=True)
class FolderOptions:
    """Where everything lies, below the competition's folder."""

    images: str
    """Training pictures: whole, unless there are `targets`."""
    test_images: str
    masks: str = ""
    test_masks: str = ""
    targets: str = ""
    """Whole training pictures, where `images` have holes painted into them."""
    boxes: str = ""
    """CSV with a row a box, of training and test pictures."""
    columns: str = ""
    """Which of its columns are name, row, col, height and width: `name=file,row=y,col=x`, those that differ alone."""
    hole: str = ""
    """`alpha`, or a colour as #rrggbb: what is hidden in pictures that have neither mask nor box."""
    hidden: str = "white"
    """Which part of a mask is hidden: white or black."""
    metric: str = "rmse"


def folder_competition(slug: str, options: dict[str, Any]) -> Competition:
    """Return the layout of these folders.

    Raises:
        UsageError: options that do not go together.
    """
    known = {field.name for field in fields(FolderOptions)}
    if wrong := sorted(options.keys() - known):
        raise UsageError(f"The layout {NAME} has no option {wrong[0]}. It has {', '.join(sorted(known))}.")
    chosen = FolderOptions(**options)
    _check(chosen)
    return Competition(
        slug=slug,
        title=slug,
        metric=chosen.metric,
        sample="",
        index=lambda raw: Layout(*_index(raw, chosen)),
        index_test=lambda raw, _: Layout(*_index_test(raw, chosen)),
        value_range=unit_range,
        submission="pictures",
        painted=False,
        mixed_sizes=True,
        holds=lambda folder: (folder / chosen.images).is_dir() and (folder / chosen.test_images).is_dir(),
    )


def _check(options: FolderOptions) -> None:
    metric_named(options.metric)
    if options.hidden not in ("white", "black"):
        raise UsageError(f"--hidden {options.hidden}: masks hide what is white, or black. Give one of the two.")
    if options.hole not in ("", "alpha"):
        colour_of(options.hole)
    if options.targets and not (options.masks or options.boxes or options.hole):
        raise UsageError("--targets are the whole pictures of --images with holes: say where those are: --masks DIR")


def unit_range(image: np.ndarray, hole: np.ndarray | None) -> np.ndarray:
    """Return 0 and 1 for each channel: values are scored as they are."""
    return np.stack([np.zeros(3), np.ones(3)])


@dataclass(frozen=True)
class _Picture:
    """A picture and its mask, if it has one."""

    path: Path
    klass: str
    mask: Path | None
    number: str
    """Of several masks of one picture: `_mask001`."""


def _index(raw: Path, options: FolderOptions) -> tuple[pd.DataFrame, tuple[str, ...]]:
    notes: list[str] = []
    test = _pictures(raw, options.test_images, options.test_masks, "--test-images", notes)
    train = _pictures(raw, options.images, options.masks, "--images", notes)
    train_and_test = [*train, *test]
    wholes = _whole_pictures(raw, options.targets, train) if options.targets else {}
    holes = _Holes(raw, options, train_and_test, notes)
    test_rows = _rows(raw, "test", test, holes, None, {})
    drawn, train_rows = None, list[dict[str, Any]]()
    whole = not any(map(holes.can_find, train))
    if train and not whole:
        train_rows = _rows(raw, "train", train, holes, None, wholes)
        # a colour that no training picture has: they are whole, as where no mask is given
        whole = bool(options.hole) and not any(row["boxes"] for row in train_rows)
    if train and whole:
        drawn = [row["hole"] for row in test_rows if row["boxes"]]
        if not drawn:
            raise ArchiveError(
                f"No test picture in {options.test_images} hides anything. Give other masks: --test-masks"
            )
        notes.append(f"training pictures hide nothing: the holes of the {len(drawn)} test pictures are laid on them")
        train_rows = _rows(raw, "train", train, holes, drawn, wholes)
    rows = [*train_rows, *test_rows]
    return pd.DataFrame([{k: v for k, v in row.items() if k != "hole"} for row in rows]), tuple(notes)


def _index_test(raw: Path, options: FolderOptions) -> tuple[pd.DataFrame, tuple[str, ...]]:
    notes: list[str] = []
    test = _pictures(raw, options.test_images, options.test_masks, "--test-images", notes)
    rows = _rows(raw, "test", test, _Holes(raw, options, test, []), None, {})
    return pd.DataFrame([{k: v for k, v in row.items() if k != "hole"} for row in rows]), tuple(notes)


def _files(raw: Path, folder: str, option: str, notes: list[str] | None = None) -> list[Path]:
    """Return the pictures in a folder and the folders in it; pictures of other kinds are noted."""
    base = raw / folder
    if not base.is_dir():
        raise ArchiveError(f"{base} is not there. Name the folder of pictures: {option} DIR")
    found = sorted(path for path in base.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    found = [path for path in found if not path.name.startswith(".") and "__MACOSX" not in path.parts]
    if not found:
        raise ArchiveError(f"{base} holds no pictures ({', '.join(IMAGE_SUFFIXES)}). Name another folder: {option} DIR")
    unread = sorted(path for path in base.rglob("*") if path.suffix.lower() in _OTHER_PICTURES)
    if unread and notes is not None:
        kinds = ", ".join(IMAGE_SUFFIXES)
        notes.append(
            f"{counted(len(unread), 'file')} in {folder} left out (first: {unread[0].name}): kit reads {kinds}"
        )
    return found


def _pictures(raw: Path, folder: str, masks: str, option: str, notes: list[str]) -> list[_Picture]:
    """Pair the pictures of a folder with their masks; a picture with several masks is there several times."""
    files = _files(raw, folder, option, notes)
    together = not masks or (raw / masks).resolve() == (raw / folder).resolve()
    beside = [path for path in files if MASK_NAME.search(path.stem)] if together else []
    pictures = [path for path in files if path not in set(beside)]
    drawn = beside if together else _files(raw, masks, f"{option.replace('images', 'masks')}")
    by_name: dict[tuple[str, str], list[Path]] = {}
    for path in drawn:
        key = path.relative_to(raw / (folder if together else masks)).parent.as_posix(), MASK_NAME.sub("", path.stem)
        by_name.setdefault(key, []).append(path)
    flat = all(parent == "." for parent, _ in by_name)
    found, absent, used = [], [], set[tuple[str, str]]()
    for path in pictures:
        parent = path.relative_to(raw / folder).parent.as_posix()
        key = ("." if flat else parent, path.stem)
        klass = "" if parent == "." else parent.split("/")[0]
        own = by_name.get(key, [])
        used.add(key)
        numbers = [match.group() if (match := MASK_NAME.search(one.stem)) else "" for one in own]
        if len(set(numbers)) < len(numbers):
            raise TableError(f"{path} has two masks, {own[0]} and {own[1]}. Leave one of them.")
        found += [
            _Picture(path, klass, one, number if len(own) > 1 else "") for one, number in zip(own, numbers, strict=True)
        ]
        if not own:
            absent.append(path)
            found.append(_Picture(path, klass, None, ""))
    if absent and drawn:
        more = f", as {len(absent) - 1} others" if len(absent) > 1 else ""
        where = raw / (masks or folder) / f"{absent[0].stem}{'_mask' if together else ''}.png"
        raise ArchiveError(f"{absent[0]} has no mask{more}. Put one there: {where}")
    if unused := sorted(by_name.keys() - used):
        notes.append(f"{len(unused)} masks are of no picture (first: {by_name[unused[0]][0].name})")
    return found


def _whole_pictures(raw: Path, folder: str, train: Sequence[_Picture]) -> dict[Path, Path]:
    """Return the whole picture of each training picture with holes."""
    by_stem: dict[str, list[Path]] = {}
    for path in _files(raw, folder, "--targets"):
        by_stem.setdefault(path.stem, []).append(path)
    found = {}
    for one in train:
        own = by_stem.get(one.path.stem, [])
        same = [path for path in own if path.parent.name == one.path.parent.name] or own
        if len(same) != 1:
            what = "no whole picture" if not same else f"several whole pictures, {same[0]} and {same[1]}"
            raise ArchiveError(f"{one.path} has {what} in {raw / folder}. Give one of the same name: --targets DIR")
        found[one.path] = same[0]
    return found


class _Holes:
    """Finds what a picture hides."""

    def __init__(self, raw: Path, options: FolderOptions, pictures: Sequence[_Picture], notes: list[str]) -> None:
        self.options = options
        self.boxes = _read_boxes(raw / options.boxes, options.columns) if options.boxes else {}
        names = {name for one in pictures for name in (one.path.name, one.path.stem)}
        strange = sorted(self.boxes.keys() - names)
        if strange and len(strange) == len(self.boxes):
            raise TableError(
                f"{options.boxes} names {strange[0]!r}, and no picture is called that, nor as its other rows say "
                f"(pictures are called {pictures[0].path.name}). Name the column: --columns name=COLUMN"
            )
        if strange:
            notes.append(f"{len(strange)} names in {options.boxes} are of no picture (first: {strange[0]})")

    def can_find(self, picture: _Picture) -> bool:
        """Return whether a picture says what it hides."""
        if picture.mask is not None or self._boxes_of(picture):
            return True
        return has_alpha(picture.path) if self.options.hole == "alpha" else bool(self.options.hole)

    def _boxes_of(self, picture: _Picture) -> list[Box]:
        return self.boxes.get(picture.path.name) or self.boxes.get(picture.path.stem) or []

    def find(self, picture: _Picture) -> np.ndarray:
        """Return bool `(H, W)`. Raises `ImageError` or `TableError`."""
        size = image_size(picture.path)
        if picture.mask is not None:
            hole = read_mask(picture.mask, hidden=self.options.hidden)
            if hole.shape != size:
                raise ImageError(
                    f"{picture.mask} is {hole.shape[1]}x{hole.shape[0]}, but {picture.path} is {size[1]}x{size[0]}. "
                    "Give masks of the pictures' sizes: --masks DIR"
                )
            return hole
        if boxes := self._boxes_of(picture):
            return self._of_boxes(picture, boxes, size)
        if self.options.hole:
            return self._of_pixels(picture)
        if self.boxes:
            raise ArchiveError(f"{self.options.boxes} has no row of {picture.path.name}. Add one, or leave it out.")
        raise ArchiveError(
            f"What is hidden in {picture.path}? Give masks, --masks DIR and --test-masks DIR, or boxes, --boxes CSV, "
            "or --hole alpha, or --hole '#000000' where the holes have that colour."
        )

    def _of_boxes(self, picture: _Picture, boxes: list[Box], size: tuple[int, int]) -> np.ndarray:
        hole = np.zeros(size, bool)
        for box in boxes:
            if not box.fits(*size):
                raise TableError(
                    f"{self.options.boxes}: the box {box.row},{box.col} of {box.height}x{box.width} leaves "
                    f"{picture.path.name} of {size[0]}x{size[1]}."
                )
            hole[box.row : box.row + box.height, box.col : box.col + box.width] = True
        if self.options.hole and (self.options.hole != "alpha" or has_alpha(picture.path)):
            beyond = int((self._of_pixels(picture) & ~hole).sum())
            if beyond:
                raise TableError(
                    f"{picture.path.name}: {beyond} pixels of --hole {self.options.hole} lie outside its boxes in "
                    f"{self.options.boxes}. Give one of the two."
                )
        return hole

    def _of_pixels(self, picture: _Picture) -> np.ndarray:
        if self.options.hole == "alpha":
            return transparent(picture.path)
        return of_colour(picture.path, colour_of(self.options.hole))


def _rows(
    raw: Path,
    split: str,
    pictures: Sequence[_Picture],
    holes: _Holes,
    drawn: Sequence[np.ndarray] | None,
    wholes: dict[Path, Path],
) -> list[dict[str, Any]]:
    """Return a row of the index for each picture.

    Args:
        drawn: holes to be laid on pictures that have none of their own.
    """
    names = _names(pictures)

    def row(numbered: tuple[int, _Picture]) -> dict[str, Any]:
        place, one = numbered
        hole = holes.find(one) if drawn is None else _laid(drawn, one.path)
        path = one.path.relative_to(raw).as_posix()
        whole = wholes.get(one.path, one.path).relative_to(raw).as_posix()
        return {
            "id": f"{split}/{names[place]}",
            "split": split,
            "klass": one.klass if split == "train" else "",
            "name": names[place],
            "image": path,
            "target": whole if split == "train" else "",
            "boxes": boxes_to_text(boxes_of(hole)),
            "hole": hole if split == "test" else None,
        }

    read = map_in_order(row, enumerate(pictures))
    title = f"Finding holes of {'training' if split == 'train' else split} photos"
    return list(track(read, title, len(pictures), "pictures"))


def _names(pictures: Sequence[_Picture]) -> list[str]:
    """Return what a submission calls each picture: its file's name, with the folders above it where two share one."""
    names = [f"{one.path.stem}{one.number}{one.path.suffix}" for one in pictures]
    stems = [Path(name).stem for name in names]
    if len(set(stems)) == len(stems):
        return names
    paths = [one.path.relative_to(_common(pictures)).with_suffix("").as_posix() for one in pictures]
    return [f"{path}{one.number}{one.path.suffix}" for path, one in zip(paths, pictures, strict=True)]


def _common(pictures: Sequence[_Picture]) -> Path:
    parents = [one.path.parent for one in pictures]
    shared = parents[0]
    while not all(parent.is_relative_to(shared) for parent in parents):
        shared = shared.parent
    return shared


def _laid(drawn: Sequence[np.ndarray], path: Path) -> np.ndarray:
    """Return one of the holes at a picture's size: which one, and mirrored or not, follows from the file's name."""
    number = int(digest_bytes(path.name.encode()), 16)
    hole = drawn[number % len(drawn)]
    hole = hole[:, ::-1] if number // len(drawn) % 2 else hole
    height, width = image_size(path)
    return cv2.resize(hole.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


# --- boxes in a table


def _read_boxes(path: Path, columns: str) -> dict[str, list[Box]]:
    """Return the boxes of each file name in a CSV."""
    named = dict(zip(_BOX, _BOX, strict=True))
    for pair in filter(None, columns.split(",")):
        ours, _, theirs = pair.partition("=")
        if ours not in named or not theirs:
            raise UsageError(f"--columns {pair}: give {'='.join(('name', 'COLUMN'))}, for {', '.join(_BOX)}.")
        named[ours] = theirs
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _boxes_of_table(csv.DictReader(file), path, named)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} cannot be read as a CSV ({error}). Name the table of boxes: --boxes CSV") from None


def _whole(text: str) -> int:
    """Return a whole number, which a table of pandas may write as `3.0`. Raises `ValueError` for any other."""
    if float(text) != int(float(text)):
        raise ValueError(text)
    return int(float(text))


def _boxes_of_table(table: csv.DictReader[str], path: Path, named: dict[str, str]) -> dict[str, list[Box]]:
    found: dict[str, list[Box]] = {}
    absent = [theirs for theirs in named.values() if theirs not in (table.fieldnames or ())]
    if absent:
        raise TableError(
            f"{path} has the columns {', '.join(table.fieldnames or ['none'])}, and lacks {', '.join(absent)}. Say "
            "which is which: --columns name=FILE,row=Y,col=X,height=H,width=W"
        )
    for line, row in enumerate(table, 2):
        try:
            numbers = [_whole(row[named[one]]) for one in _BOX[1:]]
        except (TypeError, ValueError, OverflowError):
            raise TableError(f"{path}, line {line}: row, col, height and width have to be whole numbers.") from None
        found.setdefault(Path(row[named["name"]]).name, []).append(Box(*numbers))
    return found
