"""Guesses what is hidden in pictures that have neither masks nor boxes: what is transparent, or one flat colour."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

LOOKED_AT = 5  # pictures
SHARE = 0.005  # of a picture that one colour has to cover


def guess_hole(source: Path, paths: list[PurePosixPath]) -> str | None:
    """Return `alpha`, or the colour as #rrggbb that hides a part of every picture that is looked at; None where nothing
    does.

    Args:
        source: a zip or a folder.
        paths: of pictures in it.
    """
    pictures = list(_read(source, paths))
    if not pictures:
        return None
    if all(one.ndim == 3 and one.shape[2] == 4 and (one[..., 3] == 0).any() for one in pictures):
        return "alpha"
    colours = {_flat_colour(one) for one in pictures}
    return colours.pop() if len(colours) == 1 else None


def _read(source: Path, paths: list[PurePosixPath]) -> Iterator[np.ndarray]:
    """Yield some pictures, evenly spread, as OpenCV has them; passes over what cannot be read."""
    step = max(1, len(paths) // LOOKED_AT)
    for path in paths[::step][:LOOKED_AT]:
        try:
            if source.is_dir():
                data = (source / path).read_bytes()
            else:
                with zipfile.ZipFile(source) as archive:
                    data = archive.read(str(path))
            found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, cv2.error):
            continue
        if found is not None:
            yield found


def _flat_colour(picture: np.ndarray) -> str | None:
    """Return the colour that most of a picture's flat places have, as #rrggbb; None where they cover too little."""
    if picture.dtype != np.uint8:
        return None
    flat = picture[..., :3].reshape(-1, 3) if picture.ndim == 3 else np.repeat(picture.reshape(-1, 1), 3, axis=1)
    number = flat.astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)  # BGR
    values, counts = np.unique(number, return_counts=True)
    most = int(values[counts.argmax()])
    alike = (number == most).astype(np.uint8).reshape(picture.shape[:2])
    whole = cv2.erode(alike, np.ones((3, 3), np.uint8))  # what is left lies in places of three by three at least
    if whole.mean() < SHARE:
        return None
    return f"#{most:06x}"
