"""The report of `kit blend` as pictures: one file for each of its tables, and one for its last lines.

Draws what a `Blend` holds and computes no score. The same blend gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from kit.blending import Blend, CandidateRow
from kit.core.progress import track
from kit.core.storage import disk_errors, sweep, writing
from kit.core.workspace import Workspace
from kit.errors import UsageError
from kit.imaging.metrics import Estimate
from kit.report.chart import (
    BLUE,
    DARK,
    GAP,
    GREY,
    GRID,
    LABELS,
    LINE,
    MARGIN,
    ORANGE,
    PLOT,
    SOFT,
    Panel,
    Row,
    Sheet,
    chart,
    drawn,
    lines_of,
    shades,
    ticks,
    width_of,
    window,
)

KINDS = ("png", "svg")


def plot_blend(workspace: Workspace, blend: Blend, kind: str) -> list[Path]:
    """Write `report/<blend>/members.<kind>` and its siblings, in place of those of an earlier run.

    A blend of one source has no `left-out` and no `correlation`.

    Args:
        kind: `png` or `svg`.

    Returns:
        The files, in the order of the text report.

    Raises:
        UsageError: another kind.
        KitError: no room, or no permission. The pictures of an earlier run are then still there.
    """
    if kind not in KINDS:
        raise UsageError(f"Pictures are {' or '.join(KINDS)}, not {kind!r}. Type: kit blend --plots png")
    folder = workspace.report / blend.name
    names = [name for name in PICTURES if len(blend.members) > 1 or name not in ("left-out", "correlation")]
    files = {
        folder / f"{name}.{kind}": drawn(partial(PICTURES[name], blend), kind)
        for name in track(names, "Pictures", len(names))
    }
    with ExitStack() as stack:  # all are written before the first takes its name
        for path, data in files.items():
            stack.enter_context(writing(path)).write(data)
    with disk_errors(folder):
        sweep(folder)
        for path in (folder / f"{name}.{other}" for name in PICTURES for other in KINDS):
            if path not in files and path.is_file():
                path.unlink()
    return list(files)


def _members(blend: Blend) -> Sheet:
    rows = sorted(blend.members, key=lambda row: (row.cv.value, row.name))
    notes = [
        f"CV RMSE on the hidden pixels of {blend.photos} training photos, each predicted out of fold; lines: 95 % "
        "interval by photo. Best first.",
        f"Weights: those of rung {blend.rung}, on average over hidden values. Blue: positive. Orange: negative. Grey: "
        "0.000.",
    ]
    panels = [
        Panel("CV RMSE [95 %]", [row.cv for row in rows], [str(row.cv) for row in rows]),
        Panel("weight", [_exactly(row.weight) for row in rows], [f"{row.weight:.3f}" for row in rows], bars=True),
    ]
    labels = [Row(row.name, _by_sign(round(row.weight, 3))) for row in rows]
    return chart(f"Sources of blend {blend.name}: how good each is alone, and its weight", notes, [(labels, panels)])


def _left_out(blend: Blend) -> Sheet:
    rows = [(row.name, row.without) for row in blend.members if row.without is not None]
    rows.sort(key=lambda row: (-row[1].value, row[0]))
    changes = [change for _, change in rows]
    notes = [
        f"Change of the CV RMSE of rung {blend.fitted} without that source, nested by fold, on {blend.photos} training "
        "photos; lines: 95 % interval by photo, paired.",
        "Blue: credibly worse without it, so it helps. Orange: credibly better. Grey: no telling.",
    ]
    panel = Panel("change of CV RMSE [95 %]", changes, [change.signed for change in changes], signed=True)
    labels = [Row(name, _by_sign(max(change.low, 0.0) + min(change.high, 0.0))) for name, change in rows]
    return chart(f"What leaving out one source changes in blend {blend.name}", notes, [(labels, [panel])])


def _ladder(blend: Blend) -> Sheet:
    rows = blend.ladder
    notes = [
        f"CV RMSE on the hidden pixels of {blend.photos} training photos, nested by fold; lines: 95 % interval by "
        "photo. Gain: RMSE of the rung taken so far less that of this one, paired; right of zero is better.",
        blend.reason,
    ]
    # the first rung is what the next ones are compared with
    gains = [None if row.below == row.rung else row.gain for row in rows]
    over = [f"{row.gain.signed} over {row.below}" if gain else "" for row, gain in zip(rows, gains, strict=True)]
    panels = [
        Panel("CV RMSE [95 %]", [row.cv for row in rows], [str(row.cv) for row in rows]),
        Panel("gain [95 %]", gains, over, signed=True),
        Panel("", [], [_verdict(row, blend.rung) for row in rows]),
    ]
    labels = [
        Row(row.rung, BLUE if row.taken else GREY, hollow=not row.on_ladder, bold=row.rung == blend.rung)
        for row in rows
    ]
    return chart(f"The rungs of blend {blend.name}: which weights are credibly better", notes, [(labels, panels)])


def _verdict(row: CandidateRow, chosen: str) -> str:
    verdict = ("taken" if row.taken else "not credible") if row.on_ladder else "for comparison"
    return f"{verdict}; the blend" if row.rung == chosen else verdict


def _errors(blend: Blend) -> Sheet:
    rows, whole = blend.slices, blend.leaderboard.score.value
    notes = [
        f"CV RMSE on the hidden pixels of {blend.photos} training photos, nested by fold, clipped as a submission is; "
        "lines: 95 % interval by photo.",
        f"Vertical line: all hidden values together, {whole:.4f}.",
    ]
    sections = {"distance": "pixels to the nearest known one"}
    labels = [
        Row(row.name, section="" if place and rows[place - 1].by == row.by else sections.get(row.by, row.by))
        for place, row in enumerate(rows)
    ]
    shares = [f"{row.share:.3f}" for row in rows]
    panels = [
        Panel("CV RMSE [95 %]", [row.cv for row in rows], [str(row.cv) for row in rows], line=whole),
        Panel("share of values", [_exactly(row.share) for row in rows], shares, bars=True),
    ]
    return chart(f"Where the error of blend {blend.name} lies", notes, [(labels, panels)])


def _leaderboard(blend: Blend) -> Sheet:
    board, value = blend.leaderboard, blend.leaderboard.score.value
    notes = [
        f"RMSE on the hidden pixels of {board.photos} test photos, clipped as a submission is: expected from "
        f"{blend.photos} training photos, not measured. Lines: 95 % interval by photo.",
    ]
    labels = [
        Row("expected score", bold=True),
        Row("which test photos", section="if this alone were uncertain"),
        Row("which training photos"),
        Row(f"the blend, rung {blend.rung}", GREY, hollow=True, section="CV before clipping, for comparison"),
        Row(f"best single source, {blend.best_single}", GREY, hollow=True),
    ]
    halves = [board.sampling, board.estimation]
    cvs = [blend.cv, blend.best_single_cv]
    scores = [board.score, *(Estimate(value, value - half, value + half) for half in halves), *cvs]
    texts = [str(board.score), *(f"±{half:.4f}" for half in halves), *map(str, cvs)]
    extremes = [Row("what unknown value ranges cost", ORANGE if board.extremes.low > 0 else GREY)]
    blocks = [
        (labels, [Panel("RMSE [95 %]", scores, texts, line=value)]),
        (extremes, [Panel("change of RMSE [95 %]", [board.extremes], [board.extremes.signed], signed=True)]),
    ]
    return chart(f"What score to expect on the leaderboard from blend {blend.name}", notes, blocks)


def _exactly(value: float) -> Estimate:
    return Estimate(value, value, value)


def _by_sign(value: float) -> str:
    return BLUE if value > 0 else ORANGE if value < 0 else GREY


def _correlation(blend: Blend) -> Sheet:
    """Draw the matrix in the order of a clustering, so that sources alike are neighbours."""
    order = _clustered(np.array(blend.correlation), [row.cv.value for row in blend.members])
    matrix, count = np.array(blend.correlation)[np.ix_(order, order)], len(order)
    cell = 31.0 if count <= 20 else 27.0  # three lines of a long name
    labels = [lines_of(blend.members[k].name, width=LABELS, breaks="-_.+") for k in order]
    room = max(width_of(line) for lines in labels for line in lines)
    notes = [
        f"Correlation of residuals on the hidden pixels of {blend.photos} training photos, each predicted out of fold. "
        "Sources alike stand together.",
        "The darker, the more alike, by log(1 - correlation): 0.99 and 0.999 are told apart. Mixing helps where it is "
        "light.",
    ]
    sheet = Sheet(f"How alike the errors of the sources of blend {blend.name} are", notes, room + GAP + count * cell)
    left, top = MARGIN + room + GAP, sheet.top + room + 6
    edges = np.arange(count + 1) * cell
    colours = shades(_shade(matrix))
    colours[np.arange(count), np.arange(count)] = 1.0
    sheet.ink.pcolormesh(left + edges, top + edges, colours, edgecolors="white", linewidth=0.8)
    for place, lines in enumerate(labels):
        middle = (place + 0.5) * cell
        sheet.label(MARGIN, top + middle, lines)
        sheet.label(left + middle, top - 5, lines, upward=True)
    # of many, each pair once: drawing the numbers takes the longest
    for row, column in np.argwhere(np.tri(count, k=-1) if count > 20 else 1 - np.eye(count)):
        value = float(matrix[row, column])
        sheet.text(
            left + (column + 0.5) * cell,
            top + (row + 0.5) * cell,
            f"{value:.3f}",
            size=cell / 4.6,
            color="white" if _shade(value) > 0.62 else DARK,
            ha="center",
        )
    bottom = top + count * cell + 14
    _scale(sheet, left, bottom)
    return sheet.finished(bottom + 20)


def _shade(correlation: np.ndarray | float) -> np.ndarray:
    """Return 0 for no correlation or less, 1 for 0.999 or more, and even steps for 0.9 and 0.99."""
    apart = 1.0 - np.maximum(correlation, 0.0)
    return np.minimum(-np.log10(np.maximum(apart, 1e-3)) / 3.0, 1.0)


def _clustered(matrix: np.ndarray, scores: Sequence[float]) -> np.ndarray:
    """Return the members by average linkage, the best one in the upper half."""
    distance = np.maximum(1.0 - (matrix + matrix.T) / 2.0, 0.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=len(matrix) <= 100)
    order = np.asarray(leaves_list(tree))
    return order if list(order).index(int(np.argmin(scores))) < len(order) / 2 else order[::-1]


def _scale(sheet: Sheet, left: float, top: float) -> None:
    width = 180.0
    steps = np.linspace(0.0, 1.0, 61)
    colours = shades((steps[None, 1:] + steps[None, :-1]) / 2)
    sheet.ink.pcolormesh(left + steps * width, [top, top + 7], colours)
    for correlation in (0.0, 0.5, 0.9, 0.99, 0.999):
        x = left + float(_shade(correlation)) * width
        sheet.text(x, top + 14, f"{correlation:g}", size=6.5, color=SOFT, ha="center")


def _trajectory(blend: Blend) -> Sheet:
    """Draw the error above, and below it a row of dots for each source that was taken."""
    picks, errors = [name for name, _ in blend.trajectory], [error for _, error in blend.trajectory]
    count, labels = len(picks), [Row(name) for name in dict.fromkeys(picks)]
    room = max(50.0, *(width_of(line) for row in labels for line in row.lines))
    width, tall = 2 * PLOT, 110.0
    notes = [
        f"RMSE on the hidden pixels of {blend.photos} training photos, predicted out of fold, but in sample: the climb "
        "saw them all. Each step takes the source that lowers the error of the average most, up to the best step.",
        "Below: what was taken at each step; at the right how often, and the weight that this is.",
    ]
    sheet = Sheet(f"The hill climb of blend {blend.name}, for comparison", notes, room + 2 * GAP + width + 75)
    left, top = MARGIN + room + 2 * GAP, sheet.top + 14
    xs = left + (np.arange(count) + 0.5) / count * width
    _error_line(sheet, xs, errors, left, top, width, tall)
    y = top + tall + 16
    for row in labels:
        middle = y + row.height / 2
        taken = [x for x, pick in zip(xs, picks, strict=True) if pick == row.label]
        sheet.label(MARGIN, middle, row.lines)
        sheet.line([left, left + width], [middle, middle], GRID, zorder=0)
        sheet.dots(taken, [middle] * len(taken), BLUE, min(4.5, max(2.0, 300 / count)))
        sheet.text(left + width + GAP, middle, f"{len(taken)} ({len(taken) / count:.3f})")
        y += row.height
    steps = ticks(1, count, 5)[0] if count > 5 else range(2, count)
    for step in [1, *(round(step) for step in steps if 1 + count / 20 < step < count * 0.95), *([count] * (count > 1))]:
        sheet.text(float(xs[step - 1]), y + LINE, str(step), size=6.5, color=SOFT, ha="center")
    sheet.text(left + width + GAP, y + LINE, "step", size=6.5, color=SOFT)
    return sheet.finished(y + 14)


def _error_line(
    sheet: Sheet, xs: np.ndarray, errors: Sequence[float], left: float, top: float, width: float, tall: float
) -> None:
    low, high = window([_exactly(min(errors)), _exactly(max(errors))])
    places, digits = ticks(low, high, 4)
    for place in places:
        y = top + (high - place) / (high - low) * tall
        sheet.line([left, left + width], [y, y], GRID, zorder=0)
        sheet.text(left - 6, y, f"{place:.{digits}f}", size=6.5, color=SOFT, ha="right")
    ys = top + (high - np.array(errors)) / (high - low) * tall
    sheet.line(xs, ys, BLUE, 1.2)
    sheet.dots(xs, ys, BLUE, 2.4)
    sheet.text(left, top - 9, "RMSE, in sample", weight="bold")
    sheet.text(left + width + GAP, float(ys[-1]), f"{errors[-1]:.5f}")


PICTURES: dict[str, Callable[[Blend], Sheet]] = {
    "members": _members,
    "left-out": _left_out,
    "correlation": _correlation,
    "ladder": _ladder,
    "errors": _errors,
    "leaderboard": _leaderboard,
    "trajectory": _trajectory,
}
"""By the name of the file."""
