"""The two fills that are conditional means of Gaussian fields: `harmonic` and `fractional`. Knows one photo at a time.

Both come from the Laplacian `L` of `laplacian.py` (5 points, mirrored at the photo's edge).

- `harmonic` solves `L u = 0` inside the hole: every hidden pixel is the mean of its neighbours.
- `fractional` minimises `u^T L^p u` over the hidden pixels with the known ones fixed. That is the conditional mean of a
  Gaussian field with the spectrum `1 / |frequency|^(2p)`, which is about the spectrum of natural photos (Field 1987,
  "Relations between the statistics of natural images and the response properties of cortical cells"); and a conditional
  mean is what squared error rewards. `p = 1` would be `harmonic`. The power is `FRACTIONAL_POWER` for a usual photo, a
  little more for a smoother one, and `L` weighs rows against columns as the photo does: see `power_and_aspect`.

`fractional` works on luma and chroma (the YCbCr of JPEG) and takes the chroma of the `CHROMA_GUARD` pixels around the
hole for unknown: in a photo that was saved as JPEG after its boxes were painted, 4:2:0 subsampling has mixed the boxes'
grey into it (measured beside the boxes: chroma shrunk by 31 % in the first pixel, by 8 % in the second, by 2 % in
the third; luma unbiased).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy  # its parts are imported when they are first used

from kit.imaging.fills.laplacian import (
    apply_in_rectangle,
    components,
    cover,
    edges_of,
    factorised_in_hole,
    inverse_power_in_rectangle,
    power_of_eigenvalues,
    sum_of_neighbours,
)

FRACTIONAL_POWER = 1.15  # scores are flat from 1.1 to 1.2; the spectrum of training photos falls with 1.2 to 1.3
CHROMA_GUARD = 2  # pixels; 0 scores 0.003 worse, 1 and 3 about 0.0002 worse

# the estimate of a photo's own power: its mean over training photos, the weight of a departure from it, and limits
MEAN_POWER, POWER_GAIN, POWERS = 1.33, 0.5, (1.0, 1.4)
ASPECTS = (0.5, 2.0)
_LEAST_PAIRS = 256

_STEP = 2e-4  # conjugate gradients stop once an iteration moves no pixel by more, in [0, 1]
_MAX_ITERATIONS = 200

# rows: luma, blue and red difference, of RGB (ITU-R BT.601, full range, as in JFIF)
_YCC_OF_RGB = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_RGB_OF_YCC = np.linalg.inv(_YCC_OF_RGB)


def harmonic_fill(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Solve Laplace's equation exactly: by sine transforms in rectangles, by a sparse factorisation in other shapes.

    Args:
        image: uint8 RGB `(H, W, 3)`, zero under the hole.
        hole: bool `(H, W)`, True = missing; at least one pixel of either kind.

    Returns:
        float64 `(H, W, 3)`; in the hole within the range of the known pixels of the channel.
    """
    values = np.ascontiguousarray(image.transpose(2, 0, 1)) / 255.0
    around = sum_of_neighbours(values)
    for window, inside in components(hole):
        if inside.all():
            edges = edges_of(window, *hole.shape)
            inverse = inverse_power_in_rectangle(window, edges)
            values[:, *window] = apply_in_rectangle(around[:, *window], edges, inverse)
        else:
            within = np.zeros_like(hole)
            within[window] = inside
            values[:, within] = factorised_in_hole(within).solve(around[:, within].T).T
    # the maximum principle, which rounding alone can break: a constant photo is filled with its constant
    known = image[~hole]
    return np.clip(values.transpose(1, 2, 0), known.min(axis=0) / 255.0, known.max(axis=0) / 255.0)


