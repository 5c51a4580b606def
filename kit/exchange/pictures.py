"""Predictions as a folder of whole inpainted pictures, named like the photos. Knows names and picture files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from kit.data.index import PhotoRow
from kit.errors import ImageError, PredictionsError
from kit.exchange.known_pixels import KnownPixels
from kit.exchange.values import Photos, ReaderLog, ValueFormat, few
from kit.imaging.images import IMAGE_SUFFIXES, load_image


def picture_values(folder: Path, photos: Photos, value_format: ValueFormat, log: ReaderLog) -> Iterator[np.ndarray]:
    """Yield for each photo the hidden pixels `(n, 3)` RGB in pixel space of its picture.

    Raises:
        PredictionsError: photos without a picture, a picture that could be of two photos, or of another photo.
        ImageError: a picture that is truncated or none.
    """
    paths = find_pictures(folder, photos, log)
    log.how = f"whole pictures, {value_format.channels.upper()}, {value_format.space} space"
    known = KnownPixels(folder, photos, value_format, log)
    for position, path in enumerate(paths):
        try:
            picture = load_image(path)
        except ImageError:
            raise ImageError(
                f"{path} is no whole picture ({path.stat().st_size} bytes). Write it again, then import again."
            ) from None
        yield known.hidden(picture, position, str(path))
    known.judge()


def all_pictures(folder: Path) -> list[Path]:
    """Return every picture file at any depth, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def find_pictures(folder: Path, photos: Photos, log: ReaderLog) -> list[Path]:
    """Find each photo's picture: same name, or with another suffix; a class folder decides between namesakes.

    Raises:
        PredictionsError: none, several, or one that could be of several photos.
    """
    pictures = all_pictures(folder)
    if not pictures:
        raise PredictionsError(f"{folder} is a folder without pictures ({', '.join(IMAGE_SUFFIXES)}).")
    names = _Names(folder, pictures, photos)
    found = [names.picture_of(photo_row) for photo_row in photos.photo_rows]
    missing = [photo_row.id for photo_row, path in zip(photos.photo_rows, found, strict=True) if path is None]
    if missing:
        raise PredictionsError(
            f"{folder} lacks the pictures of {len(missing)} of the {len(photos.photo_rows)} {photos.kind} photos: "
            f"{few(missing)}."
        )
    owners: dict[Path, str] = {}
    for photo_row, path in zip(photos.photo_rows, found, strict=True):
        assert path is not None
        if path in owners:
            raise PredictionsError(
                f"{path} could be of {owners[path]} or of {photo_row.id}. Put the pictures in a folder for each class, "
                f"or keep the photo's whole name: '{photo_row.name}.png'"
            )
        owners[path] = photo_row.id
    extra = sorted(str(path.relative_to(folder)) for path in set(pictures) - owners.keys())
    if extra:
        log.notes.append(f"{folder}: {len(extra)} pictures are of no {photos.kind} photo and were left: {few(extra)}.")
    return [path for path in found if path is not None]


class _Names:
    """Pictures by what they could be called."""

    def __init__(self, folder: Path, pictures: list[Path], photos: Photos) -> None:
        self.folder = folder
        self.by_name: dict[str, list[Path]] = {}
        self.by_stem: dict[str, list[Path]] = {}
        for path in pictures:
            self.by_name.setdefault(path.name, []).append(path)
            self.by_stem.setdefault(path.stem, []).append(path)
        self.photo_names = set(photos.named)

    def picture_of(self, photo_row: PhotoRow) -> Path | None:
        stem = PurePosixPath(photo_row.name).stem
        # "a.jpg", "a.jpg.png", "a.png"; of these a file that has another photo's very name is that photo's
        for candidates in (self.by_name.get(photo_row.name), self.by_stem.get(photo_row.name), self.by_stem.get(stem)):
            others = self.photo_names - {photo_row.name}
            found = [path for path in candidates or [] if path.name not in others and path.stem not in others]
            if len(found) > 1:
                found = self._of_class(found, photo_row) or found
            if len(found) > 1:
                shown = [str(path.relative_to(self.folder)) for path in found]
                raise PredictionsError(f"{self.folder} holds {len(found)} pictures of {photo_row.id}: {few(shown)}.")
            if found:
                return found[0]
        return None

    def _of_class(self, paths: list[Path], photo_row: PhotoRow) -> list[Path]:
        klass = photo_row.klass.casefold()
        return [
            path for path in paths if klass in (part.casefold() for part in path.relative_to(self.folder).parts[:-1])
        ]
