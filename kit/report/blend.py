"""A blend as one picture: sources, weights, worth, rungs, where the error lies. For papers and chats; the page of
`kit report` says more.

Draws what a `Blend` holds and computes no score. The same blend gives the same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kit.blending import Blend
from kit.core.storage import writing
from kit.core.workspace import Workspace
from kit.errors import UsageError
from kit.imaging.metrics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("png", "svg")

# blue and orange stay apart in the common kinds of colour blindness, red and green do not
_BLUE, _ORANGE, _GREY = "#2f6fa8", "#cc6a1f", "#8a929b"
_STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 8,
    "svg.hashsalt": "kit",
    "text.parse_math": False,  # a class may be called $a$
}
_ROW, _PANEL = 0.22, 1.1  # inches of a row, and of a panel's title and axis
_MOST = 40  # members drawn; a picture of hundreds is read by nobody
_LONGEST = 34  # letters of a name


def plot_blend(workspace: Workspace, blend: Blend, kind: str, metric: str = "RMSE") -> Path:
    """Write `report/<blend>.png` or `.svg`, whole or not at all.

    Args:
        metric: what the scores are.

    Raises:
        UsageError: another kind.
    """
    if kind not in KINDS:
        raise UsageError(f"Pictures are {' or '.join(KINDS)}, not {kind!r}. Type: kit blend --plots png")
    path = workspace.report / f"{blend.name}.{kind}"
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a class with letters that the font lacks is shown with boxes
        sheet, file = _sheet(blend, metric), io.BytesIO()
        # neither a date nor a version: the same blend gives the same bytes
        nameless = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        sheet.savefig(file, format=kind, dpi=130, metadata=nameless)
    with writing(path) as target:
        target.write(file.getvalue())
    return path


def _sheet(blend: Blend, metric: str) -> Figure:
    members = sorted(blend.members, key=lambda row: -abs(row.weight))[:_MOST]
    rungs = [row for row in blend.ladder if row.rung != row.below]
    heights = [_PANEL + _ROW * max(len(members), len(rungs)), _PANEL + _ROW * max(len(members), len(blend.slices))]
    figure = Figure(figsize=(11, sum(heights) + 0.8), layout="constrained")
    FigureCanvasAgg(figure)  # no screen is asked for
    expected = f"{blend.leaderboard.score} on {blend.leaderboard.photos} test photos"
    title = f"Blend {_short(blend.name)}, rung {blend.rung}\nCV {metric} {blend.cv}; expect {expected}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    panels = figure.subplots(2, 3, gridspec_kw={"height_ratios": heights})
    names = [row.name for row in members]
    _dots(panels[0, 0], f"Sources: CV {metric}", names, [row.cv for row in members])
    _bars(panels[0, 1], "Weights", names, [row.weight for row in members])
    steps = [f"{row.rung} ({row.below})" for row in rungs]
    taken = [_ORANGE if row.taken else _GREY for row in rungs]
    _gains(panels[0, 2], "Gain (orange: taken)", steps, [row.gain for row in rungs], taken)
    worth = [(row.name, row.without) for row in members if row.without is not None]
    helps = [_BLUE if one.low > 0 else _GREY for _, one in worth]
    title = "Worth (blue: credible)"
    _gains(panels[1, 0], title, [name for name, _ in worth], [one for _, one in worth], helps)
    parts = [f"{row.by} {row.name}" for row in blend.slices]
    _dots(panels[1, 1], "Error by part", parts, [row.cv for row in blend.slices])
    _climb(panels[1, 2], blend)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 + 1 :]}"


def _rows(axes: Axes, title: str, names: Sequence[str]) -> None:
    axes.set_title(title)
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color="#e4e7eb")
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=4)


def _dots(
    axes: Axes, title: str, names: Sequence[str], values: Sequence[Estimate], colours: Sequence[str] = ()
) -> None:
    for place, one in enumerate(values):
        colour = colours[place] if colours else _BLUE
        axes.plot([one.low, one.high], [place, place], color=colour, linewidth=2)
        axes.plot([one.value], [place], "o", color=colour, markersize=5)
    _rows(axes, title, names)


def _gains(axes: Axes, title: str, names: Sequence[str], values: Sequence[Estimate], colours: Sequence[str]) -> None:
    """Draw differences about zero, right of it the better ones."""
    axes.axvline(0.0, color="#5d6670", linewidth=1)
    _dots(axes, title, names, values, colours)


def _bars(axes: Axes, title: str, names: Sequence[str], values: Sequence[float]) -> None:
    axes.barh(range(len(values)), values, color=[_BLUE if value >= 0 else _GREY for value in values], height=0.6)
    axes.axvline(0.0, color="#5d6670", linewidth=1)
    _rows(axes, title, names)


def _climb(axes: Axes, blend: Blend) -> None:
    steps = [score for _, score in blend.trajectory]
    axes.plot(range(1, len(steps) + 1), steps, "o-", color=_BLUE, markersize=3)
    axes.set_title("Greedy: RMSE")
    axes.set_xlabel("sources taken, in sample")
    axes.grid(color="#e4e7eb")
    axes.locator_params(nbins=5)
