"""Predictions in `.npy` and `.npz` files, read photo by photo in bounded memory. Knows numpy's formats, no pickle."""

from __future__ import annotations

import contextlib
import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from kit.errors import PredictionsError
from kit.exchange.known_pixels import KnownPixels
from kit.exchange.values import Photos, ReaderLog, ValueFormat, few, to_pixels

PLAIN = "Save plain numbers: np.save(file, np.stack(list_of_arrays))"
ANY_SPLIT = ("values", "predictions", "arr_0")  # names of an array with all photos; that of the split comes first


@dataclass(frozen=True)
class Header:
    """The header of a `.npy`."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype


def npy_values(path: Path, photos: Photos, value_format: ValueFormat, log: ReaderLog) -> Iterator[np.ndarray]:
    """Yield for each photo `(n, 3)` RGB in pixel space, from one array of all photos. Raises `PredictionsError`."""
    with path.open("rb") as file, _damage(path):
        yield from _of_all_photos(file, str(path), path, photos, value_format, log)


def npz_values(path: Path, photos: Photos, value_format: ValueFormat, log: ReaderLog) -> Iterator[np.ndarray]:
    """Do the same from a `.npz`: one array a photo, named by id or file name, or one array of all photos.

    Raises:
        PredictionsError: damaged, a pickle, photos missing or named twice, arrays of other shapes.
    """
    with _damage(path), zipfile.ZipFile(path) as archive:
        listed = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        twice = sorted({name for name in listed if listed.count(name) > 1}) if len(set(listed)) < len(listed) else []
        if twice:
            raise PredictionsError(f"{path} holds two arrays of one name: {few(twice)}. Save it again.")
        if {photo_row.id for photo_row in photos.photo_rows} & set(listed) or set(photos.named) & set(listed):
            yield from _by_photo(archive, path, set(listed), photos, value_format, log)
            return
        name = _array_of_all(path, listed, photos)
        with archive.open(f"{name}.npy") as file:
            yield from _of_all_photos(file, f"{path} ({name})", path, photos, value_format, log)


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Translate errors of damaged files."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        RuntimeError,
        NotImplementedError,
        OSError,
    ) as error:
        raise PredictionsError(f"{path} is damaged or no {path.suffix} file ({error}). Copy it again.") from None


def _header(file: IO[bytes], label: str) -> Header:
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version[0]}.{version[1]}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        header = Header(*read(file))
    except (ValueError, TypeError, OverflowError, SyntaxError, tokenize.TokenError) as error:
        raise PredictionsError(f"{label} is not a .npy file ({' '.join(str(error).split())[:120]}). {PLAIN}") from None
    if header.dtype.hasobject:
        raise PredictionsError(f"{label} holds a pickle of Python objects, which kit does not open. {PLAIN}")
    if header.dtype.kind not in "fui":
        raise PredictionsError(f"{label} holds {header.dtype}, not numbers. {PLAIN}")
    return header


def _read(file: IO[bytes], shape: tuple[int, ...], header: Header, label: str) -> np.ndarray:
    size = math.prod(shape) * header.dtype.itemsize
    data = file.read(size)
    if len(data) < size:
        raise PredictionsError(f"{label} ends too early: it was cut. Copy it again.")
    return np.frombuffer(data, header.dtype).reshape(shape, order="F" if header.fortran else "C")


# --- one array of all photos ----------------------------------------------------


def _array_of_all(path: Path, listed: list[str], photos: Photos) -> str:
    known = [name for name in (photos.split, *ANY_SPLIT) if name in listed]
    if known or len(listed) == 1:
        return (known or listed)[0]
    raise PredictionsError(
        f"{path} holds {len(listed)} arrays ({few(sorted(listed))}), none named like a {photos.kind} photo "
        f"({photos.photo_rows[0].id!r}) and none {photos.split} or {' or '.join(ANY_SPLIT)}. Leave --{photos.split} "
        "out, or give another file."
    )


def _of_all_photos(
    file: IO[bytes], label: str, path: Path, photos: Photos, value_format: ValueFormat, log: ReaderLog
) -> Iterator[np.ndarray]:
    header = _header(file, label)
    whole = _is_whole(header, label, photos)
    log.how = f"{'whole pictures' if whole else 'hidden pixels'}, {value_format.described(header.dtype)}"
    known = KnownPixels(path, photos, value_format, log)
    # numbers in Fortran's order have no photo in one piece: such an array is held in memory
    held = _read(file, header.shape, header, label) if header.fortran else None
    start = 0
    for position, count in enumerate(photos.counts.tolist()):
        shape = header.shape[1:] if len(header.shape) > 2 else (count, 3)
        if held is None:
            block = _read(file, shape, header, label)
        else:
            block = held[position] if held.ndim > 2 else held[start : start + count]
        start += count
        yield _photo(block, position, label, photos, value_format, known)
    known.judge()


def _is_whole(header: Header, label: str, photos: Photos) -> bool:
    """Return whether the array holds whole pictures. Raises `PredictionsError` when it fits these photos in no way."""
    shape, count, total = header.shape, len(photos.photo_rows), int(photos.counts.sum())
    if shape == (total, 3) or (
        len(shape) == 3 and shape[0] == count and set(photos.counts) == {shape[1]} and shape[2] == 3
    ):
        return False
    if len(shape) == 4 and shape[0] == count and 3 in (shape[1], shape[3]) and min(shape) > 0:
        return True
    each = f"({count}, {photos.counts[0]}, 3), " if len(set(photos.counts.tolist())) == 1 else ""
    first = photos.photo_rows[0]
    swapped = ""
    if shape and shape[0] in (len(photos.others), sum(photo_row.scored for photo_row in photos.others)):
        swapped = f" It fits the {'test' if photos.split == 'oof' else 'training'} photos: --oof and --test exchanged?"
    raise PredictionsError(
        f"{label} has the shape {shape}; for the {count} {photos.kind} photos ({total}, 3), {each}({count}, "
        f"{first.height}, {first.width}, 3) or ({count}, 3, {first.height}, {first.width}) is needed.{swapped}"
    )


def _photo(
    block: np.ndarray, position: int, label: str, photos: Photos, value_format: ValueFormat, known: KnownPixels
) -> np.ndarray:
    if block.ndim == 2:
        return to_pixels(block, photos, position, value_format, label)
    picture = block if block.shape[2] == 3 else np.moveaxis(block, 0, 2)
    return known.hidden(picture, position, f"{label}: the picture of {photos.photo_rows[position].id}")


# --- one array a photo ----------------------------------------------------------


def _by_photo(
    archive: zipfile.ZipFile, path: Path, listed: set[str], photos: Photos, value_format: ValueFormat, log: ReaderLog
) -> Iterator[np.ndarray]:
    names = _names(path, listed, photos)
    extra = sorted(listed - set(names) - {photo_row.id for photo_row in photos.others})
    if extra:
        log.notes.append(f"{path}: {len(extra)} arrays are of no {photos.kind} photo and were left: {few(extra)}.")
    known = KnownPixels(path, photos, value_format, log)
    for position, name in enumerate(names):
        label = f"{path} ({name})"
        with archive.open(f"{name}.npy") as file:
            header = _header(file, label)
            shape = header.shape
            hidden = shape == (int(photos.counts[position]), 3)
            if not hidden and not (len(shape) == 3 and 3 in (shape[0], shape[2]) and min(shape) > 0):
                photo_row = photos.photo_rows[position]
                raise PredictionsError(
                    f"{label} has the shape {shape}; ({photo_row.scored}, 3), "
                    f"({photo_row.height}, {photo_row.width}, 3) or (3, {photo_row.height}, {photo_row.width}) "
                    "is needed."
                )
            if not position:
                what = "hidden pixels" if hidden else "whole pictures"
                log.how = f"an array a photo, {what}, {value_format.described(header.dtype)}"
            block = _read(file, shape, header, label)
        yield _photo(block, position, label, photos, value_format, known)
    known.judge()


def _names(path: Path, listed: set[str], photos: Photos) -> list[str]:
    """Return the array of each photo: by its id, else by its file name where only one photo has it."""
    names, missing = [], []
    for photo_row in photos.photo_rows:
        if photo_row.id in listed:
            names.append(photo_row.id)
        elif photo_row.name not in listed:
            missing.append(photo_row.id)
        elif len(photos.named[photo_row.name]) > 1:
            ids = [photos.photo_rows[position].id for position in photos.named[photo_row.name]]
            raise PredictionsError(
                f"{path}: {photo_row.name!r} could be {' or '.join(ids)}. Name the arrays by these ids."
            )
        else:
            names.append(photo_row.name)
    if missing:
        raise PredictionsError(
            f"{path} lacks {len(missing)} of the {len(photos.photo_rows)} {photos.kind} photos: {few(missing)}."
        )
    return names
