"""What a picture's file says of itself before it is decoded: format, channels, quality, turn. Knows bytes alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kit.imaging.images import is_cut, jpeg_segments

_ORIENTATION = 0x0112  # the tag of Exif 2.3 that says how a picture is to be turned; 1: as it is
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_KINDS = {0: "grey", 2: "colour", 3: "palette", 4: "grey with alpha", 6: "colour with alpha"}


@dataclass(frozen=True)
class Header:
    """The facts of one file."""

    format: str
    """JPEG, PNG, WebP or BMP; "" for anything else."""
    bytes: int
    channels: str = ""
    """`colour`, `grey`, `palette`, `CMYK`, and `with alpha`; "" where the header does not tell."""
    bits: int = 8
    quality: int | None = None
    """Of a JPEG: 1 to 100, as its encoder's scale is guessed from the first quantisation table."""
    orientation: int = 1
    """How Exif wants it turned: 1 as it is, 2 to 8 mirrored or turned."""
    progressive: bool = False
    is_cut: bool = False
    """Whether the end is missing."""


def read_header(data: bytes) -> Header:
    """Return what the bytes of a picture's file say of it; nothing is decoded and nothing refused."""
    size = len(data)
    if data.startswith(b"\xff\xd8"):
        return _of_jpeg(data)
    if data.startswith(b"\x89P") and len(data) > 25:
        return Header("PNG", size, _PNG_KINDS.get(data[25], ""), data[24], is_cut=is_cut(data))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return Header("WebP", size, is_cut=int.from_bytes(data[4:8], "little") + 8 > size)
    if data.startswith(b"BM"):
        return Header("BMP", size, is_cut=int.from_bytes(data[2:6], "little") > size)
    return Header("", size)


def _of_jpeg(data: bytes) -> Header:
    channels, bits, quality, orientation, progressive = "", 8, None, 1, False
    for kind, begin in _segments_before_scan(data):
        body = data[begin : begin + max(0, int.from_bytes(data[begin - 2 : begin]) - 2)]
        if kind == 0xDB and quality is None:
            quality = _quality(body)
        elif kind == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _orientation(body[6:])
        elif kind in _FRAMES and len(body) > 5:
            bits, progressive = body[0], kind in (0xC2, 0xC6, 0xCA, 0xCE)
            channels = {1: "grey", 3: "colour", 4: "CMYK"}.get(body[5], "")
    return Header("JPEG", len(data), channels, bits, quality, orientation, progressive, is_cut(data))


def _segments_before_scan(data: bytes) -> Iterator[tuple[int, int]]:
    for kind, begin in jpeg_segments(data):
        if kind in (0xDA, 0xD9):
            return
        yield kind, begin


def _quality(table: bytes) -> int | None:
    """Return the quality whose scaling of the standard's table of light comes nearest (ITU-T T.81, table K.1)."""
    wide = bool(table[:1]) and table[0] >> 4 == 1
    values = np.frombuffer(table[1 : 1 + (128 if wide else 64)], ">u2" if wide else np.uint8).astype(np.float64)
    if len(values) < 64:
        return None
    errors = np.abs(_TABLES - values).sum(axis=1)
    return int(errors.argmin()) + 1


# in zigzag order, as files have it
_ZIGZAG = """
16 11 12 14 12 10 16 14 13 14 18 17 16 19 24 40 26 24 22 22 24 49 35 37 29 40 58 51 61 60 57 51
56 55 64 72 92 78 64 68 87 69 55 56 80 109 81 87 95 98 103 104 103 62 77 113 121 112 100 120 92 101 103 99
"""
_LIGHT = np.array([int(number) for number in _ZIGZAG.split()])


def _tables() -> np.ndarray:
    """Return the table of each quality from 1 to 100, as libjpeg scales it, `(100, 64)`."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.asarray(np.clip((_LIGHT * scale[:, None] + 50) // 100, 1, 255), np.float64)


_TABLES = _tables()


def _orientation(tiff: bytes) -> int:
    """Return the orientation in the first directory of Exif's TIFF, 1 where there is none."""
    if tiff[:2] not in (b"II", b"MM") or len(tiff) < 8:
        return 1
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)

    first = number(4, 4)
    for entry in range(number(first, 2)):
        at = first + 2 + 12 * entry
        if at + 12 > len(tiff):
            return 1
        if number(at, 2) == _ORIENTATION:
            return number(at + 8, 2) or 1
    return 1
