"""Extra whole photos to train on (`kit train --extra DIR`): read, told apart from the project's own. Knows no model.

    data/<slug>/extra/<digest>/photos.npy      (E, H, W, 3) uint8 RGB, at the competition's size, in order of content
    data/<slug>/extra/<digest>/manifest.json   which of them are taken, and how many are left out and why

Nothing is taken that is a near duplicate of a training photo (some fold validates on it), of a test photo, or of
another extra one; of training and extra photos a part is one too, such as a crop. The folder's digest is that of its
pictures' contents: another name is no change. What is kept under it is read by every fold and every process, and made
again when it is deleted.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.core.storage import ArrayWriter, digest_file, digest_of, map_array, read_json, write_json, writing_folder
from kit.data.cropped import grey_picture, grey_pictures
from kit.data.duplicates import duplicate_groups, duplicates_of_masked
from kit.data.leaks import masked_thumbnails
from kit.data.likeness import perceptual_hash, thumbnail, thumbnails_of
from kit.data.project import Project
from kit.errors import DamagedStore, ImageError, UsageError
from kit.imaging.images import decode_image, resize

SUFFIXES = (".jpg", ".jpeg", ".png")
LARGEST_GAIN = 4  # a photo that would be enlarged by more has nothing to teach
EXTRA_VERSION = 3  # raise it when other photos would be taken, or others' pixels
_REASONS = {
    "test": "like a test photo",
    "training": "like a training photo",
    "extra": "like another extra one",
    "format": "not JPEG or PNG",
}


@dataclass(frozen=True)
class ExtraPhotos:
    """The photos of one folder."""

    photos: np.ndarray
    """`(E, H, W, 3)` uint8, memory-mapped."""
    taken: np.ndarray
    """`(n,)` int: the positions of those to train on."""
    left_out: dict[str, int]
    """How many are not, by the reason."""

    def describe(self, folder: str) -> str:
        """Describe how many photos of `folder` are taken, and how many not and why, in one line."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items() if count)
        return f"Extra photos: {len(self.taken)} of {len(self.photos)} in {folder}; left out: {reasons or 'none'}."


def extra_digest(folder: str) -> str | None:
    """Return what names the pictures of a folder by their contents; None where the folder is gone.

    Raises:
        UsageError: a file cannot be read.
    """
    return digest_of([digest for digest, _ in _by_content(Path(folder))]) if Path(folder).is_dir() else None


def extra_photos(project: Project, folder: str) -> ExtraPhotos:
    """Return a folder's photos at the competition's size, prepared now unless they are there already.

    Raises:
        UsageError: no such folder, no photo in it, none that is new, or the competition's own files.
        ImageError: a file that cannot be read as a picture, or a tiny one.
    """
    found = _by_content(_checked(project, folder))
    key = digest_of([EXTRA_VERSION, project.index.digest, [digest for digest, _ in found]])
    kept = project.workspace.extra / key
    if not (kept / "manifest.json").is_file():
        _prepare(project, [path for _, path in found], kept)
    again = f"rm -r {shlex.quote(str(kept))}"
    manifest = read_json(kept / "manifest.json", made_by=again)
    photos = map_array(kept / "photos.npy", made_by=again)
    first = project.index.train[0]
    if photos.shape != (len(found), first.height, first.width, 3) or photos.dtype != np.uint8:
        raise DamagedStore(f"{kept} does not hold the photos of {folder}. Run: {again}, then the same command again.")
    counts = {**manifest["left_out"], "format": _others_in(Path(folder))}
    left_out = {text: counts[reason] for reason, text in _REASONS.items()}
    if not manifest["taken"]:
        made = ExtraPhotos(photos, np.zeros(0, int), left_out)
        raise UsageError(f"{made.describe(folder)} None is new: give other photos, --extra DIR")
    return ExtraPhotos(photos, np.array(manifest["taken"]), left_out)


def fitted(photo: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring uint8 `(h, w, 3)` to `(height, width, 3)`: by area so that the shorter side fits, then its centre."""
    scale = max(height / photo.shape[0], width / photo.shape[1])
    rows, columns = max(height, round(photo.shape[0] * scale)), max(width, round(photo.shape[1] * scale))
    top, left = (rows - height) // 2, (columns - width) // 2
    return np.ascontiguousarray(resize(photo, rows, columns)[top : top + height, left : left + width])


# --- files


def _checked(project: Project, folder: str) -> Path:
    path = Path(folder)
    if not path.is_dir():
        what = "is a file" if path.exists() else "is not there"
        raise UsageError(f"{path} {what}. Give the folder that holds the extra photos: --extra DIR")
    own = project.workspace.data.resolve()
    if path.resolve() in (own, *own.parents) or own in path.resolve().parents:
        raise UsageError(f"{path} holds the competition's own photos ({own}). Give a folder apart from it: --extra DIR")
    if not _pictures_in(path):
        raise UsageError(f"{path} holds no photo ({', '.join(SUFFIXES)}). Give a folder that does: --extra DIR")
    return path


def _files_in(folder: Path) -> list[Path]:
    """Return all files, sub-folders' too, but for hidden ones: systems leave `._photo.jpg` beside a photo."""
    names = [Path(root, name) for root, _, files in os.walk(folder) for name in files]
    return sorted(path for path in names if not path.name.startswith("."))


def _pictures_in(folder: Path) -> list[Path]:
    return [path for path in _files_in(folder) if path.suffix.lower() in SUFFIXES]


def _others_in(folder: Path) -> int:
    return len(_files_in(folder)) - len(_pictures_in(folder))


def _by_content(folder: Path) -> list[tuple[str, Path]]:
    """Return digest and path of each picture, ordered by digest: names and sub-folders do not matter to a training."""
    return sorted((_digest(path), path) for path in _pictures_in(folder))


def _digest(path: Path) -> str:
    try:
        stat = path.stat()
        return _digest_of_version(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}). {_take_out(path)}") from None


