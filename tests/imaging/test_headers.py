"""What files say of themselves: of pictures that OpenCV has written, and of Exif written by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kit.imaging.headers import read_header

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)


def encoded(suffix: str, *options: int, photo: np.ndarray = PHOTO) -> bytes:
    return cv2.imencode(suffix, photo, list(options))[1].tobytes()


def with_exif(jpeg: bytes, orientation: int, order: str = "II") -> bytes:
    """Put a directory with one tag behind the first marker."""
    way = "little" if order == "II" else "big"
    numbers = [(42, 2), (8, 4), (1, 2), (0x0112, 2), (3, 2), (1, 4)]
    tiff = order.encode() + b"".join(value.to_bytes(size, way) for value, size in numbers)  # type: ignore[arg-type]
    tiff += orientation.to_bytes(2, way) + b"\0\0" + (0).to_bytes(4, way)  # type: ignore[arg-type]
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2) + body + jpeg[2:]


@pytest.mark.parametrize("quality", [1, 10, 25, 49, 50, 75, 90, 95, 99, 100])
def test_the_quality_of_a_jpeg_is_the_one_it_was_written_with(quality: int) -> None:
    found = read_header(encoded(".jpg", cv2.IMWRITE_JPEG_QUALITY, quality))
    assert (found.format, found.quality, found.channels, found.is_cut) == ("JPEG", quality, "colour", False)


@pytest.mark.parametrize("order", ["II", "MM"])
def test_exif_says_how_to_turn_it(order: str) -> None:
    assert read_header(encoded(".jpg")).orientation == 1
    assert read_header(with_exif(encoded(".jpg"), 6, order)).orientation == 6


def test_grey_progressive_and_other_formats_are_known() -> None:
    assert read_header(encoded(".jpg", photo=PHOTO[..., 0])).channels == "grey"
    assert read_header(encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)).progressive
    png = read_header(encoded(".png", photo=np.dstack([PHOTO, PHOTO[..., 0]])))
    assert (png.format, png.channels, png.bits, png.quality) == ("PNG", "colour with alpha", 8, None)
    assert read_header(encoded(".png", photo=PHOTO[..., 0].astype(np.uint16))).bits == 16
    assert read_header(encoded(".bmp")).format == "BMP"
    assert read_header(encoded(".webp")).format == "WebP"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_a_file_whose_end_is_missing_is_seen(suffix: str) -> None:
    data = encoded(suffix)
    assert not read_header(data).is_cut
    assert read_header(data[: len(data) * 2 // 3]).is_cut


def test_no_bytes_are_too_strange() -> None:
    rng = np.random.default_rng(0)
    heads = [
        b"",
        b"\xff\xd8",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF",
        b"BM",
        b"\xff\xd8\xff\xe1\0\x10Exif\0\0II*\0\xff\xff\xff\xff",
    ]
    for head in heads:
        for size in (0, 1, 7, 30, 300):
            assert read_header(head + rng.bytes(size)).bytes == len(head) + size
    jpeg = with_exif(encoded(".jpg"), 3)
    for end in range(200):
        read_header(jpeg[:end])