def fractional_fill(
    image: np.ndarray,
    hole: np.ndarray,
    *,
    power: float | None = None,
    aspect: float | None = None,
    chroma_guard: int = CHROMA_GUARD,
) -> np.ndarray:
    """Minimise `u^T L^power u` in the hole, for luma and chroma; see the head of this module.

    Args:
        image: uint8 RGB `(H, W, 3)`, zero under the hole.
        hole: bool `(H, W)`, True = missing; at least one pixel of either kind.
        power, aspect: of the field; estimated from the photo when None.
        chroma_guard: so many pixels around the hole have luma alone.

    Returns:
        float32 `(H, W, 3)`, not clipped, within 1e-3 of the exact minimum. Known pixels are those of `image` except for
        the chroma under the guard.
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / np.float32(255)
    ycc = _recolour(planes, _YCC_OF_RGB)
    of_photo = power_and_aspect(ycc[0], hole)
    power, aspect = of_photo[0] if power is None else power, of_photo[1] if aspect is None else aspect
    luma = conditional_mean(ycc[:1], hole, power, aspect)
    chroma = conditional_mean(ycc[1:], guarded(hole, chroma_guard), power, aspect)
    return _recolour(np.concatenate([luma, chroma]), _RGB_OF_YCC).transpose(1, 2, 0)


def power_and_aspect(luma: np.ndarray, hole: np.ndarray) -> tuple[float, float]:
    """Estimate the field's power and aspect from the squared differences between known pixels.

    At distances `d` of 1/64, 1/32, 1/16 and 1/8 of the photo's shorter side. A field of power `p` has a mean of
    `d^(2p - 2)`; the estimate is drawn towards `FRACTIONAL_POWER`, since one photo is a small sample. A photo that was
    squashed, or one of upright things, differs more from column to column than from row to row: the aspect is the
    square root of that ratio at 1/32.

    Args:
        luma: `(H, W)` in [0, 1]; what is under the hole is ignored.
        hole: bool `(H, W)`, True = missing.

    Returns:
        `FRACTIONAL_POWER` and 1 where the photo is smaller than 64 pixels or too few are known.
    """
    distances = [min(hole.shape) // share for share in (64, 32, 16, 8)]
    if distances[0] == 0:
        return FRACTIONAL_POWER, 1.0
    variation = np.zeros((2, 4))  # between rows and between columns
    for axis, (values, missing) in enumerate(((luma, hole), (luma.T, hole.T))):
        for number, distance in enumerate(distances):
            known = ~(missing[distance:] | missing[:-distance])
            pairs = np.count_nonzero(known)
            if pairs < _LEAST_PAIRS:
                return FRACTIONAL_POWER, 1.0
            difference = (values[distance:] - values[:-distance]) * known
            # one grey level more: photos without any variation have no direction
            variation[axis, number] = np.square(difference).sum(dtype=np.float64) / pairs + 1 / 255**2
    lever = np.log(distances) - np.log(distances).mean()
    exponent = (lever * np.log(variation.sum(axis=0))).sum() / np.square(lever).sum()  # the slope of the regression
    power = FRACTIONAL_POWER + POWER_GAIN * (exponent / 2 + 1 - MEAN_POWER)
    aspect = np.sqrt(variation[1, 1] / variation[0, 1])
    return float(np.clip(power, *POWERS)), float(np.clip(aspect, *ASPECTS))


def guarded(hole: np.ndarray, width: int) -> np.ndarray:
    """Grow the hole by `width` pixels to all eight sides, or by as many as leave half of the known pixels known."""
    least = (hole.size - np.count_nonzero(hole)) / 2
    for pixels in range(width, 0, -1):
        grown: np.ndarray = scipy.ndimage.maximum_filter(hole, 2 * pixels + 1, mode="constant")
        if hole.size - np.count_nonzero(grown) >= least:
            return grown
    return hole


def conditional_mean(
    planes: np.ndarray,
    hole: np.ndarray,
    power: float | np.ndarray,
    aspect: float | np.ndarray = 1.0,
    *,
    tolerance: float = _STEP,
) -> np.ndarray:
    """Minimise `u^T L^power u` in the hole for each plane, by preconditioned conjugate gradients.

    Args:
        planes: float32 `(C, H, W)`; what is under the hole is ignored.
        hole: bool `(H, W)`, True = missing; at least one pixel of either kind.
        power: above 0 and below 3/2; one for all planes, or one a plane.
        aspect: above 0, likewise; see `laplacian.py`.
        tolerance: stop once an iteration moves no pixel by more.

    Returns:
        float32 `(C, H, W)`, the known pixels up to rounding.
    """
    # constants cost nothing: without the mean, numbers are small and a constant photo is solved by zeros, exactly
    values = np.where(hole, np.float32(0), planes)
    known = hole.size - np.count_nonzero(hole)
    mean = (values.sum(axis=(1, 2), keepdims=True, dtype=np.float64) / known).astype(np.float32)
    values = np.where(hole, np.float32(0), values - mean)
    places = np.flatnonzero(hole)
    fields = np.broadcast_to(np.stack(np.broadcast_arrays(power, aspect), -1), (len(planes), 2))
    alike = (fields == fields[0]).all()
    multiplier = np.stack([power_of_eigenvalues(*hole.shape, *of_plane) for of_plane in fields[: 1 if alike else None]])
    usual = fields.mean(axis=0)  # near enough for a preconditioner

    def apply(u: np.ndarray) -> np.ndarray:
        spectrum = scipy.fft.dctn(u, axes=(1, 2), norm="ortho")
        spectrum *= multiplier
        result = scipy.fft.idctn(spectrum, axes=(1, 2), norm="ortho", overwrite_x=True)
        values: np.ndarray = result.reshape(len(result), -1).take(places, axis=1)
        return values

    solution = _conjugate_gradients(
        apply, preconditioner(hole, *usual), -apply(values), np.zeros_like(values), places, tolerance
    )
    _put(values, places, solution)
    filled: np.ndarray = values + mean
    return filled


def _conjugate_gradients(
    apply: Callable[[np.ndarray], np.ndarray],
    precondition: Callable[[np.ndarray], np.ndarray],
    residual: np.ndarray,
    planes: np.ndarray,
    places: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Solve `A x = residual` for each channel of `(C, n)`; `planes` is zero and a place to work in."""
    solution, direction = np.zeros_like(residual), np.zeros_like(residual)
    energy = np.zeros((len(residual), 1), np.float32)
    for _ in range(_MAX_ITERATIONS):
        step = precondition(residual)
        previous, energy = energy, _dot(residual, step)
        direction = step + _ratio(energy, previous) * direction
        _put(planes, places, direction)
        image_of_direction = apply(planes)
        length = _ratio(energy, _dot(direction, image_of_direction))
        change = length * direction
        solution += change
        residual = residual - length * image_of_direction
        if np.abs(change).max() < tolerance:
            break
    return solution


