"""The Laplacian `L` of a photo's grid: in the whole photo, in a rectangle of it and in any hole. Knows no photos.

5 points, mirrored at the photo's edge (Neumann): `(L u)[i]` is the sum of `u[i] - u[j]` over the 2 to 4 neighbours `j`
inside the photo. The orthonormal DCT-II diagonalises it, with the eigenvalues
`(2 - 2 cos(pi k / H)) + (2 - 2 cos(pi l / W))`. An `aspect` other than 1 multiplies the first term (differences between
rows) and divides the second.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy  # its parts are imported when they are first used

Window = tuple[slice, slice]
Edges = tuple[tuple[bool, bool], tuple[bool, bool]]

_MAX_RECTANGLES = 8  # two overlapping boxes need two or three; a hole that needs more is free-form


def sum_of_neighbours(planes: np.ndarray) -> np.ndarray:
    """Return for each pixel of `(C, H, W)` the sum of its 2 to 4 neighbours."""
    total = np.zeros_like(planes)
    total[:, 1:] += planes[:, :-1]
    total[:, :-1] += planes[:, 1:]
    total[:, :, 1:] += planes[:, :, :-1]
    total[:, :, :-1] += planes[:, :, 1:]
    return total


@lru_cache(maxsize=8)  # the planes of a photo come one after the other
def power_of_eigenvalues(height: int, width: int, power: float, aspect: float) -> np.ndarray:
    """Return the eigenvalues of `L^power` in DCT-II order, float32 `(H, W)`; not to be written to."""
    rows, columns = _line_eigenvalues(height, True, True), _line_eigenvalues(width, True, True)
    return ((aspect * rows[:, None] + columns / aspect) ** power).astype(np.float32)


def inverse_power_in_rectangle(window: Window, edges: Edges, power: float = 1.0, aspect: float = 1.0) -> np.ndarray:
    """Return what makes `apply_in_rectangle` apply `L^-power` in a rectangle with zeros around it; float64."""
    sides = zip(window, edges, strict=True)
    rows, columns = (_line_eigenvalues(side.stop - side.start, *edge) for side, edge in sides)
    return (aspect * rows[:, None] + columns / aspect) ** -power


@lru_cache(maxsize=64)
def _line_eigenvalues(size: int, low: bool, high: bool) -> np.ndarray:
    if low and high:
        return 2 - 2 * np.cos(np.pi * np.arange(size) / size)
    if low or high:
        size *= 2
    return 2 - 2 * np.cos(np.pi * np.arange(1, size + 1) / (size + 1))


def edges_of(window: Window, height: int, width: int) -> Edges:
    """Return for rows and for columns whether the window reaches the photo's low edge, and its high edge."""
    rows, columns = window
    return (rows.start == 0, rows.stop == height), (columns.start == 0, columns.stop == width)


def apply_in_rectangle(block: np.ndarray, edges: Edges, multiplier: np.ndarray) -> np.ndarray:
    """Apply a function of the rectangle's own Laplacian, given by its values on the eigenvalues.

    Zeros around the rectangle: a sine transform. Mirrored at both ends: a cosine transform. Mirrored at one end: a sine
    transform of the block joined to its mirror image.

    Args:
        block: `(C, h, w)`, of the type of `multiplier`.
        edges: see `edges_of`.
        multiplier: see `inverse_power_in_rectangle`.
    """
    keep: list[slice] = [slice(None)]
    for axis, (low, high) in enumerate(edges, 1):
        size = block.shape[axis]
        keep.append(slice(size, None) if low and not high else slice(size))
        if low != high:
            mirrored = np.flip(block, axis)
            block = np.concatenate((mirrored, block) if low else (block, mirrored), axis)
    for axis, edge in enumerate(edges, 1):
        block = scipy.fft.dct(block, axis=axis, norm="ortho") if all(edge) else _sine(block, axis)
    block = block * multiplier
    for axis, edge in enumerate(edges, 1):
        block = scipy.fft.idct(block, axis=axis, norm="ortho") if all(edge) else _sine(block, axis)
    return block[tuple(keep)]


def _sine(block: np.ndarray, axis: int) -> np.ndarray:
    # the orthonormal DST-I is its own inverse
    transformed: np.ndarray = scipy.fft.dst(block, 1, axis=axis, norm="ortho")
    return transformed


def components(hole: np.ndarray) -> list[tuple[Window, np.ndarray]]:
    """Return the connected parts of a hole (4 neighbours): the bounding window, and bool of the window's shape."""
    labels, _ = scipy.ndimage.label(hole)
    windows = scipy.ndimage.find_objects(labels)
    return [(window, labels[window] == number) for number, window in enumerate(windows, 1)]


def cover(hole: np.ndarray) -> list[Window] | None:
    """Return a few rectangles, overlapping or not, whose union is the hole; None where it takes too many."""
    left = hole.copy()
    rectangles: list[Window] = []
    while left.any():
        if len(rectangles) == _MAX_RECTANGLES:
            return None
        row, column = np.unravel_index(np.argmax(left), left.shape)
        rectangles.append(_largest_rectangle(hole, int(row), int(column)))
        left[rectangles[-1]] = False
    return rectangles


def _largest_rectangle(hole: np.ndarray, row: int, column: int) -> Window:
    """Return the largest rectangle inside the hole that holds the given pixel of it."""
    # how far each row of the hole reaches to either side of the column, and the least of it from the pixel's row on
    right = np.cumprod(hole[:, column:], axis=1).sum(axis=1)
    left = np.cumprod(hole[:, : column + 1][:, ::-1], axis=1).sum(axis=1)
    down_right, down_left = (np.minimum.accumulate(reach[row:]) for reach in (right, left))
    up_right, up_left = (np.minimum.accumulate(reach[row::-1]) for reach in (right, left))
    rights = np.minimum(up_right[:, None], down_right)
    lefts = np.minimum(up_left[:, None], down_left)
    heights = np.arange(1, len(up_right) + 1)[:, None] + np.arange(len(down_right))
    areas = np.where(rights > 0, heights * (rights + lefts - 1), 0)
    up, down = np.unravel_index(np.argmax(areas), areas.shape)
    return (
        slice(int(row - up), int(row + down + 1)),
        slice(int(column - lefts[up, down] + 1), int(column + rights[up, down])),
    )


def matrix_in_hole(hole: np.ndarray) -> scipy.sparse.csc_array:
    """Return `L` restricted to the hole's pixels in row-major order, sparse float64 `(n, n)`."""
    count = np.count_nonzero(hole)
    number = np.zeros(hole.shape, np.int32)
    number[hole] = np.arange(count)
    below, beside = hole[:-1] & hole[1:], hole[:, :-1] & hole[:, 1:]
    one = np.concatenate([number[:-1][below], number[:, :-1][beside]])
    other = np.concatenate([number[1:][below], number[:, 1:][beside]])
    degree = sum_of_neighbours(np.ones((1, *hole.shape)))[0][hole]
    everyone = np.arange(count)
    values = np.concatenate([degree, np.full(2 * len(one), -1.0)])
    places = np.concatenate([everyone, one, other]), np.concatenate([everyone, other, one])
    return scipy.sparse.csc_array((values, places), shape=(count, count))


def factorised_in_hole(hole: np.ndarray) -> scipy.sparse.linalg.SuperLU:
    """Factorise `matrix_in_hole`, sparse; a hole that is the whole photo has no factors (`L` is singular)."""
    # symmetric and diagonally dominant: no pivoting, and an ordering for that, which takes half the time of the default
    return scipy.sparse.linalg.splu(
        matrix_in_hole(hole), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
