"""Numbers about one photo, from its known pixels alone: light, colour, edges, frame, spectrum. Knows one photo.

Everything is asked of a photo and of what is known of it, so that a photo can be looked at through another one's hole.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

SCALES = (1, 2, 4)
TILES = (64, 32, 16, 8)
"""Sides of the squares whose spectrum is taken, in pixels; the largest that photos have room for is used."""
_LEAST = 16  # known pixels, or pairs of them, from which a number is taken
_TINY = 1e-4  # of edges, before the logarithm: a tenth of a hundredth of a grey level's place
_FLAT = 3.0  # grey levels by which the pixels of a frame's row may vary, and
_STEADY = 4.0  # its rows among each other: what a JPEG does to one colour

LIGHT = (
    *("brightness", "contrast", "red", "green", "blue", "colourfulness", "chroma"),
    *("darkest", "brightest", "black share", "white share", "quarter", "middle", "three quarters", "skew"),
)
"""What `light_of` returns, in order, 0 to 1."""
STATISTICS = (
    *LIGHT,
    *(f"edges {way} {scale}" for scale in SCALES for way in ("across", "down")),
    *("grain", "blocks", "top less bottom", "left less right", "middle less rim"),
)
"""What `statistics_of` returns, in order. Light and colour are 0 to 1, edges and grain logarithms to base 10."""


def grey_of(photo: np.ndarray) -> np.ndarray:
    """Return the photo's light, `(H, W)` float32 in [0, 1] (ITU-R BT.601)."""
    return np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255)