def _put(planes: np.ndarray, places: np.ndarray, values: np.ndarray) -> None:
    # `planes[:, hole] = values`, four times as fast
    for plane, value in zip(planes, values, strict=True):
        plane.reshape(-1)[places] = value


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # not np.vdot: BLAS sums in another order on another number of threads
    products: np.ndarray = (a * b).sum(axis=1, keepdims=True)
    return products


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # a channel that is solved exactly has 0 / 0 here, and needs no further step
    quotients: np.ndarray = np.divide(a, b, out=np.zeros_like(a), where=b > 0)
    return quotients


def _recolour(planes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    first, second, third = matrix.astype(np.float32)[:, :, None, None].transpose(1, 0, 2, 3)
    mixed: np.ndarray = first * planes[0] + second * planes[1] + third * planes[2]
    return mixed


def preconditioner(hole: np.ndarray, power: float, aspect: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return an approximate inverse of `L^power` restricted to the hole, on float32 `(C, n)`.

    In a rectangle: the inverse power of the rectangle's own Laplacian, with zeros around it. For powers below 3/2 the
    two are equivalent whatever the resolution (both norms are those of the fractional Sobolev space with zero boundary
    values), and three to six iterations are enough. Rectangles that overlap are added up (additive Schwarz). Any other
    shape: the inverse of `L` itself, some ten iterations.
    """
    rectangles = cover(hole)
    if rectangles is None:
        factor = factorised_in_hole(hole)
        return lambda residual: factor.solve(residual.T.astype(np.float64)).T.astype(np.float32)
    number = np.zeros(hole.shape, np.intp)
    number[hole] = np.arange(np.count_nonzero(hole))
    parts = []
    for window in rectangles:
        edges = edges_of(window, *hole.shape)
        inverse = inverse_power_in_rectangle(window, edges, power, aspect)
        parts.append((number[window], edges, inverse.astype(np.float32)))

    def apply(residual: np.ndarray) -> np.ndarray:
        total = np.zeros_like(residual)
        for places, edges, inverse in parts:
            inside = apply_in_rectangle(residual.take(places, axis=1), edges, inverse)
            for channel, values in zip(total, inside, strict=True):
                channel[places] += values
        return total

    return apply
