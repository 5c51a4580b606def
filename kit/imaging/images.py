"""Pictures as arrays: load, save, resize, composite. Knows nothing of competitions.

Everywhere in the kit a photo is uint8 RGB `(H, W, 3)`. OpenCV's BGR ends in this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from kit.core.storage import writing
from kit.errors import ImageError
from kit.imaging.holes import Box, scored_pixels

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")

MAX_PIXELS = 1 << 27  # of one picture: a file of some kilobytes may claim any size

_PNG_END = b"IEND\xaeB`\x82"
_OF_SURE_SIZE = (b"\x89P", b"\xff\xd8")  # an old BMP's header has other places
_TURNS = (b"Exif", b"eXIf", b"exif")  # may say that a picture lies on its side, which OpenCV then turns
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in a scan, anything else that begins so is a value


def load_image(path: Path) -> np.ndarray:
    """Load a picture as uint8 RGB `(H, W, 3)`; grey becomes three equal channels, alpha is dropped.

    Raises:
        ImageError: the file is missing, empty, truncated, or not a picture.
    """
    return decode_image(_bytes_of(path), path)


def image_size(path: Path) -> tuple[int, int]:
    """Return a picture's height and width as `load_image` gives them.

    The header of a PNG or JPEG says so where nothing in the file can turn the picture. Its pixels are not looked at
    then, and may be damaged.

    Raises:
        ImageError: the file is missing, empty, truncated, or not a picture.
    """
    data = _bytes_of(path)
    height, width = _promised_size(data, path)
    if height and width and data.startswith(_OF_SURE_SIZE) and not any(mark in data for mark in _TURNS):
        return height, width
    height, width = decode_image(data, path).shape[:2]
    return height, width


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path} is missing. Run: kit fetch") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder, not a picture.") from None


def decode_image(data: bytes, path: Path) -> np.ndarray:
    """Decode the bytes of a picture; `path` is only for messages. See `load_image`."""
    _promised_size(data, path)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(
            f"{path} is not a picture that OpenCV can read ({len(data)} bytes). Fetch it again: kit fetch --force"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _promised_size(data: bytes, path: Path) -> tuple[int, int]:
    """Return the height and width in a picture's header, 0 where it has none that is known. Raises `ImageError` for
    what should not be decoded."""
    if not data:
        raise ImageError(f"{path} is empty (0 bytes). Fetch it again: kit fetch --force")
    if is_cut(data):
        raise ImageError(
            f"{path} is truncated: its {len(data)} bytes lack the end mark. Fetch it again: kit fetch --force"
        )
    height, width = _claimed_size(data)
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{path} claims to hold {height * width:,} pixels in {len(data):,} bytes; more than {MAX_PIXELS:,} are not "
            "decoded. Give another file of that name."
        )
    return height, width


def is_cut(data: bytes) -> bool:
    """Return whether the end of a JPEG or PNG is missing: OpenCV decodes what is left, and only prints a warning."""
    if data.startswith(b"\x89P"):
        return _PNG_END not in data
    # other bytes may lie behind the end: padding, or the film of a phone
    return data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data[-64:] and not _has_jpeg_end(data)


def _has_jpeg_end(data: bytes) -> bool:
    """Walk from segment to segment: a thumbnail in one of them has an end mark of its own."""
    return any(kind == 0xD9 for kind, _ in jpeg_segments(data))


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the kind of each segment, and where what it says begins."""
    place = 2
    while found := _JPEG_MARKER.search(data, place):
        kind, place = data[found.start() + 1], found.end()
        yield kind, place + 2
        if kind not in (0x01, 0xD8):
            place += int.from_bytes(data[place : place + 2])


def _claimed_size(data: bytes) -> tuple[int, int]:
    """Return the height and width that the header of a PNG, BMP or JPEG promises; 0 for what it does not say."""
    if data.startswith(b"\x89P"):
        return int.from_bytes(data[20:24]), int.from_bytes(data[16:20])
    if data.startswith(b"BM"):
        width, height = (int.from_bytes(data[place : place + 4], "little", signed=True) for place in (18, 22))
        return abs(height), abs(width)
    if data.startswith(b"\xff\xd8"):
        for kind, place in jpeg_segments(data):
            if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
                return int.from_bytes(data[place + 1 : place + 3]), int.from_bytes(data[place + 3 : place + 5])
    return 0, 0


def save_image(path: Path, image: np.ndarray, *, jpeg_quality: int = 95) -> None:
    """Save uint8 RGB `(H, W, 3)`; the suffix says the format.

    Raises:
        ImageError: OpenCV cannot write that suffix.
        KitError: no room, or no permission.
    """
    try:
        data = encode_image(image, path.suffix, jpeg_quality=jpeg_quality)
    except cv2.error:
        raise ImageError(f"{path}: cannot write {path.suffix!r}. Use one of {', '.join(IMAGE_SUFFIXES)}.") from None
    with writing(path) as file:
        file.write(data)


def encode_image(image: np.ndarray, suffix: str, *, jpeg_quality: int = 95) -> bytes:
    """Return uint8 RGB `(H, W, 3)` as the bytes of a file with this suffix."""
    options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if suffix.lower() in (".jpg", ".jpeg") else []
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize `(H, W)` or `(H, W, C)` of any dtype: by area when smaller, bicubic when larger."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    if shrinks and image.ndim == 3 and image.shape[2] > 4:  # OpenCV takes more only where the factor is whole
        groups = [image[:, :, first : first + 4] for first in range(0, image.shape[2], 4)]
        return np.dstack([resize(group, height, width) for group in groups])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def channel_range(image: np.ndarray, hole: np.ndarray | None = None) -> np.ndarray:
    """Return the lowest and the highest value of each channel, `(2, 3)` float64 of 0 to 255.

    Plane by plane: numpy's minimum over interleaved channels takes sixty times as long.

    Args:
        image: uint8 `(H, W, 3)`.
        hole: bool `(H, W)`, pixels that are not looked at; at least one pixel must be left.
    """
    known = None if hole is None else (~hole).view(np.uint8)
    return np.array([cv2.minMaxLoc(plane, known)[:2] for plane in cv2.split(image)]).T


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Turn float [0, 1] into uint8, rounded and clipped."""
    return np.clip(np.rint(values * 255.0), 0, 255).astype(np.uint8)


def composite_values(image: np.ndarray, values: np.ndarray, boxes: Sequence[Box], top: int, left: int) -> np.ndarray:
    """Return `image` with the values of the boxes' scored pixels in their place, all else bit for bit.

    Args:
        image: uint8 `(H, W, 3)`.
        values: `(n, 3)` in [0, 1], in the order of `scored_pixels`; clipped.
        top, left: of the window in which the boxes lie.
    """
    rows, columns = scored_pixels(boxes)
    painted = image.copy()
    painted[rows + top, columns + left] = to_uint8(values)
    return painted


def composite(predicted: np.ndarray, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return `predicted` inside the hole, `image` elsewhere, bit for bit.

    Args:
        predicted: `(H, W, 3)`, any dtype that `image` has.
        image: `(H, W, 3)`.
        hole: bool `(H, W)`, True = missing.
    """
    return np.where(hole[..., None], predicted, image)
