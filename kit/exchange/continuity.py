"""Whether hidden pixels continue the known ones beside them, as they are or in another order. Knows arrays and boxes.

Photos are smooth: across a box's edge neighbours differ less than pixels do that lie elsewhere. So values in another
order betray themselves without any truth, each split by itself; values that are merely poor do so in no reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kit.imaging.holes import Box

Grid = np.ndarray  # (height, width, 3), the values of one box

FAR_BETTER = 0.8  # another reading was meant if its mean squared step at the edges is below this share of the other,
CREDIBLE = 3  # and if it is better in more photos than it is worse, by so many standard deviations of a coin's
LEAST = 10  # photos from which that says something

_COLOURS = "red", "green", "blue"


def _channels() -> dict[str, Callable[[Grid], Grid]]:
    orders = {(2, 1, 0): "with red and blue exchanged", (1, 0, 2): "with red and green exchanged"}
    orders |= {(0, 2, 1): "with green and blue exchanged"}
    orders |= {
        order: f"with the channels taken as {', '.join(_COLOURS[order.index(place)] for place in range(3))}"
        for order in ((1, 2, 0), (2, 0, 1))
    }
    return {said: lambda grid, order=order: grid[..., list(order)] for order, said in orders.items()}  # type: ignore[misc]


_OF_A_BOX: dict[str, Callable[[Grid], Grid]] = {
    **_channels(),
    "upside down": lambda grid: grid[::-1],
    "mirrored": lambda grid: grid[:, ::-1],
    "turned by 180 degrees": lambda grid: grid[::-1, ::-1],
    "with rows and columns exchanged": lambda grid: grid.reshape(grid.shape[1], grid.shape[0], 3).swapaxes(0, 1),
    "a pixel further up": lambda grid: np.roll(grid, -1, 0),
    "a pixel further down": lambda grid: np.roll(grid, 1, 0),
    "a pixel further left": lambda grid: np.roll(grid, -1, 1),
    "a pixel further right": lambda grid: np.roll(grid, 1, 1),
}
AS_IT_IS, BOXES = "as it is", "with the boxes exchanged"
READINGS = (BOXES, *_OF_A_BOX)


def steps(values: np.ndarray, boxes: Sequence[Box], image: np.ndarray, hole: np.ndarray) -> dict[str, float] | None:
    """Return the mean squared step across the edges by reading; None for a photo without edges.

    Args:
        values: `(n, 3)` RGB in [0, 1], in the order of the boxes.
        image: uint8 `(H, W, 3)`.
        hole: bool `(H, W)`.
    """
    starts = np.cumsum([0, *(box.height * box.width for box in boxes)])
    grids = [
        values[start:end].reshape(box.height, box.width, 3)
        for box, start, end in zip(boxes, starts, starts[1:], strict=False)
    ]
    edges = [_edges(box, image, hole) for box in boxes]
    if not any(len(known) for of_box in edges for _, known in of_box):
        return None
    found = {AS_IT_IS: _step(grids, edges)}
    if len(grids) > 1 and len({grid.shape for grid in grids}) == 1:
        found[BOXES] = _step([*grids[1:], grids[0]], edges)
    for name, change in _OF_A_BOX.items():
        found[name] = _step([change(grid) for grid in grids], edges)
    return found


_Edge = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]


def _edges(box: Box, image: np.ndarray, hole: np.ndarray) -> list[_Edge]:
    """Return, for each side, places inside the box and the known pixels beside them, `(m, 3)` in [0, 1]."""
    down, across = np.arange(box.height), np.arange(box.width)
    sides = [
        (np.zeros_like(across), across, -1, 0),
        (np.full_like(across, box.height - 1), across, 1, 0),
        (down, np.zeros_like(down), 0, -1),
        (down, np.full_like(down, box.width - 1), 0, 1),
    ]
    edges = []
    for rows, columns, below, right in sides:
        near = rows + box.row + below, columns + box.col + right
        there = (near[0] >= 0) & (near[0] < hole.shape[0]) & (near[1] >= 0) & (near[1] < hole.shape[1])
        near = near[0][there], near[1][there]
        known = ~hole[near]
        edges.append(((rows[there][known], columns[there][known]), image[near][known] / 255.0))
    return edges


def _step(grids: Sequence[Grid], edges: Sequence[list[_Edge]]) -> float:
    total, count = 0.0, 0
    for grid, of_box in zip(grids, edges, strict=True):
        for places, known in of_box:
            total += float(np.square(grid[places] - known).sum())
            count += known.size
    return total / count


def other_reading(found: Sequence[dict[str, float]]) -> tuple[str, float, float] | None:
    """Return the reading that was probably meant, its step and that of the values as they are (RMS); None if none was.

    Args:
        found: of each photo, see `steps`.
    """
    if len(found) < LEAST:
        return None
    own = np.array([one[AS_IT_IS] for one in found])
    others = {reading: np.array([one.get(reading, np.inf) for one in found]) for reading in READINGS}
    reading, other = min(others.items(), key=lambda pair: float(pair[1].mean()))
    # counted by photo: steps differ too much between photos for their mean to tell
    won, lost = int((other < own).sum()), int((other > own).sum())
    if other.mean() >= FAR_BETTER * own.mean() or won - lost <= CREDIBLE * np.sqrt(won + lost):
        return None
    return reading, float(np.sqrt(other.mean())), float(np.sqrt(own.mean()))