def statistics_of(photo: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return `STATISTICS` of the known pixels, `(n,)` float64; NaN where too little is known.

    Args:
        photo: uint8 RGB `(H, W, 3)`.
        known: bool `(H, W)`.
    """
    if int(known.sum()) < _LEAST:
        return np.full(len(STATISTICS), np.nan)
    grey = grey_of(photo)
    values = light_of(photo, known).tolist()
    for scale in SCALES:
        values += _edges(*_smaller(grey, known, scale))
    values += [_grain(grey, known), _blocks(grey, known), *_places(grey, known)]
    return np.array(values, np.float64)


def light_of(photo: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return `LIGHT` of the known pixels, `(n,)` float64; arguments as `statistics_of` has them."""
    if int(known.sum()) < _LEAST:
        return np.full(len(LIGHT), np.nan)
    values = [*_light_and_colour([plane[known] for plane in cv2.split(photo)]), *_tones(grey_of(photo)[known])]
    return np.array(values, np.float64)


def _light_and_colour(planes: list[np.ndarray]) -> list[float]:
    """Return means, and how colourful pixels are (Hasler and Suesstrunk 2003, SPIE 5007, 87-95).

    Args:
        planes: uint8 `(n,)` of red, green and blue: by planes, for numpy is slow along an axis of three.
    """
    red, green, blue = (plane.astype(np.float32) / 255 for plane in planes)
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    one, other = red - green, (red + green) / 2 - blue
    colourful = np.hypot(one.std(), other.std()) + 0.3 * np.hypot(one.mean(), other.mean())
    chroma = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    means = [float(values.mean()) for values in (red, green, blue)]
    return [float(light.mean()), float(light.std()), *means, float(colourful), float(chroma.mean())]


def _tones(grey: np.ndarray) -> list[float]:
    """Return the ends of the tones of `(n,)` light, the shares at both ends, quartiles and skewness."""
    levels = np.rint(grey * 255).astype(np.int64)
    counts = np.bincount(levels, minlength=256)
    share = counts / counts.sum()
    there = np.flatnonzero(counts)
    quartiles = np.searchsorted(np.cumsum(share), (0.25, 0.5, 0.75)).clip(0, 255) / 255
    tones = np.arange(256) / 255
    mean = float(share @ tones)
    spread = float(np.sqrt(share @ (tones - mean) ** 2))
    skew = float(share @ (tones - mean) ** 3) / spread**3 if spread > 1e-6 else 0.0
    ends = [there[0] / 255, there[-1] / 255, float(share[:2].sum()), float(share[254:].sum())]
    return [*map(float, ends), *map(float, quartiles), skew]


def _smaller(grey: np.ndarray, known: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of squares of `scale` pixels, and which of them are wholly known."""
    if scale == 1:
        return grey, known
    height, width = (side // scale for side in grey.shape)
    if not height or not width:
        return np.zeros((0, 0), np.float32), np.zeros((0, 0), bool)
    cut = (slice(height * scale), slice(width * scale))
    share = known[cut].astype(np.float32)
    means, shares = (cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in (grey[cut], share))
    return np.asarray(means), np.asarray(shares > 1 - 0.5 / scale**2)


def _edges(grey: np.ndarray, known: np.ndarray) -> list[float]:
    """Return the logarithms of the mean step between neighbours, across and down."""
    across = np.abs(np.diff(grey, axis=1))[known[:, 1:] & known[:, :-1]]
    down = np.abs(np.diff(grey, axis=0))[known[1:] & known[:-1]]
    return [_log_mean(across), _log_mean(down)]


def _log_mean(values: np.ndarray) -> float:
    return float(np.log10(values.mean(dtype=np.float64) + _TINY)) if len(values) >= _LEAST else float("nan")


def _grain(grey: np.ndarray, known: np.ndarray) -> float:
    """Return the logarithm of the mean of what noise is told by: Immerkaer 1996, CVIU 64, 300-302."""
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    found = np.abs(cv2.filter2D(grey, -1, mask, borderType=cv2.BORDER_REFLECT_101))
    inner = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return _log_mean(found[inner > 0])


def _blocks(grey: np.ndarray, known: np.ndarray) -> float:
    """Return how much larger the steps are where JPEG's blocks of 8 pixels meet: the logarithm of the ratio."""
    step = np.abs(np.diff(grey, axis=1))
    both = known[:, 1:] & known[:, :-1]
    meets = np.arange(step.shape[1]) % 8 == 7
    return _log_mean(step[:, meets][both[:, meets]]) - _log_mean(step[:, ~meets][both[:, ~meets]])


def _places(grey: np.ndarray, known: np.ndarray) -> list[float]:
    """Return by how much the top is lighter than the bottom, the left than the right, the middle than the rim."""
    height, width = grey.shape
    middle = np.zeros(grey.shape, bool)
    middle[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    upper = np.broadcast_to((np.arange(height) < height / 2)[:, None], grey.shape)
    left = np.broadcast_to(np.arange(width) < width / 2, grey.shape)
    return [_mean(grey, known & one) - _mean(grey, known & ~one) for one in (upper, left, middle)]


def _mean(grey: np.ndarray, where: np.ndarray) -> float:
    part = grey[where]
    return float(part.mean(dtype=np.float64)) if len(part) >= _LEAST else float("nan")


def frame_of(photo: np.ndarray, known: np.ndarray) -> tuple[int, int, int, int]:
    """Return how many rows and columns of one colour frame the photo: top, bottom, left, right."""
    across = photo.transpose(1, 0, 2)
    top, bottom = (_bars(photo[::way], known[::way]) for way in (1, -1))
    left, right = (_bars(across[::way], known.T[::way]) for way in (1, -1))
    return top, bottom, left, right


def _bars(image: np.ndarray, known: np.ndarray) -> int:
    """Return how many rows from the first on are known for a quarter, and of one colour."""
    first = None
    for place, (line, there) in enumerate(zip(image, known, strict=True)):
        pixels = line[there].astype(np.float32)
        if 4 * len(pixels) < len(line) or not len(pixels):
            return place
        mean = pixels.mean(axis=0)
        first = mean if first is None else first
        if pixels.std(axis=0).max() > _FLAT or np.abs(mean - first).max() > _STEADY:
            return place
    return len(image)


def known_tiles(known: np.ndarray, tile: int) -> np.ndarray:
    """Return the first row and column of each square of that side that is wholly known, half a side apart, `(n, 2)`."""
    if min(known.shape) < tile:
        return np.zeros((0, 2), np.int64)
    summed = cv2.integral((~known).astype(np.uint8))
    rows, columns = (np.arange(0, side - tile + 1, tile // 2) for side in known.shape)
    hidden = (
        summed[np.ix_(rows + tile, columns + tile)]
        - summed[np.ix_(rows, columns + tile)]
        - summed[np.ix_(rows + tile, columns)]
        + summed[np.ix_(rows, columns)]
    )
    places = np.argwhere(hidden == 0)
    return np.column_stack([rows[places[:, 0]], columns[places[:, 1]]])


def frequencies(tile: int) -> np.ndarray:
    """Return the middle of each ring of frequencies in cycles per pixel, `(tile / 2,)`."""
    return np.arange(1, tile // 2 + 1) / tile


def spectrum_of(photo: np.ndarray, known: np.ndarray, tile: int) -> np.ndarray:
    """Return the radially averaged power of the light in decibels, `(tile / 2,)` float64; NaN without a known square.

    The mean periodogram of squares under a Hann window (Welch 1967, IEEE Trans. Audio Electroacoust. 15, 70-73): no
    square touches the hole, whose edges would be taken for detail.
    """
    places = known_tiles(known, tile)
    if not len(places):
        return np.full(tile // 2, np.nan)
    window, rings, twice, sizes = _rings(tile)
    grey = grey_of(photo)
    cut = np.stack([grey[row : row + tile, column : column + tile] for row, column in places.tolist()])
    cut = (cut - (cut * window).sum((1, 2), keepdims=True) / window.sum()) * window
    half = np.fft.rfft2(cut)
    power = (np.square(half.real) + np.square(half.imag)).mean(axis=0, dtype=np.float64) / np.square(window).sum()
    summed = np.bincount(rings.reshape(-1), weights=(power * twice).reshape(-1), minlength=tile // 2 + 1)
    found: np.ndarray = 10 * np.log10(summed[1 : tile // 2 + 1] / sizes + 1e-9)
    return found


@cache
def _rings(tile: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the window, the ring of each frequency (0 for none), how often it counts, and how many each ring has.

    A real picture's frequencies are given once where both halves of the plane have them.
    """
    one = np.hanning(tile + 2)[1:-1]
    down, across = np.fft.fftfreq(tile) * tile, np.arange(tile // 2 + 1)
    rings = np.rint(np.hypot(down[:, None], across)).astype(np.int64)
    rings[rings > tile // 2] = 0
    twice = np.broadcast_to(np.where((across == 0) | (across == tile // 2), 1.0, 2.0), rings.shape)
    sizes = np.bincount(rings.reshape(-1), weights=twice.reshape(-1))[1 : tile // 2 + 1]
    return np.outer(one, one).astype(np.float32), rings, twice, sizes


def slope_of(spectrum: np.ndarray) -> float:
    """Return p of power that falls as `1 / f^(2p)`, by least squares over the logarithms; NaN without a spectrum."""
    if len(spectrum) < 4 or not np.isfinite(spectrum).all():
        return float("nan")
    x = np.log10(np.arange(1, len(spectrum) + 1))[1:]  # the first ring is smeared by the window
    return float(-np.polyfit(x, spectrum[1:] / 20, 1)[0])
