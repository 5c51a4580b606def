"""Masks as holes: a picture in black and white, what is transparent, or what has one colour. Knows one picture each."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from kit.errors import ImageError, UsageError
from kit.imaging.images import load_image

HIDDEN = 128  # a mask's grey from which on a pixel is white
CLEAR = 0.02  # share of a mask that may be neither black nor white: blurred edges, and what a JPEG makes of them
_DARK, _LIGHT = 64, 191
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_COLOUR_SLACK = 12  # grey levels: what a JPEG makes of one colour


def read_mask(path: Path, *, hidden: str = "white") -> np.ndarray:
    """Read what a mask hides, bool `(H, W)`.

    Args:
        hidden: `white` or `black`.

    Raises:
        ImageError: it cannot be read, or is not black and white.
    """
    grey = cv2.cvtColor(load_image(path), cv2.COLOR_RGB2GRAY)
    between = float(((grey > _DARK) & (grey < _LIGHT)).mean())
    if between > CLEAR:
        raise ImageError(
            f"{path} is no mask in black and white: {100 * between:.0f} % of it is grey. Give masks: --masks DIR"
        )
    white = grey >= HIDDEN
    return white if hidden == "white" else ~white


def has_alpha(path: Path) -> bool:
    """Return whether a picture has a fourth channel; False for what cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return image is not None and image.ndim == 3 and image.shape[2] == 4


def transparent(path: Path) -> np.ndarray:
    """Return what of a picture is transparent (alpha below a half), bool `(H, W)`.

    Raises:
        ImageError: it cannot be read, or has no alpha.
    """
    load_image(path)  # says what is wrong with the file
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        raise ImageError(
            f"{path} has no alpha, and its holes should be where it is transparent. Give masks: --masks DIR"
        )
    return np.asarray(image[..., 3] < (1 << 15 if image.dtype == np.uint16 else HIDDEN))


def colour_of(text: str) -> tuple[int, int, int]:
    """Return red, green and blue of `#rrggbb`. Raises `UsageError`."""
    if not _COLOUR.fullmatch(text):
        raise UsageError(f"--hole {text}: give alpha, or a colour as #rrggbb, such as #000000.")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def of_colour(path: Path, colour: tuple[int, int, int]) -> np.ndarray:
    """Return where a picture has one colour, bool `(H, W)`: connected places of at least 9 pixels, as single ones may
    be the photo's own."""
    difference = np.abs(load_image(path).astype(np.int16) - np.array(colour, np.int16)).max(axis=2)
    found = (difference <= _COLOUR_SLACK).astype(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(found, connectivity=4)
    large = np.flatnonzero(statistics[:, cv2.CC_STAT_AREA] >= 9)
    return np.isin(labels, large[large > 0]) if count > 1 else np.zeros(found.shape, bool)