@cache  # one command asks for every fold of every source
def _digest_of_version(path: Path, size: int, changed: int) -> str:
    return digest_file(path)


def _take_out(path: Path) -> str:
    return f"Take it out of the folder, then run the same command again: rm {shlex.quote(str(path))}"


# --- preparing


@dataclass(frozen=True)
class _View:
    """What a photo, or a part of it, is recognised by."""

    phash: int
    thumbnail: np.ndarray
    grey: np.ndarray


def _prepare(project: Project, paths: Sequence[Path], kept: Path) -> None:
    """Read every photo once, find those to be taken, and keep both, whole or not at all."""
    first = project.index.train[0]
    size = (first.height, first.width)
    with writing_folder(kept) as folder:
        writer = ArrayWriter(folder / "photos.npy", (len(paths), *size, 3), np.uint8)
        try:
            views = []
            loaded = map_in_order(lambda path: _views_of(_load(path, *size), *size), paths)
            for position, (photo, seen) in enumerate(track(loaded, "Reading extra photos", len(paths), "photos")):
                writer.write(position, photo)
                views.append(seen)
        finally:
            writer.close()
        taken, left_out = _choose(project, views)
        write_json(folder / "manifest.json", {"taken": taken, "left_out": left_out})


def _load(path: Path, height: int, width: int) -> np.ndarray:
    """Load one photo, uint8 RGB. Raises `ImageError` when it is no picture, or a tiny one."""
    try:
        photo = decode_image(path.read_bytes(), path)
    except (ImageError, OSError):
        raise ImageError(f"{path} cannot be read as a whole picture. {_take_out(path)}") from None
    if LARGEST_GAIN * min(photo.shape[0] / height, photo.shape[1] / width) < 1:
        least = f"{-(-width // LARGEST_GAIN)}x{-(-height // LARGEST_GAIN)}"
        raise ImageError(f"{path} is {photo.shape[1]}x{photo.shape[0]}: {least} is the least. {_take_out(path)}")
    return photo


def _views_of(photo: np.ndarray, height: int, width: int) -> tuple[np.ndarray, list[_View]]:
    """Return the photo at the competition's size, and how to recognise it: by that, and by the whole of it, squeezed,
    since the competition may have cropped its photos or not."""
    centre = fitted(photo, height, width)
    views = [centre] if photo.shape[0] * width == photo.shape[1] * height else [centre, resize(photo, height, width)]
    return centre, [_View(int(perceptual_hash(view), 16), thumbnail(view), grey_picture(view)) for view in views]


def _choose(project: Project, views: Sequence[Sequence[_View]]) -> tuple[list[int], dict[str, int]]:
    """Return the positions of the photos to be taken, and how many are not, by the reason."""
    owner = np.repeat(np.arange(len(views)), [len(of_photo) for of_photo in views])
    flat = [view for of_photo in views for view in of_photo]
    small = np.stack([view.thumbnail for view in flat]).astype(np.uint8)
    of_test = set(owner[duplicates_of_masked(small, *masked_thumbnails(project)) >= 0].tolist())
    train, targets = project.index.train, project.pack.train_target
    hashes = [*(int(photo_row.phash, 16) for photo_row in train), *(view.phash for view in flat)]
    own = thumbnails_of(targets, len(train))
    greys = np.concatenate([grey_pictures(targets, len(train)), np.stack([view.grey for view in flat])])
    groups = duplicate_groups(np.array(hashes, np.uint64), np.concatenate([own, small]), greys)
    of_training, seen = set(groups[: len(train)].tolist()), set[int]()
    taken, left_out = [], dict.fromkeys(("test", "training", "extra"), 0)
    ends = np.cumsum([len(of_photo) for of_photo in views])
    for position, of_photo in enumerate(np.split(groups[len(train) :], ends[:-1])):
        mine = set(of_photo.tolist())
        if position in of_test:
            left_out["test"] += 1
        elif mine & of_training:
            left_out["training"] += 1
        elif mine & seen:
            left_out["extra"] += 1
        else:
            taken.append(position)
        seen |= mine
    return taken, left_out
